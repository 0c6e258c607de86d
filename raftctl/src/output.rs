//! What leaves the program: data on stdout in one of several forms, all else on stderr.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::Errno;
use serde::Serialize;
use serde_json::Value;
use state_machine::text;

use crate::codes;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::form::Form;
use crate::output::yaml::to_yaml;
use crate::report::{Report, Result};

pub(crate) mod form;
pub(crate) mod progress;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod units;
mod yaml;

/// How soon a pipe is tried again that takes nothing just now.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// The version of the JSON contract; it only grows.
pub(crate) const API_VERSION: &str = "raftctl/v1";

/// Answers that say what was done, and hold no secret: where stdout takes nothing, they go with the
/// error, or nobody would know.
const ACTS: [&str; 14] = [
    "Adopted",
    "AuthorityRotation",
    "CertificateRenewal",
    "CertificateRevocation",
    "Change",
    "ClosedSession",
    "ConfigurationReload",
    "Context",
    "Init",
    "IssuedCertificate",
    "Leader",
    "Load",
    "MemberChange",
    "Restored",
];

/// What was warned of beside the answer, for programs to read in it.
static WARNED: OnceLock<String> = OnceLock::new();

/// An answer, in all its forms.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// What the data is, for programs.
    pub(crate) kind: &'static str,
    /// For programs.
    pub(crate) data: Value,
    /// For people.
    pub(crate) text: Vec<u8>,
    /// What the answer is about, for `-o name`.
    pub(crate) names: Vec<String>,
    /// What should be looked at; on stderr for people.
    pub(crate) warnings: Vec<String>,
}

impl View {
    /// Returns the envelope as JSON.
    pub(crate) fn json(&self) -> String {
        format!("{}\n", to_json(&Envelope::of(self)))
    }

    /// Returns the envelope on one line, for answers that never end.
    pub(crate) fn json_line(&self) -> String {
        let line = serde_json::to_string(&Envelope::of(self)).expect("values of JSON are JSON");
        drawn(line, Escape::Json)
    }

    /// Returns the envelope as YAML.
    ///
    /// # Errors
    /// If the data cannot be written as YAML.
    pub(crate) fn yaml(&self) -> Result<String> {
        let envelope = Envelope::of(self);
        let yaml = to_yaml(&envelope)?;
        // JSON is YAML, too, and can say what YAML would show.
        let pretty = || serde_json::to_string_pretty(&envelope).expect("values of JSON are JSON");
        Ok(if shows(&yaml) { yaml } else { drawn(format!("{}\n", pretty()), Escape::Yaml) })
    }
}

/// Where answers and remarks go, and how they look.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// The form of answers.
    pub(crate) form: Form,
    /// Whether tables have headers.
    pub(crate) headers: bool,
    /// Whether remarks are left out.
    pub(crate) quiet: bool,
    /// Whether progress is drawn.
    pub(crate) draws: bool,
    /// Whether colours are used on stdout.
    pub(crate) colours: bool,
}

