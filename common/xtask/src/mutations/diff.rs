//! Unified diffs, read and applied strictly: all that a hunk takes out must stand in the file.
//!
//! A hunk goes where its lines stand, whatever its line number says: numbers move with every change
//! above. If its lines stand in several places, the place nearest to the number is taken.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Changes of some files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Diff<'a> {
    files: Vec<File<'a>>,
}

/// Changes of a file.
#[derive(Debug, PartialEq, Eq)]
struct File<'a> {
    path: &'a str,
    hunks: Vec<Hunk<'a>>,
}

/// A change of a few lines.
#[derive(Debug, PartialEq, Eq)]
struct Hunk<'a> {
    /// Where the old lines began, counted from 1.
    line: usize,
    old: Vec<&'a str>,
    new: Vec<&'a str>,
}

impl<'a> Diff<'a> {
    /// Parses a diff; what comes before it is skipped.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let mut files: Vec<File<'a>> = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(path) = line.strip_prefix("--- a/") {
                let same = lines.next().and_then(|line| line.strip_prefix("+++ b/"));
                if same != Some(path) {
                    return Err(format!("behind \"{line}\" no \"+++ b/{path}\" follows"));
                }
                files.push(File { path, hunks: Vec::new() });
            } else if let Some(head) = line.strip_prefix("@@ ") {
                let file = files.last_mut().ok_or("a hunk comes before the first \"--- a/\"")?;
                file.hunks.push(Hunk::parse(head, &mut lines)?);
            }
        }
        match files.iter().find(|file| file.hunks.is_empty()) {
            Some(file) => Err(format!("{} is not changed", file.path)),
            None if files.is_empty() => Err("there is no diff".to_owned()),
            None => Ok(Diff { files }),
        }
    }

    /// Returns the changed files, by their paths.
    ///
    /// # Errors
    ///
    /// A sentence that says which lines do not stand where.
    pub(super) fn apply(
        &self,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<BTreeMap<PathBuf, String>, String> {
        let mut changed = BTreeMap::new();
        for file in &self.files {
            let path = PathBuf::from(file.path);
            let text = match changed.remove(&path) {
                Some(text) => text,
                None => read(file.path).map_err(|why| format!("{}: {why}", file.path))?,
            };
            let mut lines: Vec<&str> = text.lines().collect();
            for hunk in &file.hunks {
                hunk.apply(&mut lines).map_err(|why| format!("{}: {why}", file.path))?;
            }
            let text = lines.join("\n") + "\n";
            changed.insert(path, text);
        }
        Ok(changed)
    }
}

