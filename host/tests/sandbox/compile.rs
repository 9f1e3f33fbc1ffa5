//! Compiling: in a process of its own that is held to its time and memory, and kept for the next start.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use unskew::{Compiler, GuestError, Limits, LoadError, Runtime};

use crate::guest::Guest;
use crate::{limits, pack};

const PROGRAM: &str = env!("CARGO_BIN_EXE_unskew");

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("unskew-compile-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn entries(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|ending| ending == "compiled")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A healthy guest that is like no other test's: what one test has compiled is found by all others of the process.
fn healthy(mark: u32) -> Vec<u8> {
    let fields: &'static str = Box::leak(format!("(func $mark{mark} (nop))").into_boxed_str());
    Guest { fields, ..Guest::HEALTHY }.component()
}

/// A guest within all bounds, made to compile slowly: so many functions of 60 KiB of small blocks, a second each.
fn bomb(functions: usize) -> Vec<u8> {
    let block = |n: usize| {
        let [a, b, c] = [n % 12, (n + 1) % 12, (n + 2) % 12];
        let set = format!("(local.set {c} (i32.add (local.get {b}) (i32.const {n})))");
        format!("(block (br_if 0 (local.get {a})) {set})")
    };
    let body: String = (0..4000).map(block).collect();
    let locals = " i32".repeat(12);
    let fields: String = (0..functions).map(|n| format!("(func $bomb{n} (local {locals}) {body})\n")).collect();
    Guest { fields: Box::leak(fields.into_boxed_str()), ..Guest::HEALTHY }.component()
}

fn build(wasm: &[u8], limits: Limits, compiler: Compiler) -> Result<Runtime, GuestError> {
    match Runtime::builder().guest(wasm).limits(limits).compiler(compiler).pack(&pack()).build() {
        Err(LoadError::Guest(error)) => Err(error),
        other => Ok(other.unwrap()),
    }
}

fn aside() -> Compiler {
    Compiler::default().aside(PROGRAM)
}

/// One that compiles nothing: what it has must have been kept.
fn keeping(folder: &Path) -> Compiler {
    Compiler::default().aside("/bin/false").keeping(folder).unwrap()
}

#[test]
fn a_guest_that_another_process_compiled_answers_as_one_that_this_one_did() {
    let [there, here] = [(1, aside()), (2, Compiler::default())].map(|(mark, compiler)| {
        let runtime = build(&healthy(mark), limits(), compiler).unwrap();
        let made = runtime.translate(b"{\"a\":1}", b"", "1", "2").unwrap();
        (made.record, runtime.detect(b"{}").unwrap())
    });
    assert_eq!(there, here);
    for broken in [&b"no guest"[..], b"\0asm\x01\0\0\0", &healthy(3)[..900]] {
        let [there, here] = [aside(), Compiler::default()].map(|compiler| build(broken, limits(), compiler));
        let [there, here] = [there, here].map(|refused| refused.map(drop).unwrap_err());
        assert!(matches!((&there, &here), (GuestError::Compile(_), GuestError::Compile(_))), "{there} and {here}");
        assert_eq!(there.to_string(), here.to_string());
    }
}

/// Ends what runs beside a test, whatever becomes of the test.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_guest_that_takes_too_much_to_compile_is_stopped_and_no_call_fails_meanwhile() {
    let bomb = bomb(4);
    let neighbour = build(&healthy(10), limits(), Compiler::default()).unwrap();
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _ending = Ending(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                neighbour.detect(b"{}").unwrap();
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
        let before = resident();
        let slow = build(&bomb, Limits { compile: Duration::from_secs(1), ..limits() }, aside()).map(drop);
        assert_eq!(slow, Err(GuestError::Slow { limit: Duration::from_secs(1) }));
        let greedy = build(&bomb, Limits { compile_memory: 16 << 20, ..limits() }, aside()).map(drop);
        assert_eq!(greedy, Err(GuestError::Greedy { limit: 16 << 20 }));
        assert!(resident() < before + (16 << 20), "what it takes it takes elsewhere");
        assert_eq!(compiling(), 0, "nothing of it is left");
        // Allowed enough, it is compiled: it was stopped, and not refused for another reason.
        let ample = Limits { compile: Duration::from_secs(300), ..limits() };
        build(&bomb, ample, aside()).unwrap();
    });
    assert!(calls.load(Ordering::Relaxed) > 1000);
}

