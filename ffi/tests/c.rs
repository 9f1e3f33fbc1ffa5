//! The C ABI from C and from Python: built and run as their users do.
//!
//! What a machine lacks is skipped with a line that says so; in CI (`CI` is set) that is a failure.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PACK: &str = r#"
name = "test"
revision = 1
version = [
  { id = "1", marker = { path = "/schema", absent = true } },
  { id = "2", marker = { path = "/schema", value = 2 } },
]
step = [{ from = "1", to = "2", ops = [{ rename = "/sid", to = "session_id" }, { add = "/bitrate", value = 3000 }] }]
"#;

const CONFIG: &str = r#"
pack = "pack.toml"
record.body = { request = "" }
server = [{ name = "a", address = "127.0.0.1:9001", version = "1" }]
join = [{ match = "POST /sessions/{id}/join" }]
health.interval_ms = 0
"#;

/// A folder with a configuration and its pack, the next pack, and the program in C.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("unskew-c-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("unskew.toml"), CONFIG).unwrap();
        std::fs::write(folder.join("pack.toml"), PACK).unwrap();
        std::fs::write(folder.join("next.toml"), PACK.replace("revision = 1", "revision = 2")).unwrap();
        Place { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn program(&self) -> PathBuf {
        self.compiled("use", &package("examples/use.c"), &["-Werror"])
    }

    fn compiled(&self, name: &str, source: &Path, flags: &[&str]) -> PathBuf {
        let program = self.path(name);
        let built = Command::new("cc")
            .args(["-std=gnu11", "-Wall", "-Wextra", "-g", "-I"])
            .arg(package("include"))
            .args(flags)
            .arg("-o")
            .arg(&program)
            .arg(source)
            .arg(library())
            .arg(format!("-Wl,-rpath,{}", library().parent().unwrap().display()))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        program
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_program_in_c_uses_all_of_it() {
    let place = Place::new("c");
    for traps in [None, Some("checks")] {
        let mut command = Command::new(place.program());
        command.arg(place.path("unskew.toml")).arg(place.path("next.toml")).arg("1").args(traps);
        let out = succeeded(&mut command);
        let line = |name: &str| {
            let line = out.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("no {name} in {out}")).to_string()
        };
        assert!(line("refused").contains("no-such-file.toml"), "{out}");
        assert_eq!(line("version"), "2");
        assert_eq!(line("down"), r#"{"sid":"s1"}"#);
        assert_eq!(line("up"), r#"{"session_id":"s1","bitrate":4500,"schema":2}"#);
        assert_eq!((line("to"), line("body")), ("a".to_string(), r#"{"sid":"s1"}"#.to_string()));
        assert_eq!(line("explained"), "yes");
        let route: serde_json::Value = serde_json::from_str(&line("route")).unwrap();
        assert_eq!((&route["server"], &route["tier"]), (&"a".into(), &"carried".into()));
        let status: serde_json::Value = serde_json::from_str(&line("status")).unwrap();
        assert_eq!(status["pack"]["revision"], 2, "the pushed pack is active");
        assert_eq!((&status["mode"], &status["counts"]["joins"]), (&"enforce".into(), &1.into()));
        assert_eq!(status["servers"][0]["name"], "a");
    }
}

#[test]
fn what_the_library_can_not_do_is_refused_with_a_sentence() {
    let place = Place::new("refused");
    std::fs::write(place.path("unskew.toml"), format!("{CONFIG}[admin]\ntoken = {{ env = \"PATH\" }}\n")).unwrap();
    let out =
        Command::new(place.program()).arg(place.path("unskew.toml")).arg(place.path("next.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("open: libunskew can't do [admin]"), "{said}");
}

#[test]
fn nothing_leaks_over_a_long_run() {
    let place = Place::new("leaks");
    let mut command = Command::new(place.program());
    command.arg(place.path("unskew.toml")).arg(place.path("next.toml")).arg("20000");
    let out = succeeded(&mut command);
    let grown = out.lines().find_map(|line| line.strip_prefix("grown: ")).unwrap().parse::<i64>().unwrap();
    // A leak of malloc's smallest block in each round would be 432,000 bytes.
    assert!(grown < 200_000, "{grown} bytes more after 18,000 rounds");
}

#[test]
fn the_leak_sanitizer_finds_nothing_where_it_finds_a_single_leak() {
    let place = Place::new("sanitizer");
    std::fs::write(place.path("empty.c"), "int main(void) { return 0; }").unwrap();
    let mut sanitizes = Command::new("cc");
    sanitizes.args(["-fsanitize=leak", "-o"]).arg(place.path("empty")).arg(place.path("empty.c"));
    if lacks("cc's -fsanitize=leak", sanitizes.output().is_ok_and(|built| built.status.success())) {
        return;
    }
    // It takes malloc's place for the library too, which uses no other.
    let arguments = |program: PathBuf, rounds: &str| {
        let mut command = Command::new(program);
        command.arg(place.path("unskew.toml")).arg(place.path("next.toml")).arg(rounds);
        command
    };
    let sound = place.compiled("sanitized", &package("examples/use.c"), &["-fsanitize=leak"]);
    succeeded(&mut arguments(sound, "3000"));

    let source = std::fs::read_to_string(package("examples/use.c")).unwrap();
    let once = "  unskew_free(found);\n  if (unskew_route";
    assert!(source.contains(once));
    std::fs::write(place.path("leaky.c"), source.replace(once, "  if (unskew_route")).unwrap();
    let leaky = place.compiled("leaky", &place.path("leaky.c"), &["-fsanitize=leak"]);
    let out = arguments(leaky, "10").output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("leaked in 1 allocation(s)"), "{said}");
}

#[test]
fn python_uses_it_and_forks_before_and_after_the_start() {
    if absent("python3") {
        return;
    }
    let place = Place::new("python");
    let mut command = Command::new("python3");
    command.arg(package("examples/use.py")).arg(library()).arg(place.path("unskew.toml"));
    let out: serde_json::Value = serde_json::from_str(&succeeded(&mut command)).unwrap();
    assert_eq!(out["down"], r#"{"sid":"s1"}"#);
    assert_eq!((&out["child"], &out["late"]), (&0.into(), &0.into()), "{out}");
    assert_eq!(out["pack"], "test");
    assert!(!out["fault"].as_str().unwrap().is_empty());
}

#[test]
fn the_header_is_current() {
    if absent("cbindgen") {
        return;
    }
    let mut command = Command::new("cbindgen");
    command.arg("--config").arg(package("cbindgen.toml")).arg(package(""));
    let header = succeeded(&mut command);
    let path = package("include/unskew.h");
    if std::env::var_os("UNSKEW_WRITE_HEADER").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap();
    assert!(header == checked_in, "ffi/include/unskew.h is old: run this test with UNSKEW_WRITE_HEADER=1");
}

#[test]
fn the_lua_module_declares_what_the_header_does() {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let header = squeezed(&std::fs::read_to_string(package("include/unskew.h")).unwrap());
    let lua = std::fs::read_to_string(package("../plugins/nginx/unskew.lua")).unwrap();
    let cdef = lua.split("ffi.cdef [[").nth(1).unwrap().split("]]").next().unwrap();
    let functions: Vec<String> = cdef.split(';').map(squeezed).filter(|text| text.ends_with(')')).collect();
    assert!(functions.len() > 10);
    for function in functions {
        // The header names enums where the ABI has their integer.
        let plain = |text: &str| {
            let text = text.replace("struct ", "").replace("unskew_code unskew_", "uint32_t unskew_");
            text.chars().filter(|char| !char.is_whitespace()).collect::<String>()
        };
        assert!(plain(&header).contains(&plain(&function)), "the header has no {function}");
    }
}

fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = folder.join("libunskew.so");
    assert!(library.exists(), "{} isn't built", library.display());
    library
}

fn absent(program: &str) -> bool {
    lacks(program, Command::new(program).arg("--version").output().is_ok())
}

fn lacks(what: &str, there: bool) -> bool {
    assert!(there || std::env::var_os("CI").is_none(), "{what} isn't installed: run `tools/setup tests`");
    if !there {
        eprintln!("skipped: {what} isn't installed: run `tools/setup tests`");
    }
    !there
}

fn succeeded(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{out}\n{error}");
    out
}