impl<'a> Hunk<'a> {
    /// Parses what follows `@@ `: `-12,7 +12,8 @@`, then the lines.
    fn parse(head: &str, lines: &mut impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let not = || format!("not understood: @@ {head}");
        let mut ranges = head.split(' ').map(range);
        let (Some(Some((line, mut old_left))), Some(Some((_, mut new_left)))) =
            (ranges.next(), ranges.next())
        else {
            return Err(not());
        };
        let mut hunk = Hunk { line, old: Vec::new(), new: Vec::new() };
        while old_left > 0 || new_left > 0 {
            let line = lines.next().ok_or_else(|| format!("@@ {head}: lines are missing"))?;
            // Editors cut the blank off that stands for an empty line.
            let (kind, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
            let (old, new) = match kind {
                " " => (1, 1),
                "-" => (1, 0),
                "+" => (0, 1),
                _ => return Err(format!("@@ {head}: not understood: {line}")),
            };
            let less = |left: usize, by| left.checked_sub(by).ok_or_else(not);
            (old_left, new_left) = (less(old_left, old)?, less(new_left, new)?);
            hunk.old.extend((old == 1).then_some(rest));
            hunk.new.extend((new == 1).then_some(rest));
        }
        if hunk.old.is_empty() || hunk.old == hunk.new {
            return Err(format!("@@ {head}: it says neither where nor what to change"));
        }
        Ok(hunk)
    }

    fn apply(&self, lines: &mut Vec<&'a str>) -> Result<(), String>
    where
        'a: 'a,
    {
        let size = self.old.len();
        let places = (0..(lines.len() + 1).saturating_sub(size))
            .filter(|place| lines[*place..*place + size] == self.old[..]);
        let place = places.min_by_key(|place| place.abs_diff(self.line.saturating_sub(1)));
        let Some(place) = place else {
            let old = self.old.join("\n");
            return Err(format!("these lines of the diff do not stand there:\n{old}"));
        };
        lines.splice(place..place + size, self.new.iter().copied());
        Ok(())
    }
}

/// Parses `-12,7`, `+12,7`, or `-12` for one line.
fn range(text: &str) -> Option<(usize, usize)> {
    let text = text.strip_prefix(['-', '+'])?;
    match text.split_once(',') {
        Some((line, count)) => Some((line.parse().ok()?, count.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "\
Rows: B1

A text - with a dash.

--- a/x.rs
+++ b/x.rs
@@ -2,3 +2,3 @@ fn x() {
 two

-three
+3
";

    fn apply(diff: &str, text: &str) -> Result<String, String> {
        let changed = Diff::parse(diff)?.apply(|path| match path {
            "x.rs" => Ok(text.to_owned()),
            _ => Err("there is none".to_owned()),
        })?;
        Ok(changed[&PathBuf::from("x.rs")].clone())
    }

    #[test]
    fn a_hunk_goes_where_its_lines_stand() {
        let changed = |text: &str| apply(DIFF, text);
        assert_eq!(changed("one\ntwo\n\nthree\n"), Ok("one\ntwo\n\n3\n".to_owned()));
        let moved = changed("0\n0\n0\none\ntwo\n\nthree\nfour\n");
        assert_eq!(moved, Ok("0\n0\n0\none\ntwo\n\n3\nfour\n".to_owned()));
        let twice = changed("0\n0\n0\n0\n0\ntwo\n\nthree\ntwo\n\nthree\n");
        assert_eq!(twice, Ok("0\n0\n0\n0\n0\ntwo\n\n3\ntwo\n\nthree\n".to_owned()));
    }

    #[test]
    fn lines_that_are_not_there_are_named() {
        let why = apply(DIFF, "one\ntwo\nthree\n").expect_err("an empty line is missing");
        assert!(why.starts_with("x.rs: ") && why.ends_with("two\n\nthree"), "{why}");
        assert!(apply(&DIFF.replace("x.rs", "y.rs"), "").is_err_and(|why| why.contains("y.rs")));
    }

    #[test]
    fn several_hunks_and_files_are_one_diff() {
        let more = format!(
            "{DIFF}@@ -5 +5,2 @@\n-four\n+4\n+5\n--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-one\n+1\n"
        );
        let changed = apply(&more, "one\ntwo\n\nthree\nfour\n");
        assert_eq!(changed, Ok("1\ntwo\n\n3\n4\n5\n".to_owned()));
    }

    #[test]
    fn what_is_no_diff_is_refused() {
        for (wrong, why) in [
            ("", "there is no diff"),
            ("--- a/x.rs\n+++ b/y.rs\n", "no \"+++ b/x.rs\""),
            ("--- a/x.rs\n+++ b/x.rs\n", "x.rs is not changed"),
            ("@@ -1 +1 @@\n-a\n+b\n", "before the first"),
            ("--- a/x.rs\n+++ b/x.rs\n@@ -x +1 @@\n", "not understood"),
            ("--- a/x.rs\n+++ b/x.rs\n@@ -1,2 +1 @@\n-a\n", "lines are missing"),
            ("--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n*a\n", "not understood: *a"),
            ("--- a/x.rs\n+++ b/x.rs\n@@ -1 +1,2 @@\n-a\n-b\n", "not understood"),
            ("--- a/x.rs\n+++ b/x.rs\n@@ -0,0 +1 @@\n+a\n", "neither where nor what"),
            ("--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n a\n", "neither where nor what"),
        ] {
            let found = Diff::parse(wrong).map(|_| ()).expect_err(wrong);
            assert!(found.contains(why), "{found}");
        }
    }
}
