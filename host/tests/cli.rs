//! The program as people and scripts meet it: standard output, standard error and exit codes.

#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const RECORDS: [&str; 9] = [
    "opentok-v1-0.4k.json",
    "opentok-v1-0.7k.json",
    "opentok-v1-4k.json",
    "opentok-v1-64k.json",
    "opentok-v2-0.4k.json",
    "opentok-v2-0.7k.json",
    "opentok-v2-4k.json",
    "opentok-v2-64k.json",
    "opentok-v2-pretty.json",
];

struct Said {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Said {
    fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.text(), self.err))
    }

    #[track_caller]
    fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", String::from_utf8_lossy(&self.out), self.err);
        self
    }
}

fn unskew(args: &[&str], stdin: &[u8]) -> Said {
    unskew_into(Stdio::piped(), args, stdin)
}

fn unskew_into(stdout: Stdio, args: &[&str], stdin: &[u8]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_unskew"))
        .args(args)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&stdin)); // a program that needs no input may close it
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    Said { code: output.status.code().unwrap(), out: output.stdout, err: String::from_utf8(output.stderr).unwrap() }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn record(name: &str) -> Vec<u8> {
    std::fs::read(root().join("testdata/records").join(name)).unwrap()
}

/// A file of this test's own.
fn file(name: &str, bytes: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

const PACK: &str = "testdata/packs/opentok.toml";

#[test]
fn every_record_comes_back_as_it_was() {
    for name in RECORDS {
        let home = if name.contains("v1") { "1" } else { "2" };
        let away = if home == "1" { "2" } else { "1" };
        let [carry, gone] = [format!("{name}.carry"), format!("{name}.gone")].map(|name| file(&name, b""));
        let path = format!("testdata/records/{name}");
        let there = ["translate", "--pack", PACK, "--from", home, "--to", away, "--carry-out", &carry, &path];
        let there = unskew(&there, b"").exits(0);
        std::fs::write(&gone, &there.out).unwrap();
        let back = unskew(&["translate", "--pack", PACK, "--to", home, "--carry", &carry, &gone], b"").exits(0);
        let [before, after]: [Value; 2] = [record(name), back.out].map(|bytes| serde_json::from_slice(&bytes).unwrap());
        assert_ne!(serde_json::from_slice::<Value>(&there.out).unwrap(), before, "{name}");
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn bytes_that_no_rule_touches_stay_as_they_are() {
    for name in RECORDS {
        let before = record(name);
        let away = if name.contains("v1") { "2" } else { "1" };
        let after = unskew(&["translate", "--pack", PACK, "--to", away, "-"], &before).exits(0);
        let [before, after] = [before, after.out].map(|bytes| String::from_utf8(bytes).unwrap());
        for member in ["\"name\"", "\"location\"", "\"data\""] {
            let kept = untouched(&before, member);
            assert!(kept.len() > member.len() && after.contains(kept), "{name}: {kept:?} is not in {after}");
        }
        assert_eq!(before.ends_with('\n'), after.ends_with('\n'), "{name}: what follows the record stays too");
    }
}

/// A member of the record, from its key to before the comma that ends it.
fn untouched<'a>(text: &'a str, member: &str) -> &'a str {
    let start = text.find(member).unwrap();
    let mut depth = 0;
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth -= 1,
            b',' if !quoted && depth == 0 => return &text[start..at],
            _ => {}
        }
    }
    panic!("{member} has no end in {text}")
}

#[test]
fn a_record_of_the_wanted_version_passes_byte_for_byte() {
    for name in RECORDS {
        let home = if name.contains("v1") { "1" } else { "2" };
        let same = unskew(&["translate", "--pack", PACK, "--to", home, "-"], &record(name)).exits(0);
        assert!(same.out == record(name), "{name}");
    }
}

#[test]
fn json_holds_the_record_word_for_word() {
    let said =
        unskew(&["translate", "--json", "--pack", PACK, "--to", "1", "-"], &record("opentok-v2-0.7k.json")).exits(0);
    let plain = unskew(&["translate", "--pack", PACK, "--to", "1", "-"], &record("opentok-v2-0.7k.json")).exits(0);
    assert!(said.text().contains(&plain.text()));
    let object = said.json();
    assert_eq!((&object["from"], &object["to"]), (&"2".into(), &"1".into()));
    assert!(object["counts"]["carried"].as_u64().unwrap() > 0 && !object["carry"].is_null());
    assert!(plain.err.contains("--carry-out"), "{}", plain.err);
}

