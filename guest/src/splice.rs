//! Tape to bytes: the target is the source with a few places written anew and long runs copied between them.

use crate::plan::{Plan, Sym};
use crate::tape::{NONE, Origin, Shape, State, Tape, Text};

/// Writes the value of a node as the ops have left it.
pub(crate) fn splice(plan: &Plan, tape: &Tape, id: u32, out: &mut Vec<u8>) {
    let node = tape.node(id);
    if !node.is_rewritten() {
        return tape.copy(node.value.start, node.value.end, out);
    }
    let mut written = node.value.start;
    let mut at = node.first;
    while at != NONE {
        let child = tape.node(at);
        if child.origin == Origin::Appended {
            break;
        }
        match child.state {
            State::Clean => {}
            State::Gone => {
                let last = last_gone(tape, at);
                let end = tape.node(last);
                if end.following == 0 {
                    tape.copy(written, child.before, out);
                    written = node.last_end;
                } else {
                    tape.copy(written, child.start(), out);
                    written = end.following;
                }
                at = end.next;
                continue;
            }
            State::Dirty => {
                if child.renamed {
                    tape.copy(written, child.key.start, out);
                    let key = key(plan, child.symbol);
                    tape.copy(key.start + 1, key.end - 1, out);
                    written = child.key.end;
                }
                if child.value != child.source || child.shape != Shape::Opaque {
                    tape.copy(written, child.source.start, out);
                    splice(plan, tape, at, out);
                    written = child.source.end;
                }
            }
        }
        at = child.next;
    }
    tape.copy(written, node.last_end, out);
    while at != NONE {
        let child = tape.node(at);
        if !child.is_gone() {
            let (lead, key) = (child.lead(), key(plan, child.symbol));
            if lead == Text::COMMA {
                tape.copy(key.start, key.end, out);
            } else {
                tape.copy(lead.start, lead.end, out);
                tape.copy(key.start + 1, key.end, out);
            }
            splice(plan, tape, at, out);
        }
        at = child.next;
    }
    tape.copy(node.last_end, node.value.end, out);
}

/// The last of the members that are gone without a gap from this one on.
fn last_gone(tape: &Tape, first: u32) -> u32 {
    let mut last = first;
    loop {
        let node = tape.node(last);
        let next = node.next;
        if node.following == 0 || next == NONE {
            return last;
        }
        let other = tape.node(next);
        if other.origin == Origin::Appended || !other.is_gone() || other.start() != node.following {
            return last;
        }
        last = next;
    }
}

/// Where a key stands, with the comma before it and the colon behind it.
pub(crate) fn key(plan: &Plan, symbol: Sym) -> Text {
    plan.symbols.get(usize::from(symbol)).map_or(Text::COMMA, |symbol| symbol.text)
}
