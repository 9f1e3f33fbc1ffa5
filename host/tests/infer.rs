//! `unskew infer` on both sides of real changes: what it proposes loads and passes `unskew check` after few edits by
//! hand, each of which stands here as a replacement of text.

#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use unskew::infer::{Confidence, InferError, Options, Proposal, Sample, infer};
use unskew::{CallError, FaultKind, Pack, Runtime};

/// A person may change this much of a proposal.
const EDITS: usize = 2;

/// What a person replaces: a text that stands once in the proposal, and what it becomes.
type Edit = (&'static str, &'static str);

/// Samples of a real change, and the pack that was proposed and edited.
struct Case {
    folder: PathBuf,
    pack: Runtime,
    proposed: String,
}

impl Case {
    /// Proposes from the samples of a case, edits, and lets `unskew check` look at it with all samples.
    fn checked(name: &str, edits: &[Edit]) -> Case {
        assert!(edits.len() <= EDITS, "{name}: {} edits", edits.len());
        let samples = root().join("testdata/infer").join(name);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("infer").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let [older, newer] = ["older", "newer"].map(|side| samples.join(format!("{side}.ndjson")));
        let inferred = unskew(&["infer", "--older", text(&older), "--newer", text(&newer)]);
        assert_eq!(inferred.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&inferred.stderr));
        let proposed = String::from_utf8(inferred.stdout).unwrap();
        let mut edited = proposed.clone();
        for (from, to) in edits {
            assert_eq!(edited.matches(from).count(), 1, "{name}: {from:?} in\n{edited}");
            edited = edited.replace(from, to);
        }
        let pack = folder.join("pack.toml");
        std::fs::write(&pack, &edited).unwrap();
        let mut arguments = vec!["check".to_owned(), pack.display().to_string()];
        for side in [&older, &newer] {
            for (n, record) in std::fs::read_to_string(side).unwrap().lines().enumerate() {
                let file = folder.join(format!("{}-{n}.json", side.file_stem().unwrap().display()));
                std::fs::write(&file, record).unwrap();
                arguments.push(file.display().to_string());
            }
        }
        let checked = unskew(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&checked.stdout);
        assert_eq!(checked.status.code(), Some(0), "{name}: {said}\n{edited}");
        let pack = Runtime::new(&Pack::from_file(&pack).unwrap()).unwrap();
        Case { folder, pack, proposed }
    }

    #[track_caller]
    fn proposes(&self, ops: &[&str]) {
        let (_, list) = self.proposed.split_once("\nops = [\n").unwrap();
        let (list, _) = list.split_once("\n]\n").unwrap();
        let lines = list.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        assert_eq!(lines.map(|line| line.trim_end_matches(',')).collect::<Vec<_>>(), ops, "{}", self.folder.display());
    }

    #[track_caller]
    fn becomes(&self, (from, older): (&str, &str), (to, newer): (&str, &str)) {
        let there = self.pack.translate(older.as_bytes(), b"", from, to).unwrap();
        assert_eq!(said(&there.record), said(newer.as_bytes()), "{}", String::from_utf8_lossy(&there.record));
        let back = self.pack.translate(&there.record, &there.carry, to, from).unwrap();
        assert_eq!(said(&back.record), said(older.as_bytes()), "{}", String::from_utf8_lossy(&back.record));
    }
}

/// What JSON says, but for the order of members; numbers by their text, which no `f64` holds.
fn said(json: &[u8]) -> Vec<u8> {
    let mut characters = json.to_vec();
    characters.sort_unstable();
    characters
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn unskew(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unskew")).args(arguments).current_dir(root()).output().unwrap()
}

/// Proposes from texts with one record a line.
fn proposal(older: &str, newer: &str) -> Result<Proposal, InferError> {
    let [older, newer] = [("older", older), ("newer", newer)].map(|(name, text)| Sample::parse(name, text).unwrap());
    infer(&older, &newer, &Options::default())
}

/// Records made of their number.
fn many(count: usize, record: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut lines, n| {
        writeln!(lines, "{}", record(n)).unwrap();
        lines
    })
}

#[track_caller]
fn active(proposal: &Proposal) -> Vec<&str> {
    proposal.ops.iter().filter(|op| op.left_out.is_none()).map(|op| op.op.as_str()).collect()
}