#[test]
fn detect_names_the_version() {
    for name in RECORDS {
        let said = unskew(&["detect", "--pack", PACK, &format!("testdata/records/{name}")], b"").exits(0);
        assert_eq!(said.text(), if name.contains("v1") { "1\n" } else { "2\n" });
    }
    let said = unskew(&["detect", "--json", "--pack", PACK, "-"], &record("opentok-v2-pretty.json")).exits(0);
    assert_eq!(said.json()["version"], "2");
}

#[test]
fn explain_has_a_line_for_each_change() {
    let args = ["explain", "--pack", PACK, "--to", "1", "testdata/records/opentok-v2-0.4k.json"];
    let said = unskew(&args, b"").exits(0).text();
    for part in ["op", "before", "after", "rename", "/sessionId", "carried", "\"sfu\"", "\"routed\"", "1920x1080"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let changes = unskew(&[&args[..], &["--json"]].concat(), b"").exits(0).json();
    assert_eq!(changes["changes"].as_array().unwrap().len() + 1, said.lines().count());
}

#[test]
fn refused_records_name_the_limit_and_exit_with_1() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(99), "]".repeat(99));
    let large = format!("{{\"sessionId\":\"{}\"}}", "x".repeat(1 << 20));
    for (record, told) in [("{\"a\":", "not-json"), (deep.as_str(), "64"), (large.as_str(), "1048576")] {
        let said = unskew(&["translate", "--pack", PACK, "--from", "1", "--to", "2", "-"], record.as_bytes()).exits(1);
        assert!(said.out.is_empty() && said.err.starts_with("standard input: "), "{}", said.err);
        assert!(said.err.contains(told), "{told}: {}", said.err);
    }
    let said = unskew(&["detect", "--json", "--pack", PACK, "-"], b"{\"schema\":3}").exits(1);
    assert_eq!(said.json()["error"]["kind"], "refused");
}

#[test]
fn what_the_caller_got_wrong_exits_with_2_or_3() {
    let said = unskew(&["translate", "--pack", PACK, "--to", "3", "-"], b"{}").exits(2);
    assert!(said.err.contains("version \"3\" is not in the pack, it has: 1, 2"), "{}", said.err);
    let said = unskew(&["detect", "--pack", "no.toml", "-"], b"{}").exits(3);
    assert!(said.err.starts_with("no.toml: "), "{}", said.err);
    let said = unskew(&["detect", "--pack", PACK, "no.json"], b"").exits(3);
    assert!(said.err.starts_with("no.json: "), "{}", said.err);
    let said = unskew(&["translate", "--pack", PACK, "--to", "1", "--carry", "-", "-"], b"{}").exits(2);
    assert!(said.err.contains("can't both be standard input"), "{}", said.err);
    unskew(&["translate", "--pack", PACK], b"").exits(2);
    unskew(&["rehearse", "no.toml"], b"").exits(3);
    unskew(&["serve", "--config", "no.toml"], b"").exits(3);
}

#[test]
fn check_shows_what_a_pack_can_do() {
    let said = unskew(&["check", PACK], b"").exits(0).text();
    let table: Vec<Vec<&str>> = said.lines().skip(2).take(3).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[0], ["record", "\\", "server", "1", "2"]);
    assert_eq!(table[1], ["1", "native", "native"]);
    assert_eq!(table[2], ["2", "carried", "native"]);
    assert!(said.contains("2 → 1 carried: "), "{said}");
    let object = unskew(&["check", "--json", PACK], b"").exits(0).json();
    assert_eq!((&object["ok"], object["matrix"].as_array().unwrap().len()), (&true.into(), 4));
}

#[test]
fn check_brings_recorded_records_there_and_back() {
    let paths: Vec<String> = RECORDS.iter().map(|name| format!("testdata/records/{name}")).collect();
    let args: Vec<&str> = ["check", PACK].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let said = unskew(&args, b"").exits(0).text();
    assert_eq!(said.lines().filter(|line| line.ends_with("as it was")).count(), RECORDS.len(), "{said}");
    let odd = br#"{"sessionId":"\ud800","huge":1e400,"id":123456789012345678901234567890,"createdAt":1.50}"#;
    assert!(unskew(&["check", PACK, "-"], odd).exits(0).text().contains("as it was"));
    let said = unskew(&["check", PACK, "-"], b"{\"schema\":7}").exits(1).text();
    assert!(said.contains("standard input: ") && said.contains("unknown-version"), "{said}");
}

