//! Whose packs and guests are taken: signatures of the ordinary `minisign` tool, held against configured keys.
//!
//! A signature covers the bytes of the file as they were signed, and its trusted comment, which is where the signer can
//! say more: `expires=2027-01-31` (served on after that, with an alarm) and `rollback-from=9` (this pack may take the
//! place of revision 9 though its own is older). Where no key is configured everything is taken.

use std::time::SystemTime;

use minisign_verify::{PublicKey, Signature};

use crate::moment;

/// The longest text of a signature, in bytes: two comments and two lines of base64.
pub(crate) const LONGEST_SIGNATURE: usize = 4096;

/// Keys whose packs and guests are taken. Without any, all are.
#[derive(Clone, Default)]
pub struct Trust {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    key: PublicKey,
    /// Names of the packs that it signs; none means all.
    packs: Option<Vec<String>>,
}

/// What was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed<'a> {
    /// A pack of this name.
    Pack(&'a str),
    /// A guest: only keys that are not bound to packs sign those.
    Guest,
}

/// What a signer says of a pack beside the pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// When somebody is to be alarmed that it still serves.
    pub expires: Option<SystemTime>,
    /// The revision that this pack may take the place of though it is older.
    pub rollback_from: Option<u64>,
}

/// Why a pack or a guest isn't trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It has no signature.
    #[error(
        "it isn't signed, and keys are configured: sign it with `minisign -S -m FILE` and ship FILE.minisig with it"
    )]
    Unsigned,
    /// The signature is no minisign signature.
    #[error("its signature can't be read ({0}): ship the .minisig file that minisign wrote as it is")]
    Malformed(String),
    /// No configured key has made the signature, or it was made for other bytes.
    #[error(
        "its signature is of no configured key, or of other bytes: sign exactly this file again, with a key of `trust.keys`"
    )]
    NotOurs,
    /// The key that has signed it is bound to other packs.
    #[error("its signature is of a key that isn't trusted for {0}: see `packs` of that key in `trust.keys`")]
    OtherPack(String),
    /// The trusted comment says something that isn't understood, which may have been meant to restrict.
    #[error("its trusted comment isn't understood: {0}")]
    Comment(String),
    /// It has expired, and something else serves.
    #[error("it has expired at {0}: sign a newer one")]
    Expired(String),
}

impl Trust {
    /// One more key: a public key of minisign's as its one line of base64, or its whole `.pub` file. `packs` binds it to
    /// packs of these names; without it signs any pack, and guests.
    ///
    /// ```
    /// let trust = unskew::Trust::default().key("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", None);
    /// assert!(trust.is_ok());
    /// assert!(unskew::Trust::default().key("no key", None).is_err());
    /// ```
    ///
    /// # Errors
    /// If the text is no public key.
    pub fn key(mut self, text: &str, packs: Option<Vec<String>>) -> Result<Trust, String> {
        let text = text.trim();
        let read = if text.contains('\n') { PublicKey::decode(text) } else { PublicKey::from_base64(text) };
        let key = read.map_err(|_| {
            "it is no public key of minisign's: say the second line of the .pub file that `minisign -G` wrote"
                .to_owned()
        })?;
        self.keys.push(Key { key, packs });
        Ok(self)
    }

    /// Whether anything is asked of packs and guests.
    pub fn asks(&self) -> bool {
        !self.keys.is_empty()
    }

    /// What the signer of these bytes says, if it is one of ours; nothing where no key is configured.
    pub(crate) fn verify(
        &self,
        what: Signed<'_>,
        bytes: &[u8],
        signature: Option<&str>,
    ) -> Result<Statement, TrustError> {
        if self.keys.is_empty() {
            return Ok(Statement::default());
        }
        let text = signature.filter(|text| !text.trim().is_empty()).ok_or(TrustError::Unsigned)?;
        if text.len() > LONGEST_SIGNATURE || text.trim_end().lines().count() != 4 {
            return Err(TrustError::Malformed("it has four lines".to_owned()));
        }
        let signature = Signature::decode(text).map_err(|error| TrustError::Malformed(error.to_string()))?;
        // Legacy signatures are of the bytes and not of their hash: minisign writes none since 2021.
        let signers: Vec<&Key> =
            self.keys.iter().filter(|key| key.key.verify(bytes, &signature, false).is_ok()).collect();
        if signers.is_empty() {
            return Err(TrustError::NotOurs);
        }
        let may = |key: &&&Key| match (&key.packs, what) {
            (None, _) => true,
            (Some(packs), Signed::Pack(name)) => packs.iter().any(|pack| pack == name),
            (Some(_), Signed::Guest) => false,
        };
        match (signers.iter().find(may), what) {
            (Some(_), _) => statement(signature.trusted_comment()),
            (None, Signed::Pack(name)) => Err(TrustError::OtherPack(format!("pack {name:?}"))),
            (None, Signed::Guest) => Err(TrustError::OtherPack("guests".to_owned())),
        }
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("keys", &self.keys.len()).finish()
    }
}

/// `expires=…` and `rollback-from=…` among other words; minisign's own are `timestamp:…`, `file:…` and `hashed`.
fn statement(comment: &str) -> Result<Statement, TrustError> {
    let mut said = Statement::default();
    for word in comment.split_whitespace() {
        match word.split_once('=') {
            Some(("expires", when)) if said.expires.is_none() => {
                let moment = moment::read(when).ok_or_else(|| {
                    TrustError::Comment("expires= takes a date like 2027-01-31 or 2027-01-31T12:00:00Z".to_owned())
                })?;
                said.expires = Some(moment);
            }
            Some(("rollback-from", revision)) if said.rollback_from.is_none() => {
                let number = revision.parse().map_err(|_| {
                    TrustError::Comment("rollback-from= takes the revision that is active, a whole number".to_owned())
                })?;
                said.rollback_from = Some(number);
            }
            Some((word @ ("expires" | "rollback-from"), _)) => {
                return Err(TrustError::Comment(format!("{word}= stands in it twice")));
            }
            Some(_) | None => {}
        }
    }
    Ok(said)
}
