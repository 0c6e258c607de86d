//! What is promised at every step, and which function looks at it.
//!
//! Each promise has a name by which documents cite it. A function of this crate is written with its
//! file; those of the core, which runs its own checks behind each turn (`turn.rs: take_turn`), are
//! written with theirs. A test looks whether all of them are there.
//!
//! - **I1** one leader a term at most, and nobody else is followed in it: `oracle.rs: led`,
//!   `oracle.rs: follows`.
//! - **I2** a data directory votes once a term, also across restarts: `oracle.rs: says`.
//! - **I3** term and vote are durable before they are told, and never move back: `oracle.rs: says`,
//!   `consensus/src/invariants.rs: check_transition`.
//! - **I4** one content for an index and a term: `oracle.rs: appended`, `quorum.rs: content`.
//! - **I5** what stands before an entry is the same everywhere, and its chain value goes on from
//!   there: `oracle.rs: appended`, `chains.rs: chains`.
//! - **I6** what is committed stays: `oracle.rs: commits`,
//!   `consensus/src/invariants.rs: check_transition`.
//! - **I7** a leader has all that was committed in terms before its own: `oracle.rs: leads`.
//! - **I8** what is committed is on the disks of a quorum, of both halves of a joint configuration:
//!   `oracle.rs: commits_first`, `quorum.rs: decides`.
//! - **I9** a node commits what is in its log, and never less than before: `oracle.rs: commits`,
//!   `consensus/src/invariants.rs: check_transition`.
//! - **I10** what is applied is committed and durable here, without a gap, once:
//!   `oracle.rs: applies`, `oracle.rs: applied`, `consensus/src/invariants.rs: check_state`.
//! - **I11** a snapshot holds what is committed, with its configuration and its sessions:
//!   `oracle.rs: compacts`, `oracle.rs: applied`, `store.rs: sum`.
//! - **I12** what is compacted is in a durable state, at every moment, and what follows a snapshot
//!   that is made or sent stays: `crash.rs: durable`, `node.rs: start`, `dispatch.rs: write`.
//! - **I13** the configuration in force is the log's latest; one change at a time, behind an entry
//!   of the own term, and none begins while leadership is handed over; who votes keeps its data
//!   directory; what is told as done is committed: `rules.rs: reconfigured`, `rules.rs: changes`,
//!   `newcomers.rs: begins`, `newcomers.rs: done`, `checks.rs: watch_transfer`.
//! - **I14** voters alone decide, as the oracle counts them; learners stand when nobody else has
//!   for long: `oracle.rs: leads`, `oracle.rs: commits_first`, `rules.rs: stands`,
//!   `checks.rs: watch_role`.
//! - **I15** what a leader believes of a follower is durable there, and never less than before:
//!   `oracle.rs: believes`, `dispatch.rs: check_match`.
//! - **I16** what waits, is written and is under way is counted rightly: `checks.rs: watch_limits`,
//!   `consensus/src/invariants.rs: check_state`.
//! - **I17** no message tells what is not durable: `oracle.rs: says`.
//! - **I18** nobody is elected while a lease holds; a voter stands by the leader that it hears:
//!   `checks.rs: no_lease_holds`, `watch.rs: seen`.
//! - **I19** a read sees all that was acknowledged before it was asked: `workload.rs: read`,
//!   `answers.rs: answer_from`, `questions.rs: judge_answer`.
//! - **I20** a command of a session is applied once, by who registered it, within its window, and
//!   not behind its end; and it is refused for nothing else: `model/sessions.rs: admit`,
//!   `model/sessions.rs: close`, `model.rs: answered`.
//! - **I21** states behind the same entry are the same, and nodes that differ name it:
//!   `oracle.rs: applied`, `dispatch.rs: dispatch`.
//! - **I22** a restart finds what it wrote, or begins as another node: `node.rs: start`,
//!   `spoiled.rs: is_looked_over`, `crash.rs: start`.
//! - **I23** who has no say, or another data directory, changes nothing: `watch.rs: seen`.
//! - **I24** limits are kept, and refuse nothing else: `checks.rs: watch_limits`,
//!   `checks.rs: watch_refusals`, `checks.rs: watch_uncommitted`, `full_disks.rs: has_room_for`.
//! - **I25** a leader that no quorum answers steps down: `leadership.rs: has_a_quorum`.
//! - **I26** what a command is answered, what the state holds and what a question is told is what a
//!   second, plain machine says; so a name has one id, and an id one name: `model.rs: answered`,
//!   `model.rs: holds`, `model/members.rs: reserve`, `questions.rs: judge_answer`.
//!
//! Not looked at: that all that a follower is sent fits into the window of messages under way, each
//! time (I16; the core asserts it for itself).

#[cfg(test)]
mod tests {
    use std::path::Path;

    const OWN: &str = include_str!("invariants.rs");

    /// Returns the places that an invariant names.
    fn places(invariant: &str) -> impl Iterator<Item = (&str, &str)> {
        invariant.split('`').skip(1).step_by(2).filter_map(|place| place.split_once(".rs: "))
    }

    #[test]
    fn every_invariant_names_a_function_that_is_there() {
        let (text, _) = OWN.split_once("\n//!\n//! Not looked at").expect("the list ends there");
        let all: Vec<&str> = text.split("\n//! - **I").skip(1).collect();
        assert_eq!(all.len(), 26);
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (number, invariant) in (1..).zip(&all) {
            assert!(invariant.starts_with(&format!("{number}** ")), "{invariant}");
            assert!(places(invariant).next().is_some(), "I{number} is looked at nowhere");
            for (file, function) in places(invariant) {
                let path = match file.strip_prefix("consensus/") {
                    Some(file) => source.join("../consensus").join(file),
                    None => source.join("src").join(file),
                };
                let text = std::fs::read_to_string(path.with_extension("rs")).expect("it is there");
                assert!(text.contains(&format!("fn {function}(")), "{file}.rs has no {function}");
            }
        }
    }
}
