//! What is to be changed in the head of a request or of an answer: said once here, done by every surface in its way.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes to a head: what is removed goes first, then what is set takes the place of all values of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Headers that go, with all their values.
    pub remove: Vec<HeaderName>,
    /// Headers that come; a name may stand here several times.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

impl Edits {
    /// Makes the changes.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (index, (name, value)) in self.set.iter().enumerate() {
            match self.is_first(index) {
                true => drop(headers.insert(name.clone(), value.clone())),
                false => drop(headers.append(name.clone(), value.clone())),
            }
        }
    }

    /// Whether what is set at this index is the first of its name: it takes the place of what stood there.
    pub(crate) fn is_first(&self, index: usize) -> bool {
        let name = &self.set[index].0;
        !self.set[..index].iter().any(|(before, _)| before == name)
    }

    pub(crate) fn remove(&mut self, name: HeaderName) {
        self.remove.push(name);
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        self.set.push((name, value.into()));
    }

    /// Removes what stands under names that begin like ours.
    pub(crate) fn remove_forged(&mut self, headers: &HeaderMap, prefix: &str) {
        self.remove.extend(headers.keys().filter(|name| name.as_str().starts_with(prefix)).cloned());
    }

    /// Removes these, as far as they are there.
    pub(crate) fn remove_all(&mut self, headers: &HeaderMap, names: &[HeaderName]) {
        self.remove.extend(names.iter().filter(|name| headers.contains_key(*name)).cloned());
    }
}
