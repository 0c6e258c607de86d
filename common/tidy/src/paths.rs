//! Reads what a Rust file declares and names: modules, imports, and paths in its code.
//!
//! Only the shape of paths is known here, not what they mean: who resolves them knows the files.

use crate::scanner::{code_of, is_word, line_of, product_of};
use std::collections::BTreeSet;

/// A module that a file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    /// The modules inside this file that it is in, from the outside to the inside.
    pub(crate) scope: Vec<String>,
    /// The name.
    pub(crate) name: String,
    /// Whether it is `pub`, without a restriction.
    pub(crate) public: bool,
    /// The line, counted from 1.
    pub(crate) line: usize,
}

/// One name that a `use` brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The modules inside this file that it is in.
    pub(crate) scope: Vec<String>,
    /// Where the name comes from, as it is written; without the `*` of a glob.
    pub(crate) path: Vec<String>,
    /// What it is called here; `None` for a glob.
    pub(crate) name: Option<String>,
    /// Whether it is `pub`, without a restriction.
    pub(crate) public: bool,
    /// The line, counted from 1.
    pub(crate) line: usize,
}

/// A path of at least two words that code names outside of a `use`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The modules inside this file that it is in.
    pub(crate) scope: Vec<String>,
    /// The words.
    pub(crate) path: Vec<String>,
}

/// What a file declares and names, leaving its test code aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The modules, in files of their own and inside this one.
    pub(crate) modules: Vec<Declared>,
    /// The names that are brought in.
    pub(crate) imports: Vec<Import>,
    /// All other paths.
    pub(crate) mentions: Vec<Mention>,
    /// The names that it defines, and the macros that may define more.
    pub(crate) defined: BTreeSet<String>,
}

impl Reading {
    /// Tells whether the file defines nothing: it is a face then, which only hands names on.
    pub(crate) fn is_face(&self) -> bool {
        self.defined.is_empty()
    }
}

/// The words that begin a definition.
const DEFINING: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "impl"];

/// Reads a file of the product.
pub(crate) fn read(text: &str) -> Reading {
    let code = product_of(&code_of(text));
    let tokens = tokens(&code);
    let mut reader = Reader { code: &code, tokens: &tokens, at: 0, scopes: Vec::new() };
    let mut reading = Reading::default();
    while reader.at < tokens.len() {
        reader.item(&mut reading);
    }
    reading
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str, usize),
    Separator,
    Mark(char),
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = code[at..].chars().next() {
        if is_word(c) {
            let length = code[at..].find(|c| !is_word(c)).unwrap_or(code.len() - at);
            found.push(Token::Word(&code[at..at + length], at));
            at += length;
        } else if code[at..].starts_with("::") {
            found.push(Token::Separator);
            at += 2;
        } else {
            if !c.is_whitespace() {
                found.push(Token::Mark(c));
            }
            at += c.len_utf8();
        }
    }
    found
}

struct Reader<'a> {
    code: &'a str,
    tokens: &'a [Token<'a>],
    at: usize,
    /// One for each open brace: the name of the module that it opens, if it opens one.
    scopes: Vec<Option<&'a str>>,
}

impl<'a> Reader<'a> {
    /// Reads what stands here, and goes on behind it.
    fn item(&mut self, reading: &mut Reading) {
        match self.tokens[self.at] {
            Token::Mark('{') => self.scopes.push(None),
            Token::Mark('}') => drop(self.scopes.pop()),
            Token::Word("use", offset) if self.peek(1) != Some(Token::Mark('<')) => {
                let public = self.is_public();
                self.at += 1;
                self.import(&[], public, line_of(self.code, offset), reading);
                return;
            }
            Token::Word("mod", offset) => {
                if let Some(Token::Word(name, _)) = self.peek(1) {
                    reading.modules.push(Declared {
                        scope: self.scope(),
                        name: name.to_owned(),
                        public: self.is_public(),
                        line: line_of(self.code, offset),
                    });
                    if self.peek(2) == Some(Token::Mark('{')) {
                        self.scopes.push(Some(name));
                        self.at += 3;
                        return;
                    }
                }
            }
            Token::Word(word, _) => {
                match self.peek(1) {
                    Some(Token::Word(name, _)) if DEFINING.contains(&word) => {
                        reading.defined.insert(name.to_owned());
                    }
                    Some(Token::Mark('<')) if word == "impl" => {
                        reading.defined.insert("impl".to_owned());
                    }
                    Some(Token::Mark('!')) if self.peek(2) != Some(Token::Mark('=')) => {
                        reading.defined.insert(format!("{word}!"));
                    }
                    Some(_) | None => {}
                }
                self.mention(reading);
            }
            Token::Separator | Token::Mark(_) => {}
        }
        self.at += 1;
    }

