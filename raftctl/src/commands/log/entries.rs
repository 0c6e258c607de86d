//! Entries as they are shown: what each says, as far as it can be read.

use bytes::Bytes;
use clap::Args;
use client::{LogDetail, LogEntry, LogPage};
use protocol::{EntryKind, decode_configuration};
use serde_json::{Value, json};
use state_machine::{Envelope, EnvelopeKind, SystemCommand};

use crate::output::units;

/// How entries are read.
#[derive(Clone, Debug, Args)]
pub(crate) struct How {
    /// Whose log, by name, id or address [default: the first node that answers]
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Shows the values too
    #[arg(long)]
    pub(crate) show_values: bool,
}

impl How {
    /// Returns what is asked for of each entry.
    pub(crate) fn detail(&self) -> LogDetail {
        if self.show_values { LogDetail::Values } else { LogDetail::Commands }
    }
}

/// Names a kind.
pub(crate) const fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Noop => "noop",
        EntryKind::Command => "command",
        EntryKind::Configuration => "configuration",
    }
}

/// Writes an entry for programs.
pub(crate) fn item(page: &LogPage, entry: &LogEntry, values: bool) -> Value {
    json!({
        "index": entry.index.to_string(),
        "term": entry.term.to_string(),
        "kind": kind(entry.kind),
        "sizeBytes": entry.payload_bytes,
        "committed": entry.index <= page.commit,
        "stampNs": entry.stamp_ns.to_string(),
        "command": Content::of(entry).line(values),
    })
}

/// What an entry says, as far as it can be read.
pub(crate) enum Content {
    /// A no-op.
    Nothing,
    /// The node does not show payloads to this certificate.
    Hidden,
    /// The machine's, in its words if it has any.
    Machine(Option<String>, Bytes),
    /// The system's.
    System(SystemCommand),
    /// Fit to be shown.
    Members(String),
    /// The sentence says why it is not understood.
    Foreign(String),
}

impl Content {
    /// Reads an entry.
    pub(crate) fn of(entry: &LogEntry) -> Self {
        match (entry.kind, &entry.payload) {
            (EntryKind::Noop, _) => Self::Nothing,
            (EntryKind::Command | EntryKind::Configuration, None) => Self::Hidden,
            (EntryKind::Command, Some(payload)) => {
                let decoded = Envelope::decode(payload).and_then(|envelope| match envelope.kind {
                    EnvelopeKind::Machine => Ok(Self::Machine(entry.text.clone(), envelope.body)),
                    EnvelopeKind::System => SystemCommand::decode(&envelope.body).map(Self::System),
                });
                decoded.unwrap_or_else(|error| Self::Foreign(error.to_string()))
            }
            (EntryKind::Configuration, Some(payload)) => match decode_configuration(payload) {
                Ok(configuration) => Self::Members(units::members(&configuration)),
                Err(error) => Self::Foreign(error.to_string()),
            },
        }
    }

    /// Writes it on a line; values only if they are wanted.
    pub(crate) fn line(&self, values: bool) -> String {
        match self {
            Self::Nothing => "-".to_owned(),
            Self::Hidden => "(not shown to this certificate)".to_owned(),
            Self::Members(text) => text.clone(),
            Self::Foreign(why) => format!("(not understood: {why})"),
            Self::Machine(Some(text), _) => units::printable(text.as_bytes()),
            Self::Machine(None, command) if values => units::name(command),
            Self::Machine(None, command) => format!("({} bytes)", command.len()),
            Self::System(SystemCommand::RegisterSession { nonce: _, name }) => {
                format!("register session {}", units::name(name.as_bytes()))
            }
            Self::System(SystemCommand::CloseSession { session }) => {
                format!("close session {session}")
            }
            Self::System(SystemCommand::ReserveId { name, above: _ }) => {
                format!("reserve id for {}", units::name(name.as_bytes()))
            }
            Self::System(SystemCommand::SetAlarm { member, raised: true }) => {
                format!("alarm: no room on the disk of node {member}")
            }
            Self::System(SystemCommand::SetAlarm { member, raised: false }) => {
                format!("clear the alarm of node {member}")
            }
            Self::System(SystemCommand::Revoke { holder, until_s, key: _, why }) => {
                let (holder, why) = (units::name(holder.as_bytes()), units::name(why.as_bytes()));
                format!("revoke {holder} until {}: {why}", certs::utc(*until_s))
            }
            Self::System(SystemCommand::ForgetRevocation { holder }) => {
                format!("forget revocation of {}", units::name(holder.as_bytes()))
            }
            Self::System(SystemCommand::Note(act)) => {
                let who = units::printable(act.who.as_bytes());
                let what = units::printable(act.what.as_bytes());
                format!("note: {what}, by {who}: {}", crate::commands::audit::outcome(act))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: Bytes, text: Option<&str>) -> LogEntry {
        LogEntry {
            index: 7,
            term: 2,
            stamp_ns: 0,
            kind: EntryKind::Command,
            payload_bytes: u32::try_from(payload.len()).expect("it is small"),
            payload: Some(payload),
            text: text.map(str::to_owned),
        }
    }

    #[test]
    fn a_command_is_told_in_the_words_of_its_machine_and_else_by_its_size() {
        let payload = Envelope::sessionless(Bytes::from_static(b"take the key")).encode();
        let said = Content::of(&entry(payload.clone(), Some("takes \x1b[2J")));
        assert_eq!(said.line(false), "takes \\x1b[2J", "nothing a terminal obeys");
        let silent = Content::of(&entry(payload, None));
        assert_eq!(silent.line(false), "(12 bytes)");
        assert_eq!(silent.line(true), "take the key");
    }

    #[test]
    fn what_the_system_is_told_is_said_in_words() {
        let payload = |command: &SystemCommand| {
            Content::of(&entry(Envelope::system(command).encode(), None)).line(false)
        };
        let register = SystemCommand::RegisterSession { nonce: [0; 16], name: "web".into() };
        assert_eq!(payload(&register), "register session web");
        assert_eq!(payload(&SystemCommand::CloseSession { session: 7 }), "close session 7");
        assert_eq!(
            payload(&SystemCommand::ReserveId { name: "n4".into(), above: 0 }),
            "reserve id for n4"
        );
        let member = consensus::NodeId::new(2).expect("not 0");
        let alarm = |raised| payload(&SystemCommand::SetAlarm { member, raised });
        assert_eq!(alarm(true), "alarm: no room on the disk of node 2");
        assert_eq!(alarm(false), "clear the alarm of node 2");
    }

    #[test]
    fn what_is_hidden_or_not_understood_is_said() {
        let mut hidden = entry(Bytes::new(), None);
        hidden.payload = None;
        assert_eq!(Content::of(&hidden).line(true), "(not shown to this certificate)");
        hidden.payload = Some(Bytes::from_static(b"\xff\xff"));
        assert!(Content::of(&hidden).line(true).starts_with("(not understood: "));
    }
}
