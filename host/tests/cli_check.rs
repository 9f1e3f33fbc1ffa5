//! `unskew check` and `unskew fleet` as people and scripts meet them.

#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    #[track_caller]
    fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }
}

fn unskew(args: &[&str]) -> Said {
    let done = Command::new(env!("CARGO_BIN_EXE_unskew")).args(args).current_dir(root()).output().unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Said { code: done.status.code().unwrap(), out, err }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A file of this test's own.
fn file(name: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const PACK: &str = "testdata/packs/opentok.toml";

/// Sessions whose timeout is in seconds or milliseconds, as `unit` says. The condition of the way back looks for the unit
/// as version 2 has it; but there the map has been undone already, so a timeout that was scaled stays as it is.
const ASYMMETRIC: &str = r#"
name = "rooms"
revision = 1
[[version]]
id = "1"
marker = { path = "/schema", absent = true }
[[version]]
id = "2"
marker = { path = "/schema", value = 2 }
[[step]]
from = "1"
to = "2"
ops = [
  { rename = "/roomId", to = "room_id" },
  { scale = "/limits/timeout", factor = 1000, when = { path = "/limits/unit", equals = "s" }, when_upper = { path = "/limits/unit", equals = "ms" } },
  { map = "/limits/unit", values = [["s", "ms"], ["min", "m"]] },
  { rename = "/people/*/personId", to = "id" },
]
[[example]]
lower = '{"roomId":"2_MX40","name":"Sprechstunde","limits":{"timeout":30,"unit":"min","max":4},"people":[{"personId":"a","role":"host"},{"personId":"b"}]}'
upper = '{"room_id":"2_MX40","name":"Sprechstunde","limits":{"timeout":30,"unit":"m","max":4},"people":[{"id":"a","role":"host"},{"id":"b"}],"schema":2}'
"#;

fn members(text: &str) -> usize {
    fn count(value: &Value) -> usize {
        match value {
            Value::Object(members) => members.len() + members.values().map(count).sum::<usize>(),
            Value::Array(items) => items.iter().map(count).sum(),
            _ => 0,
        }
    }
    count(&serde_json::from_str(text).unwrap())
}

#[test]
fn a_hidden_asymmetry_is_shown_by_a_record_of_a_few_members() {
    let path = file("asymmetric.toml", ASYMMETRIC);
    let said = unskew(&["check", &path]).exits(1);
    assert!(said.out.contains("no problems, all examples hold"), "{}", said.out);
    assert!(said.out.contains("broken law: declared-loss, from version 1 to version 2"), "{}", said.out);
    let object = unskew(&["check", "--json", &path]).exits(1).json();
    let broken = &object["laws"]["broken"][0];
    assert_eq!((&object["ok"], &broken["law"], &broken["from"]), (&false.into(), &"declared-loss".into(), &"1".into()));
    let record = broken["record"].as_str().unwrap();
    assert!(members(record) <= 3 && record.contains("timeout") && record.contains("unit"), "{record}");
    assert!(broken["op"].as_str().unwrap().starts_with("step 1→2, op "), "{broken}");
    let again = unskew(&["check", "--json", &path]).exits(1);
    assert_eq!(again.json()["laws"]["broken"], object["laws"]["broken"]);
    let right = ASYMMETRIC.replace(r#"equals = "ms" } },"#, r#"equals = "s" } },"#);
    unskew(&["check", &file("symmetric.toml", &right)]).exits(0);
    unskew(&["check", "--cases", "0", &path]).exits(0);
}

#[test]
fn laws_are_counted_for_each_pair() {
    let said = unskew(&["check", PACK]).exits(0);
    assert!(said.out.contains("11 of 11 laws hold on "), "{}", said.out);
    assert!(said.err.is_empty(), "no bar where nobody watches: {}", said.err);
    let laws = &unskew(&["check", "--json", "--cases", "40", "--seed", "9", PACK]).exits(0).json()["laws"];
    assert_eq!((&laws["seed"], &laws["cases"], &laws["hold"]), (&9.into(), &40.into(), &true.into()));
    let pairs = laws["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 2);
    assert!(pairs.iter().all(|pair| pair["applied"]["return"].as_u64().unwrap() >= 40), "{pairs:?}");
    let cells = laws["coverage"]["cells"].as_array().unwrap();
    assert!(cells.iter().any(|cell| cell["situation"] == "restored" && cell["hits"].as_u64() > Some(0)));
}

#[test]
fn recorded_records_are_read_from_folders_and_lines() {
    let folder = file("recorded/one.json", r#"{"sessionId":"a","createdAt":5}"#);
    file("recorded/notes.txt", "no record");
    file("recorded/many.ndjson", "{\"sessionId\":\"b\"}\n\n{\"session_id\":\"c\",\"schema\":2}\n");
    let folder = Path::new(&folder).parent().unwrap().display().to_string();
    let object = unskew(&["check", "--json", "--cases", "20", "--records", &folder, PACK]).exits(0).json();
    assert_eq!((&object["recorded"]["read"], &object["ok"]), (&3.into(), &true.into()));
    let strange = file("strange.ndjson", "{\"schema\":7}\n{\"mediaMode\":\"carrier pigeon\"}\n");
    let said = unskew(&["check", "--cases", "20", "--records", &strange, PACK]).exits(1).out;
    assert!(said.contains("strange.ndjson:1: ") && said.contains("unknown-version"), "{said}");
    assert!(
        said.contains("refused: 1 record of version 1 can't be brought to version 2, such as {\"mediaMode\":"),
        "{said}"
    );
    let said = unskew(&["check", "--cases", "20", "--records", "no-such-folder", PACK]).exits(3).out;
    assert!(said.contains("no-such-folder: can't be read: "), "{said}");
}

#[test]
fn a_pair_that_is_too_bad_fails() {
    unskew(&["check", "--cases", "0", "--fail-on", "lossy", PACK]).exits(0);
    let said = unskew(&["check", "--cases", "0", "--fail-on", "carried", PACK]).exits(1).out;
    assert!(said.contains("--fail-on: records of version 2 on servers of version 1: carried\n"), "{said}");
    let object = unskew(&["check", "--json", "--cases", "0", "--fail-on", "carried", PACK]).exits(1).json();
    assert_eq!(object["fail_on"]["pairs"].as_array().unwrap().len(), 1);
    let ops = object["matrix"].as_array().unwrap().iter().find(|pair| pair["fidelity"] == "carried").unwrap();
    assert!(ops["ops"].as_array().unwrap().iter().all(|op| op.as_str().unwrap().starts_with("step 1→2, op ")));
    let said = unskew(&["check", "--fail-on", "bad", PACK]).exits(2);
    assert!(said.err.contains("carried, lossy, none"), "{}", said.err);
}

#[test]
fn records_that_two_versions_recognise_are_shown() {
    let pack = r#"
name = "overlap"
revision = 1
version = [{ id = "a", shape = { lacks = ["/host"] } }, { id = "b", shape = { has = ["/id"] } }]
step = [{ from = "a", to = "b", ops = [{ rename = "/key", to = "id" }, { rename = "/owner", to = "host" }] }]
[[example]]
lower = '{"key":1,"owner":"x","n":1}'
upper = '{"id":1,"host":"x","n":1}'
"#;
    let path = file("overlap.toml", pack);
    let said = unskew(&["check", &path]).exits(1).out;
    assert!(said.contains("overlap: more than one version recognises {\"id\":"), "{said}");
    let object = unskew(&["check", "--json", &path]).exits(1).json();
    let overlap = &object["laws"]["overlaps"][0];
    assert!(overlap["message"].as_str().unwrap().contains("one of versions a and b"), "{overlap}");
    assert!(members(overlap["record"].as_str().unwrap()) == 1, "{overlap}");
}

#[test]
fn a_revision_is_compared_with_the_deployed_one() {
    let path = file("deployed.toml", &std::fs::read_to_string(root().join(PACK)).unwrap());
    let same = unskew(&["check", "--cases", "40", "--against", &path, PACK]).exits(1).out;
    assert!(same.contains("revision 7 is not newer than 7: gateways refuse it"), "{same}");

    let text = std::fs::read_to_string(&path).unwrap().replace("revision = 7", "revision = 8");
    let newer = file("newer.toml", &text);
    let object = unskew(&["check", "--json", "--cases", "40", "--against", &path, &newer]).exits(0).json();
    let against = &object["against"];
    assert_eq!((&against["breaks"], &against["revisions"]["new"]), (&false.into(), &8.into()));
    assert!(["steps", "verdicts", "records", "carries"].iter().all(|key| against[key].as_array().unwrap().is_empty()));

    // Another default: other records come out, and bitrates that the old op has carried don't come back.
    let changed = text
        .replace(r#"{ add = "/media/bitrate", value = 3000 }"#, r#"{ add = "/media/bitrate", value = 4000 }"#)
        .replace(r#""bitrate":3000"#, r#""bitrate":4000"#)
        .replace(r#""bitrate": 3000"#, r#""bitrate": 4000"#);
    let changed = file("changed.toml", &changed);
    let said = unskew(&["check", "--cases", "200", "--against", &path, &changed]).exits(1).out;
    for part in [
        "against revision 7, on ",
        "step 1→2: without {\"add\":\"/media/bitrate\",\"value\":3000}",
        "step 1→2: with {\"add\":\"/media/bitrate\",\"value\":4000}",
        "differ at /media/bitrate (step 1→2, op 6: add): 3000 before, 4000 now; such as {}",
        "records of version 2 that rest in version 1 don't come back from what revision 7 has carried: at /media/bitrate",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let narrower =
        text.replace(r#", ["relayed", "p2p"]"#, "").replace("\"relayed\"", "\"routed\"").replace("\"p2p\"", "\"sfu\"");
    let narrower = file("narrower.toml", &narrower);
    let object = unskew(&["check", "--json", "--cases", "200", "--against", &path, &narrower]).exits(1).json();
    let records = object["against"]["records"].as_array().unwrap();
    let refused = records.iter().find(|record| record["kind"] == "refused").unwrap();
    assert_eq!(refused["op"], "step 1→2, op 4");
    assert!(members(refused["record"].as_str().unwrap()) <= 2, "{refused}");
    let renamed = file("renamed.toml", &text.replace("\"2\"", "\"two\""));
    let said = unskew(&["check", "--cases", "20", "--against", &path, &renamed]).exits(1).out;
    assert!(said.contains("version two is new") && said.contains("version 2 is gone"), "{said}");
}

#[test]
fn a_fleet_is_joined_or_not() {
    let said = unskew(&["fleet", "--fleet", "1,1,1", "--joining", "2", PACK]).exits(0).out;
    for part in
        ["may a server of version 2 join 3×1?", "2 (new)", "2 on 1, carried: step 1→2, op ", "yes: every server"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = unskew(&["fleet", "--fleet", "1,1", "--joining", "2", "--max-loss", "exact", PACK]).exits(1).out;
    assert!(said.contains("sessions of version 2 would be carried on servers of version 1: "), "{said}");
    assert!(said.contains("they fail as soon as the new one is away\nno\n"), "{said}");
    let any = ["fleet", "--fleet", "1,1", "--joining", "2", "--max-loss", "exact", "--served-by", "any", PACK];
    unskew(&any).exits(0);
    let object = unskew(&["fleet", "--json", "--fleet", "1", "--joining", "3", PACK]).exits(1).json();
    assert_eq!(object["may"], false);
    assert!(object["objections"][0].as_str().unwrap().starts_with("version 3 is not in the pack, which has 1, 2"));
    let object =
        unskew(&["fleet", "--json", "--config", "examples/incident/unskew.toml", "--joining", "2"]).exits(0).json();
    assert_eq!((object["joins"].as_array().unwrap().len(), &object["max_loss"]), (4, &"carried".into()));
    let said = unskew(&["fleet", "--joining", "2", PACK]).exits(2);
    assert!(said.err.contains("--fleet"), "{}", said.err);
    unskew(&["fleet", "--fleet", "1", "--joining", "2", "no.toml"]).exits(3);
}

#[test]
fn help_says_what_exit_codes_mean() {
    for command in ["check", "fleet"] {
        let said = unskew(&[command, "--help"]).exits(0).out;
        assert!(said.contains("Exit codes:") && said.contains("Examples:"), "{command}: {said}");
    }
}
