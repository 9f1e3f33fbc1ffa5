//! The session records and the pack that everything is measured on: those of `testdata/`.

use unskew::Pack;

/// A record of version 1 of the incident's pack.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its size, as benches are named by it: `4k`.
    pub size: &'static str,
    /// Its text.
    pub text: &'static [u8],
}

/// The same session at four sizes.
pub const RECORDS: [Record; 4] = [
    Record { size: "0.4k", text: include_bytes!("../../testdata/records/opentok-v1-0.4k.json") },
    Record { size: "0.7k", text: include_bytes!("../../testdata/records/opentok-v1-0.7k.json") },
    Record { size: "4k", text: include_bytes!("../../testdata/records/opentok-v1-4k.json") },
    Record { size: "64k", text: include_bytes!("../../testdata/records/opentok-v1-64k.json") },
];

/// The largest of the records.
pub const LARGEST: Record = RECORDS[3];

/// The least there is to detect, so that what is measured is the way into the sandbox and back.
pub const EMPTY: Record = Record { size: "2b", text: b"{}" };

/// The text of the incident's pack.
const PACK: &str = include_str!("../../testdata/packs/opentok.toml");

/// The incident's pack.
///
/// # Panics
/// If `testdata/packs/opentok.toml` isn't TOML, which the tests of unskew would have told.
pub fn pack() -> Pack {
    revised(7)
}

/// The incident's pack in another revision, that answers differently: version 2 gets this revision as its bitrate.
///
/// # Panics
/// As [`pack`].
pub fn revised(revision: u64) -> Pack {
    Pack::from_toml("opentok.toml", &revised_text(revision)).expect("the pack of testdata/ is TOML")
}

/// The text of [`revised`], as a gateway would receive it.
pub fn revised_text(revision: u64) -> String {
    let bitrate = if revision == 7 { 3000 } else { revision };
    let revised = PACK.replace("3000", &bitrate.to_string());
    revised.replace("revision = 7", &format!("revision = {revision}"))
}

/// A record of one string, 1 KiB long, of version 1: bytes in and out with next to nothing between.
pub fn one_string() -> Vec<u8> {
    let mut text = br#"{"name":""#.to_vec();
    text.resize(1022, b'x');
    text.extend_from_slice(br#""}"#);
    text
}
