//! The pack as a person reads it: TOML with what speaks for each line, and questions where the samples leave one.

use super::draft::{Draft, Example, Recognised, WrittenBy};
use super::tree::{Kind, Node, quoted};
use super::{Confidence, Proposed};

/// The pack, and the number of the `ops` entry that each active line became.
pub(super) fn pack(draft: &Draft) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line("# Proposed by `unskew infer` from samples: a draft to read, edit and check.");
    for about in &draft.about {
        line(&comment(about));
    }
    line(&comment(
        "Lines that begin with \"# ?\" are questions. An op in a comment is not active: drop the \"#\" to take it.",
    ));
    line(&format!("name = {}", string(&draft.name)));
    line("revision = 1");
    for (id, rule) in [(&draft.from, &draft.recognised.lower), (&draft.to, &draft.recognised.upper)] {
        line("");
        line("[[version]]");
        line(&format!("id = {}", string(id)));
        line(&rule.toml());
        if id == &draft.to {
            line(&comment(&draft.recognised.evidence));
            line(&format!(
                "# reads = [{}, {}]   # if servers of version {} read records of version {} as they are",
                string(&draft.from),
                string(&draft.to),
                one_line(&draft.to),
                one_line(&draft.from)
            ));
        }
    }
    line("");
    line("[[step]]");
    line(&format!("from = {}", string(&draft.from)));
    line(&format!("to = {}", string(&draft.to)));
    line("ops = [");
    for proposed in &draft.ops {
        for text in op(proposed) {
            line(&format!("  {text}"));
        }
    }
    line("]");
    for question in &draft.questions {
        line("");
        line(&asked(question));
    }
    for (path, key, why_not) in &draft.collections {
        line("");
        let hash = if why_not.is_some() { "# " } else { "" };
        if let Some(why) = why_not {
            line(&comment(&format!("left out: {why}")));
        }
        line(&format!("{hash}[[collection]]"));
        line(&format!("{hash}version = {}", string(&draft.to)));
        line(&format!("{hash}path = {}", string(&path.to_string())));
        line(&format!(
            "{hash}key = {}",
            string(&format!("/{}", key.replace('~', "~0").replace('/', "~1").replace('*', "~2")))
        ));
    }
    if let Some(Example { about, lower, upper, written_by }) = &draft.example {
        line("");
        let hash = match written_by {
            WrittenBy::Servers => {
                line(&comment(about));
                ""
            }
            WrittenBy::Rules => {
                line(&asked(about));
                "# "
            }
        };
        line(&format!("{hash}[[example]]"));
        line(&format!("{hash}lower = {}", long_string(lower)));
        line(&format!("{hash}upper = {}", long_string(upper)));
    }
    out
}

/// An op with what stands before it.
fn op(proposed: &Proposed) -> Vec<String> {
    let word = match proposed.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    let mut lines = vec![comment(&format!("{word}: {}", proposed.evidence))];
    lines.extend(proposed.question.iter().map(|question| asked(question)));
    match &proposed.left_out {
        Some(why) => {
            lines.push(comment(&format!("left out: {why}")));
            lines.push(format!("# {},", proposed.op));
        }
        None => lines.push(format!("{},", proposed.op)),
    }
    lines
}

fn comment(text: &str) -> String {
    format!("# {}", one_line(text))
}

fn asked(question: &str) -> String {
    format!("# ? {}", one_line(question))
}

/// Nothing of a sample ends a comment or steers a terminal.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|char| match char.is_control() {
            true => char.escape_default().collect::<Vec<_>>(),
            false => vec![char],
        })
        .collect()
}

impl Recognised {
    /// As a version has it.
    pub(super) fn toml(&self) -> String {
        match self {
            Recognised::Absent(place) => format!("marker = {{ path = {}, absent = true }}", string(place)),
            Recognised::Value(place, value) => {
                format!("marker = {{ path = {}, value = {} }}", string(place), literal(value))
            }
            Recognised::Has(place) => format!("shape = {{ has = [{}] }}", string(place)),
            Recognised::Lacks(place) => format!("shape = {{ lacks = [{}] }}", string(place)),
        }
    }
}

/// A literal of a pack.
pub(super) fn literal(node: &Node) -> String {
    match node {
        Node::Bool(_) => node.to_string(),
        Node::Number(text) if plain(text) => text.clone(),
        Node::String(text) => string(text),
        Node::Array(elements) if elements.is_empty() => "[]".to_owned(),
        Node::Array(elements)
            if elements.iter().all(|element| element.kind() == Kind::String || element.kind() == Kind::Bool) =>
        {
            format!("[{}]", elements.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        Node::Object(members) if members.is_empty() => "{}".to_owned(),
        Node::Null | Node::Number(_) | Node::Odd(_) | Node::Array(_) | Node::Object(_) => {
            format!("{{ json = {} }}", long_string(&node.to_string()))
        }
    }
}

/// Whether TOML and JSON write this number alike: a decimal of at most 17 digits.
fn plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text != "-0" && digits.len() <= 17 && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// A string of TOML; JSON's escapes are among TOML's.
pub(super) fn string(text: &str) -> String {
    quoted(text).replace('\u{7f}', "\\u007f")
}

/// A key of TOML.
pub(super) fn key(text: &str) -> String {
    let bare =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if bare { text.to_owned() } else { string(text) }
}

/// JSON as a string of TOML, without escapes where that is possible.
fn long_string(text: &str) -> String {
    let literal = !text.contains('\'') && !text.chars().any(char::is_control);
    if literal { format!("'{text}'") } else { string(text) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn literals_come_back_with_every_digit() {
        for text in [
            "null",
            "1",
            "-0",
            "0.10",
            "1e400",
            "18446744073709551616",
            r#""a\"b\\\u007f""#,
            "[]",
            "{}",
            r#"["a",true]"#,
            r#"{"it's":[null]}"#,
            r#"{"json":"x"}"#,
        ] {
            let toml = format!("a = {}", literal(&Node::parse(text).unwrap()));
            let pack = crate::pack::Pack::from_toml("t", &toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
            let json = std::str::from_utf8(pack.json()).unwrap();
            let back = Node::parse(json).unwrap();
            assert_eq!(back.member("a").unwrap().to_string(), Node::parse(text).unwrap().to_string(), "{toml}");
        }
    }
}
