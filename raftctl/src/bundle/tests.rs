//! Preparing clusters in temporary directories.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use tempfile::TempDir;

use super::rotation::Rotation;
use super::*;

fn nodes(count: u16) -> Vec<(String, String)> {
    (1..=count).map(|n| (format!("n{n}"), format!("h{n}:7400"))).collect()
}

fn prepare(directory: &TempDir, nodes: &[(String, String)]) -> Result<Bundles> {
    Bundles::prepare(&directory.path().join("prod"), "prod", nodes, KV, |_| NodeSettings::default())
}

fn code(result: Result<Bundles>) -> Option<codes::Code> {
    result.expect_err("it is refused").code
}

#[test]
fn a_second_run_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = prepare(&directory, &nodes(3)).expect("it is new");
    assert!(first.created);
    let key = first.node_directory(&first.plan.nodes[0]).join("node.key");
    let before = std::fs::read(&key).expect("it exists");
    let fingerprint = first.fingerprint.clone();
    drop(first);
    let mut reordered = nodes(3);
    reordered.reverse();
    for again in [&nodes(3)[..], &reordered, &[]] {
        let second = prepare(&directory, again).expect("it is the same cluster");
        assert!(!second.created);
        assert_eq!(second.fingerprint, fingerprint);
        assert_eq!(second.plan.nodes[0].name, "n1");
        assert_eq!(std::fs::read(&key).expect("it exists"), before);
    }
}

#[test]
fn another_list_of_nodes_corrects_the_plan_until_the_cluster_is_founded() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = prepare(&directory, &nodes(3)).expect("it is new");
    let file = |name: &str, file: &str| {
        let path = directory.path().join("prod").join(format!("prod-{name}")).join(file);
        std::fs::read_to_string(path).expect("it exists")
    };
    let certificate = file("n1", "node.crt");
    drop(first);

    // n1 listens elsewhere, n3 is another machine under another name.
    let list = |text: &[(&str, &str)]| -> Vec<(String, String)> {
        text.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned())).collect()
    };
    let wanted = list(&[("n1", "h1:7500"), ("n2", "h2:7400"), ("n4", "h4:7400")]);
    let shown = Bundles::preview(&directory.path().join("prod"), &wanted).expect("it may be");
    let second = prepare(&directory, &wanted).expect("nothing is bootstrapped");
    let lines = ["n1  h1:7400  ->  h1:7500", "n4  new, at h4:7400", "n3  h3:7400  dropped"];
    assert_eq!(
        (&second.corrected[..], shown),
        (&lines.map(String::from)[..], second.corrected.clone())
    );
    let ids: Vec<u64> = second.plan.nodes.iter().map(|node| node.id.get()).collect();
    assert_eq!(ids, [1, 2, 4], "no id is given twice");
    assert_eq!(file("n1", "node.crt"), certificate, "the id is the same");
    let text = file("n1", "raftd.toml");
    assert!(text.contains("at h1:7500.") && text.contains("listen = \"[::]:7500\""), "{text}");
    let mut kept = std::fs::read_dir(directory.path().join("prod")).expect("it is there");
    assert!(kept.any(|file| file.is_ok_and(|f| f.file_name() == "prod-n3.dropped-3")));
    drop(second);

    let third = prepare(&directory, &nodes(5)).expect("nothing is bootstrapped");
    let ids: Vec<u64> = third.plan.nodes.iter().map(|node| node.id.get()).collect();
    assert_eq!(ids, [1, 2, 5, 4, 6], "n3 is another node than the one that was dropped");
    third.write_record(&BTreeMap::new()).expect("it can be stored");
    drop(third);
    assert_eq!(code(prepare(&directory, &nodes(3))), Some(codes::OTHER_PLAN));
    let mut moved = nodes(5);
    moved[0].1 = "elsewhere:7400".into();
    let report = prepare(&directory, &moved).expect_err("it is bootstrapped");
    let update = "raftctl member update n1 --address elsewhere:7400    (it has moved)";
    assert!(report.help.iter().any(|help| help == update), "{:?}", report.help);
}

