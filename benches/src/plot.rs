//! Plots as SVG that are read in light and in dark: a few curves over an axis, time upwards.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::grid::time;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;

/// Told apart by people who see few colours too (Okabe and Ito, "Color universal design", 2008).
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// What lies to the right.
#[derive(Clone, Debug)]
pub struct Axis {
    label: String,
    marks: Vec<usize>,
    scale: Scale,
}

#[derive(Clone, Copy, Debug)]
enum Scale {
    Linear,
    Log,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Curves over an axis, with nanoseconds upwards, both in powers where the axis is logarithmic.
pub struct Plot {
    title: String,
    x: Axis,
    curves: Vec<Curve>,
}

impl Axis {
    /// With a mark at each of these, at equal distances for equal factors.
    pub fn log(label: &str, marks: &[usize]) -> Axis {
        Axis { label: label.to_owned(), marks: marks.to_vec(), scale: Scale::Log }
    }

    /// With a mark at each of these, at equal distances for equal differences; times start at nothing.
    pub fn linear(label: &str, marks: &[usize]) -> Axis {
        Axis { label: label.to_owned(), marks: marks.to_vec(), scale: Scale::Linear }
    }

    /// Where the marks are.
    pub fn marks(&self) -> &[usize] {
        &self.marks
    }
}

impl Curve {
    /// A line without points.
    pub fn new(name: &str) -> Curve {
        Curve { name: name.to_owned(), points: Vec::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a point: x, and nanoseconds.
    pub fn point(&mut self, x: f64, nanoseconds: f64) {
        self.points.push((x, nanoseconds));
    }

    /// Its points, in the order in which they were added.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

impl Plot {
    /// Curves under a title.
    pub fn new(title: &str, x: Axis, curves: Vec<Curve>) -> Plot {
        Plot { title: title.to_owned(), x, curves }
    }

    /// Writes `docs/plots/<file>.svg`.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, file: &str) -> io::Result<PathBuf> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/plots");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{file}.svg")), self.svg())?;
        Ok(PathBuf::from("docs/plots").join(format!("{file}.svg")))
    }

    /// The text of the picture.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{}</title>\n<style>\n\
             .ink {{ fill: #24292f }} .line {{ stroke: #d0d7de }} .paper {{ fill: #ffffff }}\n\
             @media (prefers-color-scheme: dark) {{ .ink {{ fill: #e6edf3 }} .line {{ stroke: #3d444d }} \
             .paper {{ fill: #0d1117 }} }}\n</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
            escaped(&self.title)
        );
        text(&mut svg, (LEFT, 24.0), "start", "font-weight=\"600\"", &self.title);
        for mark in &self.x.marks {
            let x = self.across(*mark as f64);
            line(&mut svg, (x, TOP), (x, HEIGHT - BOTTOM));
            text(&mut svg, (x, HEIGHT - BOTTOM + 18.0), "middle", "", &thousands(*mark));
        }
        text(&mut svg, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14.0), "middle", "", &self.x.label);
        for nanoseconds in self.levels() {
            let y = self.up(nanoseconds);
            line(&mut svg, (LEFT, y), (WIDTH - RIGHT, y));
            text(&mut svg, (LEFT - 8.0, y + 4.0), "end", "", &time(nanoseconds));
        }
        // Names stand beside the last point of their line, apart from one another.
        let mut named: Vec<(usize, f64)> = self
            .curves
            .iter()
            .enumerate()
            .filter_map(|(at, curve)| Some((at, self.up(curve.points.last()?.1))))
            .collect();
        named.sort_by(|one, other| one.1.total_cmp(&other.1));
        let mut above = f64::MIN;
        for (at, y) in named {
            let (curve, colour) = (&self.curves[at], COLOURS[at % COLOURS.len()]);
            let points: Vec<String> =
                curve.points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.across(*x), self.up(*y))).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
                points.join(" ")
            );
            for (x, y) in &curve.points {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"><title>{}</title></circle>",
                    self.across(*x),
                    self.up(*y),
                    time(*y)
                );
            }
            above = y.max(above + 15.0);
            let last = curve.points.last().map_or(0.0, |(_, y)| *y);
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}, {}</text>",
                WIDTH - RIGHT + 8.0,
                above + 4.0,
                escaped(&curve.name),
                time(last)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn across(&self, x: f64) -> f64 {
        let [first, last] = [self.x.marks.first(), self.x.marks.last()].map(|mark| mark.copied().unwrap_or(1) as f64);
        let share = match self.x.scale {
            Scale::Linear => (x - first) / (last - first),
            Scale::Log => (x / first).ln() / (last / first).ln(),
        };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, nanoseconds: f64) -> f64 {
        let (low, high) = self.range();
        let share = match self.x.scale {
            Scale::Linear => (nanoseconds - low) / (high - low),
            Scale::Log => (nanoseconds / low).ln() / (high / low).ln(),
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    /// From a power of ten to a power of ten, or from nothing to a round figure.
    fn range(&self) -> (f64, f64) {
        let all = || self.curves.iter().flat_map(|curve| &curve.points).map(|(_, y)| *y);
        let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(0.0, f64::max));
        match self.x.scale {
            Scale::Linear => (0.0, round(high)),
            Scale::Log => {
                let power = |y: f64| 10f64.powf(y);
                (power(low.log10().floor()), power(high.log10().ceil().max(low.log10().floor() + 1.0)))
            }
        }
    }

    /// Where lines go across.
    fn levels(&self) -> Vec<f64> {
        let (low, high) = self.range();
        match self.x.scale {
            Scale::Linear => (0..=4).map(|at| high / 4.0 * f64::from(at)).collect(),
            Scale::Log => {
                let decades = (high / low).log10().round() as i32;
                let within: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let decade = |at: i32| within.iter().map(move |times| low * 10f64.powi(at) * times);
                (0..=decades).flat_map(decade).filter(|level| *level <= high * 1.001).collect()
            }
        }
    }
}

/// The next of 1, 2, 4 and 8 times a power of ten.
fn round(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().map(|times| times * power).find(|round| *round >= value).unwrap_or(value)
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, more: &str, words: &str) {
    let words = escaped(words);
    let _ =
        writeln!(svg, "<text class=\"ink\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{words}</text>");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(svg, "<path class=\"line\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>", from.0, from.1, to.0, to.1);
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

/// `65536` as `64 Ki`, `10000` as `10,000`.
fn thousands(value: usize) -> String {
    match value {
        _ if value >= 1 << 20 && value.is_multiple_of(1 << 20) => format!("{} Mi", value >> 20),
        _ if value >= 1 << 10 && value.is_multiple_of(1 << 10) => format!("{} Ki", value >> 10),
        _ if value >= 1000 => format!("{},{:03}", value / 1000, value % 1000),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_lies_between_the_axes_and_says_what_it_is() {
        let mut curve = Curve::new("a < b");
        [(1.0, 100.0), (10.0, 900.0), (100.0, 90_000.0)].into_iter().for_each(|(x, y)| curve.point(x, y));
        let plot = Plot::new("Title", Axis::log("ops", &[1, 10, 100]), vec![curve]);
        let svg = plot.svg();
        for words in ["a &lt; b, 90.0 µs", ">ops<", ">100 ns<", ">100 µs<", "prefers-color-scheme: dark"] {
            assert!(svg.contains(words), "{words}");
        }
        assert_eq!((plot.across(1.0), plot.across(100.0)), (LEFT, WIDTH - RIGHT));
        assert_eq!((plot.up(100.0), plot.up(100_000.0).round()), (HEIGHT - BOTTOM, TOP));
        assert!((TOP..HEIGHT - BOTTOM).contains(&plot.up(90_000.0)));
    }

    #[test]
    fn marks_are_short() {
        assert_eq!([7, 1000, 10_000, 1024, 1 << 20].map(thousands), ["7", "1,000", "10,000", "1 Ki", "1 Mi"]);
    }
}
