//! Bytes as text that has no effect on a terminal: names and values may have been chosen by anyone.
//!
//! [`quoted`] is one to one: two different names never look alike, and [`unquoted`] leads back to
//! the bytes. Text that shows what it is stands as it is; anything else is written between `$'` and
//! `'` as shells read it, so that a name can be given back to a command as it was printed, and
//! typed into a shell just as well. [`inert`] is for sentences: it takes their effect on a terminal
//! away and leaves the rest, also the names that are quoted in them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What a quoted text begins with.
const OPEN: &str = "$'";

/// What a quoted text ends with.
const CLOSE: char = '\'';

/// Why a text that begins with `$'` is none that was quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// The end is missing.
    #[error("it begins with $' and does not end with '")]
    Open,
    /// A quote stands in the middle.
    #[error("a ' inside of $'..' must be written \\'")]
    Bare,
    /// A backslash begins nothing that is known.
    #[error("a backslash in $'..' stands before \\, ', n, t, r, xHH, uHHHH or UHHHHHHHH")]
    Escape,
}

/// Writes bytes one to one: plain text as it is, everything else as `$'..'`.
pub fn quoted(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => Cow::Borrowed(text),
        Ok(_) | Err(_) => Cow::Owned(in_quotes(bytes)),
    }
}

/// Writes bytes between `$'` and `'`, whatever they are.
pub fn in_quotes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 8);
    text.push_str(OPEN);
    let mut first = true;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | CLOSE => text.extend(['\\', c]),
                c if draws(c) && !(first && leans(c)) => text.push(c),
                c => escape(&mut text, c),
            }
            first = false;
        }
        for byte in chunk.invalid() {
            hexadecimal(&mut text, *byte);
            first = false;
        }
    }
    text.push(CLOSE);
    text
}

/// Reads a name as it was typed or printed: what is not between `$'` and `'` stands for itself.
///
/// # Errors
/// If it begins as a quoted text and is none: its meaning is unknown.
pub fn unquoted(text: &[u8]) -> Result<Cow<'_, [u8]>, QuoteError> {
    let Some(rest) = text.strip_prefix(OPEN.as_bytes()) else {
        return Ok(Cow::Borrowed(text));
    };
    let mut rest = rest.strip_suffix(b"'").ok_or(QuoteError::Open)?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'\'' => return Err(QuoteError::Bare),
            b'\\' => rest = unescaped(rest, &mut bytes).ok_or(QuoteError::Escape)?,
            byte => bytes.push(*byte),
        }
    }
    Ok(Cow::Owned(bytes))
}

/// Takes a sentence its effect on a terminal: what does not draw is escaped, but for the ends of
/// lines. Everything else stays, so that doing it twice changes nothing.
pub fn inert(text: &str) -> Cow<'_, str> {
    made_inert(text, |c| c == '\n')
}

/// Does the same, and makes one line of it.
pub fn inert_line(text: &str) -> Cow<'_, str> {
    made_inert(text, |_| false)
}

/// Says whether a character shows itself, on its own, and nothing but itself.
pub fn draws(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // These are letters and marks that show nothing.
        '\u{34f}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}' => false,
        c if c.is_ascii() => false,
        c => {
            // The standard library knows controls, formats, separators, private and unassigned
            // characters; the letter before keeps it from judging a mark as the first character.
            let mut buffer = [b'a'; 5];
            let size = 1 + c.encode_utf8(&mut buffer[1..]).len();
            std::str::from_utf8(&buffer[..size])
                .is_ok_and(|text| text.escape_debug().eq(text.chars()))
        }
    }
}

/// Says whether a character is drawn onto the one before it.
fn leans(c: char) -> bool {
    !c.is_ascii() && draws(c) && c.escape_debug().len() > 1
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.starts_with(OPEN)
        && !text.starts_with(leans)
        && text.chars().all(|c| c != '\\' && draws(c))
}

fn made_inert(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let stays = |c: char| draws(c) || keep(c);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut made = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if stays(c) { made.push(c) } else { escape(&mut made, c) }
    }
    Cow::Owned(made)
}

fn escape(text: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = match (c, u32::from(c)) {
        ('\n', _) => text.write_str("\\n"),
        ('\t', _) => text.write_str("\\t"),
        ('\r', _) => text.write_str("\\r"),
        (_, number @ 0..0x80) => write!(text, "\\x{number:02x}"),
        (_, number @ 0x80..0x1_0000) => write!(text, "\\u{number:04x}"),
        (_, number) => write!(text, "\\U{number:08x}"),
    };
}

fn hexadecimal(text: &mut String, byte: u8) {
    let _ = write!(text, "\\x{byte:02x}");
}

