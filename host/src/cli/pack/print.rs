//! What the admin API says, for people.

use serde_json::Value;

use crate::cli::output::on_one_line;

/// A generation: `opentok-sessions revision 7 (generation 3)`.
pub(super) fn named(generation: &Value) -> String {
    let text = |member: &str| match &generation[member] {
        Value::String(text) => on_one_line(text),
        Value::Null => "?".to_string(),
        other => other.to_string(),
    };
    format!("{} revision {} (generation {})", text("pack"), text("revision"), text("generation"))
}

/// Where everything stands.
pub(super) fn status(status: &Value) -> String {
    let mut text = String::new();
    for place in ["active", "staged", "previous"] {
        let there = match &status[place] {
            Value::Null => "none".to_string(),
            there => named(there),
        };
        text.push_str(&format!("{place:9} {there}\n"));
    }
    text.push_str(&format!("mode      {}\n", status["mode"].as_str().unwrap_or("?")));
    let troubles =
        [("expired", "expired at "), ("source", "source fails: "), ("last_good", "last good pack isn't kept: ")];
    for (member, words) in troubles {
        if let Some(trouble) = status[member].as_str() {
            text.push_str(&format!("ALARM     {words}{}\n", on_one_line(trouble)));
        }
    }
    if let Some(reason) = status["directory"]["reason"].as_str() {
        text.push_str(&format!("ALARM     directory is away: {}\n", on_one_line(reason)));
    }
    text.push('\n');
    for life in status["generations"].as_array().into_iter().flatten() {
        let member = |name: &str| life[name].as_str().map(on_one_line).unwrap_or_default();
        let revision = life["revision"].as_u64().map_or("-".to_string(), |revision| revision.to_string());
        let since = life["phases"].as_array().and_then(|phases| phases.last()?["at"].as_str()).unwrap_or("");
        text.push_str(&format!(
            "{:>5}  {:9} {since}  revision {revision:6} from {}\n",
            life["generation"],
            member("phase"),
            member("origin")
        ));
        if let Some(reason) = life["reason"].as_str() {
            for line in reason.lines() {
                text.push_str(&format!("       {line}\n"));
            }
        }
    }
    text
}
