//! Tables without lines: columns two cells apart, the widest text cut where the terminal ends.

use console::{measure_text_width, pad_str};

use super::canvas::{Canvas, Tone};
use super::words::of_one_line;

/// No column is cut to less than this many cells.
const NARROWEST: usize = 8;
const GAP: usize = 2;

/// On which side of its column a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table that grows row by row.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    /// The column that is cut when the rows are too wide.
    flexible: usize,
    indent: usize,
}

impl Table {
    /// A table with these headings; of too wide rows the column `flexible` is cut.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)], flexible: usize) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), flexible, indent: 0 }
    }

    /// The same table, `cells` further to the right.
    #[must_use]
    pub fn indent(mut self, cells: usize) -> Self {
        self.indent = cells;
        self
    }

    /// Adds a row. Missing cells are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| of_one_line(&cell)).collect());
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines; nothing when there is no row. A table whose headings are all empty has none.
    #[must_use]
    pub fn render(&self, canvas: &Canvas) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let widths = self.widths(canvas);
        let mut text = String::new();
        if self.columns.iter().any(|(heading, _)| !heading.is_empty()) {
            let headings: Vec<String> = self
                .columns
                .iter()
                .map(|(heading, _)| canvas.paint(Tone::Faint, &heading.to_uppercase()))
                .collect();
            text.push_str(&self.line(&headings, &widths, canvas));
        }
        for row in &self.rows {
            text.push_str(&self.line(row, &widths, canvas));
        }
        text
    }

    fn widths(&self, canvas: &Canvas) -> Vec<usize> {
        let mut widths: Vec<usize> = Vec::new();
        for (index, (heading, _)) in self.columns.iter().enumerate() {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let widest = cells.map(|cell| measure_text_width(cell)).max().unwrap_or(0);
            widths.push(widest.max(measure_text_width(heading)));
        }
        let gaps = GAP * widths.iter().filter(|width| **width > 0).count().saturating_sub(1);
        let total = widths.iter().sum::<usize>() + gaps + self.indent;
        if let Some(limit) = canvas.width
            && let Some(flexible) = widths.get_mut(self.flexible)
        {
            let excess = total.saturating_sub(limit);
            *flexible = (*flexible).min(flexible.saturating_sub(excess).max(NARROWEST));
        }
        widths
    }

    fn line(&self, cells: &[String], widths: &[usize], canvas: &Canvas) -> String {
        let mut line = " ".repeat(self.indent);
        for (index, (_, align)) in self.columns.iter().enumerate() {
            let width = widths[index];
            if width == 0 {
                continue;
            }
            let cell = cells.get(index).map_or("", String::as_str);
            let cell = canvas.cut(cell, width);
            let align = match align {
                Align::Left => console::Alignment::Left,
                Align::Right => console::Alignment::Right,
            };
            line.push_str(&pad_str(&cell, width, align, None));
            line.push_str(&" ".repeat(GAP));
        }
        // Where even the narrowest form is too wide, cut lines are easier to read than wrapped.
        let mut line = canvas.fit(line.trim_end());
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(width: Option<usize>) -> String {
        let mut table =
            Table::new(&[("id", Align::Left), ("name", Align::Left), ("took", Align::Right)], 1);
        table.row(["1.2".into(), "Task parser and goal extraction".into(), "45s".into()]);
        table.row(["1.10".into(), "漢字".into(), "1m02s".into()]);
        table.render(&Canvas { width, ..Canvas::plain() })
    }

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        insta::assert_snapshot!(streams(None), @"
        ID    NAME                              TOOK
        1.2   Task parser and goal extraction    45s
        1.10  漢字                             1m02s
        ");
    }

    #[test]
    fn the_flexible_column_gives_way_on_a_narrow_terminal() {
        insta::assert_snapshot!(streams(Some(30)), @"
        ID    NAME                TOOK
        1.2   Task parser and …    45s
        1.10  漢字               1m02s
        ");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..60 {
            for line in streams(Some(width)).lines() {
                assert!(measure_text_width(line) <= width, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn a_table_without_rows_or_cells_takes_no_room() {
        let mut table = Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Left)], 2);
        assert_eq!(table.render(&Canvas::plain()), "");
        table.row(["a".into(), String::new(), "two\nlines".into()]);
        assert_eq!(table.indent(2).render(&Canvas::plain()), "  a  two lines\n");
    }
}
