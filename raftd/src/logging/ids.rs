//! The stable ids of the messages at error, warn and info: what a filter or an alert is made of,
//! since words may change. In the code an id is the event's name. The manual lists them.
//!
//! In the journal each has a MESSAGE_ID of 128 bits, made from the id.

use tracing::Metadata;

use crate::logging::Level;

/// A message that a node logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, which never changes.
    pub id: &'static str,
    /// Its level.
    pub level: Level,
    /// What has happened, as half a sentence.
    pub meaning: &'static str,
}

impl Message {
    /// Returns the id that the journal has for it.
    pub fn journal_id(&self) -> String {
        journal_id(self.id)
    }
}

/// All messages, in the order of their ids.
pub const MESSAGES: &[Message] = &[
    row("act-asked", Level::Info, "somebody asks for an administrative act"),
    row("act-not-noted", Level::Warn, "an act is not in the audit: too many wait for a leader"),
    row("act-refused", Level::Warn, "an administrative act was refused"),
    row("address-awaited", Level::Warn, "the address to listen on is not there yet"),
    row("address-differs", Level::Warn, "the others dial this node elsewhere than it listens"),
    row(
        "advertised-differs",
        Level::Warn,
        "the others dial this node elsewhere than it says with `advertise`",
    ),
    row("alarm-cleared", Level::Info, "a member has room on its disk again"),
    row("alarm-raised", Level::Warn, "a member has no room on its disk"),
    row("aside-removed", Level::Warn, "a state set aside is removed, since room is short"),
    row(
        "begins-anew",
        Level::Error,
        "what the node had is of no use, and it gets all from the others",
    ),
    row("bootstrap-record-mended", Level::Warn, "a copy of the bootstrap record was made anew"),
    row("bootstrapped", Level::Info, "the node was bootstrapped"),
    row("certificate-ends", Level::Warn, "a certificate ends soon"),
    row(
        "certificates-kept-bad",
        Level::Warn,
        "the certificates that came over the wire cannot be used",
    ),
    row(
        "certificates-kept-used",
        Level::Warn,
        "the configured certificates cannot be used, those that came over the wire are",
    ),
    row("certificates-new", Level::Info, "new certificates are in use"),
    row("certificates-refused", Level::Warn, "new certificates are refused"),
    row("certificates-renewed", Level::Info, "certificates were renewed over the wire"),
    row("certificates-same", Level::Info, "the certificates were read again, and are the same"),
    row("change-refused", Level::Warn, "a change of the cluster was refused"),
    row("configuration", Level::Info, "another configuration of members is in force"),
    row("connection-cut", Level::Info, "a connection was cut: its certificate counts no more"),
    row("copies-not-noticed", Level::Info, "the file system does not tell a copied file"),
    row("core-dumps", Level::Warn, "core dumps cannot be switched off"),
    row(
        "damage-not-noted",
        Level::Warn,
        "damage was found, and cannot be noted for the next start",
    ),
    row("directory-closed", Level::Info, "the data directory was open to everybody, and is closed"),
    row("directory-open", Level::Warn, "the data directory is open to everybody"),
    row("directory-put-back", Level::Error, "the data directory is of another time than its log"),
    row("disk-hangs", Level::Warn, "the disk has not finished a write for a while"),
    row("disk-writes", Level::Info, "a disk that hung has finished its write"),
    row("ends", Level::Info, "the node ends as it was asked to, or was removed"),
    row("entries-damaged", Level::Warn, "entries of the log are damaged, and copies are fetched"),
    row("entries-repaired", Level::Info, "damaged entries are repaired"),
    row("fails", Level::Error, "the node ends since it cannot go on; the line says why"),
    row("few-files", Level::Warn, "this process may open few files"),
    row("forgotten", Level::Error, "the node has forgotten what it promised"),
    row("hands-over", Level::Info, "leadership is handed over, since the node stops"),
    row("hands-over-certificate", Level::Warn, "leadership is handed over: nobody can connect"),
    row("hands-over-disk", Level::Warn, "leadership is handed over, since the disk does not write"),
    row("hands-over-room", Level::Warn, "leadership is handed over, since the disk has no room"),
    row("joined", Level::Info, "the node has joined a cluster"),
    row("journal-missing", Level::Warn, "no journal listens: lines go to stderr"),
    row("leader-back", Level::Info, "there is a leader again"),
    row("leader-found", Level::Info, "this node follows a leader"),
    row("leader-lost", Level::Info, "this node knows no leader any more"),
    row("leader-missing", Level::Warn, "there has been no leader for a while: nothing is written"),
    row("leaders-change", Level::Info, "leaders come and go: how often"),
    row("leads", Level::Info, "this node was elected"),
    row("links-change", Level::Info, "connections to members come and go: how often"),
    row("log-lines-lost", Level::Warn, "lines were lost, as the log took none"),
    row("log-made-anew", Level::Warn, "a file of the log was damaged, no entry with it: new files"),
    row("log-not-made-anew", Level::Warn, "a file of the log is damaged, no room for new ones"),
    row("log-not-written", Level::Warn, "the log refused lines"),
    row("loss", Level::Error, "something that was on the disk is gone"),
    row("member-differs", Level::Error, "the state of a member differs from the leader's"),
    row("member-doubled", Level::Warn, "more than one process runs as one member"),
    row("memory-not-kept", Level::Warn, "what others have promised cannot be stored"),
    row("message-too-large", Level::Error, "a message was over a limit of the protocol"),
    row("metrics-open", Level::Info, "the port for metrics is open"),
    row("metrics-refused", Level::Warn, "the address for metrics cannot be had"),
    row("no-ipv6", Level::Info, "this machine has no IPv6: all IPv4 addresses are listened on"),
    row("panic", Level::Error, "a defect of the program: the process ends"),
    row("peer-back", Level::Info, "a member that was missing is connected again"),
    row("peer-connected", Level::Info, "a member is connected"),
    row("peer-lost", Level::Info, "the connection to a member broke"),
    row("peer-missing", Level::Warn, "there has been no connection to a member for a while"),
    row("peers-unknown", Level::Warn, "[peers] of raftd.toml names nobody"),
    row("peers-used", Level::Info, "a member is dialled where [peers] says"),
    row("read-fails", Level::Error, "the state or the log cannot be read"),
    row("ready", Level::Info, "the log is recovered, and the port is bound"),
    row("record-damaged", Level::Warn, "a part of the log is damaged"),
    row(
        "refused-certificate",
        Level::Warn,
        "a connection was refused: a certificate was not accepted",
    ),
    row("refused-crowd", Level::Warn, "a connection was refused: there are too many"),
    row(
        "refused-greeting",
        Level::Warn,
        "somebody of another cluster, history or version was refused",
    ),
    row("refused-nonsense", Level::Warn, "a connection was closed: its bytes make no sense"),
    row("refused-protocol", Level::Warn, "a connection was refused: it is not raftd's"),
    row("refused-request", Level::Warn, "a request was refused for its role"),
    row("refused-role", Level::Warn, "a connection was refused for its role"),
    row("reload-needs-restart", Level::Warn, "settings have changed that only a restart takes"),
    row("reload-refused", Level::Warn, "the configuration that was read again is refused"),
    row("reloaded", Level::Info, "the configuration was read again"),
    row("reserve-changes", Level::Warn, "the reserve on the disk comes and goes: how often"),
    row("reserve-held", Level::Info, "room on the disk is held in reserve"),
    row("reserve-not-held", Level::Warn, "there is no reserve: its file cannot be made"),
    row("reserve-to-start", Level::Warn, "the reserve is given back, so that the node can start"),
    row("reserve-used", Level::Warn, "the reserve is given back, since the disk is full"),
    row("reset-key", Level::Warn, "a key that tells peers of restarts cannot be stored"),
    row("room-changes", Level::Warn, "room on the disk comes and goes: how often"),
    row("room-enough", Level::Info, "there is room on the disk"),
    row("room-little", Level::Info, "data is taken again, but there is little room"),
    row("room-low", Level::Warn, "the disk fills up"),
    row("room-none", Level::Error, "this node refuses data, as its disk has no room"),
    row("small-buffers", Level::Warn, "the kernel limits UDP buffers"),
    row("snapshot-damaged", Level::Warn, "a snapshot is not as it was written"),
    row("snapshot-delivered", Level::Info, "a member has received a snapshot"),
    row(
        "snapshot-fetched",
        Level::Info,
        "a snapshot was fetched in place of a state that was missing",
    ),
    row("snapshot-installed", Level::Info, "a snapshot has taken the place of the state"),
    row("snapshot-made", Level::Info, "a snapshot was made"),
    row("snapshot-not-delivered", Level::Info, "sending a snapshot broke off; it is tried again"),
    row(
        "snapshot-not-received",
        Level::Info,
        "receiving a snapshot broke off; the leader tries again",
    ),
    row("snapshot-not-removed", Level::Warn, "an old snapshot cannot be removed"),
    row("snapshot-not-set-aside", Level::Warn, "a damaged snapshot cannot be set aside"),
    row("snapshot-of-no-use", Level::Warn, "a snapshot cannot be made or read"),
    row("snapshot-offered", Level::Info, "a leader offers a snapshot"),
    row("snapshot-received", Level::Info, "a snapshot has come from the leader, whole"),
    row("snapshot-receiving", Level::Info, "a snapshot begins to come in"),
    row("snapshot-sending", Level::Info, "a snapshot begins to be sent"),
    row("state-complete", Level::Info, "the state that was missing is complete again"),
    row("state-damaged", Level::Error, "the state is damaged, set aside and made anew"),
    row(
        "state-differs",
        Level::Error,
        "the state of this node differs from a majority: it answers nothing from it",
    ),
    row("state-of-snapshot", Level::Info, "a start goes on from a snapshot"),
    row(
        "state-rebuilt",
        Level::Warn,
        "the state is damaged or missing, and is fetched from another member",
    ),
    row("state-unreadable", Level::Error, "the state cannot be read"),
    row("stopped", Level::Info, "the node has stopped in good order"),
    row("stopped-late", Level::Error, "a node that ends had not finished in time what was queued"),
    row("stopping", Level::Info, "the node begins to stop"),
    row("transfers", Level::Info, "snapshots between nodes: how often"),
    row("uninitialised", Level::Info, "the node has no history, and waits for one"),
    row(
        "write-ahead-log-lost",
        Level::Warn,
        "the write-ahead log was removed, renamed or cut short, and another one is not to be had",
    ),
    row(
        "write-ahead-log-renewed",
        Level::Warn,
        "the write-ahead log was removed, renamed or cut short; another one holds all",
    ),
];

