//! Reads just enough Rust: blanks comments and literals, finds functions and test regions.
//!
//! Ours, with a parser given up: a scanner has no opinion on syntax that it does not know, and
//! needs no dependency that would have to follow the language.

use crate::File;
use std::collections::BTreeSet;

/// Returns the source with comments, strings and characters replaced by spaces; lines stay where
/// they are.
pub fn code_of(text: &str) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < source.len() {
        let end = literal_end(&source, at);
        if end == at {
            code.push(source[at]);
            at += 1;
        } else {
            code.extend(source[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Returns where the comment or literal that starts at `at` ends, or `at` when none starts there.
fn literal_end(source: &[char], at: usize) -> usize {
    let next = |offset: usize| source.get(at + offset).copied();
    match source[at] {
        '/' if next(1) == Some('/') => find(source, at, |c| c == '\n'),
        '/' if next(1) == Some('*') => block_comment_end(source, at),
        '"' => string_end(source, at + 1),
        '\'' => character_end(source, at),
        'r' | 'b' | 'c' if at == 0 || !is_word(source[at - 1]) => prefixed_end(source, at),
        _ => at,
    }
}

fn find(source: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    source[from..].iter().position(|c| wanted(*c)).map_or(source.len(), |found| from + found)
}

/// Block comments nest (Rust reference, "Comments").
fn block_comment_end(source: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at + 1 < source.len() {
        match (source[at], source[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    source.len()
}

/// Returns the place behind the closing quote of a string whose text starts at `at`.
fn string_end(source: &[char], mut at: usize) -> usize {
    while at < source.len() {
        match source[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    source.len()
}

/// Tells a character from a lifetime: `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn character_end(source: &[char], at: usize) -> usize {
    match (source.get(at + 1), source.get(at + 2)) {
        (Some('\\'), Some(_)) => (find(source, at + 3, |c| c == '\'') + 1).min(source.len()),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Handles `b".."`, `c".."`, `b'.'`, and raw strings `r#".."#`, `br".."`, `cr".."`.
fn prefixed_end(source: &[char], at: usize) -> usize {
    let letters = source[at..].iter().take(2).take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let raw = source[at + letters - 1] == 'r';
    let hashes = source[at + letters..].iter().take_while(|c| **c == '#').count();
    let quote = at + letters + hashes;
    match source.get(quote) {
        Some('"') if raw => raw_string_end(source, quote + 1, hashes),
        Some('"') if hashes == 0 => string_end(source, quote + 1),
        Some('\'') if hashes == 0 && letters == 1 && !raw => character_end(source, quote),
        _ => at,
    }
}

fn raw_string_end(source: &[char], mut at: usize, hashes: usize) -> usize {
    while at < source.len() {
        let closing = source[at + 1..].iter().take(hashes).filter(|c| **c == '#').count();
        if source[at] == '"' && closing == hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    source.len()
}

/// Tells whether a character can be part of an identifier.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the byte offsets at which `needle` stands as words of its own in blanked code.
pub fn occurrences(code: &str, needle: &str) -> Vec<usize> {
    let open = needle.starts_with(is_word);
    let closed = needle.ends_with(is_word);
    code.match_indices(needle)
        .map(|(at, _)| at)
        .filter(|at| !open || !code[..*at].ends_with(is_word))
        .filter(|at| !closed || !code[at + needle.len()..].starts_with(is_word))
        .collect()
}

/// Returns the line, counted from 1, of a byte offset.
pub fn line_of(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The name.
    pub name: String,
    /// The line of the `fn`, counted from 1.
    pub line: usize,
    /// Lines between the body's braces.
    pub body: usize,
}

/// Returns the functions of blanked code, in order; nested ones count by themselves as well.
pub fn functions(code: &str) -> Vec<Function> {
    occurrences(code, "fn").into_iter().filter_map(|at| function(code, at)).collect()
}

fn function(code: &str, at: usize) -> Option<Function> {
    let behind = &code[at + 2..];
    let signature = behind.trim_start();
    let name: String = signature.chars().take_while(|c| is_word(*c) || *c == '#').collect();
    if name.is_empty() {
        return None; // a pointer type, `fn(u64) -> u64`
    }
    let (open, close) = block(code, at)?;
    let body = line_of(code, close) - line_of(code, open);
    Some(Function { name, line: line_of(code, at), body: body.saturating_sub(1) })
}

/// Returns the offsets of the braces of the first block behind `from`, unless the item ends before
/// it.
fn block(code: &str, from: usize) -> Option<(usize, usize)> {
    let mut nested = 0_usize;
    let mut open = None;
    let mut braces = 0_usize;
    for (offset, c) in code[from..].char_indices() {
        match (c, open) {
            ('(' | '[', None) => nested += 1,
            (')' | ']', None) => nested = nested.saturating_sub(1),
            (';', None) if nested == 0 => return None,
            ('{', None) if nested == 0 => {
                open = Some(from + offset);
                braces = 1;
            }
            ('{', Some(_)) => braces += 1,
            ('}', Some(start)) => {
                braces -= 1;
                if braces == 0 {
                    return Some((start, from + offset));
                }
            }
            _ => {}
        }
    }
    None
}

/// Attributes that keep what follows out of the product.
const TEST_ATTRIBUTES: [&str; 2] = ["#[cfg(test)]", "#[cfg(all(test,"];

/// Returns the offsets behind each attribute that marks test code.
fn test_attributes(code: &str) -> Vec<usize> {
    TEST_ATTRIBUTES
        .iter()
        .flat_map(|attribute| code.match_indices(attribute))
        .map(|(at, _)| at + code[at..].find(']').unwrap_or(0) + 1)
        .collect()
}

/// Tells for each line, the first one at index 0, whether it is inside an item marked as test code.
pub fn test_lines(code: &str) -> Vec<bool> {
    let mut lines = vec![false; code.matches('\n').count() + 1];
    for behind in test_attributes(code) {
        if let Some((_, close)) = block(code, behind) {
            lines[line_of(code, behind) - 1..line_of(code, close)].fill(true);
        }
    }
    lines
}

/// Returns blanked code without the items that are marked as test code; lines stay where they are.
pub fn product_of(code: &str) -> String {
    let mut product = code.to_owned();
    for behind in test_attributes(code) {
        let end = match block(code, behind) {
            Some((_, close)) => close + 1,
            None => code[behind..].find(';').map_or(code.len(), |found| behind + found + 1),
        };
        let blank: String =
            code[behind..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        if blank.len() == end - behind {
            product.replace_range(behind..end, &blank);
        }
    }
    product
}

/// Returns the paths of files that are test code as a whole.
///
/// These are the files below `tests/` and `benches/`, and those of modules declared as
/// `#[cfg(test)] mod name;`.
pub fn test_files(files: &[File]) -> BTreeSet<String> {
    let declared: Vec<String> =
        files.iter().filter(|f| f.is_rust()).flat_map(declared_tests).collect();
    files
        .iter()
        .map(|file| file.path.clone())
        .filter(|path| {
            let in_test_folder = path.split('/').any(|part| part == "tests" || part == "benches");
            let is_declared = declared.iter().any(|module| {
                *path == format!("{module}.rs") || path.starts_with(&format!("{module}/"))
            });
            in_test_folder || is_declared
        })
        .collect()
}

/// Returns the paths, without extension, of the test modules that a file declares.
fn declared_tests(file: &File) -> Vec<String> {
    let code = code_of(&file.text);
    let stem = file.path.trim_end_matches(".rs");
    let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let home = if matches!(name, "lib" | "main" | "mod") { parent } else { stem };
    test_attributes(&code)
        .into_iter()
        .filter_map(|behind| {
            let item = code[behind..].split(['{', ';']).next()?;
            let declared = item.trim().strip_prefix("mod ")?.trim();
            code[behind + item.len()..].starts_with(';').then(|| format!("{home}/{declared}"))
        })
        .collect()
}

#[cfg(test)]
mod tests;
