//! The timeline as inline SVG: failed joins per second in both lanes, with the phases behind them.

use std::fmt::Write as _;

use super::outcome::{Moment, Outcome, PhaseOutcome};
use super::report::escape;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 44.0;

/// The plot of an outcome. Colours come from the page's CSS variables, so that light and dark both work; values at a
/// moment are shown on hover without a script, and the page has them as a table too.
pub(super) fn svg(outcome: &Outcome) -> String {
    let scale = Scale::of(outcome);
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="plot-title plot-text">
<title id="plot-title">Failed joins per second over time, without and with rules</title>
<desc id="plot-text">{}</desc>
"#,
        escape(&in_words(outcome))
    );
    for (index, phase) in outcome.phases.iter().enumerate() {
        svg.push_str(&scale.phase(index, phase));
    }
    svg.push_str(&scale.axes());
    svg.push_str(&scale.curve("without", &outcome.timeline, |moment| moment.failed_per_second.without));
    svg.push_str(&scale.curve("with", &outcome.timeline, |moment| moment.failed_per_second.with));
    for moment in &outcome.timeline {
        svg.push_str(&scale.hover(moment));
    }
    svg.push_str("</svg>\n");
    svg
}

/// From seconds and failures per second to places in the picture.
struct Scale {
    seconds: f64,
    step: f64,
    top: f64,
    slice: f64,
}

impl Scale {
    fn of(outcome: &Outcome) -> Scale {
        let seconds = outcome.phases.last().map_or(1.0, |phase| phase.begins_s + phase.seconds);
        let rates = outcome.timeline.iter().flat_map(|moment| moment.failed_per_second.each());
        let most = rates.map(|(_, rate)| *rate).fold(0.0, f64::max);
        let slice = outcome.timeline.get(1).map_or(seconds, |moment| moment.at_s);
        let step = step(most);
        Scale { seconds, step, top: (most / step).ceil().max(1.0) * step, slice }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    fn y(&self, rate: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * rate / self.top
    }

    /// The band of a phase with its name, hour and fleet, and a mark where a pack was swapped in.
    fn phase(&self, index: usize, phase: &PhaseOutcome) -> String {
        let (from, to) = (self.x(phase.begins_s), self.x(phase.begins_s + phase.seconds));
        let name = [phase.at.as_deref().unwrap_or_default(), &phase.name].join(" ");
        let shade = if index.is_multiple_of(2) { "band" } else { "band odd" };
        let mut svg = format!(
            r#"<rect class="{shade}" x="{from:.1}" y="0" width="{:.1}" height="{:.1}"/>
<text class="phase" x="{:.1}" y="22">{}</text><text class="fleet" x="{:.1}" y="42">{}</text>
"#,
            to - from,
            HEIGHT - BOTTOM,
            from + 8.0,
            escape(name.trim()),
            from + 8.0,
            escape(&phase.fleet_text),
        );
        if phase.swapped {
            let _ = writeln!(
                svg,
                r#"<line class="swap" x1="{from:.1}" x2="{from:.1}" y1="{TOP}" y2="{:.1}"/><text class="swap-name" x="{:.1}" y="{:.1}">pack swapped in</text>"#,
                HEIGHT - BOTTOM,
                from + 8.0,
                TOP + 12.0,
            );
        }
        svg
    }

    fn axes(&self) -> String {
        let mut svg = String::new();
        let rows = (self.top / self.step).round() as u32;
        for row in 0..=rows {
            let rate = f64::from(row) * self.step;
            let y = self.y(rate);
            let _ = writeln!(
                svg,
                r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="tick end" x="{:.1}" y="{:.1}">{rate}</text>"#,
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
            );
        }
        let every = step(self.seconds);
        for column in 0..=(self.seconds / every).floor() as u32 {
            let at = f64::from(column) * every;
            let _ = writeln!(
                svg,
                r#"<text class="tick middle" x="{:.1}" y="{:.1}">{at}</text>"#,
                self.x(at),
                HEIGHT - BOTTOM + 18.0
            );
        }
        let _ =
            writeln!(svg, r#"<text class="tick" x="{LEFT}" y="{:.1}">seconds since the start</text>"#, HEIGHT - 6.0);
        svg
    }

    fn curve(&self, lane: &str, timeline: &[Moment], rate: fn(&Moment) -> f64) -> String {
        let points = timeline.iter().map(|moment| (self.x(moment.at_s + self.slice / 2.0), self.y(rate(moment))));
        let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (base, line) = (self.y(0.0), points.join(" "));
        let ends = (self.x(self.slice / 2.0), self.x(self.seconds - self.slice / 2.0));
        format!(
            r#"<polygon class="area {lane}" points="{:.1},{base:.1} {line} {:.1},{base:.1}"/><polyline class="curve {lane}" points="{line}"/>
"#,
            ends.0, ends.1,
        )
    }

    /// What is shown while the pointer is over a moment.
    fn hover(&self, moment: &Moment) -> String {
        let (from, to) = (self.x(moment.at_s), self.x(moment.at_s + self.slice));
        let (x, base) = ((from + to) / 2.0, HEIGHT - BOTTOM);
        let left = if x > WIDTH * 0.7 { x - 244.0 } else { x + 12.0 };
        let mut svg = format!(
            r#"<g class="moment" aria-hidden="true"><rect class="reach" x="{from:.1}" y="{TOP}" width="{:.1}" height="{:.1}"/><g class="tip"><line x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{base:.1}"/>"#,
            to - from,
            base - TOP,
        );
        for (lane, rate) in moment.failed_per_second.each() {
            let _ = write!(svg, r#"<circle class="{lane}" cx="{x:.1}" cy="{:.1}" r="4"/>"#, self.y(*rate));
        }
        let _ = write!(
            svg,
            r#"<rect class="box" x="{left:.1}" y="{:.1}" width="232" height="66" rx="6"/><text x="{:.1}" y="{:.1}">{:.2} s to {:.2} s</text>"#,
            TOP + 20.0,
            left + 10.0,
            TOP + 39.0,
            moment.at_s,
            moment.at_s + self.slice,
        );
        let rates = moment.failed_per_second.each().into_iter().zip(moment.joins_per_second.each());
        for (row, ((lane, failed), (_, joins))) in rates.enumerate() {
            let _ = write!(
                svg,
                r#"<text x="{:.1}" y="{:.1}">{lane}: {failed:.0} of {joins:.0} joins per second</text>"#,
                left + 10.0,
                TOP + 57.0 + 18.0 * row as f64
            );
        }
        svg.push_str("</g></g>\n");
        svg
    }
}

/// A round distance of grid lines: 1, 2 or 5 times a power of ten, four to eight of them up to the most.
fn step(most: f64) -> f64 {
    let raw = (most / 5.0).max(1.0);
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|unit| unit * power).into_iter().find(|step| *step >= raw).unwrap_or(raw)
}

fn in_words(outcome: &Outcome) -> String {
    let phase = |phase: &PhaseOutcome| {
        let [without, with] = phase.lanes.each().map(|(_, lane)| lane.failed_joins);
        format!("{}, fleet {}: {without} failed joins without rules, {with} with rules.", phase.name, phase.fleet_text)
    };
    outcome.phases.iter().map(phase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_lines_are_round_and_few() {
        for most in [0.0, 3.0, 17.0, 80.0, 100.0, 1234.0] {
            let rows = (most / step(most)).ceil();
            assert!(rows <= 6.0, "{most}: {rows} rows");
        }
        assert_eq!((step(80.0), step(7.0), step(0.0)), (20.0, 2.0, 1.0));
    }
}
