use std::fs;

use super::*;

const MINIMAL: &str = "
[identity]
ca = \"ca.crt\"
certificate = \"node.crt\"
key = \"/keys/node.key\"
";

fn layers(texts: &[&str]) -> Vec<Layer> {
    let parse = |(number, text): (usize, &&str)| {
        Layer::parse(Path::new(&format!("/etc/raftd/{number}.toml")), text).expect("it parses")
    };
    texts.iter().enumerate().map(parse).collect()
}

fn config(texts: &[&str]) -> Result<Settings, Failure> {
    Settings::from_layers(Path::new("/etc/raftd/0.toml"), &layers(texts))
}

/// What is said of a bad text, with the hint.
fn refusal(text: &str) -> String {
    let failure = match Layer::parse(Path::new("/etc/raftd/raftd.toml"), text) {
        Ok(layer) => Settings::from_layers(Path::new("/etc/raftd/raftd.toml"), &[layer])
            .expect_err("it is refused"),
        Err(failure) => failure,
    };
    assert_eq!(failure.exit, Exit::Config);
    format!("{}\n{}", failure.message, failure.hint.unwrap_or_default())
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = config(&[MINIMAL]).expect("it is complete");
    assert_eq!(config.node.data_dir, Path::new("/var/lib/raftd"));
    assert_eq!(config.node.listen, "[::]:7400".parse().expect("an address"));
    assert_eq!(config.log_level, Level::Info);
    assert_eq!(config.node.raft.election_timeout_ms, 300..=600);
    assert_eq!(config.node.raft.heartbeat_ms, 100);
    assert_eq!(config.node.raft.lease_clock_error_ppm, None, "no leases");
    assert_eq!(config.node.limits.requests_max, 8_192);
}

#[test]
fn leases_are_on_where_the_error_of_clocks_is_told() {
    let ppm = |text: &str| {
        let text = format!("{MINIMAL}[raft]\nlease_clock_error_ppm = {text}\n");
        config(&[&text]).expect("it is valid").node.raft.lease_clock_error_ppm
    };
    assert_eq!((ppm("500"), ppm("0")), (Some(500), None));
}

#[test]
fn relative_paths_are_relative_to_the_file_that_names_them() {
    let config = config(&[MINIMAL]).expect("it is complete");
    assert_eq!(config.identity.ca, Path::new("/etc/raftd/ca.crt"));
    assert_eq!(config.identity.key, Path::new("/keys/node.key"));
}

#[test]
fn later_layers_go_first_key_by_key() {
    let first = format!("{MINIMAL}[raft]\nheartbeat_ms = 50\nentries_max = 7\n");
    let config = config(&[&first, "[raft]\nheartbeat_ms = 60\n"]).expect("both are valid");
    assert_eq!((config.node.raft.heartbeat_ms, config.node.raft.entries_max), (60, 7));
}

#[test]
fn flags_go_before_files() {
    let overrides = Overrides::of([
        ("data_dir", Value::Path("here".into())),
        ("raft.heartbeat_ms", Value::Number(25)),
        ("log_level", Value::Level(Level::Trace)),
    ]);
    let mut layers = layers(&[MINIMAL, "data_dir = \"/there\"\n[raft]\nheartbeat_ms = 60\n"]);
    layers.extend(overrides.layers());
    let config = Settings::from_layers(Path::new("/x"), &layers).expect("it is valid");
    assert_eq!(config.node.data_dir, Path::new("here"), "relative to the working directory");
    assert_eq!((config.node.raft.heartbeat_ms, config.log_level), (25, Level::Trace));
}