#[test]
fn check_gives_reasons_for_neighbours_and_json_for_all() {
    let version =
        |id: &str, marker: &str| format!("[[version]]\nid = \"{id}\"\nmarker = {{ path = \"/v\", {marker} }}\n");
    let step = |from: &str, to: &str| {
        format!("[[step]]\nfrom = \"{from}\"\nto = \"{to}\"\nops = [{{ add = \"/of_{to}\", value = 7 }}]\n")
    };
    let versions = [version("1", "absent = true"), version("2", "value = 2"), version("3", "value = 3")];
    let pack = ["name = \"line\"\nrevision = 1\n", &versions.concat(), &step("1", "2"), &step("2", "3")].concat();
    let path = file("line.toml", pack.as_bytes());
    let said = unskew(&["check", &path], b"").exits(0).text();
    assert!(said.contains("2 → 1 carried: ") && said.contains("3 → 2 carried: "), "{said}");
    assert!(!said.contains("3 → 1") && said.contains("made of these; --json has all reasons\n"), "{said}");
    let object = unskew(&["check", "--json", &path], b"").exits(0).json();
    assert_eq!(object["matrix"].as_array().unwrap().len(), 9);
    assert!(object["matrix"].as_array().unwrap().iter().all(|pair| pair["reason"].is_string()));
}

