//! Lists that may be long, written a page at a time: the first lines come at once, and no more than
//! a page is ever held. Every form is the one that [`Output::answer`] gives to a short answer.

use serde_json::{Map, Value, json};

use crate::codes;
use crate::output::form::Form;
use crate::output::table::Rows;
use crate::output::yaml::to_yaml;
use crate::output::{
    API_VERSION, Escape, Output, WARNED, drawn, shows, to_json, units, write_counted,
};
use crate::report::{Report, Result};

/// Something that is listed, in all forms.
pub(crate) trait Listed {
    /// What it is called, for `-o name`.
    fn name(&self) -> String;
    /// Its row.
    fn row(&self) -> Vec<String>;
    /// For programs.
    fn data(&self) -> Value;
}

/// What is listed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// What the envelope calls the whole.
    pub(crate) kind: &'static str,
    /// What the data calls the list.
    pub(crate) field: &'static str,
    /// What people call its items: `keys`.
    pub(crate) items: &'static str,
    /// The table's columns.
    pub(crate) header: &'static [&'static str],
}

/// A list on its way to stdout.
pub(crate) struct Stream {
    output: Output,
    kind: Kind,
    rows: Rows,
    written: u64,
    /// The name of the last item.
    last: String,
    /// A part of the item behind it was written as well.
    torn: bool,
}

impl Stream {
    /// Begins a list; nothing is written before the first page.
    pub(crate) fn new(output: &Output, kind: Kind) -> Self {
        let rows = Rows::new(kind.header);
        Self { output: output.clone(), kind, rows, written: 0, last: String::new(), torn: false }
    }