#[test]
fn a_configuration_that_was_edited_stays_and_is_told_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = prepare(&directory, &nodes(1)).expect("it is new");
    let file = first.node_directory(&first.plan.nodes[0]).join("raftd.toml");
    drop(first);
    let edited = std::fs::read_to_string(&file).expect("it exists") + "[raft]\nheartbeat_ms = 50\n";
    std::fs::write(&file, &edited).expect("it is writable");
    let moved = [("n1".to_owned(), "h1:7500".to_owned())];
    let second = prepare(&directory, &moved).expect("nothing is bootstrapped");
    assert_eq!(std::fs::read_to_string(&file).expect("it exists"), edited);
    assert!(second.notes[0].contains("was edited and stays as it is"), "{:?}", second.notes);
}

#[test]
fn two_at_a_time_are_kept_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = prepare(&directory, &nodes(1)).expect("it is new");
    assert_eq!(code(prepare(&directory, &nodes(1))), Some(codes::LOCKED));
    drop(first);
    prepare(&directory, &nodes(1)).expect("the first is gone");
}

#[test]
fn a_new_cluster_needs_nodes_and_an_old_one_its_authority() {
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(code(prepare(&directory, &[])), Some(codes::USAGE));
    drop(prepare(&directory, &nodes(1)).expect("the authority alone is no obstacle"));
    std::fs::remove_dir_all(directory.path().join("prod/ca")).expect("it exists");
    assert_eq!(code(prepare(&directory, &nodes(1))), Some(codes::IN_THE_WAY));
}

#[test]
fn bundles_are_private_and_name_their_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let bundles = prepare(&directory, &nodes(2)).expect("it is new");
    let bundle = bundles.node_directory(&bundles.plan.nodes[1]);
    assert!(bundle.ends_with("prod-n2"));
    let mode = |path: &Path| path.metadata().expect("it exists").mode() & 0o777;
    assert_eq!(mode(&bundle), 0o700);
    assert_eq!(mode(&bundle.join("node.key")), 0o600);
    assert_eq!(mode(&bundle.join("raftd.toml")), 0o644, "it holds no secret");
    let credentials = Credentials::load_from(&bundle, NODE).expect("they are valid");
    assert_eq!(credentials.identity().role.to_string(), "node 2");
    let text = std::fs::read_to_string(bundle.join("raftd.toml")).expect("it exists");
    let parsed: toml::Table = text.parse().expect("it is TOML");
    assert_eq!(parsed["listen"].as_str(), Some("[::]:7400"));
    assert_eq!(parsed["identity"]["key"].as_str(), Some("node.key"));
    assert!(!bundle.join("ca.key").exists(), "nodes never hold the authority's key");
}

#[test]
fn a_bundle_of_another_node_is_in_the_way() {
    let directory = tempfile::tempdir().expect("a directory");
    let bundles = prepare(&directory, &nodes(2)).expect("it is new");
    let [one, two] = [0, 1].map(|at| bundles.node_directory(&bundles.plan.nodes[at]));
    drop(bundles);
    for file in ["node.crt", "node.key"] {
        std::fs::copy(two.join(file), one.join(file)).expect("both exist");
    }
    assert_eq!(code(prepare(&directory, &[])), Some(codes::IN_THE_WAY));
}

#[test]
fn the_record_is_stored_as_it_was_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let bundles = prepare(&directory, &nodes(3)).expect("it is new");
    assert_eq!(bundles.record(), Ok(None));
    let incarnations =
        (1..=3).map(|n| (NodeId::new(n).expect("not 0"), Incarnation::new(100 + n))).collect();
    let made = bundles.write_record(&incarnations).expect("it can be stored");
    let stored = bundles.record().expect("it can be read").expect("it is there");
    assert_eq!(made, stored);
    let two = NodeId::new(2).expect("not 0");
    assert!(stored.configuration.recognises(two, Incarnation::new(102)));
    assert!(!stored.configuration.recognises(two, Incarnation::new(103)));
    std::fs::write(bundles.record_path(), b"\xff\xff").expect("it is writable");
    assert_eq!(bundles.record().map_err(|report| report.code), Err(Some(codes::LOCAL_FILE)));
}

