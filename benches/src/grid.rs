//! Tables as Markdown, their columns aligned for a terminal.

use std::fmt;

/// A table under its heading.
pub struct Grid {
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// An empty table with these columns; the first one is text, the others are figures.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Grid {
        Grid { rows: vec![columns.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let length = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |cell| cell.chars().count());
        let widths: Vec<usize> =
            (0..columns).map(|at| self.rows.iter().map(|row| length(row, at)).max().unwrap_or(0).max(3)).collect();
        for (at, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                match column {
                    0 => write!(f, "| {cell:<width$} ")?,
                    _ => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")?;
            if at == 0 {
                for (column, width) in widths.iter().enumerate() {
                    match column {
                        0 => write!(f, "|{:-<1$}", "", width + 2)?,
                        _ => write!(f, "|{:-<1$}:", "", width + 1)?,
                    }
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A time as people read it: three digits and a unit.
pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e4 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e5 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 1e7 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut grid = Grid::new(["what", "µs"]);
        grid.row(["a longer one", "1"]);
        assert_eq!(grid.to_string(), "| what         |  µs |\n|--------------|----:|\n| a longer one |   1 |\n");
    }

    #[test]
    fn times_have_three_digits() {
        assert_eq!(
            [4.0, 1640.0, 26_100.0, 381_000.0, 2.5e6].map(time),
            ["4 ns", "1.64 µs", "26.1 µs", "381 µs", "2.50 ms"]
        );
    }
}
