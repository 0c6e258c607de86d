//! Tables as kubectl prints them: no borders, two spaces between columns, readable by awk.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// A table, row by row.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    header: Vec<String>,
    rows: Vec<(Vec<String>, Option<String>)>,
}

impl Rows {
    /// Begins a table.
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push((row, None));
    }

    /// Adds a row whose last text takes the place of all further columns, however long it is.
    pub fn push_spilling(&mut self, row: Vec<String>, rest: impl Into<String>) {
        self.rows.push((row, Some(rest.into())));
    }

    /// Writes the table, with a newline at the end of each line and no spaces before it.
    pub fn render(&self, headers: bool) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.add_row(self.header.iter().map(|name| if headers { name.as_str() } else { "" }));
        for (row, _) in &self.rows {
            let missing = self.header.len().saturating_sub(row.len());
            table.add_row(row.iter().cloned().chain(std::iter::repeat_n(String::new(), missing)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        let spills = std::iter::once(None).chain(self.rows.iter().map(|(_, rest)| rest.as_ref()));
        for (index, (line, spill)) in table.to_string().lines().zip(spills).enumerate() {
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
}
