//! No circle of files inside a crate: of two files at most one knows the other, also in a
//! roundabout way.
//!
//! A file knows another one whose definitions it names, by `use` or by a path in its code. A module
//! that only declares and re-exports is a face: who takes a name from it knows the file behind it.
//! A module and the modules below it are one family: when a module uses what is below it, directly
//! or through others of the family, those may use what it defines.

use crate::paths::{Import, Reading, read};
use crate::{File, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// How often a name is handed on before it is taken for a circle of re-exports.
const FACES_MAX: usize = 8;

/// Finds the circles in one crate, whose root is `root`, among the files of its product.
pub fn check(name: &str, root: &str, files: &[&File]) -> Vec<Violation> {
    let whole = Crate::new(root, files);
    let arrows = whole.arrows();
    rings(&arrows)
        .into_iter()
        .map(|ring| {
            let ties = ring.iter().flat_map(|from| {
                let ring = &ring;
                arrows.get(*from).into_iter().flatten().filter_map(move |(to, names)| {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    ring.contains(to).then(|| format!("\n  {from} -> {to}: {}", names.join(", ")))
                })
            });
            let ties: String = ties.collect();
            Violation::at(name, format!("a circle of {} files{ties}", ring.len()))
        })
        .collect()
}

/// Which files each file knows, and by which names.
type Arrows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

struct Source<'a> {
    file: &'a str,
    reading: Reading,
    module: Vec<String>,
}

struct Crate<'a> {
    sources: Vec<Source<'a>>,
    /// Which source holds a module, by its path from the root.
    modules: BTreeMap<Vec<String>, usize>,
}