#[test]
fn what_a_variable_says_goes_before_files_and_behind_flags_and_is_named() {
    let mut overrides = Overrides::of([
        ("raft.heartbeat_ms", Value::Number(1)),
        ("listen", Value::Text("0.0.0.0:1".to_owned())),
    ]);
    overrides.variables = vec!["RAFTD_HEARTBEAT_MS".to_owned()];
    let refused = |overrides: &Overrides| {
        let mut layers = layers(&[MINIMAL, "[raft]\nheartbeat_ms = 60\n"]);
        layers.extend(overrides.layers());
        Settings::from_layers(Path::new("/x"), &layers).expect_err("it is refused").message
    };
    let wanted = "the environment variable RAFTD_HEARTBEAT_MS = 1 is out of bounds";
    assert_eq!(refused(&overrides), wanted);
    let mut flag = overrides;
    flag.variables.clear();
    assert_eq!(refused(&flag), "--heartbeat-ms = 1 is out of bounds");
    let listen = Overrides::of([("listen", Value::Text("here".to_owned()))]);
    assert_eq!(refused(&listen), "--listen = \"here\" is not an IP address and a port");
}

#[test]
fn blanks_around_a_text_are_ignored_and_an_empty_one_is_refused() {
    let text = format!("listen = \" 127.0.0.1:9 \"\nlog_level = \"Debug \"\n{MINIMAL}");
    let config = config(&[&text]).expect("it is valid");
    assert_eq!(config.node.listen, "127.0.0.1:9".parse().expect("an address"));
    assert_eq!(config.log_level, Level::Debug);
    for (text, wanted) in [
        ("listen = \"\"\n", "/etc/raftd/raftd.toml:1: listen is empty"),
        ("data_dir = \" \"\n", "/etc/raftd/raftd.toml:1: data_dir is empty"),
        ("log_level = \"\"\n", "line 1"),
    ] {
        let said = refusal(&format!("{text}{MINIMAL}"));
        assert!(said.contains(wanted), "{text}: {said}");
    }
    let said = refusal("[identity]\nca = \"\"\ncertificate = \"b\"\nkey = \"c\"\n");
    assert!(said.contains("identity.ca is empty"), "{said}");
}

#[test]
fn peers_are_found_by_name_in_the_last_layer_that_has_them() {
    let first = format!("{MINIMAL}[peers]\nn1 = \" a:1\"\nn2 = \"b:1\"\n");
    let config = config(&[&first, "[peers]\nn2 = \"[::1]:2\"\n3 = \"c:3\"\n"]).expect("valid");
    let found: Vec<(&str, &str)> =
        config.node.peers.iter().map(|(name, address)| (name.as_str(), address.as_str())).collect();
    assert_eq!(found, [("3", "c:3"), ("n1", "a:1"), ("n2", "[::1]:2")]);
    for bad in ["", "a", "a:0", ":1", "a:70000", "::1:1", "a b:1"] {
        let said = refusal(&format!("{MINIMAL}[peers]\nn1 = \"{bad}\"\n"));
        let wanted = format!("/etc/raftd/raftd.toml:7: peers: \"n1\" = {bad:?} is not a member");
        assert!(said.starts_with(&wanted), "{said}");
    }
    for nowhere in ["0.0.0.0:7400", "[::]:7400", "[::ffff:0.0.0.0]:7400"] {
        let said = refusal(&format!("{MINIMAL}[peers]\nn1 = \"{nowhere}\"\n"));
        assert!(said.contains("is no place: it means all addresses"), "{said}");
    }
}

