//! Tables in plain text: columns as wide as their widest cell.

use std::fmt;

use super::output;

/// A table with a head.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    numbers: Vec<usize>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(ToString::to_string).collect()], numbers: Vec::new() }
    }

    /// The same with these columns set to the right, as numbers are.
    pub(super) fn numbers(mut self, columns: impl IntoIterator<Item = usize>) -> Table {
        self.numbers.extend(columns);
        self
    }

    /// One more row; line breaks within cells are spelt out.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| output::on_one_line(&cell)).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| columns_of(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let space = " ".repeat(widths[column] - columns_of(cell));
                let cell =
                    if self.numbers.contains(&column) { format!("{space}{cell}") } else { format!("{cell}{space}") };
                line.push_str(if column == 0 { "" } else { "   " });
                line.push_str(&cell);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// How many columns of a terminal a text takes.
fn columns_of(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", "n"]).numbers([1]);
        table.row(["a".to_string(), "10".to_string()]);
        table.row(["longer×".to_string(), "9".to_string()]);
        assert_eq!(table.to_string(), "name       n\na         10\nlonger×    9\n");
    }
}
