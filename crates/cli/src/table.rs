//! Tables that fit 100 columns.

use crate::style;

/// Widest line of a table.
const WIDTH: usize = 100;

/// Rows of cells under a header.
#[derive(Debug, Default)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; a name that begins with `>` is aligned to the right.
    pub(crate) fn new(columns: &[&'static str]) -> Table {
        let right = columns.iter().map(|c| c.starts_with('>')).collect();
        Table { header: columns.iter().map(|c| c.trim_start_matches('>')).collect(), right, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, two spaces in front of each line; the last column takes what is left of the width.
    pub(crate) fn render(&self) -> String {
        let columns = self.header.len();
        let mut widths: Vec<usize> = self.header.iter().map(|h| h.chars().count()).collect();
        for row in &self.rows {
            for (w, cell) in widths.iter_mut().zip(row) {
                *w = (*w).max(cell.chars().count());
            }
        }
        let fixed: usize = widths[..columns - 1].iter().map(|w| w + 2).sum();
        widths[columns - 1] = widths[columns - 1].min(WIDTH.saturating_sub(fixed + 2).max(12));
        let header: Vec<String> = self.header.iter().map(|h| (*h).to_owned()).collect();
        let mut out = style::dim(&self.line(&header, &widths)) + "\n";
        for row in &self.rows {
            out.push_str(&self.line(row, &widths));
            out.push('\n');
        }
        out
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::from(" ");
        for (i, width) in widths.iter().enumerate() {
            let cell = fit(cells.get(i).map_or("", String::as_str), *width);
            let gap = " ".repeat(width - cell.chars().count());
            let text = if self.right[i] { format!("{gap}{cell}") } else { format!("{cell}{gap}") };
            line.push(' ');
            line.push_str(&text);
            line.push(' ');
        }
        line.trim_end().to_owned()
    }
}

/// Cuts a text that is too long, and says so by an ellipsis.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    head + "…"
}

/// Breaks a sentence at spaces into lines that fit; the first line begins with `first`, the others with `rest`.
pub(crate) fn wrap(text: &str, first: &str, rest: &str) -> String {
    let (mut out, mut line, mut empty) = (String::new(), first.to_owned(), true);
    for word in text.split(' ') {
        if !empty && line.chars().count() + word.chars().count() + 1 > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            (line, empty) = (rest.to_owned(), true);
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out + line.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_cells_are_cut_to_the_width() {
        let mut table = Table::new(&["a", ">n", "why"]);
        table.row(vec!["x".into(), "10".into(), "long ".repeat(60)]);
        assert!(table.render().lines().all(|l| l.chars().count() <= WIDTH), "{}", table.render());
    }
}