#[test]
fn several_addresses_are_listened_on_in_their_order() {
    let listens = |line: &str| {
        let text = format!("{line}\n{MINIMAL}");
        config(&[&text]).expect("it is valid").node.listens()
    };
    let two = "10.0.0.1:7400, [2001:db8::1]:7400";
    assert_eq!(listens("listen = [\"10.0.0.1:7400\", \" [2001:db8::1]:7400\"]"), two);
    assert_eq!(listens("listen = \"10.0.0.1:7400,[2001:db8::1]:7400\""), two);
    for (bad, why) in [
        ("[]", "listen is empty"),
        ("[\"10.0.0.1:1\", \"\"]", "listen is empty"),
        ("[\"10.0.0.1:1\", \"h:1\"]", "\"h:1\" is not an IP address"),
        ("[\"10.0.0.1:1\", \"10.0.0.1:1\"]", "10.0.0.1:1 is named twice"),
        ("7400", "an address and a port, or a list of them"),
        ("[\"[::]:1\", \"0.0.0.0:1\"]", "[::]:1 is all addresses, 0.0.0.0:1 with them"),
        ("[\"10.0.0.1:1\", \"[::]:1\"]", "[::]:1 is all addresses, 10.0.0.1:1 with them"),
        ("[\"10.0.0.1:1\", \"0.0.0.0:1\"]", "0.0.0.0:1 is all addresses, 10.0.0.1:1 with them"),
        ("\"224.0.0.1:7400\"", "224.0.0.1:7400 is a group of machines"),
        ("\"[ff02::1]:7400\"", "[ff02::1]:7400 is a group of machines"),
        ("\"255.255.255.255:7400\"", "255.255.255.255:7400 is all machines"),
    ] {
        let said = refusal(&format!("listen = {bad}\n{MINIMAL}"));
        assert!(said.contains(why), "{bad}: {said}");
    }
    let apart = "0.0.0.0:1, [::1]:1, [::]:2";
    assert_eq!(listens(&format!("listen = \"{apart}\"")), apart);
    let many: Vec<String> = (1..=9).map(|port| format!("\"10.0.0.1:{port}\"")).collect();
    let said = refusal(&format!("listen = [{}]\n{MINIMAL}", many.join(", ")));
    assert!(said.contains("9 addresses, 8 at most"), "{said}");
}

#[test]
fn what_can_be_no_directory_is_none_before_the_start() {
    let place = tempfile::tempdir().expect("a directory");
    let (file, ring) = (place.path().join("file"), place.path().join("ring"));
    std::fs::write(&file, "").expect("there is room");
    std::os::unix::fs::symlink(&ring, &ring).expect("there is room");
    let said = |path: &Path| {
        let path = path.display().to_string().replace('\0', "\\u0000");
        refusal(&format!("data_dir = \"{path}\"\n{MINIMAL}"))
    };
    for (path, why) in [
        (file.clone(), "is a file, not a directory"),
        ("/dev/null".into(), "is a file, not a directory"),
        (file.join("below"), "can be no directory: Not a directory"),
        (ring, "can be no directory: Too many levels of symbolic links"),
        (place.path().join("x".repeat(300)), "can be no directory: File name too long"),
        ("/no\0thing".into(), "can be no directory: "),
    ] {
        assert!(said(&path).contains(why), "{path:?}: {}", said(&path));
    }
}

#[test]
fn what_is_advertised_is_an_address_that_others_can_dial() {
    let advertised = |text: &str| {
        let text = format!("advertise = \"{text}\"\n{MINIMAL}");
        config(&[&text]).expect("it is valid").node.advertise
    };
    for good in ["n1.example:7400", "10.0.0.1:7400", "[2001:db8::1]:7400"] {
        assert_eq!(advertised(&format!(" {good} ")).as_deref(), Some(good));
    }
    assert_eq!(advertised("member"), None);
    assert_eq!(config(&[MINIMAL]).expect("it is complete").node.advertise, None);
    for (bad, why, remedy) in [
        ("0.0.0.0:7400", "no place that others could dial", "that is for `listen`"),
        ("[::]:7400", "no place that others could dial", "ip -brief address"),
        ("n1.example", "is not HOST:PORT", "n1.example:7400"),
        ("n1.example:0", "is not HOST:PORT", "\"member\" for what"),
        ("", "advertise is empty", "HOST:PORT"),
    ] {
        let said = refusal(&format!("advertise = \"{bad}\"\n{MINIMAL}"));
        assert!(said.starts_with("/etc/raftd/raftd.toml:1: advertise"), "{said}");
        assert!(said.contains(why) && said.contains(remedy), "{said}");
    }
    let mut made = Config::new("/x", CertificateFiles::default());
    made.advertise = Some("[::]:7400".to_owned());
    let refused = made.check().expect_err("nobody can dial it").message;
    assert!(refused.starts_with("advertise = \"[::]:7400\" is no place"), "{refused}");
}

#[test]
fn an_unknown_key_is_refused_with_file_and_line() {
    let said = refusal("data_dirr = \"/x\"\n");
    assert!(said.starts_with("/etc/raftd/raftd.toml: "), "{said}");
    assert!(said.contains("data_dirr") && said.contains("line 1"), "{said}");
    assert!(refusal("[raft]\nheartbeat = 5\n").contains("heartbeat"));
    assert!(refusal("[rafts]\n").contains("rafts"));
}