#[test]
fn a_restored_history_has_its_own_record_and_the_former_one_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let bundles = prepare(&directory, &nodes(3)).expect("it is new");
    let bootstrapped = bundles.write_record(&BTreeMap::new()).expect("it can be stored");
    let header = storage::SnapshotHeader {
        cluster: bootstrapped.cluster,
        generation: bootstrapped.generation(),
        meta: consensus::SnapshotMeta {
            last: consensus::EntryId::ZERO,
            configuration: bootstrapped.configuration.clone(),
            configuration_index: consensus::LogIndex::ZERO,
            stamp: consensus::ClusterTime::ZERO,
            chain: consensus::Chain::ZERO,
        },
        machine: bootstrapped.machine.clone(),
        machine_version: 1,
        made_unix_ms: 0,
    };
    let nobody = BTreeMap::new();
    let node = bundles.find("n2", &nobody).expect("it was planned");
    assert_eq!(bundles.find("2", &nobody), Ok(node.clone()));
    assert_eq!(
        bundles.find("n4", &nobody).map_err(|report| report.code),
        Err(Some(codes::NO_NODE))
    );
    let made = bundles.succeed(&node, Incarnation::new(7), &header).expect("it can be stored");
    assert_eq!(made.record.parent, Some(bootstrapped.generation()));
    assert_eq!(made.record.configuration.members().len(), 1);
    assert_eq!(bundles.record(), Ok(Some(made.record.clone())));
    assert!(bundles.is_begun(&made.record) && bundles.context().generation.is_none());
    // An interrupted restore asks for the same again.
    let again = bundles.succeed(&node, Incarnation::new(7), &header).expect("it can be stored");
    assert_eq!(again, made);
    let short = &bootstrapped.generation().to_string()[..16];
    let former = bundles.directory().join(format!("bootstrap-{short}.record"));
    let former = std::fs::read(former).expect("it is kept");
    assert_eq!(BootstrapRecord::decode(&former), Ok(bootstrapped.clone()));
    let records = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".record");
    let files = std::fs::read_dir(bundles.directory()).expect("it is there");
    let count = files.filter(|file| file.as_ref().is_ok_and(|f| records(&f.file_name()))).count();
    assert_eq!(count, 2);
    // What comes to nothing leaves what was there.
    assert_eq!(bundles.take_back(&again), Ok(true));
    assert_eq!(bundles.record(), Ok(Some(bootstrapped)));
    assert!(!bundles.is_begun(&again.record));
    assert_eq!(bundles.take_back(&again), Ok(false), "it is another one by now");
    assert_eq!(bundles.former_records(), Ok(Vec::new()));
    // What has ended is followed.
    let made = bundles.succeed(&node, Incarnation::new(7), &header).expect("it can be stored");
    bundles.note_end(&made.record).expect("it is there");
    assert_eq!(bundles.context().generation, Some(made.record.generation().to_string()));
}

