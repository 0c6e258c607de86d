//! Tables as kubectl prints them: no borders, two spaces between columns, readable by awk.

use std::borrow::Cow;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use state_machine::text::inert_line;

/// A table, row by row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    header: Vec<String>,
    rows: Vec<(Vec<String>, Option<String>)>,
    /// Of the columns in the pages that were written.
    widths: Vec<u16>,
}

impl Rows {
    /// Begins a table.
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), ..Self::default() }
    }

    /// Adds a row. Whoever wrote the texts, they stay on their line and do nothing to a terminal.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push((row.into_iter().map(on_its_line).collect(), None));
    }

    /// Adds a row whose last text takes the place of all further columns, however long it is.
    pub(crate) fn push_spilling(&mut self, row: Vec<String>, rest: impl Into<String>) {
        self.push(row);
        if let Some((_, spill)) = self.rows.last_mut() {
            *spill = Some(on_its_line(rest.into()));
        }
    }

    /// Writes the rows so far and forgets them, but for the widths of their columns: so a table may
    /// be written a page at a time. The header stands above the first page only.
    pub(crate) fn render_page(&mut self, headers: bool) -> String {
        let is_first = self.widths.is_empty();
        let table = self.table(headers && is_first);
        let text = self.lines(&table, headers && is_first);
        self.widths = table.column_max_content_widths();
        self.rows.clear();
        text
    }

    /// Writes the table, with a newline at the end of each line and no spaces before it.
    pub(crate) fn render(&self, headers: bool) -> String {
        self.lines(&self.table(headers), headers)
    }

    /// Lays the table out; before the header stands a row that is as wide as the pages before.
    fn table(&self, headers: bool) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let width = |column: usize| self.widths.get(column).map_or(0, |width| usize::from(*width));
        table.add_row((0..self.header.len()).map(|column| "x".repeat(width(column))));
        table.add_row(self.header.iter().map(|name| if headers { name.as_str() } else { "" }));
        for (row, _) in &self.rows {
            let missing = self.header.len().saturating_sub(row.len());
            table.add_row(row.iter().cloned().chain(std::iter::repeat_n(String::new(), missing)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }

    fn lines(&self, table: &Table, headers: bool) -> String {
        let mut text = String::new();
        let spills = std::iter::once(None).chain(self.rows.iter().map(|(_, rest)| rest.as_ref()));
        let laid_out = table.to_string();
        for (index, (line, spill)) in laid_out.lines().skip(1).zip(spills).enumerate() {
            if index == 0 && !headers {
                continue;
            }
            text.push_str(line.trim_end());
            if let Some(rest) = spill {
                text.push(' ');
                text.push_str(rest);
            }
            text.push('\n');
        }
        text
    }
}

fn on_its_line(cell: String) -> String {
    match inert_line(&cell) {
        Cow::Borrowed(_) => cell,
        Cow::Owned(inert) => inert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_long_texts_spill() {
        let mut rows = Rows::new(&["NODE", "STATE", "LAG"]);
        rows.push(vec!["n1".into(), "leader".into(), "-".into()]);
        rows.push_spilling(vec!["node-2".into(), "unreachable".into()], "(no answer in 2 s)");
        rows.push(vec!["n3".into(), String::new(), "7".into()]);
        let text = "\
NODE    STATE        LAG
n1      leader       -
node-2  unreachable (no answer in 2 s)
n3                   7
";
        assert_eq!(rows.render(true), text);
        assert_eq!(rows.render(false).lines().count(), 3);
    }

    #[test]
    fn a_table_in_pages_has_one_header_and_columns_that_never_shrink() {
        let mut rows = Rows::new(&["KEY", "VALUE"]);
        let page = |rows: &mut Rows, keys: &[&str]| {
            for key in keys {
                rows.push(vec![(*key).into(), "v".into()]);
            }
            rows.render_page(true)
        };
        assert_eq!(page(&mut rows, &["a", "longer"]), "KEY     VALUE\na       v\nlonger  v\n");
        assert_eq!(page(&mut rows, &["b", "c"]), "b       v\nc       v\n");
        assert_eq!(page(&mut rows, &["longest"]), "longest  v\n");
        assert_eq!(page(&mut rows, &["d"]), "d        v\n");
        assert_eq!(Rows::new(&["KEY"]).render_page(true), "KEY\n", "nobody is told nothing");
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let mut rows = Rows::new(&["NODE", "WHY"]);
        rows.push_spilling(vec!["a\nb".into()], "x\x1b[2J\ty");
        assert_eq!(rows.render(false), "a\\nb x\\x1b[2J\\ty\n");
    }
}
