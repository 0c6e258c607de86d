//! What a code is, and what is said about it.

use std::fmt;

use crate::exit::Exit;

/// Makes a constant of each code, and the table of their pages.
macro_rules! pages {
    ($($name:ident $number:literal $exit:ident $title:literal $text:literal)*) => {
        $(#[doc = $title] pub(crate) const $name: Code = Code($number);)*

        /// The pages, in order of their codes.
        pub(in crate::codes) const PAGES: &[Page] = &[
            $(Page { code: $name, exit: Exit::$exit, title: $title, text: $text }),*
        ];
    };
}

pub(super) use pages;

/// An error's code, printed as `R0103`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Code(pub(super) u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{:04}", self.0)
    }
}

/// What is said about a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// The code.
    pub(crate) code: Code,
    /// How a command with this error ends.
    pub(crate) exit: Exit,
    /// A few words.
    pub(crate) title: &'static str,
    /// What it means, what causes it, what to do.
    pub(crate) text: &'static str,
}
