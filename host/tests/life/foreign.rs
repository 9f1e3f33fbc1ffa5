//! A guest in another language than Rust: examples/guest-c, in place of the standard one and back, under load.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use unskew::{Guest, Pack, Runtime};

/// The rules that the guest in C has in its code, as a pack.
fn rooms(revision: u64) -> Pack {
    let text = format!(
        r#"
        name = "rooms"
        revision = {revision}
        version = [
            {{ id = "1", marker = {{ path = "/schema", absent = true }} }},
            {{ id = "2", marker = {{ path = "/schema", value = 2 }} }},
        ]
        step = [{{ from = "1", to = "2", ops = [{{ rename = "/room", to = "room_id" }}] }}]
        "#
    );
    Pack::from_toml("rooms.toml", &text).unwrap()
}

/// The guest, built and wrapped as docs/guests.md says.
fn in_c() -> Guest {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    static BUILDS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("unskew-guest-c-{}-{}.wasm", std::process::id(), BUILDS.fetch_add(1, Ordering::Relaxed));
    let core = std::env::temp_dir().join(name);
    let built = Command::new("clang")
        .args(["--target=wasm32", "-O2", "-nostdlib", "-fno-builtin", "-mbulk-memory", "-Wall", "-Wextra", "-Werror"])
        .args(["-Wl,--no-entry", "-Wl,--strip-all", "-o"])
        .arg(&core)
        .arg(workspace.join("examples/guest-c/guest.c"))
        .output()
        .expect("clang and lld: tools/setup tests installs them");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut module = std::fs::read(&core).unwrap();
    let _ = std::fs::remove_file(core);
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_path(workspace.join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding, false).unwrap();
    let wasm = wit_component::ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap();
    Guest::new("guest.c", wasm)
}

const RECORDS: [&str; 8] = [
    "{}",
    r#"{"room":"lobby"}"#,
    r#"{"a":[1,{"room":"x"}],"room":"lo\"bby","b":0.10}"#,
    r#"{"a":"{}[]\\\"","c":{"d":[[]]},"room":{"e":null}}"#,
    r#"{"room_id":"lobby","schema":2}"#,
    r#"{"z":-1e5,"room_id":[true],"schema":2}"#,
    "[1]",
    "{\"a\":",
];

#[test]
fn a_guest_in_c_answers_as_the_standard_one_does() {
    let standard = Runtime::new(&rooms(1)).unwrap();
    let foreign = Runtime::builder().guest(in_c()).pack(&rooms(1)).build().unwrap();
    assert_ne!(standard.generation().unwrap().guest(), foreign.generation().unwrap().guest());
    for record in RECORDS {
        let both = [&standard, &foreign].map(|runtime| runtime.detect(record.as_bytes()).ok());
        assert_eq!(both[0], both[1], "{record}");
        for to in ["1", "2"] {
            let both = [&standard, &foreign].map(|runtime| {
                let normal = runtime.normalize(record.as_bytes(), b"", to).ok()?;
                Some(normal.changed.map(|changed| String::from_utf8(changed.record).unwrap()))
            });
            assert_eq!(both[0], both[1], "{record} to {to}");
        }
    }
}

#[test]
fn a_guest_in_c_takes_the_place_of_the_standard_one_and_gives_it_back_under_load() {
    let runtime = Runtime::new(&rooms(1)).unwrap();
    let foreign = in_c();
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let there = runtime.translate(br#"{"a":1,"room":"lobby"}"#, b"", "1", "2").unwrap();
                    assert_eq!(there.record, br#"{"a":1,"room_id":"lobby","schema":2}"#);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..20 {
            let guest = if round % 2 == 0 { foreign.clone() } else { Guest::standard() };
            let before = calls.load(Ordering::Relaxed);
            let digest = guest.digest();
            // The same rules in another guest need no new revision.
            assert_eq!(runtime.swap_guest(guest, &rooms(1)).unwrap().guest(), digest);
            while calls.load(Ordering::Relaxed) < before + 100 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!((runtime.stats().generations_alive, runtime.stats().instances_dropped), (2, 0));
}