#[test]
fn an_out_of_range_value_is_refused_with_its_bounds() {
    for (text, wanted) in [
        ("[raft]\nheartbeat_ms = 0\n", "raft.heartbeat_ms = 0 is out of bounds"),
        ("[raft]\nheartbeat_ms = -5\n", "from 5 to 30000 ms, default 100"),
        ("[raft]\nelection_timeout_ms = [600, 300]\n", "[600, 300] is out of bounds"),
        ("[raft]\nelection_timeout_ms = [1, 300]\n", "both from 20 to 60000 ms"),
        ("[raft]\nelection_timeout_ms = [300]\n", "[300] is out of bounds"),
        ("[raft]\nlease_clock_error_ppm = 500001\n", "from 0 to 500000 ppm, default 0"),
        ("[limits]\nrequests_max = 1\n", "limits.requests_max = 1 is out of bounds"),
        ("listen = \"localhost\"\n", "listen = \"localhost\" is not an IP address and a port"),
    ] {
        let said = refusal(&format!("{text}{MINIMAL}"));
        assert!(said.contains(wanted), "{text}: {said}");
        let line = text.lines().count();
        assert!(said.starts_with(&format!("/etc/raftd/raftd.toml:{line}: ")), "{said}");
    }
}

#[test]
fn values_of_another_type_are_refused_with_their_line() {
    let said = refusal("[raft]\nheartbeat_ms = \"fast\"\n");
    assert!(said.contains("line 2") && said.contains("fast"), "{said}");
    assert!(refusal("log_level = \"loud\"\n").contains("loud"));
    assert!(refusal("not toml\n").contains("line 1"));
}

#[test]
fn a_heartbeat_above_half_an_election_timeout_is_refused() {
    let said = refusal(&format!("{MINIMAL}[raft]\nheartbeat_ms = 200\n"));
    assert!(said.contains("raft.heartbeat_ms = 200 is above half"), "{said}");
    let said = refusal(&format!("{MINIMAL}[raft]\nelection_timeout_ms = [100, 200]\n"));
    assert!(said.contains("raft.heartbeat_ms (the default) = 100 is above half"), "{said}");
}

#[test]
fn credentials_must_be_named() {
    let said = refusal("[identity]\nca = \"a\"\nkey = \"b\"\n");
    assert!(said.contains("identity.certificate is missing"), "{said}");
}

#[test]
fn files_beside_are_read_in_order_of_their_names() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("raftd.toml");
    let beside = directory.path().join("raftd.d");
    fs::create_dir(&beside).expect("made");
    fs::write(&file, MINIMAL).expect("written");
    fs::write(beside.join("20-b.toml"), "log_level = \"debug\"\n").expect("written");
    fs::write(beside.join("10-a.toml"), "log_level = \"warn\"\n").expect("written");
    fs::write(beside.join("30-c.toml.bak"), "nonsense").expect("written");
    let config = Settings::load(&file, &Overrides::default()).expect("it is valid");
    assert_eq!(config.log_level, Level::Debug);

    // An editor's lock on the file beside it leads nowhere.
    std::os::unix::fs::symlink("me@here.123", beside.join(".#20-b.toml")).expect("a link");
    Settings::load(&file, &Overrides::default()).expect("it is left out");
    fs::write(beside.join("40-d.toml"), "[raft]\nheartbeat_ms = 9999999\n").expect("written");
    let failure = Settings::load(&file, &Overrides::default()).expect_err("out of bounds");
    assert!(failure.message.contains("40-d.toml"), "{failure}");
}

