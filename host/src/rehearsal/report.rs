//! The report of a rehearsal: one HTML file that needs nothing else, no script and no network.

use std::fmt::Write as _;

use super::outcome::{Outcome, PhaseOutcome};
use super::plot;

/// The outcome as a self-contained page, light or dark as the reader's system is.
pub fn html(outcome: &Outcome) -> String {
    let mut page = String::new();
    let name = escape(&outcome.scenario);
    let _ = write!(
        page,
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{name}: rehearsal</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{name}</h1>
"#
    );
    page.push_str(&summary(outcome));
    page.push_str("<h2>Failed joins per second</h2>\n<figure>\n");
    page.push_str(LEGEND);
    page.push_str(&plot::svg(outcome));
    page.push_str("</figure>\n<h2>Phases</h2>\n");
    page.push_str(&phases(&outcome.phases));
    page.push_str("<h2>Promises</h2>\n");
    page.push_str(&promises(outcome));
    page.push_str(&moments(outcome));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Text as it may stand in HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn summary(outcome: &Outcome) -> String {
    let total = |lane: usize| {
        let lanes = outcome.phases.iter().map(|phase| *phase.lanes.each()[lane].1);
        lanes.fold((0, 0), |(failed, joins), lane| (failed + lane.failed_joins, joins + lane.joins))
    };
    let [(without, joins_without), (with, joins_with)] = [total(0), total(1)];
    let broken = outcome.broken().count();
    let (class, verdict) = match broken {
        0 => ("kept", "✓ Every promise was kept.".to_string()),
        1 => ("broken", "✗ One promise was broken.".to_string()),
        n => ("broken", format!("✗ {n} promises were broken.")),
    };
    format!(
        r#"<p class="verdict {class}">{verdict}</p>
<div class="cards">
<div class="card without"><b>{without}</b> of {joins_without} joins failed <span>without rules</span></div>
<div class="card with"><b>{with}</b> of {joins_with} joins failed <span>with rules</span></div>
</div>
"#
    )
}

fn phases(phases: &[PhaseOutcome]) -> String {
    let mut table = String::from(
        "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">phase</th><th scope=\"col\">fleet</th><th scope=\"col\">lane</th>",
    );
    for head in ["creates", "joins", "failed joins", "translated", "p50", "p99"] {
        let _ = write!(table, "<th scope=\"col\" class=\"number\">{head}</th>");
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for phase in phases {
        let name = [phase.at.as_deref().unwrap_or_default(), &phase.name].join(" ");
        for (row, (lane, seen)) in phase.lanes.each().into_iter().enumerate() {
            let head = format!(
                "<th scope=\"rowgroup\" rowspan=\"2\">{}</th><td rowspan=\"2\">{}</td>",
                escape(name.trim()),
                escape(&phase.fleet_text)
            );
            let head = if row == 0 { head.as_str() } else { "" };
            let failed = if seen.failed_joins > 0 { "number bad" } else { "number" };
            let _ = writeln!(
                table,
                "<tr>{head}<td><i class=\"dot {lane}\"></i>{lane}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"{failed}\">{}</td><td class=\"number\">{}</td><td class=\"number\">{:.1} ms</td><td class=\"number\">{:.1} ms</td></tr>",
                seen.creates, seen.joins, seen.failed_joins, seen.translated, seen.p50_ms, seen.p99_ms
            );
        }
    }
    table.push_str("</tbody>\n</table></div>\n");
    table
}

fn promises(outcome: &Outcome) -> String {
    let mut list = String::from("<ul class=\"promises\">\n");
    for verdict in &outcome.promises {
        let (class, mark) = if verdict.kept { ("kept", "✓ kept") } else { ("broken", "✗ broken") };
        let _ = writeln!(
            list,
            "<li class=\"{class}\"><b>{mark}</b> {}, lane {}: {} <span>{}</span></li>",
            escape(&verdict.phase),
            verdict.lane,
            escape(&verdict.promise),
            escape(&verdict.seen)
        );
    }
    list.push_str("</ul>\n");
    list
}

fn moments(outcome: &Outcome) -> String {
    let mut table = String::from(
        "<details><summary>The plot as a table</summary><div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\" class=\"number\">from</th><th scope=\"col\" class=\"number\">failed per second, without</th><th scope=\"col\" class=\"number\">failed per second, with</th></tr></thead>\n<tbody>\n",
    );
    for moment in &outcome.timeline {
        let [(_, without), (_, with)] = moment.failed_per_second.each();
        let _ = writeln!(
            table,
            "<tr><td class=\"number\">{:.2} s</td><td class=\"number\">{without:.0}</td><td class=\"number\">{with:.0}</td></tr>",
            moment.at_s
        );
    }
    table.push_str("</tbody>\n</table></div></details>\n");
    table
}

const LEGEND: &str = r#"<figcaption><span><i class="dot without"></i>without rules: the gateway gets the pack when it is swapped in</span><span><i class="dot with"></i>with rules: the gateway has the pack from the start</span></figcaption>
"#;

/// Both hues keep 4.5:1 against their background and differ in lightness, so that they differ without colour too.
const STYLE: &str = "
:root { --ground:#fbfbfa; --sheet:#fff; --ink:#1c1b19; --soft:#5f5c57; --line:#dedbd5; --band:#f3f1ed; --without:#b93a0b; --with:#0a6c74; --good:#1d6b34; --bad:#a3231a; }
@media (prefers-color-scheme: dark) { :root { --ground:#161514; --sheet:#1e1d1b; --ink:#eceae6; --soft:#a8a49d; --line:#3a3833; --band:#262421; --without:#ff9d6b; --with:#4fc9d3; --good:#7fd399; --bad:#ff9089; } }
* { box-sizing:border-box }
body { margin:0; background:var(--ground); color:var(--ink); font:16px/1.5 system-ui, sans-serif }
main { max-width:1040px; margin:0 auto; padding:32px 20px 64px }
h1 { font-size:1.7rem; line-height:1.2; margin:0 0 12px }
h2 { font-size:1.1rem; margin:36px 0 12px }
.verdict { font-weight:600; margin:0 0 20px }
.kept.verdict, .kept b { color:var(--good) } .broken.verdict, .broken b { color:var(--bad) }
.cards { display:flex; flex-wrap:wrap; gap:16px }
.card { flex:1 1 260px; background:var(--sheet); border:1px solid var(--line); border-radius:10px; padding:14px 18px }
.card b { font-size:2rem; line-height:1.2; font-variant-numeric:tabular-nums } .card span { display:block; color:var(--soft) }
.card.without b { color:var(--without) } .card.with b { color:var(--with) }
figure { margin:0; background:var(--sheet); border:1px solid var(--line); border-radius:10px; padding:14px }
figcaption { display:flex; flex-wrap:wrap; gap:4px 24px; font-size:.9rem; margin-bottom:8px }
.dot { display:inline-block; width:10px; height:10px; border-radius:50%; margin-right:7px; background:var(--without) } .dot.with { background:var(--with) }
svg { display:block; width:100%; height:auto; font:13px system-ui, sans-serif }
svg text { fill:var(--soft) } svg .phase { fill:var(--ink); font-weight:600 }
.band { fill:transparent } .band.odd { fill:var(--band) }
.grid { stroke:var(--line); stroke-width:1 } .end { text-anchor:end } .middle { text-anchor:middle }
.swap { stroke:var(--ink); stroke-width:1.5; stroke-dasharray:4 4 } svg .swap-name { fill:var(--ink) }
.curve { fill:none; stroke-width:2.5; stroke-linejoin:round } .area { opacity:.14 }
.curve.without { stroke:var(--without) } .curve.with { stroke:var(--with) } .area.without, circle.without { fill:var(--without) } .area.with, circle.with { fill:var(--with) }
.reach { fill:transparent } .tip { opacity:0; pointer-events:none } .moment:hover .tip { opacity:1 }
.tip line { stroke:var(--soft) } .tip .box { fill:var(--sheet); stroke:var(--line) } svg .tip text { fill:var(--ink); font-size:12px; font-variant-numeric:tabular-nums }
.scroll { overflow-x:auto }
table { border-collapse:collapse; width:100%; background:var(--sheet); font-size:.92rem }
th, td { padding:7px 12px; border-bottom:1px solid var(--line); text-align:left; vertical-align:top; font-variant-numeric:tabular-nums } thead th { color:var(--soft); font-weight:500 }
.number { text-align:right; white-space:nowrap } td.bad { color:var(--without); font-weight:600 }
.promises { list-style:none; padding:0; margin:0 } .promises li { padding:6px 0; border-bottom:1px solid var(--line) } .promises span { color:var(--soft); display:block; font-size:.9rem }
details { margin-top:28px } summary { cursor:pointer; color:var(--soft); margin-bottom:10px }
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]
    use std::time::Duration;

    use super::super::audit::Audit;
    use super::super::scenario::Scenario;
    use super::super::tally::{Joined, Tally};
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }

    /// The incident with made-up counts: failures in the canary and after the roll-back.
    fn made_up() -> Outcome {
        let scenario = Scenario::incident().unwrap();
        let slice = Duration::from_millis(250);
        let tally = |failing: &dyn Fn(usize) -> u64| {
            let mut tally = Tally::new(4, scenario.duration(), slice);
            for moment in 0..60usize {
                let (at, phase) =
                    (slice * moment as u32, scenario.begins().partition_point(|b| *b <= slice * moment as u32) - 1);
                for n in 0..130 {
                    let joined =
                        if n < failing(moment) { Joined::Unreadable } else { Joined::Done { translated: false } };
                    tally.joined(phase, at, Duration::ZERO, Duration::from_micros(700 + n * 5), &joined);
                }
            }
            tally
        };
        let without = tally(&|moment| if (12..44).contains(&moment) { (moment as u64 * 7) % 12 } else { 0 });
        Outcome::of(&scenario, slice, &[without, tally(&|_| 0)], [Audit::default(); 2])
    }

    #[test]
    fn the_report_needs_nothing_else() {
        let page = html(&made_up());
        std::fs::write("/tmp/made-up.html", &page).unwrap();
        for outside in ["http:", "https:", "src=", "@import", "url(", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for phase in ["11:30 steady", "12:08 canary", "13:05 roll-back", "14:10 fix"] {
            assert!(page.contains(phase), "{phase}");
        }
    }
}
