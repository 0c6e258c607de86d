//! What the systems are asked to do.

use serde_json::{Value, json};

/// The kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Writes a random key.
    Put,
    /// Reads a random key, linearizably.
    Get,
}

/// A load: so many clients, each with one request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) kind: Kind,
    pub(crate) clients: u32,
    /// Of values, in bytes.
    pub(crate) size: u32,
}

/// The values of all works that are not about values.
const SIZE: u32 = 256;

/// All of it, in the order in which it is done: reads find what the first writes have left.
pub(crate) const ALL: [Work; 9] = [
    put(1, SIZE),
    put(64, SIZE),
    put(256, SIZE),
    put(1_024, SIZE),
    get(1),
    get(256),
    get(1_024),
    put(64, 4 * 1024),
    put(64, 64 * 1024),
];

/// A look at it.
pub(crate) const QUICK: [Work; 3] = [put(64, SIZE), put(256, SIZE), get(256)];

const fn put(clients: u32, size: u32) -> Work {
    Work { kind: Kind::Put, clients, size }
}

const fn get(clients: u32) -> Work {
    Work { kind: Kind::Get, clients, size: SIZE }
}

impl Kind {
    /// Returns its word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
        }
    }

    /// Reads its word.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Put, Self::Get].into_iter().find(|kind| kind.name() == name)
    }
}

impl Work {
    /// Says what it is, for people.
    pub(crate) fn title(self) -> String {
        let size = match self.size {
            bytes if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
            bytes => format!("{bytes} B"),
        };
        let clients = if self.clients == 1 { "client" } else { "clients" };
        format!("{} {size}, {} {clients}", self.kind.name(), self.clients)
    }

    /// Says what it is, for programs.
    pub(crate) fn json(self) -> Value {
        json!({ "kind": self.kind.name(), "clients": self.clients, "sizeBytes": self.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_work_has_a_title_of_its_own() {
        let titles: std::collections::BTreeSet<String> =
            ALL.iter().map(|work| work.title()).collect();
        assert_eq!(titles.len(), ALL.len());
        assert!(titles.contains("put 64 KiB, 64 clients"));
        assert!(titles.contains("get 256 B, 1 client"));
    }
}