#[test]
fn the_incident_needs_a_zone_that_no_sample_shows() {
    Case::checked("01-incident", &[]);
    let case = Case::checked("01-incident", &[(r#"PST = "-08:00""#, r#"PST = "-08:00", PDT = "-07:00""#)]);
    case.proposes(&[
        r#"{ rename = "/session_id", to = "sessionId" }"#,
        r#"{ rename = "/create_dt", to = "createdAt" }"#,
        r#"{ rename = "/p2p.preference", to = "mediaMode" }"#,
        r#"{ time = "/createdAt", lower = { format = "%a %b %d %H:%M:%S %Z %Y", zones = { PST = "-08:00" } }, upper = "unix-s" }"#,
        r#"{ map = "/mediaMode", values = [["disabled", "routed"], ["enabled", "relayed"]] }"#,
    ]);
    case.becomes(
        ("1", r#"{"session_id":"x","p2p.preference":"enabled","create_dt":"Sat Apr 01 13:09:00 PDT 2017"}"#),
        ("2", r#"{"sessionId":"x","mediaMode":"relayed","createdAt":1491077340}"#),
    );
}

#[test]
fn seconds_to_milliseconds_need_no_edit() {
    let case = Case::checked("03-seconds", &[]);
    case.proposes(&[
        r#"{ rename = "/joined_at", to = "joined_at_ms" }"#,
        r#"{ time = "/joined_at_ms", lower = "unix-s", upper = "unix-ms" }"#,
    ]);
    case.becomes(
        ("2", r#"{"identity":"z","joined_at_ms":1719400000123}"#),
        ("1", r#"{"identity":"z","joined_at":1719400000}"#),
    );
    case.becomes(
        ("1", r#"{"identity":"z","joined_at":9007199254740993}"#),
        ("2", r#"{"identity":"z","joined_at_ms":9007199254740993000}"#),
    );
}

#[test]
fn an_element_that_stands_for_a_value_is_told_from_its_neighbours() {
    let case = Case::checked("06-autoscaler", &[]);
    assert!(case.proposed.contains("is where what tells the element apart"));
    case.proposes(&[
        r#"{ rename = "/spec/targetCPUUtilizationPercentage", to = "metrics" }"#,
        r#"{ wrap = "/spec/metrics", on_edit = "head", at = "/resource/target/averageUtilization", new = { json = '{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization"}}}' }, where = [{ path = "/type", equals = "Resource" }, { path = "/resource/name", equals = "cpu" }, { path = "/resource/target/type", equals = "Utilization" }], none = { absent = true } }"#,
    ]);
    let pods = r#"{"type":"Pods","pods":{"metric":{"name":"rps"}}}"#;
    let cpu = |n| {
        format!(
            r#"{{"type":"Resource","resource":{{"name":"cpu","target":{{"type":"Utilization","averageUtilization":{n}}}}}}}"#
        )
    };
    let newer = |metrics: &str| format!(r#"{{"apiVersion":"autoscaling/v2","spec":{{"metrics":[{metrics}]}}}}"#);
    let older = r#"{"apiVersion":"autoscaling/v1","spec":{"targetCPUUtilizationPercentage":80}}"#;
    case.becomes(("2", &newer(&format!("{pods},{},{}", cpu(80), cpu(70)))), ("1", older));
    case.becomes(("1", older), ("2", &newer(&cpu(80))));
}

#[test]
fn one_member_of_two_types_needs_no_edit() {
    let case = Case::checked("07-ingress", &[]);
    assert!(case.proposed.contains(r#"when = { path = "/backend/servicePort", type = "number" }"#));
    for (older, newer) in [
        (r#"{"serviceName":"web","servicePort":0}"#, r#"{"service":{"name":"web","port":{"number":0}}}"#),
        (r#"{"serviceName":"web","servicePort":"80"}"#, r#"{"service":{"name":"web","port":{"name":"80"}}}"#),
        (r#"{"serviceName":"web"}"#, r#"{"service":{"name":"web"}}"#),
    ] {
        let (older, newer) = (format!("{{\"backend\":{older}}}"), format!("{{\"defaultBackend\":{newer}}}"));
        case.becomes(("1", &older), ("2", &newer));
        case.becomes(("2", &newer), ("1", &older));
    }
}

#[test]
fn a_string_that_goes_into_an_object_of_its_name_needs_no_edit() {
    let case = Case::checked("10-request", &[]);
    for (older, newer) in [
        (
            r#"{"request":"req_9","api_version":"2017-04-06"}"#,
            r#"{"request":{"id":"req_9","idempotency_key":null},"api_version":"2017-05-25"}"#,
        ),
        (r#"{"request":null,"api_version":"2017-04-06"}"#, r#"{"request":null,"api_version":"2017-05-25"}"#),
        (r#"{"api_version":"2017-04-06"}"#, r#"{"api_version":"2017-05-25"}"#),
    ] {
        case.becomes(("1", older), ("2", newer));
    }
}

#[test]
fn a_move_inside_a_session_needs_no_edit() {
    let case = Case::checked("13-cookie", &[]);
    case.proposes(&[r#"{ move = "/expires", to = "/cookie/expires" }"#]);
    case.becomes(("1", r#"{"expires":false,"user":7}"#), ("2", r#"{"user":7,"cookie":{"expires":false}}"#));
}

#[test]
fn many_to_one_needs_an_answer_for_what_no_sample_shows() {
    Case::checked("17-presence", &[]);
    let case = Case::checked(
        "17-presence",
        &[(r#"["idle", "inactive"]] }"#, r#"["idle", "inactive"]], otherwise = "keep" }"#)],
    );
    assert!(case.proposed.contains("# ? are these all values?"));
    case.becomes(("1", r#"{"status":"away"}"#), ("2", r#"{"status":"inactive","presence_v":2}"#));
    case.becomes(("1", r#"{"status":"invisible"}"#), ("2", r#"{"status":"invisible","presence_v":2}"#));
}

#[test]
fn numbers_and_spellings_that_stay_are_nobody_s_business() {
    let case = Case::checked("23-unknown", &[]);
    case.proposes(&[
        r#"{ rename = "/room", to = "chamber" }"#,
        r#"{ add = "/tags", value = ["a", "b"] }"#,
        r#"{ add = "/x_new", value = { json = '{"a":[1,2,{"k":[]}],"b":null}' } }"#,
    ]);
    let there = case.pack.translate(br#"{"room":"r","n":1E2,"id":9007199254740993}"#, b"", "1", "2").unwrap();
    assert!(there.record.starts_with(br#"{"chamber":"r","n":1E2,"id":9007199254740993,"#));
}

#[test]
fn members_of_elements_are_followed_through_arrays_that_are_renamed_and_reordered() {
    let case = Case::checked(
        "rooms",
        &[(r#"{ remove = "/members/*/token" }"#, r#"{ remove = "/members/*/token", restore = "" }"#)],
    );
    let list = &case.proposed;
    for part in [
        r#"{ rename = "/settings", to = "config" }"#,
        r#"{ rename = "/participants", to = "members" }"#,
        r#"{ rename = "/members/*/participantId", to = "id" }"#,
        r#"{ time = "/members/*/joinedAt", lower = "unix-s", upper = "unix-ms" }"#,
        r#"{ add = "/members/*/role", value = "guest" }"#,
        "[[collection]]\nversion = \"2\"\npath = \"/members/*\"\nkey = \"/id\"\n",
        r#"marker = { path = "/schemaVersion", value = 3 }"#,
    ] {
        assert!(list.contains(part), "{part} is not in\n{list}");
    }
}

#[test]
fn a_name_that_is_cut_needs_no_edit() {
    let case = Case::checked("15-name", &[]);
    case.proposes(&[r#"{ split = "/name", to = ["/first", "/last"], by = " " }"#]);
    for (older, newer) in [
        (r#"{"name":"Cher"}"#, r#"{"first":"Cher"}"#),
        (r#"{"name":"Juan  Carlos"}"#, r#"{"first":"Juan","last":" Carlos"}"#),
        (r#"{"name":"Ada "}"#, r#"{"first":"Ada","last":""}"#),
        (r#"{"name":""}"#, r#"{"first":""}"#),
    ] {
        case.becomes(("1", older), ("2", newer));
    }
}

#[test]
fn a_value_that_became_a_list_needs_an_answer_on_edits() {
    let edit = (r#"{ wrap = "/labels", on_edit = "head" }"#, r#"{ wrap = "/labels", on_edit = "replace" }"#);
    Case::checked("16-label", &[edit]);
    let case = Case::checked("16-label", &[]);
    assert!(case.proposed.contains(r#"# ? when an older server edits the value, "head" keeps the other elements"#));
    case.proposes(&[r#"{ rename = "/label", to = "labels" }"#, r#"{ wrap = "/labels", on_edit = "head" }"#]);
    case.becomes(("2", r#"{"labels":[{"name":"bug"},{"name":"p1"}]}"#), ("1", r#"{"label":{"name":"bug"}}"#));
    case.becomes(("1", r#"{"label":null}"#), ("2", r#"{"labels":[]}"#));
}

#[test]
fn kinds_defaults_and_copies_are_seen() {
    let tier = |n: usize, tier: &str| if n.is_multiple_of(2) { String::new() } else { format!(r#","tier":"{tier}""#) };
    let older = many(6, |n| format!(r#"{{"id":"q-{n}","port":{}{}}}"#, 80 + n, tier(n, "gold")));
    let newer = many(6, |n| {
        let tier = if n.is_multiple_of(2) { "free" } else { "gold" };
        format!(r#"{{"id":"q-{n}","port":"{}","tier":"{tier}","owner":"q-{n}","v":2}}"#, 80 + n)
    });
    let proposal = proposal(&older, &newer).unwrap();
    assert_eq!(
        active(&proposal),
        [
            r#"{ default = "/tier", lower = "free" }"#,
            r#"{ convert = "/port", lower = "number", upper = "string" }"#,
            r#"{ copy = "/id", to = "/owner" }"#,
        ],
        "{}",
        proposal.toml
    );
    assert_eq!(proposal.checked.exact, 6);
}

#[test]
fn odd_keys_are_escaped_and_found() {
    let older = many(4, |n| format!(r#"{{"s/id":"x{n}","a~b":{{"日本":"w{n}","*":{}}},"":"e{n}"}}"#, n + 100_000));
    let newer = many(4, |n| {
        format!(r#"{{"s/id":"x{n}","c~d":{{"日本":"w{n}","st*r":{}}},"none":"e{n}","v":"2"}}"#, n + 100_000)
    });
    let proposal = proposal(&older, &newer).unwrap();
    assert_eq!(proposal.paired_by, "/s~1id = /s~1id");
    assert_eq!(
        active(&proposal),
        [
            r#"{ rename = "/a~0b", to = "c~d" }"#,
            r#"{ rename = "/", to = "none" }"#,
            r#"{ rename = "/c~0d/~2", to = "st*r" }"#,
        ]
    );
    assert_eq!(proposal.checked.exact, 4);
}

#[test]
fn members_that_change_places_stand_aside_for_one_another() {
    let older = many(5, |n| format!(r#"{{"sid":"s{n}","a":"A{n}","b":"B{n}","c":"C{n}"}}"#));
    let newer = many(5, |n| format!(r#"{{"sid":"s{n}","b":"A{n}","a":"B{n}","d":"C{n}","v":2}}"#));
    let proposal = proposal(&older, &newer).unwrap();
    assert_eq!((proposal.checked.exact, proposal.checked.pairs), (5, 5), "{}", proposal.toml);
    assert_eq!(proposal.questions, Vec::<String>::new());
}

#[test]
fn a_name_that_is_used_anew_is_left_first() {
    let older = many(5, |n| format!(r#"{{"sid":"s{n}","a":"A{n}","b":{}}}"#, n * 3 + 1));
    let newer = many(5, |n| format!(r#"{{"sid":"s{n}","b":"A{n}","v":2}}"#));
    let proposal = proposal(&older, &newer).unwrap();
    assert_eq!(active(&proposal), [r#"{ remove = "/b" }"#, r#"{ rename = "/a", to = "b" }"#]);
    assert_eq!(proposal.checked.exact, 5);
}

#[test]
fn units_are_exact_decimals() {
    let rows = [
        ("0.29", "29", "21.5", "70.7"),
        ("0.5", "50", "-40", "-40"),
        ("1.0", "100", "0", "32"),
        ("0.01", "1", "36.6", "97.88"),
    ];
    let older = many(4, |n| format!(r#"{{"id":"id-{n}","volume":{},"c":"{}"}}"#, rows[n].0, rows[n].2));
    let newer = many(4, |n| format!(r#"{{"id":"id-{n}","volume":{},"f":"{}","v":2}}"#, rows[n].1, rows[n].3));
    let proposal = proposal(&older, &newer).unwrap();
    assert_eq!(
        active(&proposal),
        [
            r#"{ rename = "/c", to = "f" }"#,
            r#"{ scale = "/volume", factor = 100, digits = 2 }"#,
            r#"{ scale = "/f", factor = 1.8, offset = 32, digits = 1 }"#,
        ]
    );
    assert_eq!(proposal.checked.exact, 4);
}

#[test]
fn what_fits_as_well_in_two_ways_is_asked() {
    let older = many(5, |n| format!(r#"{{"key":"k{n}zz","a":"v{n}","b":"v{n}","t":1}}"#));
    let newer = many(5, |n| format!(r#"{{"key":"k{n}zz","x":"v{n}","y":"v{n}","t":1,"v":2}}"#));
    let proposal = proposal(&older, &newer).unwrap();
    assert_eq!(active(&proposal), Vec::<&str>::new());
    assert_eq!(proposal.ops.len(), 4, "each of four ways is shown");
    assert!(proposal.ops.iter().all(|op| op.confidence == Confidence::Low && op.question.is_some()));
    let taken = proposal.toml.replace("# { rename = \"/a\", to = \"x\" }", "{ rename = \"/a\", to = \"x\" }");
    Runtime::new(&Pack::from_toml("taken", &taken).unwrap()).unwrap();
}

#[test]
fn without_pairs_names_and_ranges_speak_and_values_are_asked() {
    let older = many(8, |n| {
        format!(
            r#"{{"session_id":"a{n}","created_at":{},"timeout":{},"mode":"{}"}}"#,
            1_700_000_000 + n * 7,
            30 + n,
            ["p2p", "routed"][n % 2]
        )
    });
    let newer = many(8, |n| {
        format!(
            r#"{{"sessionId":"b{n}","created_at":{},"timeout_ms":{},"mode":"{}"}}"#,
            (1_700_100_000 + n * 9) * 1000,
            (30 + n) * 1000,
            ["relayed", "routed"][n % 2]
        )
    });
    let proposal = proposal(&older, &newer).unwrap();
    assert_eq!(proposal.pairs, 0);
    assert_eq!(
        active(&proposal),
        [
            r#"{ rename = "/session_id", to = "sessionId" }"#,
            r#"{ rename = "/timeout", to = "timeout_ms" }"#,
            r#"{ time = "/created_at", lower = "unix-s", upper = "unix-ms" }"#,
            r#"{ scale = "/timeout_ms", factor = 1000 }"#,
        ]
    );
    assert!(proposal.ops.iter().all(|op| op.confidence > Confidence::High || op.kind == "add"), "nothing is sure");
    let asked = proposal.questions.iter().find(|question| question.starts_with("/mode: ")).unwrap();
    assert!(asked.contains(r#"{ map = "/mode", values = [["p2p", "relayed"]], otherwise = "keep" }"#), "{asked}");
}

#[test]
fn a_member_that_only_some_newer_records_have_is_never_put_in() {
    let older = many(6, |n| format!(r#"{{"id":"q-{n}","n":{n}}}"#));
    let newer = many(6, |n| {
        let note = if n.is_multiple_of(2) { format!(r#","note":"hi{n}""#) } else { String::new() };
        format!(r#"{{"id":"q-{n}","n":{n},"v":2{note}}}"#)
    });
    let proposal = proposal(&older, &newer).unwrap();
    let pack = Runtime::new(&Pack::from_toml("p", &proposal.toml).unwrap()).unwrap();
    assert_eq!(pack.translate(br#"{"n":1}"#, b"", "1", "2").unwrap().record, br#"{"n":1,"v":2}"#);
    let down = pack.translate(br#"{"n":1,"note":"x","v":2}"#, b"", "2", "1").unwrap();
    assert_eq!(down.record, br#"{"n":1}"#);
    let up = pack.translate(&down.record, &down.carry, "1", "2").unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&up.record).unwrap(), serde_json::json!({"n": 1, "note": "x", "v": 2}));
}

#[test]
fn an_op_that_the_samples_refuse_is_left_out_with_the_reason() {
    // Seven pairs say seconds to milliseconds; one older record that has no pair holds a text there.
    let older =
        many(7, |n| format!(r#"{{"id":"q-{n}","seen":{}}}"#, 1_700_000_000 + n)) + r#"{"id":"odd","seen":"never"}"#;
    let newer = many(7, |n| format!(r#"{{"id":"q-{n}","seen":{},"v":2}}"#, (1_700_000_000 + n) * 1000));
    let proposal = proposal(&older, &newer).unwrap();
    let scale = proposal.ops.iter().find(|op| op.place == "/seen").unwrap();
    match &scale.left_out {
        None => assert!(scale.op.contains("type = \"number\""), "{}", scale.op),
        Some(reason) => assert!(reason.contains("older#8"), "{reason}"),
    }
    assert_eq!(proposal.checked.refused, Vec::<String>::new());
}

#[test]
fn samples_that_look_the_same_are_refused() {
    assert!(matches!(proposal("{\"a\":1}\n{\"a\":2}", "{\"a\":3}"), Err(InferError::Alike)));
    assert!(matches!(infer(&[], &[], &Options::default()), Err(InferError::NoSamples("older"))));
}

#[test]
fn a_pack_never_lets_a_sample_out_of_its_comment() {
    let older = many(3, |n| format!(r#"{{"id":"x{n}","t":"a\n]\n[[step]]\u001b[31m{n}"}}"#));
    let newer = many(3, |n| format!(r#"{{"id":"x{n}","v":2,"u":"'''\n# {n}"}}"#));
    let proposal = proposal(&older, &newer).unwrap();
    assert!(!proposal.toml.contains('\u{1b}'));
    assert_eq!(proposal.toml.matches("\n[[step]]\n").count(), 1);
    let fault = Runtime::new(&Pack::from_toml("p", &proposal.toml).unwrap()).unwrap().detect(b"[]").unwrap_err();
    assert!(matches!(fault, CallError::Fault(fault) if fault.kind == FaultKind::Opaque));
}

#[test]
fn the_program_says_what_is_wrong_and_what_to_do() {
    let [older, newer] = ["older", "newer"].map(|side| format!("testdata/infer/03-seconds/{side}.ndjson"));
    let said = |arguments: &[&str]| {
        let done = unskew(&[&["infer"], arguments].concat());
        (done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap().trim_end().to_owned())
    };
    let (code, text) = said(&["--older", &older, "--newer", "nowhere.json"]);
    assert_eq!((code, text.starts_with("nowhere.json: can't be read: ")), (3, true), "{text}");
    let (code, text) = said(&["--older", &older, "--newer", &newer, "--match", "/region=/identity"]);
    assert_eq!((code, text.contains("name members that hold the session's id")), (3, true), "{text}");
    let (code, text) = said(&["--older", &older, "--newer", &newer, "--match", "region"]);
    assert_eq!((code, text.contains("/sessionId=/session_id")), (2, true), "{text}");
    assert_eq!(said(&["--older", &older, "--newer", &newer, "--from", "2"]).0, 2);
    assert_eq!(said(&["--older", &older, "--newer", &older]).0, 1);
    assert_eq!(said(&["--older", &older]).0, 2);
}

#[test]
fn programs_get_one_object() {
    let [older, newer] = ["older", "newer"].map(|side| format!("testdata/infer/17-presence/{side}.ndjson"));
    let done =
        unskew(&["infer", "--json", "--older", &older, "--newer", &newer, "--from", "a", "--to", "b", "--name", "p"]);
    assert_eq!(done.status.code(), Some(0));
    let object: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((object["ok"].as_bool(), object["pairs"].as_u64()), (Some(true), Some(12)));
    assert_eq!(object["ops"][0]["kind"], "map");
    assert_eq!(object["ops"][0]["confidence"], "high");
    assert_eq!(object["checked"]["exact_pairs"], 12);
    let pack = Pack::from_toml("p", object["pack"].as_str().unwrap()).unwrap();
    assert_eq!(Runtime::new(&pack).unwrap().detect(br#"{"presence_v":2}"#).unwrap(), "b");
}
