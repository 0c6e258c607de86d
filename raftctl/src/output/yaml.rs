//! YAML that every reader takes for the same. Readers of YAML 1.1, as most scripts have, take more
//! plain words for something else than text than the writer knows of: `yes`, `12:30`, `2026-11-28`,
//! `=`. Such texts stand in quotes here.

use serde::Serialize;
use serde_yaml_ng::{Value, to_string, to_value};

use crate::codes;
use crate::report::{Report, Result};

/// What a text begins with for a moment that must stand in quotes. It is of those that do not show
/// themselves: a document that holds it from elsewhere is not written as YAML.
const MARK: char = '\u{e000}';

/// Writes a value as YAML.
///
/// # Errors
/// If it cannot be written so.
pub(super) fn to_yaml(value: &impl Serialize) -> Result<String> {
    let written = to_value(value).and_then(|mut value| {
        if has_mark(&value) {
            return to_string(&value);
        }
        mark(&mut value);
        to_string(&value).map(|yaml| quoted(&yaml))
    });
    written.map_err(|error| Report::new(codes::INTERNAL, error.to_string()))
}

/// Whether a mark is there from elsewhere: it would be taken for one that is to go.
fn has_mark(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(MARK),
        Value::Sequence(items) => items.iter().any(has_mark),
        Value::Mapping(fields) => fields.iter().any(|(key, it)| has_mark(key) || has_mark(it)),
        Value::Tagged(tagged) => has_mark(&tagged.value),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn mark(value: &mut Value) {
    match value {
        Value::String(text) if is_ambiguous(text) => text.insert(0, MARK),
        Value::Sequence(items) => items.iter_mut().for_each(mark),
        Value::Mapping(fields) => fields.values_mut().for_each(mark),
        Value::Tagged(tagged) => mark(&mut tagged.value),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether some reader may take a text for a number, a time, a truth value or a sign.
fn is_ambiguous(text: &str) -> bool {
    const WORDS: [&str; 12] =
        ["y", "yes", "n", "no", "on", "off", "true", "false", "null", "~", "=", "<<"];
    let is_simple = |c: char| c.is_ascii_alphanumeric() || "_:.,+- ".contains(c);
    let begins = |c: char| c.is_ascii_digit() || "+-.".contains(c);
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        || (text.starts_with(begins) && text.chars().all(is_simple))
}

/// Puts quotes around marked texts, which reach to the ends of their lines, unless they have some.
fn quoted(yaml: &str) -> String {
    let mut made = String::with_capacity(yaml.len() + 16);
    for line in yaml.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        match line.split_once(MARK) {
            Some((before, text)) if before.ends_with(['\'', '"']) => {
                made.extend([before, text, end]);
            }
            Some((before, text)) => made.extend([before, "'", text, "'", end]),
            None => made.extend([line, end]),
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn what_readers_may_take_for_something_else_is_quoted() {
        for text in [
            "yes",
            "NO",
            "Off",
            "y",
            "=",
            "<<",
            "1:2",
            "12:30:45",
            "2026-11-28",
            "1_000",
            "1,000",
            "2026-11-28 12:30:45 +1",
            "0o7",
            "+1",
            ".5",
            "-.inf",
            "1e5",
            "-1",
            "010",
            "~",
            "null",
        ] {
            let quoted = format!("'{text}'");
            let yaml = to_yaml(&json!({ "key": text, "list": [text] })).expect("it is YAML");
            assert_eq!(yaml, format!("key: {quoted}\nlist:\n- {quoted}\n"));
        }
        let yaml = to_yaml(&json!({ "text": "n1.example:7400", "number": 12, "truth": true }));
        assert_eq!(yaml, Ok("number: 12\ntext: n1.example:7400\ntruth: true\n".to_owned()));
    }

    #[test]
    fn quotes_change_nothing() {
        for text in [
            "5: x",
            "- ",
            "7 #",
            "12:",
            "9 ",
            "1\n2\n",
            "",
            "+",
            "...",
            "---",
            "'5'",
            "-- a",
            "a\u{e000}b",
        ] {
            let data = json!({ "key": text, "list": [[text], { "key": text }] });
            let yaml = to_yaml(&data).expect("it is YAML");
            let read: Json = serde_yaml_ng::from_str(&yaml).expect("it is YAML");
            assert_eq!(read, data, "{yaml}");
        }
    }
}