/// `init` asked for a backup of the authority, whose successor was there.
#[test]
fn a_rotation_that_was_interrupted_between_its_renames_is_ended_by_whoever_comes_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let bundles = prepare(&directory, &nodes(1)).expect("it is new");
    bundles.make_successor().expect("it can be written");
    bundles.let_successor_sign().expect("it can be renamed");
    let next = bundles.alone(true).expect("it is there").fingerprint().to_owned();
    let at = |name: &str| bundles.directory().join(name);
    let interrupt = || std::fs::rename(at("ca"), at("ca.former")).expect("it is there");
    interrupt();
    let opened = Bundles::open(bundles.directory()).expect("the next one takes its place");
    assert_eq!((&opened.fingerprint, opened.rotation()), (&next, Ok(Rotation::None)));
    drop(opened);
    // What is given up goes as a whole; before that, the present one signs again.
    bundles.make_successor().expect("it can be written");
    bundles.let_successor_sign().expect("it can be renamed");
    bundles.let_present_sign().expect("it can be renamed");
    assert_eq!(bundles.rotation(), Ok(Rotation::Spreading));
    let signs = bundles.signing_authority().expect("it is there");
    assert_eq!(signs.fingerprint(), next, "that of before");
    bundles.drop_successor().expect("it can be removed");
    assert_eq!(bundles.rotation(), Ok(Rotation::None));
    assert!(!at("ca.new").exists() && !at("ca.dropped").exists());
    // Its key is in many programs' trust: it does not lie about when that is interrupted.
    std::fs::create_dir(at("ca.dropped")).expect("there is room");
    drop(Bundles::open(bundles.directory()).expect("it is removed"));
    assert!(!at("ca.dropped").exists());
    std::fs::rename(at("ca"), at("ca.next")).expect("it is there");
    let place = bundles.directory().to_owned();
    drop(bundles);
    let again = Bundles::prepare(&place, "prod", &[], KV, |_| NodeSettings::default());
    assert_eq!(again.expect("it is ended").fingerprint, next);
}

/// Nodes whose leases rest on something else refuse each other: a newcomer could not come.
#[test]
fn a_newcomers_settings_are_those_that_the_leases_of_its_cluster_rest_on() {
    let mut leader = crate::cluster::testing::well(1);
    let text = |status: &client::NodeStatus| {
        let settings = NodeSettings { lease: Lease::of(status), ..NodeSettings::default() };
        let node = PlannedNode {
            id: std::num::NonZeroU64::MIN,
            name: "n1".to_owned(),
            address: "h1:7400".to_owned(),
        };
        configuration::text("prod", &node, &settings)
    };
    assert!(!text(&leader).contains("[raft]"), "there are no leases");
    leader.lease = Some(client::LeaseReport { clock_error_ppm: 500, left_ms: None });
    (leader.election_timeout_ms, leader.heartbeat_ms) = (50_000, 100);
    let raft = &text(&leader).parse::<toml::Table>().expect("it is TOML")["raft"];
    assert_eq!(raft["lease_clock_error_ppm"].as_integer(), Some(500));
    let range: Vec<toml::Value> = vec![50_000.into(), 60_000.into()];
    assert_eq!(raft["election_timeout_ms"].as_array(), Some(&range));
    assert_eq!(raft["heartbeat_ms"].as_integer(), Some(100));
}

/// Whoever had carried a bundle away before the plan was corrected counted as the next newcomer.
#[test]
fn no_newcomer_gets_an_id_that_a_bundle_was_made_for_or_a_removed_node_had() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(prepare(&directory, &nodes(4)).expect("it is new"));
    let bundles = prepare(&directory, &nodes(3)).expect("nothing is bootstrapped");
    assert_eq!(bundles.highest_id(), Ok(4), "n4 was dropped");
    let newcomer = |id: u64, name: &str| PlannedNode {
        id: id.try_into().expect("not 0"),
        name: name.to_owned(),
        address: format!("{name}:7400"),
    };
    let add = |node: PlannedNode, is_member: bool| {
        let added = bundles.add(&[node], |_| is_member, |_| false, |_| NodeSettings::default());
        added.map_err(|report| report.code)
    };
    add(newcomer(5, "n5"), false).expect("nobody had it");
    let removed = [6, 7].map(|id| NodeId::new(id).expect("not 0"));
    let nobody = consensus::Configuration::unknown();
    bundles.part_with(removed, &nobody).expect("it can be written");
    assert_eq!(bundles.highest_id(), Ok(7));
    // A restored cluster may have reserved it.
    assert_eq!(add(newcomer(6, "n6"), false), Err(Some(codes::IN_THE_WAY)));
    assert_eq!(bundles.highest_id(), Ok(7), "nothing was written");
    add(newcomer(6, "n6"), true).expect("the restored cluster has it as a member");
}
