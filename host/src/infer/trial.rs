//! Hypotheses about two values, asked of the rules themselves: a guess of ours and a rule of theirs can't differ.

use std::collections::HashMap;

use crate::pack::Pack;
use crate::runtime::Runtime;

use super::tree::Node;

/// Runs single ops on single values in the sandbox.
#[derive(Default)]
pub(super) struct Trials {
    loaded: HashMap<String, Option<Runtime>>,
}

/// An op on one value, without its place: `time` and `lower = "unix-s", upper = "unix-ms"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) name: &'static str,
    pub(super) arguments: String,
}

/// Which way an op is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

impl Body {
    pub(super) fn new(name: &'static str, arguments: impl Into<String>) -> Body {
        Body { name, arguments: arguments.into() }
    }

    /// The op at this place, as a pack has it.
    pub(super) fn at(&self, place: &str) -> String {
        format!("{{ {} = {}, {} }}", self.name, super::write::string(place), self.arguments)
    }
}

impl Trials {
    /// What the `n`th of these ops makes of a value; none if it refuses it.
    pub(super) fn run(&mut self, bodies: &[Body], n: usize, way: Way, value: &Node) -> Option<Node> {
        let ops: Vec<String> = bodies.iter().enumerate().map(|(n, body)| body.at(&format!("/x{n}"))).collect();
        let ops = ops.join(", ");
        let load = || Runtime::new(&Pack::from_toml("trial", &pack(&ops)).ok()?).ok();
        let runtime = self.loaded.entry(ops.clone()).or_insert_with(load).as_ref()?;
        let (record, from, to) = match way {
            Way::Up => (format!("{{\"x{n}\":{value}}}"), "1", "2"),
            Way::Down => (format!("{{\"x{n}\":{value},\"v\":2}}"), "2", "1"),
        };
        let answer = runtime.translate(record.as_bytes(), b"", from, to).ok()?.record;
        Node::parse(std::str::from_utf8(&answer).ok()?).ok()?.member(&format!("x{n}")).cloned()
    }

    /// Whether the op relates two values: one way gives the other value, whatever the other way rounds.
    pub(super) fn relates(&mut self, bodies: &[Body], n: usize, (lower, upper): (&Node, &Node)) -> bool {
        self.run(bodies, n, Way::Up, lower).is_some_and(|value| value.same(upper))
            || self.run(bodies, n, Way::Down, upper).is_some_and(|value| value.same(lower))
    }
}

fn pack(ops: &str) -> String {
    format!(
        "name = \"trial\"\nrevision = 1\n\
         version = [{{ id = \"1\", marker = {{ path = \"/v\", absent = true }} }}, \
         {{ id = \"2\", marker = {{ path = \"/v\", value = 2 }} }}]\n\
         step = [{{ from = \"1\", to = \"2\", ops = [{ops}] }}]\n"
    )
}
