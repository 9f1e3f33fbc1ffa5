//! Points in time: which forms a column of values has, and which two forms relate two columns.

use super::profile::Column;
use super::tree::{Kind, Node};
use super::trial::{Body, Trials, Way};
use super::write;

/// A form of time, as the op `time` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Named(&'static str),
    /// A strftime format with the zones that it names, the most common first.
    Format(&'static str, Vec<(String, String)>),
}

/// Formats that servers' libraries write by default.
const FORMATS: [&str; 12] = [
    "%a %b %d %H:%M:%S %Z %Y",
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %e %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S %Z",
    "%Y-%m-%d %H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S %z",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
];

/// What abbreviations of zones mostly mean. Others are found by pairs of values.
const ZONES: [(&str, &str); 14] = [
    ("UTC", "+00:00"),
    ("GMT", "+00:00"),
    ("PST", "-08:00"),
    ("PDT", "-07:00"),
    ("MST", "-07:00"),
    ("MDT", "-06:00"),
    ("CST", "-06:00"),
    ("CDT", "-05:00"),
    ("EST", "-05:00"),
    ("EDT", "-04:00"),
    ("CET", "+01:00"),
    ("CEST", "+02:00"),
    ("JST", "+09:00"),
    ("AEST", "+10:00"),
];

/// 1980 and 2100, in seconds: numbers outside are no points in time that a session would hold.
const PLAUSIBLE: (i64, i64) = (315_532_800, 4_102_444_800);

/// At most this many different values of a column are looked at.
const LOOKED_AT: usize = 40;

impl Form {
    /// As a pack says it.
    pub(super) fn toml(&self) -> String {
        match self {
            Form::Named(name) => write::string(name),
            Form::Format(format, zones) if zones.is_empty() => format!("{{ format = {} }}", write::string(format)),
            Form::Format(format, zones) => {
                let zones: Vec<String> = zones
                    .iter()
                    .map(|(name, offset)| format!("{} = {}", write::key(name), write::string(offset)))
                    .collect();
                format!("{{ format = {}, zones = {{ {} }} }}", write::string(format), zones.join(", "))
            }
        }
    }

    /// For people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Form::Named(name) | Form::Format(name, _) => name,
        }
    }
}

/// The op between two forms.
pub(super) fn body(lower: &Form, upper: &Form) -> Body {
    Body::new("time", format!("lower = {}, upper = {}", lower.toml(), upper.toml()))
}

/// The forms in which all values of a column are points in time of our days. Null says nothing.
pub(super) fn forms(trials: &mut Trials, column: &Column<'_>) -> Vec<Form> {
    let values: Vec<&Node> = column.distinct().into_iter().map(|(node, _)| node).collect();
    let values: Vec<&Node> = values.into_iter().filter(|node| node.kind() != Kind::Null).take(LOOKED_AT).collect();
    if values.is_empty() {
        return Vec::new();
    }
    if values.iter().all(|node| node.number().is_some()) {
        let within = |unit: i64| {
            let bounds = (PLAUSIBLE.0 * unit, PLAUSIBLE.1 * unit);
            values.iter().all(|node| {
                let whole = node.number().and_then(|text| text.split('.').next()?.parse::<i64>().ok());
                whole.is_some_and(|value| (bounds.0..=bounds.1).contains(&value))
            })
        };
        let units = [("unix-s", 1), ("unix-ms", 1000), ("unix-us", 1_000_000)];
        return units.into_iter().filter(|(_, unit)| within(*unit)).map(|(name, _)| Form::Named(name)).collect();
    }
    let looks = |node: &&Node| {
        node.text().is_some_and(|text| text.len() < 64 && text.bytes().filter(u8::is_ascii_digit).count() >= 8)
    };
    if !values.iter().all(looks) {
        return Vec::new();
    }
    let zones = zones(&values);
    let with_zones =
        |format: &'static str| Form::Format(format, if format.contains("%Z") { zones.clone() } else { Vec::new() });
    let forms: Vec<Form> =
        ["rfc3339", "http-date"].map(Form::Named).into_iter().chain(FORMATS.into_iter().map(with_zones)).collect();
    let bodies: Vec<Body> = forms.iter().map(|form| body(form, &Form::Named("unix-s"))).collect();
    let reads = |trials: &mut Trials, n: usize| {
        values.iter().all(|value| {
            let seconds = trials.run(&bodies, n, Way::Up, value);
            let seconds = seconds.and_then(|node| node.number()?.parse::<i64>().ok());
            seconds.is_some_and(|seconds| (PLAUSIBLE.0..=PLAUSIBLE.1).contains(&seconds))
        })
    };
    let found: Vec<Form> =
        forms.iter().enumerate().filter(|(n, _)| reads(trials, *n)).map(|(_, form)| form.clone()).collect();
    // The two standards say more than a format that happens to fit, too.
    match found.first() {
        Some(standard @ Form::Named(_)) => vec![standard.clone()],
        _ => found,
    }
}

/// The names of zones in texts, the most common first, with what they mostly mean, or UTC where nobody knows.
fn zones(values: &[&Node]) -> Vec<(String, String)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for text in values.iter().filter_map(|node| node.text()) {
        let is_zone = |word: &&str| {
            (2..=5).contains(&word.len())
                && word.bytes().all(|byte| byte.is_ascii_uppercase())
                && !["AM", "PM"].contains(word)
        };
        if let Some(word) = text.split(' ').find(is_zone) {
            match counts.iter_mut().find(|(name, _)| name == word) {
                Some((_, count)) => *count += 1,
                None => counts.push((word.to_owned(), 1)),
            }
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
        .into_iter()
        .map(|(name, _)| {
            let offset = ZONES.iter().find(|(known, _)| *known == name).map_or("+00:00", |(_, offset)| *offset);
            (name, offset.to_owned())
        })
        .collect()
}

/// The form with the offsets of its zones as pairs of values show them, where what the names mostly mean doesn't fit.
pub(super) fn settled(trials: &mut Trials, lower: &Form, upper: &Form, pairs: &[(&Node, &Node)]) -> (Form, Form) {
    let mut forms = [lower.clone(), upper.clone()];
    for side in 0..2 {
        let Form::Format(format, zones) = forms[side].clone() else { continue };
        let mut settled = zones.clone();
        for (zone, offset) in &mut settled {
            let named = |(one, other): &&(&Node, &Node)| {
                let text = if side == 0 { one.text() } else { other.text() };
                text.is_some_and(|text| text.split(' ').any(|word| word == zone))
            };
            let Some(pair) = pairs.iter().find(named) else { continue };
            let offsets: Vec<String> = std::iter::once(offset.clone()).chain(every_offset()).collect();
            let bodies: Vec<Body> = offsets
                .iter()
                .map(|offset| {
                    let mut tried = forms.clone();
                    tried[side] = Form::Format(format, vec![(zone.clone(), offset.clone())]);
                    body(&tried[0], &tried[1])
                })
                .collect();
            if let Some(fits) = (0..bodies.len()).find(|n| trials.relates(&bodies, *n, *pair)) {
                offset.clone_from(&offsets[fits]); // one body for each offset
            }
        }
        forms[side] = Form::Format(format, settled);
    }
    let [lower, upper] = forms;
    (lower, upper)
}

/// All offsets that zones have, by quarters of an hour, the whole hours first.
fn every_offset() -> impl Iterator<Item = String> {
    let quarters = [0, 30, 45, 15].into_iter();
    quarters.flat_map(|minutes| {
        (-12..=14).map(move |hours: i32| {
            let sign = if hours < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{minutes:02}", hours.abs())
        })
    })
}
