//! Real nodes for raftctl to operate: the `raftd` beside it, on the bundles that `init` makes.
#![allow(unreachable_pub)]

pub mod directories;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fixtures::{ClockShim, Process, program, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub use fixtures::{PATIENCE, free_addresses as free};

/// The name of every cluster here.
pub const CLUSTER: &str = "live";

/// A configuration directory of its own, and nodes; dropping it kills them.
pub struct World {
    home: TempDir,
    nodes: BTreeMap<String, Process>,
    /// The addresses that the manual shows, and those that its nodes have here.
    shown: Vec<(String, String)>,
}

impl World {
    pub fn new() -> Self {
        Self { home: TempDir::new().unwrap(), nodes: BTreeMap::new(), shown: Vec::new() }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The directory that `init` makes.
    pub fn directory(&self) -> PathBuf {
        self.home().join("raftctl").join(CLUSTER)
    }

    /// A call of raftctl; the words of `line` are its arguments.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
        command.args(line.split_whitespace()).stdin(Stdio::null());
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command
    }

    fn environment(&self) -> [(&'static str, String); 4] {
        let home = self.home().display().to_string();
        [
            ("RAFTCTL_CONFIG_DIR", home.clone()),
            ("XDG_DATA_HOME", home),
            ("COLUMNS", "100".into()),
            ("NO_COLOR", "1".into()),
        ]
    }

    pub fn run(&self, line: &str) -> Said {
        Said::of(self.command(line).output().unwrap())
    }

    /// Runs what must succeed.
    pub fn ok(&self, line: &str) -> Said {
        let said = self.run(line);
        assert_eq!(said.code, 0, "{line}: {said:?}");
        said
    }

    /// Runs a command, and sends it Ctrl-C when it has said this on stderr.
    pub fn interrupted(&self, line: &str, when: &str) -> Said {
        let mut command = self.command(line);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains(when) {
            let read = stderr.read_line(&mut said).unwrap();
            assert!(read > 0, "{line} ended without \"{when}\": {said}");
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let output = child.wait_with_output().unwrap();
        Said { stderr: said, ..Said::of(output) }
    }

    /// Returns free addresses, which stand in this run for those that the manual shows: ports of
    /// this machine from `first` on.
    pub fn in_place_of(&mut self, first: u16, count: usize) -> Vec<String> {
        let addresses = free(count);
        let shown = (first..).map(|port| format!("127.0.0.1:{port}"));
        self.shown = shown.zip(addresses.clone()).collect();
        addresses
    }

    /// Executes a file of the manual.
    pub fn transcript(&self, file: &str) {
        let manual = manual(file);
        let copy = self.execute(file, &std::fs::read_to_string(&manual).unwrap());
        if std::env::var_os("TRYCMD").is_some_and(|mode| mode == "overwrite") {
            let page = std::fs::read_to_string(copy).unwrap();
            let page =
                self.shown.iter().fold(page, |page, (shown, here)| page.replace(here, shown));
            std::fs::write(manual, page).unwrap();
        }
    }

    /// Executes a file of the manual in which words stand for what only this run knows.
    pub fn transcript_with(&self, file: &str, words: &[(&str, &str)]) {
        let page = std::fs::read_to_string(manual(file)).unwrap();
        let known = |page: String, (word, known): &(&str, &str)| page.replace(word, known);
        self.execute(file, &words.iter().fold(page, known));
    }

    /// Executes a copy of a page, in a directory where files may be left.
    fn execute(&self, file: &str, page: &str) -> PathBuf {
        let copy = self.home().join(format!("{file}.trycmd"));
        let page = page.to_owned();
        let page = self.shown.iter().fold(page, |page, (shown, here)| page.replace(shown, here));
        std::fs::write(&copy, page).unwrap();
        std::fs::create_dir_all(copy.with_extension("in")).unwrap();
        let cases = trycmd::TestCases::new();
        for (name, value) in self.environment() {
            cases.env(name, value);
        }
        let home = self.home().display().to_string();
        cases.insert_var("[HOME]", home).expect("the name of the variable is valid");
        cases.timeout(PATIENCE).case(&copy).run();
        copy
    }

    /// Starts a node on its bundle.
    pub fn start(&mut self, name: &str, address: &str) {
        self.start_with(name, name, address);
    }

    /// Starts a node on the bundle of one, with the data directory and log of another name.
    pub fn start_with(&mut self, bundle: &str, name: &str, address: &str) {
        self.start_behind(bundle, name, address, None);
    }

    /// The same, with a wall clock of its own.
    pub fn start_behind(
        &mut self,
        bundle: &str,
        name: &str,
        address: &str,
        clock: Option<&ClockShim>,
    ) {
        let bundle = self.directory().join(format!("{CLUSTER}-{bundle}"));
        let mut command = Command::new(program("raftd"));
        command.arg("--config").arg(bundle.join("raftd.toml"));
        command.arg("--data-dir").arg(self.home().join(format!("data-{name}")));
        // Long enough that a busy machine elects nobody without need.
        command.args(["--listen", address, "--election-timeout-ms", "1000,2000"]);
        if let Some(clock) = clock {
            clock.stand_before(&mut command);
        }
        let log = self.directory().join(format!("{CLUSTER}-{name}"));
        std::fs::create_dir_all(&log).unwrap();
        let process = Process::start(name, &mut command, &log.join("log"));
        assert!(self.nodes.insert(name.into(), process).is_none(), "{name} runs already");
    }

    pub fn signal(&self, name: &str, signal: Signal) {
        self.nodes[name].signal(signal);
    }

    /// SIGKILL.
    pub fn kill(&mut self, name: &str) {
        self.nodes.remove(name).expect("it runs").kill();
    }

    /// Waits until a node ends by itself; returns its exit code.
    pub fn ended(&mut self, name: &str) -> Option<i32> {
        self.nodes.remove(name).expect("it runs").ended().code()
    }

    /// Waits until a node has logged this; returns all that it has logged.
    pub fn logged(&self, name: &str, words: &str) -> String {
        let log = self.directory().join(format!("{CLUSTER}-{name}/log"));
        let read = || std::fs::read_to_string(&log).ok().filter(|text| text.contains(words));
        wait_for(&format!("\"{words}\" in the log of {name}"), read)
    }

    /// Prepares, starts and founds a cluster of nodes `n1`, `n2`, .. at these addresses.
    pub fn found(&mut self, addresses: &[String]) {
        self.ok(&format!("init {CLUSTER} {} --prepare-only", nodes(addresses)));
        for (number, address) in (1..).zip(addresses) {
            self.start(&format!("n{number}"), address);
        }
        self.ok(&format!("init {CLUSTER} --wait 60s"));
    }

    /// Asks for the status until it is as wanted.
    pub fn await_status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.run("status -o json").data();
            if wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{status:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The data of the envelope on stdout; null if there is none.
    pub fn data(&self) -> Value {
        let envelope: Value = serde_json::from_str(&self.stdout).unwrap_or_default();
        envelope["data"].clone()
    }

    /// The envelope of the error on stderr.
    pub fn error(&self) -> Value {
        let envelope: Value = serde_json::from_str(&self.stderr).unwrap_or_default();
        assert_eq!(envelope["kind"], "Error", "{self:?}");
        envelope["data"].clone()
    }
}

fn manual(file: &str) -> PathBuf {
    Path::new("tests/live").join(format!("{file}.trycmd"))
}

/// `--node` flags for these addresses.
pub fn nodes(addresses: &[String]) -> String {
    let flag = |(number, address)| format!("--node n{number}={address}");
    (1..).zip(addresses).map(flag).collect::<Vec<String>>().join(" ")
}

/// Makes a FIFO below a world's directory; returns its path.
pub fn fifo(world: &World, name: &str) -> String {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let path = world.home().join(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    path.display().to_string()
}

/// Waits until a process has its handlers and sleeps, or has ended.
pub fn await_sleep(child: &mut Child) {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let caught = u64::from_str_radix(field("SigCgt:").unwrap().trim(), 16).unwrap();
        let sleeps = field("State:").unwrap().trim().starts_with('S');
        if sleeps && caught & (1 << (Signal::INT.as_raw() - 1)) != 0 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it never waits: {status}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process that waits; returns its exit code.
pub fn stopped(mut child: Child, signal: Signal) -> Option<i32> {
    await_sleep(&mut child);
    kill_process(Pid::from_child(&child), signal).unwrap();
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it is deaf to {signal:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says whether too few voters are there, and those who are have noticed that nobody leads.
pub fn nobody_leads(status: &Value) -> bool {
    let nodes = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let follows = |node: &Value| node["role"] == "voter" && node["status"]["leader"].is_string();
    status["health"] == "NO_QUORUM" && status["leader"].is_null() && !nodes.iter().any(follows)
}