    /// Returns how many items were written whole.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes the next items. Waiting for whoever reads keeps neither signals nor connections from
    /// being served.
    ///
    /// # Errors
    /// If stdout cannot be written; quietly, if whoever read has seen enough.
    pub(crate) async fn page<T: Listed>(&mut self, items: &[T]) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let (bytes, ends) = self.lay_out(items)?;
        let (taken, written) = write(bytes).await;
        let whole = match written {
            Ok(()) => items.len(),
            Err(_) => ends.iter().take_while(|end| **end <= taken).count(),
        };
        let end = whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or_default();
        self.torn = written.is_err() && taken > end;
        self.written += whole as u64;
        if let Some(last) = items[..whole].last() {
            self.last = last.name();
        }
        written
    }

    /// Ends the list; `rest` is what else the data holds, and warnings are told.
    ///
    /// # Errors
    /// As [`Stream::page`].
    pub(crate) async fn end(mut self, rest: Map<String, Value>, warnings: &[String]) -> Result<()> {
        let bytes = self.lay_out_end(rest, warnings)?;
        write(bytes).await.1?;
        if !matches!(self.output.form, Form::Json | Form::Yaml) {
            for warning in warnings {
                self.output.remark(&format!("warning: {warning}"));
            }
        }
        Ok(())
    }

    /// Makes the report of a list that something cut off: it says how far it came.
    pub(crate) fn cut_off(&self, why: Report) -> Report {
        if self.written == 0 || why.message.is_empty() {
            return why;
        }
        let (count, items) = (units::count(self.written), self.kind.items);
        let (why_cut, last) = (&why.message, &self.last);
        let torn = if self.torn { "; what follows that is incomplete" } else { "" };
        let message =
            format!("{why_cut}; the list is cut off after {count} {items}, at {last}{torn}");
        let cut = Report::new(codes::LIST_CUT_OFF, message).causes(why.causes);
        why.help.into_iter().fold(cut, Report::help)
    }

    /// Lays items out; returns also where each of them ends, in a form whose parts are of use.
    fn lay_out<T: Listed>(&mut self, items: &[T]) -> Result<(Vec<u8>, Vec<usize>)> {
        let is_first = self.written == 0;
        let (mut text, mut ends) = (String::new(), Vec::new());
        match self.output.form {
            Form::Table | Form::Wide => {
                items.iter().for_each(|item| self.rows.push(item.row()));
                text = self.rows.render_page(self.output.headers);
            }
            Form::Name => items.iter().for_each(|item| {
                text.push_str(&item.name());
                text.push('\n');
                ends.push(text.len());
            }),
            Form::Json => {
                text = if is_first { self.json_head() } else { ",\n".to_owned() };
                for (place, item) in items.iter().enumerate() {
                    text.push_str(if place > 0 { ",\n" } else { "" });
                    text.push_str("      ");
                    text.push_str(&indented(&to_json(&item.data()), 6));
                }
            }
            Form::Yaml => {
                if is_first {
                    text = format!("{}\n", self.yaml_head());
                }
                for item in items {
                    text.push_str(&yaml_item(&item.data())?);
                }
            }
        }
        Ok((text.into_bytes(), ends))
    }

    fn lay_out_end(&mut self, rest: Map<String, Value>, warnings: &[String]) -> Result<Vec<u8>> {
        let is_empty = self.written == 0;
        let warnings: Vec<&String> = warnings.iter().chain(WARNED.get()).collect();
        let mut text = String::new();
        match self.output.form {
            Form::Table | Form::Wide if is_empty => {
                text = self.rows.render_page(self.output.headers);
            }
            Form::Table | Form::Wide | Form::Name => {}
            Form::Json => {
                if is_empty {
                    text = self.json_head();
                    text.truncate(text.trim_end().len());
                } else {
                    text.push_str("\n    ");
                }
                text.push(']');
                for (name, value) in rest {
                    let value = indented(&to_json(&value), 4);
                    text.push_str(&format!(",\n    {}: {value}", json!(name)));
                }
                let warnings = indented(&to_json(&json!(warnings)), 2);
                text.push_str(&format!("\n  }},\n  \"warnings\": {warnings}\n}}\n"));
            }
            Form::Yaml => {
                if is_empty {
                    text = format!("{} []\n", self.yaml_head());
                }
                if !rest.is_empty() {
                    text.push_str(&format!("  {}\n", indented(&to_yaml(&rest)?, 2)));
                }
                text.push_str(&to_yaml(&json!({ "warnings": warnings }))?);
            }
        }
        Ok(text.into_bytes())
    }

    fn json_head(&self) -> String {
        let Kind { kind, field, .. } = self.kind;
        let head = format!("{{\n  \"apiVersion\": \"{API_VERSION}\",\n  \"kind\": \"{kind}\",\n");
        format!("{head}  \"data\": {{\n    \"{field}\": [\n")
    }

    fn yaml_head(&self) -> String {
        let Kind { kind, field, .. } = self.kind;
        format!("apiVersion: {API_VERSION}\nkind: {kind}\ndata:\n  {field}:")
    }
}

/// Writes an item of a list in YAML; as JSON, which is YAML, too, if YAML would not show all of it.
fn yaml_item(item: &Value) -> Result<String> {
    let yaml = to_yaml(&[item])?;
    if shows(&yaml) {
        return Ok(format!("  {}\n", indented(&yaml, 2)));
    }
    Ok(format!("  - {}\n", drawn(item.to_string(), Escape::Yaml)))
}

/// Moves all lines but the first to the right. Empty ones, which a text in YAML may have, are empty
/// anywhere.
fn indented(text: &str, by: usize) -> String {
    let mut lines = text.lines();
    let mut moved = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        moved.push('\n');
        if !line.is_empty() {
            moved.extend(std::iter::repeat_n(' ', by));
            moved.push_str(line);
        }
    }
    moved
}

