//! `wrap` and `unwrap`: a value that becomes one element of a list.

use crate::json::{self, Kind};
use crate::op::edit::{Edit, Put, Recalled};
use crate::op::map::Cell;
use crate::op::{Condition, Direction, Refusal, Test};
use crate::pack::{Field, Table};
use crate::path::{Path, Seg};

/// `{ wrap = "/a", at = "/name", new = { kind = "x" }, where = { … }, none = …, on_edit = "head" }`.
#[derive(Clone, Debug)]
pub(crate) struct Wrap {
    /// Where the value stands in its element; empty where it is the element.
    at: Vec<String>,
    /// The element that a value without one gets, an object.
    new: Option<String>,
    /// Which elements can stand for the value: the first that holds it counts.
    only: Vec<(Vec<String>, Test)>,
    /// What stands for a list without such an element.
    none: Cell,
    on_edit: OnEdit,
}

/// What an edit of the value does to the other elements, which only the carry holds then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnEdit {
    /// They go.
    Replace,
    /// They stay.
    Head,
}

impl Wrap {
    pub(crate) fn write(
        &self,
        direction: Direction,
        found: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Put<'_>, Refusal> {
        let Some(text) = found else { return Ok(Put::Absent) };
        out.clear();
        match direction {
            Direction::Up if self.is_none(text) => out.extend_from_slice(b"[]"),
            Direction::Up => out.extend_from_slice(&json::array(&[self.element(text)])),
            Direction::Down if Kind::of(text) != Kind::Array => return Err(Refusal::wrong_type("an array", text)),
            Direction::Down => match self.standing(&json::elements(text)) {
                Some((_, value)) => out.extend_from_slice(value),
                None => return Ok(Put::literal(&self.none)),
            },
        }
        Ok(Put::Written)
    }

    /// Joins an edit of the value with the elements that the carry holds.
    pub(crate) fn recall<'m>(&'m self, found: Option<&[u8]>, was: Option<&'m str>, out: &mut Vec<u8>) -> Recalled<'m> {
        let list = was.map(str::as_bytes).filter(|was| Kind::of(was) == Kind::Array);
        let (Some(list), OnEdit::Head) = (list, self.on_edit) else { return Recalled::Nothing };
        let elements = json::elements(list);
        let standing = self.standing(&elements).map(|(index, _)| index);
        let mut elements: Vec<Vec<u8>> = elements.into_iter().map(<[u8]>::to_vec).collect();
        match (found.filter(|text| !self.is_none(text)), standing) {
            (Some(text), Some(index)) => {
                if let Some(element) = elements.get_mut(index) {
                    *element = json::with(element, &self.at, text);
                }
            }
            (Some(text), None) => elements.insert(0, self.element(text)),
            (None, Some(index)) => {
                elements.remove(index);
            }
            (None, None) => {}
        }
        if found.is_none() && elements.is_empty() {
            return Recalled::Merged(Put::Absent);
        }
        *out = json::array(&elements);
        Recalled::Merged(Put::Written)
    }

    pub(crate) fn depth(&self) -> u32 {
        let texts = self.new.iter().chain(&self.none);
        1 + texts.map(|text| json::depth(text.as_bytes())).max().unwrap_or(0)
    }

    pub(crate) fn growth(&self) -> u32 {
        1 + self.at.len() as u32
    }

    pub(crate) fn below(&self) -> Vec<Path> {
        let conditions = self.only.iter().map(|(keys, _)| in_element(keys));
        conditions.chain([self.scalar()]).collect()
    }

    /// Where the value stands below the list.
    pub(crate) fn scalar(&self) -> Path {
        in_element(&self.at)
    }

    /// Whether it depends on a value whether the element that holds it can stand for it.
    pub(crate) fn is_choosy(&self) -> bool {
        self.only.iter().any(|(keys, _)| keys.starts_with(&self.at) || self.at.starts_with(keys))
    }

    fn is_none(&self, text: &[u8]) -> bool {
        self.none.as_ref().is_some_and(|none| json::equal(none.as_bytes(), text))
    }

    fn element(&self, value: &[u8]) -> Vec<u8> {
        json::with(self.new.as_deref().unwrap_or("{}").as_bytes(), &self.at, value)
    }

    /// The element that stands for the value, and the value.
    fn standing<'t>(&self, elements: &[&'t [u8]]) -> Option<(usize, &'t [u8])> {
        elements.iter().enumerate().find_map(|(index, element)| {
            let stands = self.only.iter().all(|(keys, test)| test.holds(json::value_at(element, keys)));
            Some((index, json::value_at(element, &self.at).filter(|_| stands)?))
        })
    }

    pub(crate) fn read(table: &mut Table<'_>) -> Option<Edit> {
        let at_field = table.take("at");
        let at = at_field.as_ref().map_or(Some(Vec::new()), plain_keys);
        let new_field = table.take("new");
        if let (Some(new), None) = (&new_field, &at_field) {
            new.problem("new needs at = \"/…\": the place of the value in the new element");
        }
        let new = new_field.as_ref().map(Field::literal);
        if let (Some(field), Some(new)) = (&new_field, &new)
            && Kind::of(new.as_bytes()) != Kind::Object
        {
            field.problem("new must be an object: what a new element holds beside the value");
            return None;
        }
        let only_field = table.take("where");
        let fields = only_field.iter().flat_map(|field| match field.kind() {
            Kind::Array => field.list(),
            _ => vec![field.clone()],
        });
        let only = fields.map(|field| {
            let condition = Condition::read(&field)?;
            Some((keys(&condition.path, &field)?, condition.test))
        });
        let only: Option<Vec<(Vec<String>, Test)>> = only.collect();
        let none = match table.take("none").map(|field| field.literal()) {
            None => Some("null".to_owned()),
            Some(text) if text == r#"{"absent":true}"# => None,
            Some(text) => Some(text),
        };
        let on_edit = table.need("on_edit");
        let on_edit = on_edit.and_then(|field| field.choice(&[("replace", OnEdit::Replace), ("head", OnEdit::Head)]));
        let wrap = Wrap { at: at?, new, only: only?, none, on_edit: on_edit? };
        let element = wrap.element(b"null");
        let beside = |keys: &Vec<String>| !wrap.at.starts_with(keys) && !keys.starts_with(&wrap.at);
        let unmet = |(keys, test): &(Vec<String>, Test)| beside(keys) && !test.holds(json::value_at(&element, keys));
        if let (Some(field), true) = (only_field, wrap.only.iter().any(unmet)) {
            field.problem("a new element would not be found again: new = { … } must hold what where asks for");
            return None;
        }
        Some(Edit::Wrap(wrap))
    }
}

fn in_element(keys: &[String]) -> Path {
    Path([Seg::Star].into_iter().chain(keys.iter().cloned().map(Seg::Key)).collect())
}

fn plain_keys(field: &Field<'_>) -> Option<Vec<String>> {
    keys(&field.path()?, field)
}

fn keys(path: &Path, field: &Field<'_>) -> Option<Vec<String>> {
    let keys = path.0.iter().map(|seg| if let Seg::Key(key) = seg { Some(key.clone()) } else { None }).collect();
    if Option::is_none(&keys) {
        field.problem(format!("{path} is a place in one element: it has no place for \"*\""));
    }
    keys
}
