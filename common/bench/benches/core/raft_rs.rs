//! raft-rs, the crate `raft`: driven as its documentation asks, with its own `MemStorage`.

use raft::eraftpb::{Entry, EntryType, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole};
use slog::{Discard, Logger, o};

use crate::lockstep::Node;
use crate::work::Machine;

/// The largest message, in bytes: as TiKV has it. Unset, each message carries one entry.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

pub(crate) struct RaftRs {
    node: RawNode<MemStorage>,
    machine: Machine,
}

impl Node for RaftRs {
    type Message = Message;

    fn start(place: usize) -> Self {
        let config = Config {
            id: id(place),
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            // Followers learn of a commit with the next entries, as ours do.
            skip_bcast_commit: true,
            // Proposals of one turn go in one message to each follower, as ours do.
            batch_append: true,
            ..Config::default()
        };
        let members: Vec<u64> = (0..3).map(id).collect();
        let store = MemStorage::new_with_conf_state((members, Vec::new()));
        let node = RawNode::new(&config, store, &Logger::root(Discard, o!()));
        Self { node: node.expect("the settings are good"), machine: Machine::default() }
    }

    fn campaign(&mut self) {
        self.node.campaign().expect("it is a voter");
    }

    fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    fn heartbeat(&mut self) {
        self.node.ping();
    }

    fn propose(&mut self, value: Vec<u8>) {
        self.node.propose(Vec::new(), value).expect("it leads");
    }

    fn step(&mut self, _from: usize, message: Message) {
        self.node.step(message).expect("it comes from a member");
    }

    fn turn(&mut self, letters: &mut Vec<(usize, Message)>) {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            post(ready.take_messages(), letters);
            self.apply(&ready.take_committed_entries());
            let store = self.node.mut_store();
            store.wl().append(ready.entries()).expect("they follow the last one");
            if let Some(hard_state) = ready.hs() {
                store.wl().set_hardstate(hard_state.clone());
            }
            post(ready.take_persisted_messages(), letters);
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.node.mut_store().wl().mut_hard_state().set_commit(commit);
            }
            post(light.take_messages(), letters);
            self.apply(&light.take_committed_entries());
            self.node.advance_apply();
        }
    }

    fn applied(&self) -> u64 {
        self.machine.applied()
    }
}

impl RaftRs {
    fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
            // A new leader's first entry is empty.
            if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
                self.machine.apply(&entry.data);
            }
        }
    }
}

fn post(messages: Vec<Message>, letters: &mut Vec<(usize, Message)>) {
    let place = |message: &Message| usize::try_from(message.to - 1).expect("64 bits");
    letters.extend(messages.into_iter().map(|message| (place(&message), message)));
}

fn id(place: usize) -> u64 {
    place as u64 + 1
}