impl<'a> Crate<'a> {
    fn new(root: &str, files: &[&'a File]) -> Crate<'a> {
        let texts: BTreeMap<&str, &'a File> =
            files.iter().map(|file| (file.path.as_str(), *file)).collect();
        let mut whole = Crate { sources: Vec::new(), modules: BTreeMap::new() };
        if let Some(file) = texts.get(root) {
            whole.add(file, &[], &texts);
        }
        whole
    }

    /// Adds a file and those of the modules that it declares.
    fn add(&mut self, file: &'a File, module: &[String], texts: &BTreeMap<&str, &'a File>) {
        let stem = file.path.trim_end_matches(".rs");
        let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let is_home = module.is_empty() || name == "mod";
        let below = if is_home { parent } else { stem };
        let reading = read(&file.text);
        let declared = reading.modules.clone();
        self.modules.insert(module.to_vec(), self.sources.len());
        self.sources.push(Source { file: &file.path, reading, module: module.to_vec() });
        let source = self.sources.len() - 1;
        for child in declared {
            let inner = [child.scope.as_slice(), std::slice::from_ref(&child.name)].concat();
            let path = [module, inner.as_slice()].concat();
            let stem = format!("{below}/{}", inner.join("/"));
            let own = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
            match own.iter().find_map(|own| texts.get(own.as_str())) {
                Some(own) => self.add(own, &path, texts),
                None => drop(self.modules.insert(path, source)),
            }
        }
    }

    fn arrows(&self) -> Arrows<'a> {
        let mut arrows = Arrows::new();
        for (at, source) in self.sources.iter().enumerate() {
            let imports = source.reading.imports.iter().map(|i| (&i.scope, &i.path));
            let mentions = source.reading.mentions.iter().map(|m| (&m.scope, &m.path));
            for (scope, path) in imports.chain(mentions) {
                let known = self.absolute(at, scope, path).and_then(|path| self.home(&path, 0));
                if let Some((to, name)) = known.filter(|(to, _)| *to != at) {
                    let known = arrows.entry(source.file).or_default();
                    known.entry(self.sources[to].file).or_default().insert(name);
                }
            }
        }
        self.without_families(arrows)
    }

    /// Leaves out what modules take from one above them that uses them.
    fn without_families(&self, mut arrows: Arrows<'a>) -> Arrows<'a> {
        let modules: BTreeMap<&str, &[String]> =
            self.sources.iter().map(|source| (source.file, source.module.as_slice())).collect();
        let all = arrows.clone();
        let uses = |head: &str, member: &str| {
            let family = |file: &str| modules[file].starts_with(modules[head]);
            reached(&all, head, &family).contains(member)
        };
        for (from, known) in &mut arrows {
            known.retain(|to, _| !(modules[from].starts_with(modules[to]) && uses(to, from)));
        }
        arrows
    }

    /// Returns a path from the crate's root; `None` for one that leads to another crate.
    fn absolute(&self, source: usize, scope: &[String], path: &[String]) -> Option<Vec<String>> {
        let module = [self.sources[source].module.as_slice(), scope].concat();
        let first = path.first()?.as_str();
        if matches!(first, "crate" | "self" | "super") {
            let mut base = if first == "crate" { Vec::new() } else { module };
            let mut rest = &path[usize::from(first != "super")..];
            while rest.first().is_some_and(|word| word == "super") {
                base.pop()?;
                rest = &rest[1..];
            }
            base.extend_from_slice(rest);
            return Some(base);
        }
        let child = [module.as_slice(), &path[..1]].concat();
        if self.modules.contains_key(&child) {
            return Some([module.as_slice(), path].concat());
        }
        let import = self.import(source, first).filter(|import| import.path != path)?;
        let bound = match import.path.first().map(String::as_str) {
            Some("crate" | "self" | "super") => {
                self.absolute(source, &import.scope, &import.path)?
            }
            _ => return None,
        };
        // Only a module says where the rest is; the import of a type counts by itself.
        self.modules.contains_key(&bound).then(|| [bound.as_slice(), &path[1..]].concat())
    }

    fn import(&self, source: usize, name: &str) -> Option<&Import> {
        let imports = &self.sources[source].reading.imports;
        imports.iter().find(|import| import.name.as_deref() == Some(name))
    }

    /// Returns the `use x::*` of a face that brings a name in.
    fn glob(&self, source: usize, name: &str) -> Option<&Import> {
        let imports = &self.sources[source].reading.imports;
        imports.iter().filter(|import| import.name.is_none()).find(|import| {
            let module = self.absolute(source, &import.scope, &import.path);
            let behind = module.and_then(|module| self.modules.get(&module).copied());
            behind.is_some_and(|source| self.sources[source].reading.defined.contains(name))
        })
    }

    /// Returns the source that defines what a path names, and its name there; a module is no name.
    fn home(&self, path: &[String], faces: usize) -> Option<(usize, String)> {
        let depth = (0..=path.len()).rev().find(|at| self.modules.contains_key(&path[..*at]))?;
        let source = self.modules[&path[..depth]];
        let name = path.get(depth)?;
        let here = Some((source, name.clone()));
        if !self.sources[source].reading.is_face() || faces == FACES_MAX {
            return here;
        }
        let handed = self.import(source, name).or_else(|| self.glob(source, name));
        let behind = handed.and_then(|import| {
            let path = self.absolute(source, &import.scope, &import.path)?;
            let name = import.name.is_none().then(|| name.clone());
            Some(path.into_iter().chain(name).collect::<Vec<_>>())
        });
        behind.map_or(here, |path| self.home(&path, faces + 1))
    }
}

/// Returns the sets of files that reach each other, each in order.
fn rings<'a>(arrows: &Arrows<'a>) -> Vec<Vec<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|from| (*from, reached(arrows, from, &|_| true))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|seen| seen.contains(to));
    let mut found: Vec<Vec<&str>> = Vec::new();
    for from in arrows.keys() {
        if reaches(from, from) && !found.iter().any(|ring| ring.contains(from)) {
            let others = arrows.keys().copied();
            found.push(others.filter(|to| reaches(from, to) && reaches(to, from)).collect());
        }
    }
    found
}

/// Returns the files that one knows, itself or through others, as far as `counts` lets it go.
fn reached<'a>(
    arrows: &Arrows<'a>,
    from: &str,
    counts: &dyn Fn(&str) -> bool,
) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for to in arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
            if counts(to) && seen.insert(*to) {
                open.push(to);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests;
