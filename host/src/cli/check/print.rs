//! What `check` found, for people.

use unskew::laws::{CounterExample, Grown, Law, Overlap, Refusal};
use unskew::{Fidelity, Verdict};

use super::super::output;
use super::super::table::Table;
use super::{Report, against, versions};

/// How many hints of one kind are printed; `--json` has all.
const HINTS: usize = 3;

/// How much of a recorded record is printed.
const WIDEST: usize = 400;

/// All of it.
pub(super) fn report(report: &Report<'_>) -> String {
    let mut text = overview(report);
    for trip in &report.trips {
        text.push_str(&trip.line());
    }
    for (name, why) in report.recorded.unread.iter().chain(&report.recorded.unknown).take(20) {
        text.push_str(&format!("{name}: {why}\n"));
    }
    laws(report, &mut text);
    for (held, server, fidelity) in report.too_bad() {
        text.push_str(&format!("--fail-on: records of version {held} on servers of version {server}: {fidelity}\n"));
    }
    if let Some(revisions) = &report.against {
        text.push_str(&against::text(revisions));
    }
    text
}

/// The pack in a line, and the fidelity of every pair.
fn overview(report: &Report<'_>) -> String {
    let generation = report.generation;
    let manifest = generation.manifest();
    let ids: Vec<&str> = manifest.versions.iter().map(|version| &*version.id).collect();
    let name = output::on_one_line(&manifest.name);
    let mut text = format!("{name} revision {}: no problems, all examples hold\n\n", manifest.revision);
    let head: Vec<String> =
        ["record \\ server".to_string()].into_iter().chain(ids.iter().map(ToString::to_string)).collect();
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for held in versions(generation) {
        let cells = versions(generation).map(|server| generation.judge(held, server).fidelity.to_string());
        table.row([manifest.id(held).to_string()].into_iter().chain(cells));
    }
    text.push_str(&table.to_string());
    let reasons = generation.matrix().pairs().filter(|(_, _, verdict)| verdict.fidelity > Fidelity::Exact);
    let (near, far): (Vec<_>, Vec<_>) = reasons.partition(|(held, server, _)| held.0.abs_diff(server.0) == 1);
    let mut lines: Vec<String> = Vec::new();
    for (held, server, Verdict { fidelity, reason }) in near {
        let [held, server, reason] = [manifest.id(held), manifest.id(server), reason].map(output::on_one_line);
        lines.push(format!("{held} → {server} {fidelity}: {reason}\n"));
    }
    if !far.is_empty() {
        lines.push("ways between versions further apart are made of these; --json has all reasons\n".to_string());
    }
    if !lines.is_empty() {
        text.push('\n');
        text.push_str(&lines.concat());
    }
    text
}

fn laws(report: &Report<'_>, text: &mut String) {
    let findings = &report.findings;
    if findings.pairs.is_empty() {
        return;
    }
    text.push('\n');
    for broken in &findings.broken {
        text.push_str(&counter_example(broken, report.seed));
    }
    let translated = findings.translated();
    let others: u64 = findings.pairs.iter().map(|pair| pair.refused).sum();
    let broken: std::collections::BTreeSet<Law> = findings.broken.iter().map(|broken| broken.law).collect();
    let (all, seed) = (Law::ALL.len(), report.seed);
    let (hold, recorded) = (all - broken.len(), report.recorded.all().len());
    let recorded = if recorded > 0 { format!(", {recorded} recorded ones among them") } else { String::new() };
    text.push_str(&format!(
        "{hold} of {all} laws hold on {translated} records{recorded}; {others} more were refused (seed {seed})\n"
    ));
    for overlap in findings.overlaps.iter().filter(|overlap| overlap.grown < Grown::Odd) {
        text.push_str(&overlapping("overlap", overlap));
    }
    let (recorded, grown): (Vec<&Refusal>, Vec<&Refusal>) =
        findings.refusals.iter().partition(|refusal| refusal.recorded > 0);
    for refusal in recorded {
        text.push_str(&refused("refused", refusal.recorded, refusal));
    }
    for refusal in grown.into_iter().take(HINTS) {
        text.push_str(&refused("hint", refusal.count, refusal));
    }
    for overlap in findings.overlaps.iter().filter(|overlap| overlap.grown == Grown::Odd).take(HINTS) {
        text.push_str(&overlapping("hint", overlap));
    }
    let rare = findings.coverage.rare(findings.enough);
    if !rare.is_empty() {
        let shown: Vec<String> = rare.iter().take(HINTS).map(ToString::to_string).collect();
        text.push_str(&format!(
            "hint: {} of {} situations of ops were met by fewer than {} records; examples that meet them help: {}{}\n",
            rare.len(),
            findings.coverage.cells().count(),
            findings.enough,
            shown.join("; "),
            if rare.len() > HINTS { "; …" } else { "" },
        ));
    }
}

fn counter_example(broken: &CounterExample, seed: u64) -> String {
    let CounterExample { law, from, to, record, edited, edited_back, expected, found, place, op, grown, origin } =
        broken;
    let [from, to] = [from, to].map(|id| output::on_one_line(id));
    let origin = match grown {
        Grown::Recorded => format!("record {origin}"),
        Grown::Ordinary | Grown::Odd => format!("{} record {origin} of seed {seed}", grown.as_str()),
    };
    let at =
        place.as_ref().map_or_else(String::new, |place| format!(" at {}", if place.is_empty() { "/" } else { place }));
    let mut text = format!("broken law: {law}, from version {from} to version {to}; grown smaller from {origin}\n");
    let mut line =
        |name: &str, said: &str| text.push_str(&format!("  {name:<9} {}\n", output::on_one_line(&cut(said))));
    line("record", record);
    if let Some(edited) = edited {
        line("edited", edited);
    }
    if let Some(edited) = edited_back {
        line("then", edited);
    }
    line("expected", &format!("{expected}{at}"));
    line("found", found);
    if let Some(op) = op {
        line("by", op);
    }
    text
}

fn refused(what: &str, count: u64, refusal: &Refusal) -> String {
    let Refusal { from, to, message, record, .. } = refusal;
    let [from, to, message, record] = [from, to, message, record].map(|text| output::on_one_line(&cut(text)));
    let such = if count == 1 { "1 record".to_string() } else { format!("{count} records") };
    format!("{what}: {such} of version {from} can't be brought to version {to}, such as {record}: {message}\n")
}

fn overlapping(what: &str, overlap: &Overlap) -> String {
    let [message, record] = [&overlap.message, &overlap.record].map(|text| output::on_one_line(&cut(text)));
    format!("{what}: more than one version recognises {record}: {message}\n")
}

/// The beginning of a long text.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
