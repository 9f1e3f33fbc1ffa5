//! Guests and packs that never get to serve.

use unskew::{GuestError, GuestFailure, Limits, LoadError, Runtime};

use crate::guest::{GROW, Guest, LOOP, TRAP, WILD};
use crate::{limits, pack};

fn refusal(wasm: Vec<u8>) -> GuestError {
    match Runtime::builder().guest(wasm).limits(limits()).pack(&pack()).build() {
        Err(LoadError::Guest(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

fn failure(guest: Guest) -> GuestFailure {
    match refusal(guest.component()) {
        GuestError::Failed(failure) => failure,
        other => panic!("{other}"),
    }
}

#[test]
fn a_guest_that_imports_anything_is_refused_by_name_of_the_import() {
    let wasm = wat::parse_str(
        r#"(component
            (import "wasi:clocks/wall-clock@0.2.6" (instance (export "now" (func (result u64)))))
            (import "log" (func (param "line" string))))"#,
    );
    let error = refusal(wasm.unwrap());
    assert_eq!(error, GuestError::Imports(vec!["wasi:clocks/wall-clock@0.2.6".into(), "log".into()]));
    assert_eq!(error.to_string(), "it imports wasi:clocks/wall-clock@0.2.6, log, and a guest must import nothing");
}

#[test]
fn a_guest_that_lacks_exports_is_refused() {
    let empty = refusal(wat::parse_str("(component)").unwrap());
    assert!(matches!(&empty, GuestError::Exports(reason) if reason.contains("unskew:compat/rules@0.1.0")), "{empty}");

    let hollow = r#"(component (instance $none) (export "unskew:compat/rules@0.1.0" (instance $none)))"#;
    let hollow = refusal(wat::parse_str(hollow).unwrap());
    assert!(matches!(&hollow, GuestError::Exports(_)), "{hollow}");
}

#[test]
fn what_is_no_component_is_refused() {
    for bytes in [&b""[..], b"not wasm", b"\0asm\x01\0\0\0"] {
        let error = refusal(bytes.to_vec());
        assert!(matches!(error, GuestError::Compile(_)), "{error}");
    }
}

#[test]
fn an_artefact_above_the_limit_is_refused_before_it_is_compiled() {
    let error = refusal(vec![0; (4 << 20) + 1]);
    assert_eq!(error, GuestError::TooLarge { found: (4 << 20) + 1, limit: 4 << 20 });
}

#[test]
fn a_guest_that_misbehaves_while_it_is_loaded_is_refused_by_what_it_did() {
    let healthy = Guest::HEALTHY;
    assert!(matches!(failure(Guest { load: TRAP, ..healthy }), GuestFailure::Trap(_)));
    assert!(matches!(failure(Guest { load: LOOP, ..healthy }), GuestFailure::CpuBudget { .. }));
    assert!(matches!(failure(Guest { load: GROW, ..healthy }), GuestFailure::Memory { .. }));
    assert!(matches!(failure(Guest { load: WILD, ..healthy }), GuestFailure::WrongAnswer(_) | GuestFailure::Trap(_)));
    assert!(matches!(failure(Guest { test: LOOP, ..healthy }), GuestFailure::CpuBudget { .. }));
    assert!(matches!(failure(Guest { judge: TRAP, ..healthy }), GuestFailure::Trap(_)));
    assert!(matches!(failure(Guest { start: "(loop $again (br $again))", ..healthy }), GuestFailure::CpuBudget { .. }));
    assert!(matches!(failure(Guest { start: "(unreachable)", ..healthy }), GuestFailure::Trap(_)));
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let load = |change: &'static str| -> Guest {
        // The healthy answer first, then the change to it.
        let text = format!("(drop (block (result i32) {})) {change} (i32.const 256)", Guest::HEALTHY.load);
        Guest { load: Box::leak(text.into_boxed_str()), ..Guest::HEALTHY }
    };
    let wrong = |change| match failure(load(change)) {
        GuestFailure::WrongAnswer(reason) => reason,
        other => panic!("{other}"),
    };
    assert_eq!(wrong("(i32.store (i32.const 284) (i32.const 0))"), "its manifest has no version");
    assert_eq!(wrong("(i32.store (i32.const 88) (i32.const 0))"), "its manifest has two versions of one id");
    assert_eq!(
        wrong("(i32.store16 (i32.const 114) (i32.const 7))"),
        "its manifest speaks of a version that it doesn't have"
    );
    let no_problem = "(i32.store (i32.const 256) (i32.const 1)) (i64.store (i32.const 264) (i64.const 0))";
    assert_eq!(wrong(no_problem), "it refuses the pack and names no problem");
}

#[test]
fn a_guest_that_is_made_to_compile_slowly_is_refused_before_it_is_compiled() {
    let guest = |functions: String| wat::parse_str(format!("(component (core module {functions}))")).unwrap();
    let began = std::time::Instant::now();
    let limits = Limits { artefact: 16 << 20, ..limits() };
    let refused = |wasm: Vec<u8>| {
        let built = Runtime::builder().guest(wasm).limits(limits.clone()).pack(&pack()).build();
        built.map(drop).unwrap_err().to_string()
    };
    let long = refused(guest(format!("(func {})", "nop ".repeat(300 << 10))));
    assert!(long.contains("it has a function of 3") && long.contains("262144 are allowed"), "{long}");
    let many = refused(guest("(func)".repeat(50_001)));
    assert!(many.contains("it has 50001 functions, 50000 are allowed"), "{many}");
    assert!(began.elapsed() < std::time::Duration::from_secs(60));
    // Below the bounds it is looked at, and refused for another reason.
    let short = refused(guest(format!("(func {})", "nop ".repeat(1000))));
    assert!(short.contains("doesn't export"), "{short}");
}

#[test]
fn a_guest_that_takes_too_long_to_compile_is_given_up() {
    let limits = Limits { compile: std::time::Duration::from_micros(1), ..limits() };
    // Another one than in any other test: what is compiled already is found at once.
    let guest = Guest { judge: "(nop) (unreachable)", ..Guest::HEALTHY };
    let built = Runtime::builder().guest(guest.component()).limits(limits).pack(&pack()).build();
    let reason = built.map(drop).unwrap_err().to_string();
    assert!(reason.contains("wasn't compiled within 0 ms"), "{reason}");
}
