//! Bad packs while calls run: none is activated, each has its reason in the status, and no call fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use unskew::{Pack, Phase, Runtime};

use super::{pack, text};

/// Packs that nobody may serve by, each with what its refusal says.
fn bad() -> Vec<(String, &'static str)> {
    let good = text(2);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    let mut bad = vec![
        (String::new(), ""),
        ("\u{feff}".repeat(3), ""),
        ("{}".to_owned(), "no TOML"),
        (with("name = \"rooms\"", "name = \"rooms\"\nname = \"halls\""), "duplicate key"),
        (with("revision = 2", "revision = 2\nrevision = 3"), "duplicate key"),
        (with("revision = 2", "revision = 1"), "not newer"),
        (with("revision = 2", "revision = 0"), "not newer"),
        (with("revision = 2", "revision = -1"), "revision"),
        (with("revision = 2", "revision = 007"), "no TOML"),
        (with("revision = 2", "revision = \"2\""), "revision"),
        (with("revision = 2", "revision = 1e3"), "revision"),
        (with("revision = 2", "revision = 2.5"), "revision"),
        (with("revision = 2", "revision = 18446744073709551616"), ""),
        (with("revision = 2", "revision = 9223372036854775807"), "a million above"),
        (with("from = \"1\"\n        to = \"2\"", "from = \"2\"\n        to = \"1\""), ""),
        (with("from = \"1\"\n        to = \"2\"", "from = \"1\"\n        to = \"1\""), ""),
        (with("from = \"1\"\n        to = \"2\"", "from = \"1\"\n        to = \"3\""), "3"),
        (with("id = \"2\"", "id = \"1\""), ""),
        (with("\"/room\"", "\"room\""), ""),
        (with("\"/room\"", "\"\""), ""),
        (with("\"/room\"", "\"/a~3\""), ""),
        (with("rename =", "renam ="), "did you mean"),
        (with("{ add = \"/of\", value = 2 }", "{ add = \"/of\" }"), "value"),
        (with("{ add = \"/of\", value = 2 }", "{ add = \"/of\", value = 3 }"), "example"),
        (with("{ add = \"/of\", value = 2 }", "{ add = \"/of\", value = inf }"), "no JSON number"),
        (with("{ add = \"/of\", value = 2 }", &format!("{{ add = \"/of\", value = {deep} }}")), ""),
        (with("\"room\":\"a\"", "\"room\":"), "example"),
        (with("[[step]]", "[policy]\nmax_bytes = -1\n[[step]]"), "max_bytes"),
        (with("[[step]]", "[policy]\ncarry = \"somewhere\"\n[[step]]"), "unknown value"),
        (with("[[step]]", "surprise = 1\n[[step]]"), "surprise"),
    ];
    // Cut off anywhere but in the white space at its end, JSON is no JSON.
    let json = String::from_utf8(pack(2).json().to_vec()).unwrap();
    bad.extend((1..json.len()).step_by(37).map(|end| (json[..end].to_owned(), "")));
    bad
}

#[test]
fn no_bad_pack_is_activated_and_no_call_fails_meanwhile() {
    let runtime = Runtime::new(&pack(1)).unwrap();
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let bad = bad();
    assert!(bad.len() > 35, "{}", bad.len());
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let there = runtime.translate(br#"{"room":"a"}"#, b"", "1", "2").unwrap();
                    assert_eq!(there.record, br#"{"room_id":"a","of":1,"schema":2}"#);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for (text, wanted) in &bad {
            let form = if text.starts_with('{') && text.len() > 2 { "bad.json" } else { "bad.toml" };
            let refused = Pack::from_text(form, text).and_then(|pack| runtime.swap(&pack)).map(drop);
            let reason = refused.err().map_or_else(|| "it was taken".to_owned(), |error| error.to_string());
            let stays = runtime.generation().unwrap().manifest().revision == 1;
            if !stays || reason == "it was taken" || !reason.contains(wanted) || reason.len() > 4000 {
                wrong.push(format!("{text}\n{reason}\nand not {wanted:?}"));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(calls.load(Ordering::Relaxed) > 100);
    let status = runtime.status();
    let refused = status.lives.iter().filter(|life| life.phase == Phase::Refused);
    assert!(refused.clone().count() > 10 && refused.clone().all(|life| life.reason.is_some()));
    assert_eq!(runtime.stats().generations_alive, 1);
    // The same text without a fault is taken.
    runtime.swap(&pack(2)).unwrap();
}