impl Output {
    /// Looks at flags, environment and terminals.
    pub(crate) fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            form: global.output,
            headers: !global.no_headers,
            quiet: global.quiet,
            draws: std::io::stderr().is_terminal() && !global.no_progress && !global.quiet && !dumb,
            colours: std::io::stdout().is_terminal() && !global.no_color && !no_color && !dumb,
        }
    }

    /// Whether wide tables are asked for.
    pub(crate) fn wide(&self) -> bool {
        self.form == Form::Wide
    }

    /// Whether people read the answer.
    pub(crate) fn for_people(&self) -> bool {
        matches!(self.form, Form::Table | Form::Wide)
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// If stdout cannot be written; a closed pipe ends the program quietly.
    pub(crate) fn answer(&self, view: &View) -> Result<()> {
        self.write(view).map_err(|report| match ACTS.contains(&view.kind) {
            true => report.and_yet(&units::printable(view.text.trim_ascii())),
            false => report,
        })
    }

    /// Writes one answer of many: for programs a document each.
    ///
    /// # Errors
    /// As [`Output::answer`].
    pub(crate) fn answer_again(&self, view: &View) -> Result<()> {
        match self.form {
            Form::Json => write_stdout(format!("{}\n", view.json_line()).as_bytes()),
            Form::Yaml => write_stdout(format!("---\n{}", view.yaml()?).as_bytes()),
            Form::Table | Form::Wide | Form::Name => self.answer(view),
        }
    }

    /// Wipes away what a terminal shows, for what is shown again and again.
    ///
    /// # Errors
    /// As [`Output::answer`].
    pub(crate) fn clear(&self) -> Result<()> {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !self.for_people() || dumb || !std::io::stdout().is_terminal() {
            return Ok(());
        }
        // Home, and clear what is below: no flicker.
        write_stdout(b"\x1b[H\x1b[J")
    }

    fn write(&self, view: &View) -> Result<()> {
        match self.form {
            Form::Table | Form::Wide => {
                for warning in &view.warnings {
                    self.remark(&format!("warning: {warning}"));
                }
                write_stdout(&view.text)
            }
            Form::Json => write_stdout(view.json().as_bytes()),
            Form::Yaml => write_stdout(view.yaml()?.as_bytes()),
            Form::Name => {
                let lines: String = view.names.iter().map(|name| format!("{name}\n")).collect();
                write_stdout(lines.as_bytes())
            }
        }
    }

    /// Returns a value that anybody may have chosen, and a newline, for stdout: byte for byte,
    /// unless that would do something to a terminal.
    pub(crate) fn shown(&self, value: &[u8]) -> Vec<u8> {
        let is_harmless = || std::str::from_utf8(value).is_ok_and(|text| text.chars().all(lays));
        let mut text = value.to_vec();
        if self.for_people() && std::io::stdout().is_terminal() && !is_harmless() {
            text = text::in_quotes(value).into_bytes();
            self.remark("the value would act on the terminal, so it is quoted; --raw does not");
        }
        text.push(b'\n');
        text
    }

    /// Says something on stderr, unless it should be quiet.
    pub(crate) fn remark(&self, line: &str) {
        if !self.quiet {
            write_stderr(line);
        }
    }

    /// Warns of something that is no part of the answer, at most once in the program's life: on
    /// stderr for people, in every envelope for programs.
    pub(crate) fn warn_once(&self, warning: &str) {
        let first = WARNED.set(warning.to_owned()).is_ok();
        if first && !matches!(self.form, Form::Json | Form::Yaml) {
            self.remark(&format!("warning: {warning}"));
        }
    }

    /// Reports a failure on stderr, in the form that the answer would have had.
    pub(crate) fn fail(&self, report: &Report) {
        fail_as(self.form, report);
    }
}

/// Reports a failure on stderr, for programs or for people.
pub(crate) fn fail_as(form: Form, report: &Report) {
    if report.message.is_empty() {
        return;
    }
    let view = || View { kind: "Error", data: report.to_json(), ..View::default() };
    match form {
        Form::Json => write_stderr(view().json().trim_end()),
        Form::Yaml => write_stderr(view().yaml().expect("values of JSON are YAML").trim_end()),
        Form::Table | Form::Wide | Form::Name => write_stderr(report.to_text().trim_end()),
    }
}

/// What programs read: what stands here stays, and more may come.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: &'static str,
    kind: &'a str,
    data: &'a Value,
    warnings: Vec<&'a str>,
}

impl<'a> Envelope<'a> {
    fn of(view: &'a View) -> Self {
        let View { kind, data, .. } = view;
        let warnings = view.warnings.iter().chain(WARNED.get()).map(String::as_str).collect();
        Self { api_version: API_VERSION, kind, data, warnings }
    }
}

/// Writes JSON for programs that people can look at, too.
fn to_json(value: &impl Serialize) -> String {
    drawn(serde_json::to_string_pretty(value).expect("values of JSON are JSON"), Escape::Json)
}

/// Whose escapes stand in JSON: YAML reads JSON, but for characters of two halves.
#[derive(Clone, Copy)]
enum Escape {
    Json,
    Yaml,
}

fn stays(c: char) -> bool {
    c == '\n' || text::draws(c)
}

/// Says whether a character only writes, or moves on.
fn lays(c: char) -> bool {
    c == '\t' || stays(c)
}

/// Says whether a text shows all that is in it.
fn shows(text: &str) -> bool {
    text.chars().all(stays)
}

