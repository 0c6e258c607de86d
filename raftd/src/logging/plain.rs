//! Text from elsewhere, made fit for a line of the log: what would end the line, drive a terminal
//! or turn the direction of writing is shown as an escape.

use std::fmt::{self, Write};

/// A sink for text that shows what cannot be printed as an escape.
pub(super) struct Plain<W>(pub(super) W);

impl<W: Write> Write for Plain<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|char| self.write_char(char))
    }

    fn write_char(&mut self, char: char) -> fmt::Result {
        match char {
            '"' | '\'' | '\\' => self.0.write_char(char),
            other => write!(self.0, "{}", other.escape_debug()),
        }
    }
}

/// Returns the text of something, fit for one line.
pub(super) fn plain(said: impl fmt::Display) -> String {
    let mut text = String::new();
    // A text takes everything.
    let _ = write!(Plain(&mut text), "{said}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_forge_a_line_or_drive_a_terminal_is_escaped_and_nothing_else() {
        for (said, shown) in [
            ("n1: \"it's\" C:\\ fine", "n1: \"it's\" C:\\ fine"),
            ("Zürich, 東京", "Zürich, 東京"),
            ("a\n2026-01-01T00:00:00Z ERROR b", "a\\n2026-01-01T00:00:00Z ERROR b"),
            ("\r\t\0", "\\r\\t\\0"),
            ("\u{1b}[2J\u{9b}31m\u{7f}", "\\u{1b}[2J\\u{9b}31m\\u{7f}"),
            ("\u{202e}gnp.exe\u{2028}", "\\u{202e}gnp.exe\\u{2028}"),
        ] {
            assert_eq!(plain(said), shown);
        }
    }
}