    fn peek(&self, ahead: usize) -> Option<Token<'a>> {
        self.tokens.get(self.at + ahead).copied()
    }

    fn scope(&self) -> Vec<String> {
        self.scopes.iter().flatten().map(|name| (*name).to_owned()).collect()
    }

    fn is_public(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| self.tokens[at]);
        matches!(before, Some(Token::Word("pub", _)))
    }

    /// Notes the path that begins here, if one does, and stops at its last word.
    fn mention(&mut self, reading: &mut Reading) {
        if self.at > 0 && self.tokens[self.at - 1] == Token::Separator {
            return; // the end of `<T as Trait>::name`
        }
        let mut path = Vec::new();
        while let Some(Token::Word(word, _)) = self.peek(0) {
            path.push(word.to_owned());
            let goes_on = self.peek(1) == Some(Token::Separator)
                && matches!(self.peek(2), Some(Token::Word(..)));
            if !goes_on {
                break;
            }
            self.at += 2;
        }
        if path.len() > 1 {
            reading.mentions.push(Mention { scope: self.scope(), path });
        }
    }

    /// Reads one branch of an import's tree, up to the comma, brace or semicolon behind it.
    fn import(&mut self, prefix: &[String], public: bool, line: usize, reading: &mut Reading) {
        let mut path = prefix.to_vec();
        let mut name = None;
        let mut is_glob = false;
        while let Some(token) = self.peek(0) {
            match token {
                Token::Word("as", _) => {
                    if let Some(Token::Word(alias, _)) = self.peek(1) {
                        name = Some(alias.to_owned());
                        self.at += 1;
                    }
                }
                Token::Word("self", _) if !path.is_empty() => {}
                Token::Word(word, _) => path.push(word.to_owned()),
                Token::Mark('*') => is_glob = true,
                Token::Mark('{') => {
                    self.at += 1;
                    self.branches(&path, public, line, reading);
                    return;
                }
                Token::Mark(_) => break,
                Token::Separator => {}
            }
            self.at += 1;
        }
        let name = if is_glob { None } else { name.or_else(|| path.last().cloned()) };
        if !path.is_empty() {
            reading.imports.push(Import { scope: self.scope(), path, name, public, line });
        }
    }

    /// Reads the branches between the braces of an import's tree, and goes on behind them.
    fn branches(&mut self, prefix: &[String], public: bool, line: usize, reading: &mut Reading) {
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark('}') => {
                    self.at += 1;
                    return;
                }
                Token::Mark(',') => self.at += 1,
                Token::Word(..) | Token::Separator | Token::Mark(_) => {
                    let before = self.at;
                    self.import(prefix, public, line, reading);
                    if self.at == before {
                        return; // not an import's tree after all
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(text: &str) -> Vec<String> {
        read(text)
            .imports
            .iter()
            .map(|import| {
                let name = import.name.as_deref().unwrap_or("*");
                let public = if import.public { "pub " } else { "" };
                format!("{public}{} as {name}", import.path.join("::"))
            })
            .collect()
    }

    #[test]
    fn an_import_tree_is_read_to_its_leaves() {
        let text = "pub use a::{self, b::{C, D as E}, f::*};\npub(crate) use crate::g;\nuse h;\n";
        let expected = [
            "pub a as a",
            "pub a::b::C as C",
            "pub a::b::D as E",
            "pub a::f as *",
            "crate::g as g",
            "h as h",
        ];
        assert_eq!(imports(text), expected);
    }

    #[test]
    fn what_tests_import_is_not_read() {
        let text =
            "#[cfg(test)]\nuse a::b;\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\nuse c;\n";
        assert_eq!(imports(text), ["c as c"]);
        assert!(read(text).modules.is_empty());
    }

    #[test]
    fn paths_in_code_are_mentioned_once_and_whole() {
        let text = "fn f(a: b::C) -> impl D + use<'a> { <E as F>::g(); crate::h::i::<J>(k); }\n\
                    // l::m\nconst N: &str = \"o::p\";\n";
        let reading = read(text);
        let found: Vec<String> = reading.mentions.iter().map(|m| m.path.join("::")).collect();
        assert_eq!(found, ["b::C", "crate::h::i"]);
    }

    #[test]
    fn modules_inside_a_file_are_scopes() {
        let reading = read("pub mod a {\n    fn f() {}\n    pub use super::b::C;\n}\nmod d;\n");
        assert_eq!(reading.imports[0].scope, ["a"]);
        let found: Vec<(&str, bool, usize)> =
            reading.modules.iter().map(|m| (m.name.as_str(), m.public, m.line)).collect();
        assert_eq!(found, [("a", true, 1), ("d", false, 5)]);
    }

    #[test]
    fn a_file_that_only_declares_and_hands_on_defines_nothing() {
        let face = "//! fn f() {}\nmod a;\npub use a::B;\n#[cfg(test)]\nfn f() {}\n";
        assert!(read(face).is_face());
        for text in ["fn f() {}", "struct A;", "type A = B;", "impl<T> A {}", "a! { b }"] {
            assert!(!read(text).is_face(), "{text}");
        }
        assert!(read("const A: u8 = 1;").defined.contains("A"));
    }
}
