//! Signatures of the ordinary `minisign` tool: what is signed is taken, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use unskew::{Guest, LoadError, Pack, Runtime, Trust, TrustError};

use super::text;

/// A key pair that `minisign` made, in a folder that the tests of this process share.
struct Signer {
    folder: PathBuf,
    name: &'static str,
}

impl Signer {
    fn new(name: &'static str) -> Signer {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| {
            let folder = std::env::temp_dir().join(format!("unskew-trust-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            folder
        });
        let signer = Signer { folder: folder.clone(), name };
        minisign(&["-G", "-W", "-f", "-p"], &[&signer.file("pub"), "-s".as_ref(), &signer.file("key")]);
        signer
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.name))
    }

    fn public(&self) -> String {
        std::fs::read_to_string(self.file("pub")).unwrap()
    }

    /// The text of the signature of these bytes, with a trusted comment.
    fn sign(&self, bytes: &[u8], comment: &str) -> String {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let file = self.folder.join(format!("{}-{number}", self.name));
        std::fs::write(&file, bytes).unwrap();
        minisign(&["-S", "-t", comment, "-s"], &[&self.file("key"), "-m".as_ref(), &file]);
        std::fs::read_to_string(file.with_file_name(format!("{}-{number}.minisig", self.name))).unwrap()
    }

    fn pack(&self, revision: u64, comment: &str) -> Pack {
        let text = text(revision);
        Pack::from_toml("rooms.toml", &text).unwrap().signed(Some(self.sign(text.as_bytes(), comment)))
    }
}