#[test]
fn what_is_in_force_is_printed_with_its_sources_and_means_the_same_again() {
    let first = format!("{MINIMAL}[raft]\nheartbeat_ms = 50\n[peers]\nn1 = \"a:1\"\n");
    let mut layers =
        layers(&[&first, "log_level = \"warn\"\n[peers]\nn1 = \"b:1\"\n\"n.2\" = \"c:1\"\n"]);
    let mut overrides = Overrides::of([
        ("listen", Value::Text("127.0.0.1:9".to_owned())),
        ("raft.election_timeout_ms", Value::Numbers(vec![200, 400])),
    ]);
    overrides.variables = vec!["RAFTD_LISTEN".to_owned()];
    layers.extend(overrides.layers());
    let before = Settings::from_layers(Path::new("/x"), &layers).expect("it is valid");
    let printed = before.print();
    for wanted in [
        "listen = \"127.0.0.1:9\"  # the environment variable RAFTD_LISTEN; on restart",
        "log_level = \"warn\"  # /etc/raftd/1.toml:1; on reload",
        "ca = \"/etc/raftd/ca.crt\"  # /etc/raftd/0.toml:3; on reload",
        "election_timeout_ms = [200, 400]  # --election-timeout-ms; on restart",
        "heartbeat_ms = 50  # /etc/raftd/0.toml:7; on restart",
        "requests_max = 8192  # default; on restart",
        "n1 = \"b:1\"  # /etc/raftd/1.toml:3; on reload",
        "\"n.2\" = \"c:1\"  # /etc/raftd/1.toml:4; on reload",
    ] {
        assert!(printed.lines().any(|line| line == wanted), "{wanted}: {printed}");
    }
    let again = Layer::parse(Path::new("/elsewhere/raftd.toml"), &printed).expect("it parses");
    let again = Settings::from_layers(Path::new("/x"), &[again]).expect("it is valid");
    assert_eq!(all(&before), all(&again));
}

/// All values that a node goes by.
fn all(settings: &Settings) -> String {
    let Settings { file: _, log_level, log_format, identity, node, in_force: _ } = settings;
    format!("{log_level:?} {log_format:?} {identity:?} {node:?}")
}