/// Writes on another thread: one that is blocked by a full pipe hears no signal. Returns also how
/// many bytes were taken.
async fn write(bytes: Vec<u8>) -> (usize, Result<()>) {
    let written = tokio::task::spawn_blocking(move || write_counted(&bytes)).await;
    written.unwrap_or_else(|error| (0, Err(Report::new(codes::INTERNAL, error.to_string()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::View;

    const KEYS: Kind =
        Kind { kind: "KeyList", field: "keys", items: "keys", header: &["KEY", "VALUE"] };

    struct Pair(&'static str, &'static str);

    impl Listed for Pair {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn row(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_owned()]
        }

        fn data(&self) -> Value {
            json!({ "key": self.0, "value": self.1, "more": { "list": [1, 2] } })
        }
    }

    const PAIRS: [Pair; 6] = [
        Pair("a", "1"),
        Pair("b", "two\n\n  lines\n"),
        Pair("c", "- x: \"y\"\n"),
        Pair("d", "\u{202e}\\'"),
        Pair("e", " # "),
        Pair("f", "ends\n\n\n"),
    ];

    fn streamed(form: Form, page: usize, pairs: &[Pair], warnings: &[String]) -> String {
        let output = Output { form, headers: true, quiet: false, draws: false, colours: false };
        let mut stream = Stream::new(&output, KEYS);
        let mut bytes = Vec::new();
        for items in pairs.chunks(page) {
            bytes.extend(stream.lay_out(items).expect("it can be written").0);
            stream.written += items.len() as u64;
        }
        let rest = Map::from_iter([("more".to_owned(), json!({ "not": "all" }))]);
        bytes.extend(stream.lay_out_end(rest, warnings).expect("it can be written"));
        String::from_utf8(bytes).expect("it is text")
    }

    fn whole(pairs: &[Pair], warnings: &[String]) -> View {
        let keys: Vec<Value> = pairs.iter().map(Listed::data).collect();
        let data = json!({ "keys": keys, "more": { "not": "all" } });
        View { kind: "KeyList", data, warnings: warnings.to_vec(), ..View::default() }
    }

    #[test]
    fn pages_make_the_document_that_one_piece_would_make() {
        for warnings in [vec![], vec!["one \"more\"".to_owned()]] {
            for pairs in [&PAIRS[..], &PAIRS[..1], &[]] {
                for page in 1..=6 {
                    let whole = whole(pairs, &warnings);
                    assert_eq!(streamed(Form::Json, page, pairs, &warnings), whole.json());
                    let yaml = streamed(Form::Yaml, page, pairs, &warnings);
                    let read = |text: &str| serde_yaml_ng::from_str::<Value>(text).expect("YAML");
                    let wanted = whole.yaml().expect("it is YAML");
                    assert_eq!(read(&yaml), read(&wanted), "{yaml}");
                    assert!(shows(&yaml), "{yaml}");
                }
            }
        }
    }

    #[test]
    fn a_table_has_one_header_however_many_pages() {
        let pairs = [Pair("a", "1"), Pair("bcde", "2"), Pair("f", "3")];
        let table = streamed(Form::Table, 2, &pairs, &[]);
        assert_eq!(table, "KEY   VALUE\na     1\nbcde  2\nf     3\n");
        assert_eq!(streamed(Form::Table, 2, &[], &[]), "KEY  VALUE\n");
        assert_eq!(streamed(Form::Name, 2, &pairs, &[]), "a\nbcde\nf\n");
    }

    #[test]
    fn a_list_that_is_cut_off_says_where() {
        let output =
            Output { form: Form::Name, headers: true, quiet: false, draws: false, colours: false };
        let mut stream = Stream::new(&output, KEYS);
        let why = || Report::new(codes::NO_LEADER, "no leader").help("raftctl status");
        assert_eq!(stream.cut_off(why()), why(), "nothing was listed");
        (stream.written, stream.last) = (12_000, "k7".to_owned());
        let cut = stream.cut_off(why());
        let message = "no leader; the list is cut off after 12,000 keys, at k7";
        assert_eq!((cut.message.as_str(), cut.code), (message, Some(codes::LIST_CUT_OFF)));
        assert_eq!(cut.help, ["raftctl status"]);
        let closed = Report::quiet(crate::exit::Exit::Done);
        assert_eq!(stream.cut_off(closed.clone()), closed, "a closed pipe is no failure");
    }
}
