//! Tape to bytes: the target is the source with a few places written anew and long runs copied between them.

use crate::plan::{NONE, Plan};
use crate::tape::{Buffer, Origin, Shape, Tape};

/// Writes the value of a node as the ops have left it.
pub(crate) fn splice(plan: &Plan, tape: &Tape, record: &[u8], id: u32, out: &mut Vec<u8>) {
    let node = tape.node(id);
    if !node.dirty || node.shape == Shape::Opaque {
        out.extend_from_slice(tape.text(record, node.value));
        return;
    }
    let source = match node.value.buffer {
        Buffer::Record => record,
        Buffer::Scratch => &tape.scratch,
    };
    let run = |from: u32, to: u32| source.get(from as usize..to as usize).unwrap_or_default();
    let mut written = node.value.start;
    let mut at = node.first;
    while at != NONE {
        let child = tape.node(at);
        if child.origin == Origin::Appended {
            break;
        }
        if child.gone {
            let last = last_gone(tape, at);
            let end = tape.node(last);
            if end.following == 0 {
                out.extend_from_slice(run(written, child.lead.start));
                written = node.last_end;
            } else {
                out.extend_from_slice(run(written, child.start()));
                written = end.following;
            }
            at = end.next;
            continue;
        }
        if child.dirty {
            if child.renamed {
                out.extend_from_slice(run(written, child.key.start));
                out.extend_from_slice(quoted(plan, child.symbol));
                written = child.key.end;
            }
            out.extend_from_slice(run(written, child.source.start));
            splice(plan, tape, record, at, out);
            written = child.source.end;
        }
        at = child.next;
    }
    out.extend_from_slice(run(written, node.last_end));
    while at != NONE {
        let child = tape.node(at);
        if !child.gone {
            out.extend_from_slice(tape.text(record, child.lead));
            if node.shape == Shape::Object {
                out.extend_from_slice(quoted(plan, child.symbol));
                out.push(b':');
            }
            splice(plan, tape, record, at, out);
        }
        at = child.next;
    }
    out.extend_from_slice(run(node.last_end, node.value.end));
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
        if other.origin == Origin::Appended || !other.gone || other.start() != node.following {
            return last;
        }
        last = next;
    }
}

fn quoted(plan: &Plan, symbol: u32) -> &[u8] {
    plan.symbols.get(symbol as usize).map(|symbol| symbol.quoted.as_bytes()).unwrap_or_default()
}
