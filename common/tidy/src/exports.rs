//! Nothing is handed on for nobody: a name that a library re-exports, or a module that it makes
//! public, is used outside of it.
//!
//! Outside are the other crates, the crate's own programs, tests and benchmarks, and the examples
//! in its documentation. A type that a public signature names counts as used: who gets one must be
//! able to name it.

use crate::paths::{Import, read};
use crate::scanner::{code_of, is_word, occurrences};
use crate::{File, Violation};
use std::collections::BTreeSet;

/// A package with a library.
#[derive(Clone, Debug)]
pub struct Library {
    /// The package's name.
    pub name: String,
    /// Its folder, below the workspace's root.
    pub folder: String,
}

impl Library {
    /// Returns the name by which code calls it.
    fn called(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Tells whether a file is compiled into the library.
    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&format!("{}/src/", self.folder))
            .is_some_and(|below| below != "main.rs" && !below.starts_with("bin/"))
    }
}

/// Finds what the libraries export and nothing uses.
pub fn check(libraries: &[Library], files: &[File]) -> Vec<Violation> {
    let rust: Vec<&File> = files.iter().filter(|file| file.is_rust()).collect();
    let named = signatures(&rust);
    libraries.iter().flat_map(|library| check_library(library, &rust, &named)).collect()
}

fn check_library(library: &Library, files: &[&File], named: &BTreeSet<String>) -> Vec<Violation> {
    let used: Vec<Vec<String>> = files
        .iter()
        .flat_map(|file| if library.holds(&file.path) { examples(file) } else { used_by(file) })
        .filter(|path| path.first() == Some(&library.called()))
        .collect();
    let is_used = |exported: &[String]| {
        used.iter().any(|path| path.starts_with(exported) || is_glob_over(path, exported))
    };
    let mut found = Vec::new();
    let root = format!("{}/src/lib.rs", library.folder);
    let mut open = vec![(root, vec![library.called()])];
    while let Some((path, module)) = open.pop() {
        let Some(file) = files.iter().find(|file| file.path == path) else {
            continue;
        };
        let reading = read(&file.text);
        let below = |scope: &[String], name: &String| {
            [module.as_slice(), scope, std::slice::from_ref(name)].concat()
        };
        for child in reading.modules.iter().filter(|child| child.public) {
            let exported = below(&child.scope, &child.name);
            if !is_used(&exported) {
                let rule = format!("`pub mod {}`: nothing outside uses it", child.name);
                found.push(Violation::at_line(file, child.line, rule));
            }
            let stem = exported[1..].join("/");
            open.push((format!("{}/src/{stem}.rs", library.folder), exported));
        }
        for import in reading.imports.iter().filter(|import| import.public) {
            let Import { scope, name: Some(name), line, .. } = import else {
                continue;
            };
            if !is_used(&below(scope, name)) && !named.contains(name) {
                let rule = format!("`pub use {name}`: nothing outside uses it");
                found.push(Violation::at_line(file, *line, rule));
            }
        }
    }
    found
}

/// Tells whether a path ends in `*` above an exported one.
fn is_glob_over(path: &[String], exported: &[String]) -> bool {
    path.split_last().is_some_and(|(last, above)| last == "*" && exported.starts_with(above))
}

/// Returns the paths that a file names, with what its imports stand for put in their place.
fn used_by(file: &File) -> Vec<Vec<String>> {
    paths_of(&all_code(&file.text))
}

/// Uncovers test code, which uses things as well as the product does.
fn all_code(text: &str) -> String {
    text.replace("#[cfg(test)]", "")
}

fn paths_of(text: &str) -> Vec<Vec<String>> {
    let reading = read(text);
    let mut found: Vec<Vec<String>> = Vec::new();
    for import in &reading.imports {
        let glob = import.name.is_none().then(|| "*".to_owned());
        found.push(import.path.iter().cloned().chain(glob).collect());
    }
    for mention in &reading.mentions {
        let first = mention.path.first();
        let bound = reading.imports.iter().find(|import| import.name.as_ref() == first);
        let prefix = bound.map_or(&mention.path[..1], |import| &import.path);
        found.push([prefix, &mention.path[1..]].concat());
    }
    found
}

/// Returns the paths in the examples of a file's documentation.
fn examples(file: &File) -> Vec<Vec<String>> {
    let mut code = String::new();
    let mut inside = false;
    for line in file.text.lines() {
        let line = line.trim_start();
        let Some(doc) = line.strip_prefix("//!").or_else(|| line.strip_prefix("///")) else {
            continue;
        };
        let doc = doc.trim_start();
        if doc.starts_with("```") {
            inside = !inside;
        } else if inside {
            code.push_str(doc.strip_prefix("# ").unwrap_or(doc));
            code.push('\n');
        }
    }
    paths_of(&code)
}

