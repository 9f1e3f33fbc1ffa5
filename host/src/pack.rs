//! Rule packs as their authors write them: read, turned into the JSON that the guest reads, told apart by digest.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

use crate::error::{LoadError, Place};
use crate::shelf;
use crate::source::{self, Places};
use crate::trust::LONGEST_SIGNATURE;

/// A rule pack as written: JSON for the guest, places for people. Whether its rules are right only a guest can tell,
/// when it is swapped in. Cheap to clone.
///
/// ```
/// let pack = unskew::Pack::from_toml("small.toml", r#"
///     name = "small"
///     revision = 1
///     version = [{ id = "1", marker = { path = "/v", absent = true } }]
/// "#)?;
/// assert!(pack.json().starts_with(br#"{"name":"small","revision":1,"#));
///
/// let error = unskew::Pack::from_toml("small.toml", "name = \"small\"\nrevision = = 1").unwrap_err();
/// assert!(error.to_string().starts_with("small.toml:2:12: "));
/// # Ok::<(), unskew::LoadError>(())
/// ```
#[derive(Clone)]
pub struct Pack {
    inner: Arc<Inner>,
    signature: Option<Arc<str>>,
}

struct Inner {
    name: String,
    text: String,
    form: Form,
    json: String,
    digest: Digest,
    places: OnceLock<Places>,
}

/// A pack's place among others.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Order {
    /// The name that it gives itself, to which its signer may be bound.
    pub(crate) name: String,
    pub(crate) revision: u64,
    /// The revision that a gateway must have had.
    pub(crate) after: Option<u64>,
}

#[derive(Clone, Copy)]
enum Form {
    Toml,
    Json,
}

/// SHA-256 of what was loaded: two packs of one digest are the same pack.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The digest that is written like this, 64 hexadecimal digits.
    pub(crate) fn read(text: &str) -> Option<Digest> {
        let mut digest = [0; 32];
        let sound = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        sound.then_some(Digest(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Pack {
    /// The pack in this file: JSON if its name ends in `.json`, else TOML. With its signature, if a `.minisig` file lies
    /// beside it. In a folder, the newest pack.
    ///
    /// # Errors
    /// If the file can't be read, or is no UTF-8 or no TOML or JSON; if none in the folder is a pack.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Pack, LoadError> {
        let path = path.as_ref();
        if path.is_dir() {
            return shelf::newest(path);
        }
        let name = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|error| LoadError::Unreadable { name: name.clone(), reason: error.to_string() })?;
        let text = String::from_utf8(bytes)
            .map_err(|error| LoadError::Problems { name: name.clone(), problems: vec![source::no_utf8(&error)] })?;
        let pack = Pack::from_text(&name, &text)?;
        Ok(pack.signed(signature_beside(path)))
    }

    /// The pack in this text: JSON if its name ends in `.json`, else TOML.
    ///
    /// # Errors
    /// If the text is no TOML or JSON.
    pub fn from_text(name: &str, text: &str) -> Result<Pack, LoadError> {
        match Path::new(name).extension().is_some_and(|ext| ext == "json") {
            true => Pack::from_json(name, text),
            false => Pack::from_toml(name, text),
        }
    }

    /// The pack in this TOML text; `name` stands before its problems.
    ///
    /// Numbers keep their text, and a table `{ json = '…' }` stands for that JSON text as it is.
    ///
    /// # Errors
    /// If the text is no TOML, or says something that JSON can't.
    pub fn from_toml(name: &str, text: &str) -> Result<Pack, LoadError> {
        Pack::read(name, text, Form::Toml, source::toml_to_json)
    }

    /// The pack in this JSON text; `name` stands before its problems.
    ///
    /// # Errors
    /// If the text is no JSON.
    pub fn from_json(name: &str, text: &str) -> Result<Pack, LoadError> {
        Pack::read(name, text, Form::Json, source::json)
    }

    /// The pack with the text of its `.minisig` file.
    #[must_use]
    pub fn signed(self, signature: Option<String>) -> Pack {
        Pack { signature: signature.map(Into::into), ..self }
    }

    /// The text of its signature.
    pub fn signature(&self) -> Option<&str> {
        self.signature.as_deref()
    }

    /// The text as its author wrote it, which is what a signature is of.
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// The file's name, or what the caller called it: what stands before its problems.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The JSON form, as the guest reads it.
    pub fn json(&self) -> &[u8] {
        self.inner.json.as_bytes()
    }

    /// The digest of the JSON form: comments and layout of a TOML file don't count.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// What the pack says of its place among others; the guest refuses a pack in which a key stands twice.
    pub(crate) fn order(&self) -> Order {
        serde_json::from_str(&self.inner.json).unwrap_or_default()
    }

    /// Where the item of this JSON Pointer stands in the text, or the nearest item around it.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        let Inner { text, form, places, .. } = &*self.inner;
        let places = places.get_or_init(|| match form {
            Form::Toml => source::toml_places(text),
            Form::Json => source::json_places(text),
        });
        places.nearest(pointer).map(|offset| source::place(text, offset))
    }

    fn read(
        name: &str,
        text: &str,
        form: Form,
        to_json: impl FnOnce(&str) -> Result<String, Vec<crate::error::Problem>>,
    ) -> Result<Pack, LoadError> {
        let json = to_json(text).map_err(|problems| LoadError::Problems { name: name.to_owned(), problems })?;
        let digest = Digest::of(json.as_bytes());
        let (name, text, places) = (name.to_owned(), text.to_owned(), OnceLock::new());
        Ok(Pack { inner: Arc::new(Inner { name, text, form, json, digest, places }), signature: None })
    }
}

/// What the `.minisig` file beside this one says, if there is one of a signature's length.
pub(crate) fn signature_beside(path: &Path) -> Option<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    let found = std::fs::metadata(&name).ok().filter(|found| found.is_file())?;
    let sane = usize::try_from(found.len()).is_ok_and(|length| length <= LONGEST_SIGNATURE);
    sane.then(|| std::fs::read_to_string(&name).ok()).flatten()
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pack").field("name", &self.name()).field("digest", &self.digest()).finish_non_exhaustive()
    }
}
