//! Small guests written by hand: a healthy one that echoes, and what it does when parts of it turn hostile.

/// A guest in core WebAssembly text; a part is the body of one export. The default is healthy: two versions `1` and
/// `2`, each record is of version 1, and translation answers with the record that it was given.
#[derive(Clone, Copy)]
pub(crate) struct Guest {
    pub(crate) load: &'static str,
    pub(crate) test: &'static str,
    pub(crate) detect: &'static str,
    pub(crate) translate: &'static str,
    pub(crate) normalize: &'static str,
    pub(crate) judge: &'static str,
    pub(crate) explain: &'static str,
    /// The start function.
    pub(crate) start: &'static str,
    /// What the other parts share.
    pub(crate) fields: &'static str,
}

/// Never ends.
pub(crate) const LOOP: &str = "(loop $again (br $again)) (unreachable)";
/// Grows its memory until it is stopped.
pub(crate) const GROW: &str =
    "(loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) (unreachable)";
/// Traps.
pub(crate) const TRAP: &str = "(unreachable)";
/// Calls itself until the stack ends.
pub(crate) const RECURSE: &str = "(call $deep (i32.const 0))";
/// Answers from beyond its memory.
pub(crate) const WILD: &str = "(i32.const 0x7ffffff0)";

impl Guest {
    pub(crate) const HEALTHY: Guest = Guest {
        load: HEALTHY_LOAD,
        test: "(i64.store (i32.const 256) (i64.const 0)) (i32.const 256)",
        detect: "(call $done) (i64.store (i32.const 256) (i64.const 0)) (i32.const 256)",
        translate: "(call $done)
            (i32.store (i32.const 256) (i32.const 0))
            (i32.store (i32.const 260) (local.get 0)) (i32.store (i32.const 264) (local.get 1))
            (i32.store (i32.const 268) (local.get 2)) (i32.store (i32.const 272) (local.get 3))
            (i32.store (i32.const 276) (i32.const 0)) (i32.store (i32.const 280) (i32.const 0))
            (i32.store (i32.const 284) (i32.const 0)) (i64.store (i32.const 288) (i64.const 0))
            (i32.store (i32.const 296) (i32.const 0))
            (i32.const 256)",
        normalize: "(call $done)
            (i64.store (i32.const 256) (i64.const 0)) (i32.store (i32.const 264) (i32.const 0))
            (i32.const 256)",
        judge: "(i64.store (i32.const 256) (i64.const 1)) (i32.store (i32.const 264) (i32.const 0)) (i32.const 256)",
        explain: "(call $done)
            (i32.store (i32.const 256) (i32.const 0))
            (i64.store (i32.const 260) (i64.const 0))
            (i32.const 256)",
        start: "",
        fields: "",
    };

    /// The guest as a component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let Guest { load, test, detect, translate, normalize, judge, explain, start, fields } = self;
        // Data: 0.. the ids "1" and "2" and the pack's name, 64.. versions, 112.. what they read, 256.. the answer.
        // Arguments are put from 8192 on; a call that is done makes their room free again.
        let text = format!(
            r#"(module
                (memory (export "memory") 4)
                (global $top (mut i32) (i32.const 8192))
                {fields}
                (data (i32.const 0) "12echo")
                (data (i32.const 64) "\00\00\00\00\01\00\00\00\70\00\00\00\01\00\00\00\01\00\00\00\00\00\00\00"
                                     "\01\00\00\00\01\00\00\00\72\00\00\00\01\00\00\00\02\00\00\00\00\00\00\00")
                (data (i32.const 112) "\00\00\01\00")
                (func $done (global.set $top (i32.const 8192)))
                (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
                    (global.set $top (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func (export "unskew:compat/rules@0.1.0#load") (param i32 i32) (result i32) {load})
                (func (export "unskew:compat/rules@0.1.0#test") (result i32) {test})
                (func (export "unskew:compat/rules@0.1.0#detect") (param i32 i32) (result i32) {detect})
                (func (export "unskew:compat/rules@0.1.0#translate")
                    (param i32 i32 i32 i32 i32 i32) (result i32) {translate})
                (func (export "unskew:compat/rules@0.1.0#normalize") (param i32 i32 i32 i32 i32) (result i32) {normalize})
                (func (export "unskew:compat/rules@0.1.0#judge") (param i32 i32) (result i32) {judge})
                (func (export "unskew:compat/rules@0.1.0#explain")
                    (param i32 i32 i32 i32 i32 i32) (result i32) {explain})
                (func $start {start})
                (start $start))"#
        );
        let mut module = wat::parse_str(text).unwrap();
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        let encoding = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &resolve, world, encoding, false).unwrap();
        wit_component::ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
    }
}

const HEALTHY_LOAD: &str = "(call $done)
    (i32.store (i32.const 256) (i32.const 0))
    (i32.store (i32.const 264) (i32.const 2)) (i32.store (i32.const 268) (i32.const 4))
    (i64.store (i32.const 272) (i64.const 1))
    (i32.store (i32.const 280) (i32.const 64)) (i32.store (i32.const 284) (i32.const 2))
    (i32.store (i32.const 288) (i32.const 0))
    (i32.store (i32.const 292) (i32.const 2)) (i32.store (i32.const 296) (i32.const 4))
    (i32.store (i32.const 300) (i32.const 65536)) (i32.store (i32.const 304) (i32.const 64))
    (i32.store (i32.const 308) (i32.const 0))
    (i32.const 256)";