#[test]
fn long_functions_are_few() {
    let function = format!("(func {})", "nop ".repeat(200 << 10));
    let guest = |many: usize| wat::parse_str(format!("(component (core module {}))", function.repeat(many))).unwrap();
    assert!(matches!(build(&guest(1), limits(), Compiler::default()).map(drop), Err(GuestError::Exports(_))));
    let refused = build(&guest(2), limits(), Compiler::default()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("its long functions together are more than"), "{refused}");
}

#[test]
fn locals_that_take_no_room_are_counted_all_the_same() {
    let functions = "(func (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64))".repeat(10);
    let few = wat::parse_str(format!("(component (core module {functions}))")).unwrap();
    assert!(matches!(build(&few, limits(), Compiler::default()).map(drop), Err(GuestError::Exports(_))));
    // A run of 40,000 locals is written in a few bytes.
    let types: String = " i64".repeat(40_000);
    let many = wat::parse_str(format!("(component (core module {}))", format!("(func (local {types}))").repeat(30)));
    let many = many.unwrap();
    assert!(many.len() < 1000, "{} bytes", many.len());
    let refused = build(&many, limits(), Compiler::default()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("it has 1200000 locals, 1000000 are allowed"), "{refused}");
}

#[test]
fn what_was_compiled_is_found_at_the_next_start_and_nothing_that_was_changed() {
    let folder = Folder::new("kept");
    let guest = healthy(20);
    let fails =
        |guest: &[u8]| matches!(build(guest, limits(), keeping(&folder.0)).map(drop), Err(GuestError::Compile(_)));
    assert!(fails(&guest), "nothing is kept yet, and nobody compiles");
    drop(build(&guest, limits(), aside().keeping(&folder.0).unwrap()).unwrap());
    let [entry] = <[PathBuf; 1]>::try_from(folder.entries()).unwrap();
    // The next start: found, though nothing is left that could compile it.
    let runtime = build(&guest, limits(), keeping(&folder.0)).unwrap();
    assert_eq!(runtime.detect(b"{}").unwrap(), "1");
    drop(runtime);
    assert!(fails(&healthy(21)), "another guest isn't");

    let good = std::fs::read(&entry).unwrap();
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut changed = good.clone();
        changed[at] ^= 0x10;
        std::fs::write(&entry, &changed).unwrap();
        assert!(fails(&guest), "byte {at} changed");
        std::fs::write(&entry, &good[..at]).unwrap();
        assert!(fails(&guest), "cut to {at} bytes");
    }
    assert!(folder.entries().is_empty(), "what isn't ours goes");
    // Of another installation, with a secret of its own.
    let elsewhere = Folder::new("elsewhere");
    drop(build(&guest, limits(), aside().keeping(&elsewhere.0).unwrap()).unwrap());
    std::fs::copy(&elsewhere.entries()[0], &entry).unwrap();
    assert!(fails(&guest), "sealed by another secret");
    // It is replaced where somebody can compile, and the entry as it was is taken: the checks aren't blind.
    std::fs::write(&entry, &good[..good.len() / 2]).unwrap();
    drop(build(&guest, limits(), Compiler::default().keeping(&folder.0).unwrap()).unwrap());
    drop(build(&guest, limits(), keeping(&folder.0)).unwrap());
    std::fs::write(&entry, &good).unwrap();
    drop(build(&guest, limits(), keeping(&folder.0)).unwrap());
}

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Processes that compile with one of the two limits above.
fn compiling() -> usize {
    let all =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    let ours = |words: &Vec<u8>| {
        let words = String::from_utf8_lossy(words);
        words.contains("compile-guest") && words.contains("16777216")
    };
    all.filter(ours).count()
}
