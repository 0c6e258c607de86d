//! Every error code with its page: what `raftctl explain` prints and which exit code it means.

use std::fmt;

use crate::report::Exit;

/// Makes a constant of each code, and the table of their pages.
macro_rules! pages {
    ($($name:ident $number:literal $exit:ident $title:literal $text:literal)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*

        /// The pages, in order of their codes.
        pub(super) const PAGES: &[Page] = &[
            $(Page { code: $name, exit: Exit::$exit, title: $title, text: $text }),*
        ];
    };
}

mod data;
mod files;
mod members;
mod remarks;
mod requests;
mod usage;

pub use data::*;
pub use files::*;
pub use members::*;
pub use remarks::*;
pub use requests::*;
pub use usage::*;

/// An error's code, printed as `R0103`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{:04}", self.0)
    }
}

impl Code {
    /// Reads `R0103`, `r103` or `103`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['R', 'r']).unwrap_or(text);
        let code = Self(digits.parse().ok()?);
        pages().any(|page| page.code == code).then_some(code)
    }
}

/// What is said about a code.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The code.
    pub code: Code,
    /// How a command with this error ends.
    pub exit: Exit,
    /// A few words.
    pub title: &'static str,
    /// What it means, what causes it, what to do.
    pub text: &'static str,
}

/// Returns a code's page.
pub fn page(code: Code) -> &'static Page {
    pages().find(|page| page.code == code).expect("every code is in the table")
}

/// Returns all pages, in order of their codes.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    let tables =
        [usage::PAGES, requests::PAGES, data::PAGES, members::PAGES, remarks::PAGES, files::PAGES];
    tables.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_unique() {
        assert!(pages().map(|page| page.code).is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn codes_are_read_in_every_spelling() {
        for text in ["R0103", "r0103", "103", "0103"] {
            assert_eq!(Code::parse(text), Some(NO_LEADER), "{text}");
        }
        for text in ["", "R", "R9999", "-1", "99999", "leader"] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
        assert_eq!(NO_LEADER.to_string(), "R0103");
    }

    #[test]
    fn pages_fit_a_terminal() {
        for page in pages() {
            assert!(page.text.lines().all(|line| line.len() <= 100), "{}", page.code);
            assert!(!page.title.ends_with('.'), "{}", page.code);
        }
    }
}