fn minisign(words: &[&str], paths: &[&Path]) {
    let run = Command::new("minisign").args(words).args(paths).stdin(std::process::Stdio::null()).output();
    let run = run.expect("the ordinary minisign tool: tools/setup tests installs it");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

fn trusting(signer: &Signer, packs: Option<Vec<String>>) -> Trust {
    Trust::default().key(&signer.public(), packs).unwrap()
}

fn runtime(trust: Trust, first: &Pack) -> Runtime {
    Runtime::builder().trust(trust).pack(first).build().unwrap()
}

#[track_caller]
fn reason(outcome: Result<std::sync::Arc<unskew::Generation>, LoadError>) -> TrustError {
    match outcome {
        Err(LoadError::Untrusted { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_signed_is_taken_and_everything_else_refused_while_the_old_one_serves() {
    let (ours, others) = (Signer::new("ours"), Signer::new("others"));
    let runtime = runtime(trusting(&ours, None), &ours.pack(1, "first"));
    let next = text(2);
    let good = ours.sign(next.as_bytes(), "second");
    let unsigned = Pack::from_toml("rooms.toml", &next).unwrap();
    let swap = |signature: &str| runtime.swap(&unsigned.clone().signed(Some(signature.to_owned())));
    assert_eq!(reason(runtime.swap(&unsigned)), TrustError::Unsigned, "stripped");
    assert_eq!(reason(swap("")), TrustError::Unsigned);
    assert_eq!(reason(swap(&others.sign(next.as_bytes(), "second"))), TrustError::NotOurs);
    assert_eq!(reason(swap(&ours.sign(text(3).as_bytes(), "second"))), TrustError::NotOurs, "of another file");
    assert_eq!(reason(swap(&good.replace("trusted comment: second", "trusted comment: third"))), TrustError::NotOurs);
    for cut in (0..good.trim_end().len()).step_by(7) {
        let cut: String = good.chars().take(cut).collect();
        assert!(swap(&cut).is_err(), "cut to {} characters", cut.len());
    }
    for line in [1, 3] {
        // Each character of both signatures, changed into another of base64's.
        let start = good.lines().take(line).map(|line| line.len() + 1).sum::<usize>();
        let length = good.lines().nth(line).unwrap().trim_end_matches('=').len();
        for at in start..start + length - 1 {
            let mut changed = good.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(swap(&String::from_utf8(changed).unwrap()).is_err(), "character {at} changed");
        }
    }
    assert!(swap(&format!("{good}untrusted comment: more\n")).is_err(), "a fifth line");
    assert_eq!(runtime.generation().unwrap().manifest().revision, 1);
    assert_eq!(swap(&good).unwrap().manifest().revision, 2);
}

#[test]
fn no_byte_of_a_pack_can_be_changed_under_its_signature() {
    let ours = Signer::new("bytes");
    let runtime = runtime(trusting(&ours, None), &ours.pack(1, "first"));
    let next = text(2);
    let signature = ours.sign(next.as_bytes(), "second");
    let mut refused = 0;
    for at in 0..next.len() {
        let mut changed = next.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        // What is no TOML any more is refused before anybody looks at its signature.
        let Ok(pack) = Pack::from_toml("rooms.toml", &changed) else { continue };
        assert_eq!(reason(runtime.swap(&pack.signed(Some(signature.clone())))), TrustError::NotOurs, "byte {at}");
        refused += 1;
    }
    assert!(refused > next.len() / 4, "{refused} of {} still were packs", next.len());
    assert_eq!(runtime.generation().unwrap().manifest().revision, 1);
    // Without keys the same change is taken: the checks above are the signature's doing.
    let open = Runtime::new(&Pack::from_toml("rooms.toml", &text(1)).unwrap()).unwrap();
    open.swap(&Pack::from_toml("rooms.toml", &next.replace("room_id", "roon_id")).unwrap()).unwrap();
}

#[test]
fn a_key_signs_the_packs_that_it_is_bound_to_and_no_guests() {
    let bound = Signer::new("bound");
    let rooms = trusting(&bound, Some(vec!["rooms".to_owned()]));
    let runtime = runtime(rooms, &bound.pack(1, "first"));
    let other = text(2).replace("name = \"rooms\"", "name = \"halls\"");
    let signature = bound.sign(other.as_bytes(), "x");
    let other = Pack::from_toml("halls.toml", &other).unwrap().signed(Some(signature));
    assert_eq!(reason(runtime.swap(&other)), TrustError::OtherPack("pack \"halls\"".to_owned()));
    let wasm = b"\0asm no guest".to_vec();
    let signature = bound.sign(&wasm, "x");
    let guest = Guest::new("guest.wasm", wasm).signed(Some(signature));
    assert_eq!(reason(runtime.swap_guest(guest, &bound.pack(2, "x"))), TrustError::OtherPack("guests".to_owned()));
}

#[test]
fn a_guest_is_signed_as_a_pack_is() {
    let ours = Signer::new("guests");
    let runtime = runtime(trusting(&ours, None), &ours.pack(1, "first"));
    let wasm = b"\0asm no guest".to_vec();
    let unsigned = Guest::new("guest.wasm", wasm.clone());
    assert_eq!(reason(runtime.swap_guest(unsigned.clone(), &ours.pack(2, "x"))), TrustError::Unsigned);
    let signed = unsigned.signed(Some(ours.sign(&wasm, "x")));
    assert!(matches!(runtime.swap_guest(signed, &ours.pack(2, "x")), Err(LoadError::Guest(_))), "it is looked at");
}

#[test]
fn going_back_needs_a_signature_that_says_from_where() {
    let ours = Signer::new("back");
    let runtime = runtime(trusting(&ours, None), &ours.pack(9, "x"));
    assert!(matches!(runtime.swap(&ours.pack(7, "x")), Err(LoadError::Revision { active: 9, offered: 7, .. })));
    assert!(matches!(runtime.swap(&ours.pack(7, "rollback-from=8")), Err(LoadError::Revision { .. })));
    runtime.swap(&ours.pack(7, "timestamp:1 rollback-from=9")).unwrap();
    assert_eq!(runtime.generation().unwrap().manifest().revision, 7);
    // The fix for what was rolled back; the statement of then is of no use against it.
    runtime.swap(&ours.pack(10, "x")).unwrap();
    assert!(matches!(runtime.swap(&ours.pack(7, "rollback-from=9")), Err(LoadError::Revision { .. })));
    let comment = reason(runtime.swap(&ours.pack(11, "rollback-from=x")));
    assert!(comment.to_string().contains("a whole number"), "{comment}");
}

#[test]
fn what_expires_is_an_alarm_and_no_outage() {
    let ours = Signer::new("expiry");
    let soon = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(2);
    let moment =
        Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("@{}", soon.as_secs())]).output();
    let moment = String::from_utf8(moment.unwrap().stdout).unwrap();
    let runtime = runtime(trusting(&ours, None), &ours.pack(1, &format!("expires={}", moment.trim())));
    assert_eq!(runtime.status().expired, None);
    std::thread::sleep(Duration::from_millis(2100));
    assert!(runtime.status().expired.is_some());
    assert!(runtime.translate(br#"{"room":"a"}"#, b"", "1", "2").is_ok(), "it serves on");
    let expired = reason(runtime.swap(&ours.pack(2, "expires=2020-01-31")));
    assert_eq!(expired, TrustError::Expired("2020-01-31T00:00:00Z".to_owned()));
    runtime.swap(&ours.pack(2, "expires=9999-12-31")).unwrap();
    assert_eq!(runtime.status().expired, None);
    // After a restart an expired one is still better than none.
    let again = self::runtime(trusting(&ours, None), &ours.pack(1, "expires=2020-01-31"));
    assert!(again.status().expired.is_some());
    let unclear = reason(again.swap(&ours.pack(2, "expires=tomorrow")));
    assert!(matches!(unclear, TrustError::Comment(_)), "{unclear}");
}