/// Escapes in JSON whatever draws nothing or turns the text around: it means the same.
fn drawn(json: String, escape: Escape) -> String {
    if shows(&json) {
        return json;
    }
    let mut made = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match (c, escape) {
            (c, _) if stays(c) => made.push(c),
            (c, Escape::Yaml) if u32::from(c) > 0xffff => {
                made.push_str(&format!("\\U{:08x}", u32::from(c)));
            }
            (c, _) => {
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units).iter();
                made.extend(units.map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    made
}

/// Writes to stdout.
///
/// # Errors
/// If it cannot be written; a closed pipe is no failure, whoever read has seen enough.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<()> {
    write_counted(bytes).1
}

/// Writes to stdout and returns how many bytes it has taken: not through a buffer, of which nobody
/// would know.
pub(crate) fn write_counted(bytes: &[u8]) -> (usize, Result<()>) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.flush() {
        return (0, Err(unwritten(&error)));
    }
    let mut taken = 0;
    while taken < bytes.len() {
        match Unbuffered.write(&bytes[taken..]) {
            Ok(0) => return (taken, Err(unwritten(&ErrorKind::WriteZero.into()))),
            Ok(count) => taken += count,
            Err(error) => return (taken, Err(unwritten(&error))),
        }
    }
    (taken, Ok(()))
}

/// Stdout without a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unbuffered;

impl std::io::Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        loop {
            match rustix::io::write(std::io::stdout(), bytes) {
                Err(Errno::INTR) => {}
                // Somebody else who has this pipe open does not want to wait for it; we do.
                Err(Errno::AGAIN) => std::thread::sleep(AGAIN_AFTER),
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Makes a report of what could not be written to stdout.
pub(crate) fn unwritten(error: &std::io::Error) -> Report {
    if error.kind() == ErrorKind::BrokenPipe {
        return Report::quiet(Exit::Done);
    }
    Report::new(codes::LOCAL_FILE, format!("stdout: {error}"))
}

/// Writes lines to stderr; where that is impossible nobody listens. Whatever others have put into
/// them, they do nothing to a terminal.
pub(crate) fn write_stderr(lines: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text::inert(lines));
}

/// A log on stderr: what others have put into its lines does nothing to a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inert;

impl std::io::Write for Inert {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let lines = String::from_utf8_lossy(bytes);
        std::io::stderr().lock().write_all(text::inert(&lines).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_has_four_fields() {
        let data = serde_json::json!({ "raftctl": "1" });
        let view = View { kind: "Version", data, ..View::default() };
        let text = view.json().split_whitespace().collect::<String>();
        assert_eq!(
            text,
            r#"{"apiVersion":"raftctl/v1","kind":"Version","data":{"raftctl":"1"},"warnings":[]}"#
        );
    }

    #[test]
    fn json_shows_all_that_it_holds_and_means_the_same() {
        let data = serde_json::json!({ "key": "a\u{202e}b\u{7f}\u{f0000}", "b": "grün\\" });
        let view = View { kind: "Key", data: data.clone(), ..View::default() };
        for json in [view.json(), view.json_line()] {
            assert!(json.contains("\"a\\u202eb\\u007f\\udb80\\udc00\""), "{json}");
            assert!(json.contains("grün"), "{json}");
            let read: Value = serde_json::from_str(&json).expect("it is JSON");
            assert_eq!(read["data"], data);
        }
        let yaml = view.yaml().expect("it is YAML");
        assert!(shows(&yaml), "{yaml}");
        let read: Value = serde_yaml_ng::from_str(&yaml).expect("it is YAML");
        assert_eq!(read["data"], data);
    }

    #[test]
    fn yaml_holds_also_the_character_that_marks_what_is_to_be_quoted() {
        let data = serde_json::json!({ "key": "a\u{e000}b", "\u{e000}5": "12" });
        let view = View { kind: "Key", data: data.clone(), ..View::default() };
        let yaml = view.yaml().expect("it is YAML");
        assert!(shows(&yaml), "{yaml}");
        let read: Value = serde_yaml_ng::from_str(&yaml).expect("it is YAML");
        assert_eq!(read["data"], data);
    }
}
