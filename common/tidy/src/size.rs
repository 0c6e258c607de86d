//! Files, functions and lines stay small enough to be read at once.

use crate::scanner::{code_of, functions, test_lines};
use crate::{File, Violation};

/// The most lines of a Rust file.
pub const FILE_LINES_MAX: usize = 500;

/// The most columns of a line of Rust.
pub const LINE_COLUMNS_MAX: usize = 100;

/// The most lines between the braces of a function of the product.
pub const BODY_LINES_MAX: usize = 70;

/// The most lines between the braces of a function that only tests: cases below one another.
pub const TEST_BODY_LINES_MAX: usize = 100;

/// Finds what is too long in a Rust file; `is_test` marks a file that is test code as a whole.
pub fn check(file: &File, is_test: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(Violation::at(
            &file.path,
            format!("{lines} lines, {FILE_LINES_MAX} at most: split it by idea"),
        ));
    }
    for (index, line) in file.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let rule = format!("{columns} columns, {LINE_COLUMNS_MAX} at most");
            found.push(Violation::at_line(file, index + 1, rule));
        }
    }
    let code = code_of(&file.text);
    let in_test = test_lines(&code);
    for function in functions(&code) {
        let test = is_test || in_test[function.line - 1];
        let most = if test { TEST_BODY_LINES_MAX } else { BODY_LINES_MAX };
        if function.body > most {
            let rule = format!("{} has {} lines, {most} at most", function.name, function.body);
            found.push(Violation::at_line(file, function.line, rule));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines))
    }

    fn found(text: &str, is_test: bool) -> Vec<String> {
        let file = File::new("a/src/b.rs", text);
        check(&file, is_test).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_at_its_limit_passes() {
        assert!(found(&function(BODY_LINES_MAX), false).is_empty());
        assert!(found(&function(TEST_BODY_LINES_MAX), true).is_empty());
        assert!(found(&"\n".repeat(FILE_LINES_MAX), false).is_empty());
        assert!(found(&format!("//{}\n", "é".repeat(LINE_COLUMNS_MAX - 2)), false).is_empty());
    }

    #[test]
    fn one_line_more_is_found() {
        let long = function(BODY_LINES_MAX + 1);
        assert_eq!(found(&long, false), ["a/src/b.rs:1: f has 71 lines, 70 at most"]);
        assert_eq!(found(&function(TEST_BODY_LINES_MAX + 1), true).len(), 1);
        assert_eq!(found(&"\n".repeat(FILE_LINES_MAX + 1), false).len(), 1);
    }

    #[test]
    fn one_column_more_is_found() {
        let text = format!("\n//{}\n", "x".repeat(LINE_COLUMNS_MAX - 1));
        assert_eq!(found(&text, false), ["a/src/b.rs:2: 101 columns, 100 at most"]);
    }

    #[test]
    fn functions_in_a_test_region_have_the_limit_of_tests() {
        let long = function(BODY_LINES_MAX + 1);
        assert!(found(&format!("#[cfg(test)]\nmod tests {{\n{long}}}\n"), false).is_empty());
        assert_eq!(found(&format!("mod product {{\n{long}}}\n"), false).len(), 1);
    }
}
