//! What the repository does not say, and how its files end.

use crate::{File, Violation};

/// Words about how a text came to be instead of what it says, and citations of what a reader of the
/// repository does not have; compared without regard to case.
///
/// Each is written in two parts, or this file would hold it.
const UNWANTED: [(&str, &str); 12] = [
    ("cla", "ude"),
    ("anth", "ropic"),
    ("chat", "gpt"),
    ("language", " model"),
    ("helper", " agent"),
    ("session", " limit"),
    ("muse", "um.md"),
    ("design", ".md"),
    ("design", " §"),
    ("/wo", "rk/main"),
    ("/wo", "rk/plan"),
    ("/wo", "rk/shared"),
];

/// Finds unwanted words and a missing newline at the end of a text file.
pub fn check(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let line = line.to_lowercase();
        for (head, tail) in UNWANTED {
            let word = format!("{head}{tail}");
            if line.contains(&word) {
                let rule = format!("\"{word}\" does not belong into the repository");
                found.push(Violation::at_line(file, index + 1, rule));
            }
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        found.push(Violation::at(&file.path, "no newline at the end"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unwanted_word_is_found_in_any_case() {
        for (head, tail) in UNWANTED {
            let text = format!("fine\nsee {}{tail} there\n", head.to_uppercase());
            let found = check(&File::new("README.md", text));
            assert_eq!(found.len(), 1, "{head}{tail}");
            assert!(found[0].to_string().starts_with("README.md:2: "), "{}", found[0]);
        }
    }

    #[test]
    fn words_of_the_field_are_welcome() {
        let text = "client sessions, session_limit, clauses, data models\n";
        assert!(check(&File::new("README.md", text)).is_empty());
    }

    #[test]
    fn a_file_ends_with_a_newline() {
        assert!(check(&File::new("a", "text\n")).is_empty());
        assert!(check(&File::new("a", "")).is_empty());
        assert_eq!(check(&File::new("a", "text")).len(), 1);
    }
}