/// Reads what follows a backslash, and returns what is behind it.
fn unescaped<'a>(text: &'a [u8], bytes: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, rest) = text.split_first()?;
    let (digits_max, is_byte) = match kind {
        b'\\' | b'\'' | b'"' | b'?' => {
            bytes.push(*kind);
            return Some(rest);
        }
        b'n' | b't' | b'r' | b'a' | b'b' | b'e' | b'f' | b'v' => {
            bytes.push(match kind {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'a' => 7,
                b'b' => 8,
                b'e' => 27,
                b'f' => 12,
                _ => 11,
            });
            return Some(rest);
        }
        b'x' => (2, true),
        b'u' => (4, false),
        b'U' => (8, false),
        _ => return None,
    };
    let count = rest.iter().take(digits_max).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = rest.split_at(count);
    let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    if is_byte {
        bytes.push(u8::try_from(number).ok()?);
    } else {
        bytes.extend_from_slice(char::from_u32(number)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways(bytes: &[u8]) -> String {
        let text = quoted(bytes);
        let back = unquoted(text.as_bytes()).expect("it was quoted");
        assert_eq!(back.as_ref(), bytes, "{text}");
        assert!(text.chars().all(draws), "{text:?}");
        text.into_owned()
    }

    #[test]
    fn what_shows_what_it_is_stands_as_it_is() {
        for text in
            ["a", "grün", "a b", "it's", "\"", "~", "$", "$a'", "-", "日本", "e\u{301}", "🦀"]
        {
            assert_eq!(both_ways(text.as_bytes()), text);
        }
    }

    #[test]
    fn everything_else_is_quoted_and_leads_back() {
        for (bytes, text) in [
            (&b""[..], "$''"),
            (b"nl\nkey", "$'nl\\nkey'"),
            (b"nl\\nkey", "$'nl\\\\nkey'"),
            (b" a", "$' a'"),
            (b"a ", "$'a '"),
            (b"\t", "$'\\t'"),
            (b"\x00\x1b[2J\x7f", "$'\\x00\\x1b[2J\\x7f'"),
            (b"\xffa\xc3", "$'\\xffa\\xc3'"),
            (b"$'a'", "$'$\\'a\\''"),
            ("a\u{202e}b".as_bytes(), "$'a\\u202eb'"),
            ("\u{2028}\u{85}\u{a0}".as_bytes(), "$'\\u2028\\u0085\\u00a0'"),
            ("\u{e000}\u{f0000}".as_bytes(), "$'\\ue000\\U000f0000'"),
            ("\u{301}e".as_bytes(), "$'\\u0301e'"),
            ("a\u{fe0f}\u{200d}".as_bytes(), "$'a\\ufe0f\\u200d'"),
        ] {
            assert_eq!(both_ways(bytes), text);
        }
    }

    #[test]
    fn no_two_names_look_alike() {
        let pieces: [&[u8]; 14] = [
            b"n",
            b"\n",
            b"\\",
            b"\\n",
            b"$'",
            b"'",
            b"x0a",
            b"\\x0a",
            b" ",
            b"\xff",
            b"\\xff",
            "\u{202e}".as_bytes(),
            b"\\u202e",
            b"",
        ];
        let mut seen = std::collections::BTreeMap::new();
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let bytes = [a, b, c].concat();
                    let text = both_ways(&bytes);
                    let before = seen.insert(text.clone(), bytes.clone());
                    assert!(before.is_none_or(|before| before == bytes), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_typed_plainly_is_taken_plainly() {
        for text in ["nl\\nkey", "C:\\new", "'a'", "\\", "$", "$\"a\"", "\\x41"] {
            assert_eq!(unquoted(text.as_bytes()).as_deref(), Ok(text.as_bytes()));
        }
        assert_eq!(unquoted(b"$'\\e\\x9\\u41'").as_deref(), Ok(&b"\x1b\tA"[..]));
    }

    #[test]
    fn what_shells_understand_behind_a_backslash_is_understood() {
        let typed = br#"$'\n\t\r\a\b\e\f\v\\\'\"\?'"#;
        let meant = b"\n\t\r\x07\x08\x1b\x0c\x0b\\'\"?";
        assert_eq!(unquoted(typed).as_deref(), Ok(&meant[..]));
    }

    #[test]
    fn half_a_quote_is_no_name() {
        for (text, why) in [
            ("$'", QuoteError::Open),
            ("$'a", QuoteError::Open),
            ("$'a'b'", QuoteError::Bare),
            ("$'a\\'", QuoteError::Escape),
            ("$'\\q'", QuoteError::Escape),
            ("$'\\x'", QuoteError::Escape),
            ("$'\\ud800'", QuoteError::Escape),
            ("$'\\U00110000'", QuoteError::Escape),
        ] {
            assert_eq!(unquoted(text.as_bytes()), Err(why), "{text}");
        }
    }

    #[test]
    fn a_sentence_loses_its_effect_and_nothing_else() {
        let said = "no key $'a\\nb': \x1b[2J\u{202e}\nC:\\x";
        let shown = "no key $'a\\nb': \\x1b[2J\\u202e\nC:\\x";
        assert_eq!(inert(said), shown);
        assert_eq!(inert(shown), shown);
        assert_eq!(inert_line("a\nb\tc"), "a\\nb\\tc");
    }
}
