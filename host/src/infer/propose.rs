//! Ops from what was found, in an order in which each finds its place.

use super::Proposed;
use super::place::Path;
use super::relate::{Others, Relation};
use super::relink::{after, ordered};
use super::scope::{Change, Findings, Leftover, Link, Presence};
use super::several::{Kinds, Several};
use super::times;
use super::tree::{Kind, Node};
use super::write::{literal, string};
use super::{Confidence, Strength};

/// The ops of the step: renames, moves, changes of values, adds, removes; and before them what must be out of their way.
pub(super) fn ops(findings: &Findings) -> Vec<Proposed> {
    let links = ordered(&findings.links);
    let (early, late): (Vec<&Leftover>, Vec<&Leftover>) =
        findings.removes.iter().partition(|leftover| links.iter().any(|link| in_the_way(leftover, link)));
    let mut ops: Vec<Proposed> = early.iter().map(|leftover| remove(leftover, &leftover.at)).collect();
    let mut done: Vec<(Path, Path)> = Vec::new();
    let mut later: Vec<Link> = Vec::new();
    for (n, link) in links.iter().enumerate() {
        // Members that change places with one another: the first stands aside until its place is left.
        let taken = links.iter().skip(n + 1).any(|other| other.asked.is_none() && other.lower == link.upper);
        if taken && link.asked.is_none() {
            let aside = link.upper.sibling(&format!("{}_aside", link.upper.key().unwrap_or_default()));
            ops.extend(relink(&Link { upper: aside.clone(), ..link.clone() }, &mut done));
            later.push(Link { lower: aside, only: None, ..link.clone() });
        } else {
            ops.extend(relink(link, &mut done));
        }
    }
    for link in &later {
        ops.extend(relink(link, &mut done));
    }
    ops.extend(findings.changes.iter().map(change));
    ops.extend(findings.several.iter().map(|several| on_several(several, &done)));
    ops.extend(findings.adds.iter().map(add));
    ops.extend(late.iter().map(|leftover| remove(leftover, &after(&leftover.at, &done))));
    ops
}

/// Whether a member stands where a link leads, or in an object that the link turns into one of its members.
fn in_the_way(leftover: &Leftover, link: &Link) -> bool {
    if link.asked.is_some() {
        return false;
    }
    let unwraps = link.lower.starts_with(&link.upper) && leftover.at.starts_with(&link.upper);
    link.upper == leftover.at || unwraps
}

fn relink(link: &Link, done: &mut Vec<(Path, Path)>) -> Vec<Proposed> {
    let from = after(&link.lower, done);
    let to = &link.upper;
    let when = |place: &Path, there: &Path| {
        link.only.map_or_else(String::new, |kind| {
            let [place, there] = [place, there].map(|path| string(&path.to_string()));
            format!(
                ", when = {{ path = {place}, type = \"{}\" }}, when_upper = {{ path = {there}, exists = true }}",
                kind.name()
            )
        })
    };
    let mut ops = Vec::new();
    let mut push = |name: &'static str, from: &Path, to: &Path, when: String| {
        let target = match name {
            "rename" => to.key().unwrap_or_default().to_owned(),
            _ => to.to_string(),
        };
        let op = format!("{{ {name} = {}, to = {}{when} }}", string(&from.to_string()), string(&target));
        let left_out = link.asked.as_ref().map(|_| "it is asked".to_owned());
        ops.push(Proposed { question: link.asked.clone(), left_out, ..proposed(name, from, op, &link.strength) });
    };
    if to.starts_with(&from) && *to != from {
        // A value that goes into an object of its own name: it stands aside while the object is made.
        let aside = from.sibling(&format!("{}_{}", from.key().unwrap_or_default(), to.key().unwrap_or_default()));
        push("rename", &from, &aside, when(&from, &aside));
        push("move", &aside, to, String::new());
    } else if from.starts_with(to) && *to != from {
        let aside = to.sibling(&format!("{}_{}", to.key().unwrap_or_default(), from.key().unwrap_or_default()));
        push("move", &from, &aside, when(&from, &aside));
        push("rename", &aside, to, String::new());
    } else if from.parent() == to.parent() {
        push("rename", &from, to, when(&from, to));
    } else {
        push("move", &from, to, when(&from, to));
    }
    if link.only.is_none() && link.asked.is_none() {
        done.push((from, to.clone()));
    }
    ops
}