/// What the table says of a key is what a node does: a change of every other key is told.
#[test]
fn a_reload_names_what_only_a_restart_takes_and_nothing_else() {
    let base = config(&[MINIMAL]).expect("it is complete");
    for key in &KEYS {
        let value = match key.kind {
            Kind::Path { .. } => "\"/another\"".to_owned(),
            Kind::Listen { .. } => "\"127.0.0.1:9\"".to_owned(),
            Kind::Level { .. } => "\"error\"".to_owned(),
            Kind::Number { default, max, .. } => (default + 1).min(max).to_string(),
            Kind::Pair { default: (low, high), .. } => format!("[{low}, {}]", high + 1),
            Kind::Addresses | Kind::Advertised => "\"h9:1\"".to_owned(),
            Kind::Loopback => "\"127.0.0.1:9\"".to_owned(),
            Kind::Format { .. } => "\"json\"".to_owned(),
        };
        let text = match key.section() {
            "" => format!("{} = {value}\n{MINIMAL}", key.word()),
            "identity" => MINIMAL.replace(
                MINIMAL.lines().find(|line| line.starts_with(key.word())).expect("it is set"),
                &format!("{} = {value}", key.word()),
            ),
            section => {
                let word = key.word().replace("NAME", "n9");
                format!("{MINIMAL}[{section}]\n{word} = {value}\n")
            }
        };
        let changed = config(&[&text]).unwrap_or_else(|failure| panic!("{failure}: {text}"));
        let mut running = base.clone();
        let taken = running.take(changed.clone());
        let (told, silent, as_now) = match key.is_live {
            true => (taken.changed, taken.waiting, &changed),
            false => (taken.waiting, taken.changed, &base),
        };
        let name = key.name.replace("NAME", "n9");
        assert_eq!(told.iter().map(|change| &change.name).collect::<Vec<_>>(), [&name]);
        assert_eq!(silent, [], "{name}");
        assert_eq!(all(&running), all(as_now), "{name}");
        // What waits is shown, and forgotten when the file is as it was.
        let shown = running.told();
        let shown = shown.iter().find(|setting| setting.name == name).expect("it is shown");
        assert_eq!(shown.next.is_none(), key.is_live, "{name}");
        let back = running.take(base.clone());
        assert_eq!(back.changed.len(), usize::from(key.is_live), "{name}");
        assert_eq!(back.waiting, [], "{name}");
        assert_eq!(running.told(), base.told(), "{name}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let failure = Settings::load(Path::new("/nowhere/raftd.toml"), &Overrides::default())
        .expect_err("there is none");
    assert!(failure.message.starts_with("/nowhere/raftd.toml: "), "{failure}");
}

#[test]
fn a_pipe_is_read_once_at_the_start_and_never_waited_for_by_a_running_node() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("raftd.toml");
    mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("it may be made");
    let writer = file.clone();
    let writing = std::thread::spawn(move || fs::write(writer, MINIMAL));
    let config = Settings::load(&file, &Overrides::default()).expect("it is complete");
    assert_eq!(config.identity.ca, directory.path().join("ca.crt"));
    writing.join().expect("it has ended").expect("it was read");
    // Nobody writes now: this would wait for ever.
    let refused = Settings::load_again(&file, &Overrides::default()).expect_err("it is a pipe");
    let shown = file.display();
    let wanted = format!("{shown}: it is no plain file, so it cannot be read again");
    assert_eq!((refused.message, refused.exit), (wanted, Exit::Config));
}

#[test]
fn a_relative_path_in_a_pipe_leads_nowhere_and_is_refused() {
    for (text, key) in [(MINIMAL, "identity.ca = \"ca.crt\""), ("data_dir = \"x\"", "data_dir")] {
        let layer = Layer::parse(Path::new("/dev/fd/63"), text).expect("it parses");
        let identity = Layer::parse(Path::new("/etc/raftd/raftd.toml"), MINIMAL);
        let layers = [identity.expect("it parses"), layer];
        let refused = Settings::from_layers(Path::new("/dev/fd/63"), &layers).expect_err(key);
        assert!(refused.message.starts_with(&format!("/dev/fd/63: {key}")), "{refused}");
    }
}

#[test]
fn a_configuration_that_a_program_makes_has_the_same_defaults_and_bounds() {
    let mut made = Config::new("/x", CertificateFiles::default());
    let read = config(&[MINIMAL]).expect("it is complete").node;
    assert_eq!((&made.raft, &made.limits, made.listen), (&read.raft, &read.limits, read.listen));
    assert!(made.check().is_ok());
    made.raft.entries_max = 0;
    let refused = made.check().expect_err("it is out of bounds");
    assert_eq!(refused.message, "raft.entries_max = 0 is out of bounds");
    made.raft.entries_max = 1;
    made.raft.heartbeat_ms = 200;
    let refused = made.check().expect_err("followers would campaign").message;
    assert!(refused.starts_with("raft.heartbeat_ms = 200 is above half"), "{refused}");
    made.raft.heartbeat_ms = 50;

    made.also_listen = vec![made.listen];
    let refused = made.check().expect_err("it is named twice").message;
    assert!(refused.starts_with("listen = [[::]:7400, [::]:7400]: [::]:7400 is"), "{refused}");
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    (made.listen, made.also_listen) = (address(1), (2..=9).map(address).collect());
    let refused = made.check().expect_err("they are too many").message;
    assert!(refused.ends_with("9 addresses, 8 at most"), "{refused}");
    made.also_listen.pop();
    made.check().expect("eight are not too many");

    for (name, place) in [("", "h:1"), ("n1", "h"), ("n1", "0.0.0.0:7400")] {
        made.peers = BTreeMap::from([(name.to_owned(), place.to_owned())]);
        let refused = made.check().expect_err("it cannot be dialled").message;
        let said = format!("peers: {name:?} = {place:?} is n");
        assert!(refused.starts_with(&said), "{refused}");
    }
}

#[test]
fn every_default_is_within_its_bounds_and_flags_and_variables_are_called_like_their_keys() {
    for key in &KEYS {
        let Some(flag) = key.flag else { continue };
        // By the last word of the key, or by all of them where that is taken.
        let name = if flag.name.starts_with("http-") { key.name } else { key.word() };
        assert_eq!(flag.name, name.replace(['_', '.'], "-"));
        assert_eq!(flag.variable, format!("RAFTD_{}", name.to_uppercase().replace('.', "_")));
    }
    let defaults = Draft::default().config;
    defaults.check().expect("they are within their bounds");
}
