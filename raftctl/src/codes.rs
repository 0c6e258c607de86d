//! Every error code with its page: what `raftctl explain` prints and which exit code it means.

mod certificates;
mod configuration;
mod data;
mod disks;
mod files;
mod health;
mod limits;
mod members;
mod memory;
mod page;
mod remarks;
mod requests;
mod tokens;
mod usage;

pub(crate) use certificates::*;
pub(crate) use configuration::*;
pub(crate) use data::*;
pub(crate) use disks::*;
pub(crate) use files::*;
pub(crate) use health::*;
pub(crate) use limits::*;
pub(crate) use members::*;
pub(crate) use memory::*;
pub(crate) use page::{Code, Page};
pub(crate) use remarks::*;
pub(crate) use requests::*;
pub(crate) use tokens::*;
pub(crate) use usage::*;

impl Code {
    /// Reads `R0103`, `r103` or `103`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['R', 'r']).unwrap_or(text);
        let code = Self(digits.parse().ok()?);
        pages().any(|page| page.code == code).then_some(code)
    }
}

/// Returns a code's page.
pub(crate) fn page(code: Code) -> &'static Page {
    pages().find(|page| page.code == code).expect("every code is in the table")
}

/// Returns all pages, in order of their codes.
pub(crate) fn pages() -> impl Iterator<Item = &'static Page> {
    let tables = [
        usage::PAGES,
        requests::PAGES,
        data::PAGES,
        members::PAGES,
        remarks::PAGES,
        memory::PAGES,
        health::PAGES,
        limits::PAGES,
        disks::PAGES,
        files::PAGES,
        certificates::PAGES,
        tokens::PAGES,
        configuration::PAGES,
    ];
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