const fn row(id: &'static str, level: Level, meaning: &'static str) -> Message {
    Message { id, level, meaning }
}

/// Returns the id of an event. Those at debug and trace, and those of others' libraries, have none:
/// tracing then names them by their place.
pub(super) fn of(event: &Metadata<'static>) -> Option<&'static str> {
    let name = event.name();
    (!name.starts_with("event ")).then_some(name)
}

/// Returns 128 bits in hexadecimal digits, the same for an id for ever: FNV-1a of `raftd.` and the
/// id.
pub(super) fn journal_id(id: &str) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = b"raftd.".iter().copied().chain(id.bytes());
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
        for child in std::fs::read_dir(directory).expect("it is there").flatten() {
            let path = child.path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                found.push(path);
            }
        }
    }

    /// Returns the id and level of each call that logs at error, warn or info.
    fn logged(text: &str) -> Vec<(Option<String>, Level)> {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let levels = [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info)];
        let calls = levels.into_iter().flat_map(|(word, level)| {
            let call = format!("tracing::{word}!(");
            let behind = text.split(&call).skip(1).map(str::trim_start).map(str::to_owned);
            behind.map(move |behind| (behind, level)).collect::<Vec<_>>()
        });
        let id = |behind: String| {
            let named = behind.strip_prefix("name:")?.trim_start().strip_prefix('"')?;
            named.split_once('"').map(|(id, _)| id.to_owned())
        };
        calls.map(|(behind, level)| (id(behind), level)).collect()
    }

    #[test]
    fn every_message_has_an_id_that_the_manual_lists_with_its_level_and_no_other_is_listed() {
        let mut files = Vec::new();
        let house = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["src", "../common/storage/src", "../common/transport/src"] {
            sources(&house.join(part), &mut files);
        }
        let mut used = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("it is text");
            for (id, level) in logged(&text) {
                let place = file.display();
                let id = id.unwrap_or_else(|| {
                    panic!("{place}: a message at {level} begins with no name: \"its-id\"")
                });
                let row = MESSAGES.iter().find(|message| message.id == id);
                let row = row.unwrap_or_else(|| panic!("{place}: {id} has no row in ids.rs"));
                assert_eq!(row.level, level, "{place}: {id}");
                used.insert(id);
            }
        }
        let listed: BTreeSet<String> = MESSAGES.iter().map(|row| row.id.to_owned()).collect();
        assert_eq!(used, listed);
        assert!(MESSAGES.is_sorted_by_key(|row| row.id), "in order, and each once");
        let ids: BTreeSet<String> = MESSAGES.iter().map(Message::journal_id).collect();
        assert_eq!(ids.len(), MESSAGES.len());
    }

    #[test]
    fn what_the_journal_calls_a_message_never_changes() {
        assert_eq!(journal_id("ready"), "8c49b0947071eb8288563719130df337");
    }
}