/// Returns the words in public signatures: functions, fields, variants, aliases, traits.
fn signatures(files: &[&File]) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for file in files {
        let code = code_of(&file.text);
        for at in occurrences(&code, "pub") {
            let item = &code[at + 3..];
            if item.starts_with('(') || item.trim_start().starts_with("use ") {
                continue;
            }
            words.extend(words_of(signature(item)));
        }
        for at in occurrences(&code, "type") {
            words.extend(words_of(code[at..].split(';').next().unwrap_or_default()));
        }
    }
    words
}

/// Returns an item up to its body; all of an enumeration or a trait, whose parts are as public.
fn signature(item: &str) -> &str {
    let body = item.find(['{', ';']).unwrap_or(item.len());
    let head = &item[..body];
    let is_whole = ["enum ", "trait "].iter().any(|kind| head.contains(kind));
    if !is_whole {
        return head;
    }
    let end = item.find("\n}").unwrap_or(item.len());
    &item[..end.max(body)]
}

/// Returns the words of a signature, without the name that it defines.
fn words_of(signature: &str) -> Vec<String> {
    let words = signature.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    let defining = ["struct", "enum", "trait", "fn", "const", "static", "type", "mod", "async"];
    words.skip_while(|word| defining.contains(word)).skip(1).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(library: &str, others: &[(&str, &str)]) -> Vec<String> {
        let libraries = [Library { name: "a-b".to_owned(), folder: "common/a-b".to_owned() }];
        let mut files = vec![File::new("common/a-b/src/lib.rs", library)];
        files.extend(others.iter().map(|(path, text)| File::new(*path, *text)));
        check(&libraries, &files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_re_export_that_nothing_uses_is_found() {
        let dead = ["common/a-b/src/lib.rs:2: `pub use C`: nothing outside uses it"];
        let library = "mod c;\npub use c::{C, D};\npub(crate) use c::E;\n";
        assert_eq!(found(library, &[("raftd/src/a.rs", "use a_b::D;\n")]), dead);
        let own = [("common/a-b/src/e.rs", "use crate::C;\nuse a_b::D;\n")];
        assert_eq!(found(library, &own).len(), 2, "the crate itself is not outside");
    }

    #[test]
    fn every_way_of_using_counts() {
        let library = "mod c;\npub use c::C;\n";
        for text in [
            "use a_b::C;",
            "use a_b::{D, C as X};",
            "fn f() { a_b::C::new(); }",
            "use a_b as x;\nfn f() -> x::C {}",
            "use a_b::*;",
            "#[cfg(test)]\nmod tests {\n    use a_b::C;\n}",
        ] {
            assert_eq!(found(library, &[("raftd/src/a.rs", text)]), [""; 0], "{text}");
            assert_eq!(found(library, &[("common/a-b/tests/a.rs", text)]), [""; 0], "{text}");
        }
        for text in ["use other::C;", "// a_b::C", "use a_b::Cd;"] {
            assert_eq!(found(library, &[("raftd/src/a.rs", text)]).len(), 1, "{text}");
        }
    }

    #[test]
    fn an_example_in_the_documentation_is_outside() {
        let library = "//! ```\n//! # fn f() {\n//! use a_b::C;\n//! # }\n//! ```\npub use c::C;\n";
        assert_eq!(found(library, &[]), [""; 0]);
        assert_eq!(found(&library.replace("```", ""), &[]).len(), 1, "prose uses nothing");
    }

    #[test]
    fn who_gets_a_value_may_name_its_type() {
        let library = "mod c;\npub use c::C;\n";
        for text in [
            "pub fn f() -> Result<C, u8> {}",
            "pub struct D {\n    pub c: C,\n}",
            "pub enum E {\n    F(C),\n}",
            "pub trait T {\n    fn f(&self) -> C;\n}",
            "impl T for D {\n    type Error = C;\n}",
        ] {
            assert_eq!(found(library, &[("common/a-b/src/d.rs", text)]), [""; 0], "{text}");
        }
        for text in ["pub struct C;", "pub(crate) fn f() -> C {}", "fn f() -> C {}"] {
            assert_eq!(found(library, &[("common/a-b/src/c.rs", text)]).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_public_module_that_nothing_uses_is_found() {
        let dead = ["common/a-b/src/lib.rs:1: `pub mod c`: nothing outside uses it"];
        let library = "pub mod c;\nmod d;\n";
        let inside = ("common/a-b/src/c.rs", "pub fn f() {}\n");
        assert_eq!(found(library, &[inside]), dead);
        assert_eq!(found(library, &[inside, ("raftd/src/a.rs", "use a_b::c::f;\n")]), [""; 0]);
    }

    #[test]
    fn what_a_public_module_hands_on_is_looked_at_as_well() {
        let inside = ("common/a-b/src/c.rs", "pub use e::{E, F};\n");
        let outside = ("raftd/src/a.rs", "use a_b::c;\nfn f() -> c::E {}\n");
        let dead = ["common/a-b/src/c.rs:1: `pub use F`: nothing outside uses it"];
        assert_eq!(found("pub mod c;\n", &[inside, outside]), dead);
    }
}