fn change(change: &Change) -> Proposed {
    let place = change.at.to_string();
    let when = change.only.map_or_else(String::new, |(lower, upper)| {
        let test =
            |name: &str, kind: Kind| format!(", {name} = {{ path = {}, type = \"{}\" }}", string(&place), kind.name());
        let upper = if lower == upper { String::new() } else { test("when_upper", upper) };
        test("when", lower) + &upper
    });
    let with = |arguments: &str| format!("{arguments}{when}");
    let (name, op, question) = match &change.relation {
        Relation::Time(lower, upper) => {
            let body = times::body(lower, upper);
            let op = format!("{{ time = {}, {} }}", string(&place), with(&body.arguments));
            ("time", op, None)
        }
        Relation::Scale { body, .. } => {
            ("scale", format!("{{ scale = {}, {} }}", string(&place), with(&body.arguments)), None)
        }
        Relation::Map { cells, others } => {
            let cell = |node: &Option<Node>| node.as_ref().map_or_else(|| "{ absent = true }".to_owned(), literal);
            let lines: Vec<String> =
                cells.iter().map(|(one, other)| format!("[{}, {}]", cell(one), cell(other))).collect();
            let (otherwise, question) = match others {
                Others::Refused => {
                    ("", "are these all values? Others are refused; say otherwise = \"keep\" to let them pass")
                }
                Others::Kept => (", otherwise = \"keep\"", "other values stay as they are: is that right?"),
            };
            let op = format!("{{ map = {}, values = [{}]{otherwise} }}", string(&place), lines.join(", "));
            ("map", op, Some(question.to_owned()))
        }
        Relation::Convert(body) => {
            ("convert", format!("{{ convert = {}, {} }}", string(&place), with(&body.arguments)), None)
        }
        Relation::Wrap { body } => {
            let which = if body.arguments.contains(", where = ") { WHICH } else { "" };
            (body.name, body.at(&place), Some(format!("{ON_EDIT}{which}")))
        }
        Relation::Default(value) => {
            let op = format!("{{ default = {}, lower = {} }}", string(&place), literal(value));
            ("default", op, Some(ABSENCE.to_owned()))
        }
        Relation::Same | Relation::Elements => ("", String::new(), None),
    };
    let left_out = change.asked.as_ref().map(|_| "it is asked".to_owned());
    Proposed {
        question: change.asked.clone().or(question),
        left_out,
        ..proposed(name, &change.at, op, &change.strength)
    }
}

fn on_several(found: &Several, done: &[(Path, Path)]) -> Proposed {
    let lower: Vec<Path> = found.lower.iter().map(|place| after(place, done)).collect();
    let list = |places: &[Path]| places.iter().map(|place| string(&place.to_string())).collect::<Vec<_>>().join(", ");
    let arguments = &found.arguments;
    let (name, from, to) = match found.kind {
        Kinds::Split => ("split", list(&lower), format!("[{}]", list(&found.upper))),
        Kinds::Join => ("join", format!("[{}]", list(&lower)), list(&found.upper)),
        Kinds::Copy => ("copy", list(&found.upper[..1]), list(&found.upper[1..])), // two places: the first and its copy
    };
    let at = lower.first().or(found.upper.first()).cloned().unwrap_or_default();
    let op = format!("{{ {name} = {from}, to = {to}{arguments} }}");
    Proposed { question: found.question.clone(), ..proposed(name, &at, op, &found.strength) }
}

fn add(leftover: &Leftover) -> Proposed {
    let place = string(&leftover.at.to_string());
    let value = leftover.value.as_ref().map_or_else(|| "{ json = 'null' }".to_owned(), literal);
    let (when, question, left_out) = match (&leftover.presence, &leftover.value) {
        (Presence::Always, Some(_)) => (String::new(), None, None),
        (Presence::Beside(other), value) => {
            let when = format!(", when = {{ path = {}, exists = true }}", string(&other.to_string()));
            (when, value.is_none().then_some(UNKNOWN_DEFAULT), value.is_none().then_some(NO_DEFAULT))
        }
        (Presence::Always, None) => (String::new(), Some(UNKNOWN_DEFAULT), Some(NO_DEFAULT)),
        (Presence::Sometimes, _) => {
            let when = format!(
                ", when = {{ path = {place}, exists = true }}, when_upper = {{ path = {place}, exists = true }}"
            );
            (when, Some(SOMETIMES), None)
        }
    };
    let op = format!("{{ add = {place}, value = {value}{when} }}");
    Proposed {
        question: question.map(str::to_owned),
        left_out: left_out.map(str::to_owned),
        ..proposed("add", &leftover.at, op, &leftover.strength)
    }
}

fn remove(leftover: &Leftover, at: &Path) -> Proposed {
    let place = string(&at.to_string());
    let (restore, question) = match (&leftover.presence, &leftover.value) {
        (Presence::Always, Some(value)) => (format!(", restore = {}", literal(value)), None),
        (Presence::Always, None) => (String::new(), Some(UNKNOWN_RESTORE)),
        (Presence::Beside(_) | Presence::Sometimes, _) => (String::new(), None),
    };
    let op = format!("{{ remove = {place}{restore} }}");
    Proposed { question: question.map(str::to_owned), ..proposed("remove", at, op, &leftover.strength) }
}

fn proposed(op: &'static str, place: &Path, text: String, strength: &Strength) -> Proposed {
    let left_out = (strength.confidence == Confidence::Low).then(|| "too little speaks for it".to_owned());
    Proposed {
        kind: op,
        place: place.to_string(),
        op: text,
        confidence: strength.confidence,
        evidence: strength.evidence.clone(),
        question: None,
        left_out,
    }
}

const ON_EDIT: &str = "when an older server edits the value, \"head\" keeps the other elements and \"replace\" drops them: which is right?";
const WHICH: &str = " And is where what tells the element apart, all of it and nothing else?";
const ABSENCE: &str =
    "is this what absence means to older servers? If absence means something to newer ones, too, add upper = …";
const UNKNOWN_DEFAULT: &str =
    "what shall newer servers find in records that older ones wrote? Write it as value and drop the \"#\"";
const NO_DEFAULT: &str = "the samples show no default";
const SOMETIMES: &str = "not every newer record has it, so it is never put in, only taken out for older servers (and kept in the carry). \
                         If newer servers need it, drop both conditions";
const UNKNOWN_RESTORE: &str =
    "every older record has it: what shall older servers find in records that newer ones wrote? Add restore = …";