#[test]
fn a_record_that_cannot_be_read_hides_nothing_of_the_others() {
    let args = ["check", PACK, "no.json", "testdata/records/opentok-v1-0.4k.json"];
    let said = unskew(&args, b"").exits(3).text();
    for part in ["record \\ server", "no.json: can't be read: ", "opentok-v1-0.4k.json: version 1", "as it was"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let object = unskew(&[&args[..], &["--json"]].concat(), b"").exits(3).json();
    let came_back: Vec<_> = object["records"].as_array().unwrap().iter().map(|trip| &trip["came_back"]).collect();
    assert_eq!(came_back, ["unread", "same"]);
    assert_eq!(object["ok"], false);
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_exits_with_4() {
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let record = "testdata/records/opentok-v2-0.4k.json";
    for args in [
        &["check", PACK][..],
        &["check", "--json", PACK],
        &["detect", "--pack", PACK, record],
        &["explain", "--pack", PACK, "--to", "1", record],
        &["translate", "--pack", PACK, "--to", "1", record],
        &["--help"],
        &["--version"],
    ] {
        let said = unskew_into(full(), args, b"").exits(4);
        assert!(said.err.contains("standard output: can't be written: "), "{args:?}: {}", said.err);
    }
}

#[test]
fn a_wrong_command_line_is_an_object_with_json() {
    for args in [&["--json", "bogus"][..], &["--json", "check"], &["translate", "--json", "--pack", PACK, "--to"]] {
        let said = unskew(args, b"").exits(2).json();
        assert_eq!(said["error"]["kind"], "usage");
        assert!(said["error"]["message"].as_str().unwrap().starts_with("error: "), "{said}");
    }
    let said = unskew(&["bogus"], b"").exits(2);
    assert!(said.out.is_empty() && said.err.contains("Usage:"), "{}", said.err);
}

#[test]
fn messages_say_which_file_and_what_stands_there() {
    let detect = |record: &[u8]| unskew(&["detect", "--pack", PACK, "-"], record).exits(1).err;
    assert!(detect(b"").contains("found nothing: it is empty"));
    assert!(detect(b" \n").contains("found nothing but white space"));
    assert!(detect(b"\xef\xbb\xbf{\"schema\":2}").contains("found a UTF-8 byte order mark"));
    assert!(detect(b"\xff\xfe{\0}\0").contains("found UTF-16"));
    assert!(detect(b"\x89PNG\r\n\xff").contains("found bytes that are no UTF-8"));

    let said = unskew(&["detect", "--pack", PACK, "no.json"], b"").exits(3);
    assert!(said.err.starts_with("no.json: can't be read: "), "{}", said.err);
    let said = unskew(&["detect", "--pack", "-", "testdata/records/opentok-v1-0.4k.json"], b"").exits(2);
    assert!(said.err.contains("a pack can't be read from standard input"), "{}", said.err);

    let with_carry = |carry| unskew(&["translate", "--pack", PACK, "--to", "2", "--carry", carry, "-"], b"{}").exits(3);
    let said = with_carry("no.json");
    assert!(said.err.starts_with("--carry no.json: can't be read: "), "{}", said.err);
    let said = with_carry("testdata/records/opentok-v2-0.4k.json");
    assert!(
        said.out.is_empty() && said.err.contains("is no carry: give a file that --carry-out wrote"),
        "{}",
        said.err
    );
}

#[test]
fn a_pack_of_other_bytes_than_utf_8_is_a_problem_with_a_place() {
    let latin = file("latin-1.toml", b"name = \"x\"\n# caf\xe9\n");
    let said = unskew(&["check", &latin], b"").exits(1).text();
    assert_eq!(said, format!("{latin}:2:6: expected UTF-8, found byte 0xe9: save the file as UTF-8\n"));
    unskew(&["detect", "--pack", &latin, "-"], b"{}").exits(3);
}

#[test]
fn a_pack_of_any_depth_is_refused() {
    let nested = format!("{{\"name\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    unskew(&["check", &file("deep.json", nested.as_bytes())], b"").exits(1);
}

#[test]
fn a_record_larger_than_the_sandbox_is_refused_by_the_pack_s_limit() {
    let large = format!("{{\"sessionId\":\"{}\"}}", "x".repeat(40 << 20));
    for args in [&["detect", "--pack", PACK, "-"][..], &["translate", "--pack", PACK, "--to", "2", "-"]] {
        let said = unskew(args, large.as_bytes()).exits(1);
        assert!(said.err.contains("too-large") && said.err.contains("max_bytes"), "{}", said.err);
    }
}

#[test]
fn what_a_pack_holds_neither_steers_the_terminal_nor_breaks_a_line() {
    let pack = r#"
name = "line\nand \u001b[31mred"
revision = 1
[[version]]
id = "1"
marker = { path = "/v", absent = true }
"#;
    let said = unskew(&["check", &file("steers.toml", pack.as_bytes())], b"").exits(0).text();
    assert!(said.starts_with("line\\nand \\u{1b}[31mred revision 1: "), "{said}");
    let wrong = pack.replace("revision = 1", "revision = 1\n\"re\\u001b\\nads\" = 1");
    let path = file("steers-wrong.toml", wrong.as_bytes());
    let said = unskew(&["check", &path], b"").exits(1).text();
    assert!(said.lines().all(|line| line.starts_with(&format!("{path}:4:"))), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn ten_mistakes_get_ten_messages_with_places() {
    let path = file("ten-mistakes.toml", TEN_MISTAKES.as_bytes());
    let said = unskew(&["check", &path], b"").exits(1);
    let text = said.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 10, "{text}");
    assert_eq!(said.err, "10 problems\n");
    for (line, place) in lines.iter().zip(places()) {
        assert!(line.starts_with(&format!("{path}:{place}:")), "line {place}: {line}");
    }
    let object = unskew(&["check", "--json", &path], b"").exits(1).json();
    assert_eq!(object["problems"].as_array().unwrap().len(), 10);
    assert!(object["problems"].as_array().unwrap().iter().all(|problem| problem["line"].is_u64()));
    let said = unskew(&["detect", "--pack", &path, "-"], b"{}").exits(3);
    assert_eq!(said.err.lines().count(), 10);
}

/// Each line that ends in `# wrong` holds one mistake.
const TEN_MISTAKES: &str = r#"
name = "ten mistakes"
revision = -1 # wrong
[[version]]
id = "1"
marker = { path = "/schema", absent = true }
raeds = ["1"] # wrong
[[version]]
id = "2"
marker = { path = "schema", value = 2 } # wrong
reads = ["1", "3"] # wrong
[[step]]
from = "1"
to = "2"
ops = [
  { renam = "/a", to = "b" }, # wrong
  { rename = "/c" }, # wrong
  { map = "/d", values = [] }, # wrong
  { time = "/e", lower = "unix-s", upper = "unix-days" }, # wrong
  { move = "/f/*", to = "/g" }, # wrong
]
[policy]
carry = "besides" # wrong
"#;

fn places() -> impl Iterator<Item = usize> {
    let lines = TEN_MISTAKES.lines().enumerate();
    lines.filter(|(_, line)| line.ends_with("# wrong")).map(|(index, _)| index + 1)
}

#[test]
fn help_teaches() {
    let said = unskew(&["--help"], b"").exits(0).text();
    for part in ["unskew demo", "Exit codes", "translate", "rehearse", "serve", "--json"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for command in ["translate", "detect", "explain", "check", "fleet", "serve", "rehearse", "demo"] {
        let said = unskew(&[command, "--help"], b"").exits(0).text();
        assert!(said.contains("Examples:") && said.contains("Usage:"), "{command}: {said}");
    }
}
