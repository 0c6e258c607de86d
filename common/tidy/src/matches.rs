//! Matches on our own enums are exhaustive: no `_`, and no name, takes the place of variants.
//!
//! A variant that is added later must be seen at each match. The compiler's lint for this speaks of
//! the enums of libraries as well, where a wildcard is right; here only enums of the workspace
//! count. An arm with a guard is no catch-all, nor is `_` inside of a pattern.

use crate::paths::read;
use crate::scanner::{code_of, is_word, line_of, occurrences, product_of};
use crate::{File, Violation};
use std::collections::BTreeSet;

/// Returns the names of the enums that files define, but for open ones: an enum that is marked
/// `#[non_exhaustive]` demands a wildcard outside of its crate.
pub fn enums<'a>(files: impl IntoIterator<Item = &'a File>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files {
        let code = product_of(&code_of(&file.text));
        for at in occurrences(&code, "enum") {
            let name = code[at + 4..].trim_start().chars().take_while(|c| is_word(*c));
            if !is_open(&code[..at]) {
                found.insert(name.collect::<String>());
            }
        }
    }
    found.remove("");
    found
}

/// Tells whether the attributes that end a text, with `pub` perhaps, open an enum.
fn is_open(before: &str) -> bool {
    let attributes = before.rsplit(['}', ';']).next().unwrap_or_default();
    attributes.contains("#[non_exhaustive]")
}

/// Finds matches on enums of `ours` that have an arm for all the rest; `crates` are the names of
/// our crates, as code calls them.
pub fn check(file: &File, ours: &BTreeSet<String>, crates: &BTreeSet<String>) -> Vec<Violation> {
    let code = product_of(&code_of(&file.text));
    let reading = read(&file.text);
    let foreign: BTreeSet<&str> = reading
        .imports
        .iter()
        .filter(|import| !is_ours(&import.path[0], crates))
        .filter_map(|import| import.name.as_deref())
        .collect();
    let mut found = Vec::new();
    for at in occurrences(&code, "match") {
        let Some(arms) = arms(&code, at) else {
            continue;
        };
        let matched = arms.iter().find_map(|(_, pattern)| {
            let mut names = enums_in(pattern).into_iter();
            names.find(|path| is_own_enum(path, ours, &foreign, crates))
        });
        let rest = arms.iter().find(|(_, pattern)| takes_the_rest(pattern));
        if let (Some(path), Some((at, pattern))) = (matched, rest) {
            let rule = format!("`{pattern} =>` stands for variants of {}", path.join("::"));
            found.push(Violation::at_line(file, line_of(&code, *at), rule));
        }
    }
    found
}

fn is_ours(first: &str, crates: &BTreeSet<String>) -> bool {
    matches!(first, "crate" | "self" | "super") || crates.contains(first)
}

fn is_own_enum(
    path: &[&str],
    ours: &BTreeSet<String>,
    foreign: &BTreeSet<&str>,
    crates: &BTreeSet<String>,
) -> bool {
    let [.., name] = path else {
        return false;
    };
    let qualified = path.len() > 1;
    *name == "Self"
        || (ours.contains(*name)
            && if qualified { is_ours(path[0], crates) } else { !foreign.contains(name) })
}

/// Tells whether a pattern is `_` or one name, and has no guard.
fn takes_the_rest(pattern: &str) -> bool {
    pattern.starts_with(|c: char| c == '_' || c.is_lowercase())
        && pattern.chars().all(is_word)
        && !matches!(pattern, "true" | "false")
}

/// Returns the paths of the enums whose variants a pattern names: `a::B` of `a::B::C`.
fn enums_in(pattern: &str) -> Vec<Vec<&str>> {
    let pattern = pattern.split(" if ").next().unwrap_or_default();
    pattern
        .split(|c: char| !is_word(c) && c != ':')
        .filter(|path| path.contains("::"))
        .map(|path| path.split("::").filter(|word| !word.is_empty()).collect::<Vec<_>>())
        .filter(|path| path.last().is_some_and(|last| is_variant(last)))
        .map(|path| path[..path.len() - 1].to_vec())
        .filter(|path| !path.is_empty())
        .collect()
}

/// Tells a variant from a constant, by the case of its letters.
fn is_variant(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
        && (name.len() == 1 || name.contains(|c: char| c.is_lowercase()))
}

/// Returns the patterns of a match's arms, with their offsets and guards.
fn arms(code: &str, at: usize) -> Option<Vec<(usize, &str)>> {
    let open = at + top_level(&code[at..], |text| text.starts_with('{'))?;
    let mut arms = Vec::new();
    let mut from = open + 1;
    loop {
        let blank = code[from..].find(|c: char| !c.is_whitespace() && c != ',')?;
        from += blank;
        if code[from..].starts_with('}') {
            return Some(arms);
        }
        let length = top_level(&code[from..], |text| text.starts_with("=>"))?;
        arms.push((from, code[from..from + length].trim()));
        from += length + 2;
        from += code[from..].find(|c: char| !c.is_whitespace())?;
        let is_block = code[from..].starts_with('{');
        from += match is_block {
            true => block_length(&code[from..])?,
            false => top_level(&code[from..], |text| text.starts_with([',', '}']))?,
        };
    }
}

/// Returns where something stands that is inside of no bracket of the text.
fn top_level(text: &str, wanted: impl Fn(&str) -> bool) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if depth == 0 && wanted(&text[at..]) {
            return Some(at);
        }
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// Returns the length of the block that a text begins with.
fn block_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let defined = File::new(
            "a/src/role.rs",
            "pub enum Role {\n    Leader,\n    Follower,\n}\n\
             #[non_exhaustive]\npub enum Open { A }\n",
        );
        let crates = BTreeSet::from(["consensus".to_owned()]);
        let file = File::new("a/src/b.rs", text);
        check(&file, &enums([&defined]), &crates).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_wildcard_for_variants_of_ours_is_found() {
        let text =
            "fn f() {\n    match role {\n        Role::Leader => 1,\n        _ => 2,\n    }\n}\n";
        assert_eq!(found(text), ["a/src/b.rs:4: `_ =>` stands for variants of Role"]);
        for text in [
            "match r { Role::Leader => {} other => drop(other) }",
            "match f(|x| { x }) { Some(consensus::Role::Leader { a, .. }) if a => b, _ => c }",
            "match r { crate::Role::Leader => match x { 1 => 2, n => n }, _ => {} }",
            "match (r, s) { (Role::Leader, _) => {}\n _ => {} }",
            "match self { Self::Leader | Self::Other => 1, _ => 2 }",
        ] {
            assert_eq!(found(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn exhaustive_matches_and_those_on_other_types_pass() {
        for text in [
            "match r { Role::Leader => 1, Role::Follower => 2 }",
            "match (r, n) { (Role::Leader, _) => 1, (Role::Follower, n) => n }",
            "match r { Role::Leader => 1, Role::Follower if x => 2, Role::Follower => 3 }",
            "match n { 1 => a, Role::NONE => b, _ => c }",
            "match e { io::ErrorKind::NotFound => a, _ => b }",
            "use other::Role;\nfn f() { match r { Role::Leader => a, _ => b } }",
            "match e { other::Role::Leader => a, _ => b }",
            "match b { true => Role::Leader, false => c }",
            "match n { 1 => Role::Leader, _ => Role::Follower }",
            "match e { Open::A => 1, _ => 2 }",
            "#[cfg(test)]\nmod tests { fn f() { match r { Role::Leader => 1, _ => 2 } } }",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
