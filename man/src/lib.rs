//! The manual pages that follow from definitions: raftd(8) and raftctl(1) from their command lines,
//! raftd.toml(5) and the package's sample of that file from the table of keys. raft(7) is written
//! by hand, but for the table of rights.
//!
//! # Architecture invariants
//! - Nothing is said here that a definition says; what is wrong in a page is wrong there.
//! - The pages are committed, and a test fails when they are stale.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use raftd::Metric;
use raftd::certs::{RIGHTS, RoleKind};
use raftd::config::{KEYS, Kind};

/// Returns the pages, by their file names.
///
/// # Errors
/// If a page cannot be rendered.
pub fn pages() -> std::io::Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("raftd.8", raftd_8()?),
        ("raftctl.1", raftctl_1()?),
        ("raftd.toml.5", raftd_toml_5()),
        ("../examples/systemd/raftd.toml.sample", sample()),
        ("raft.7", raft_7()?),
    ])
}

/// Returns the directory of the pages.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn raftd_8() -> std::io::Result<String> {
    let mut command = raftd::cli::Cli::command();
    command.build();
    let mut page = render(&Man::new(command.clone()).section("8"))?;
    page.push_str(".SH COMMANDS\n");
    describe(&command, "raftd", &mut page);
    page.push_str(LOG);
    for raftd::Message { id, level, meaning } in raftd::MESSAGES {
        line(&mut page, &format!(".TP\n\\fB{}\\fR ({level})", escape(id)));
        line(&mut page, &format!("{}.", capital(&escape(meaning))));
    }
    page.push_str(MONITORING);
    page.push_str(".SH METRICS\n");
    for Metric { name, kind, unit, labels, meaning } in raftd::metrics() {
        let labels = if labels.is_empty() { String::new() } else { format!(" {labels:?}") };
        let labels = labels.replace(['[', ']', '"'], "");
        let labels = labels.replacen(' ', " by ", usize::from(!labels.is_empty()));
        line(&mut page, &format!(".TP\n\\fB{}\\fR", escape(&name)));
        line(&mut page, &escape(&format!("{}: {unit}{labels}. {meaning}.", capital(kind))));
    }
    page.push_str(".SH \"SEE ALSO\"\nraftd.toml(5), raftctl(1), raft(7)\n");
    Ok(page)
}

/// How the log is written, and what never changes in it.
const LOG: &str = r#".SH "THE LOG"
\fB\-\-log\-format\fR, or \fBlog_format\fR in raftd.toml(5), says how lines are written.
.TP
\fBtext\fR
For people, to stderr: time, level, message, fields.
.TP
\fBjson\fR
One object a line, to stderr: \fBtime\fR (UTC), \fBlevel\fR, \fBid\fR, \fBmessage\fR,
\fBtarget\fR (the part of the program), \fBfields\fR.
.TP
\fBjournald\fR
To the journal of systemd: PRIORITY, MESSAGE, MESSAGE_ID and RAFTD_EVENT (the id below), TARGET, and
each field as F_NAME: \fBjournalctl RAFTD_EVENT=peer\-missing F_PEER=2\fR. To stderr as text, with a
warning, if no journal listens.
.TP
\fBauto\fR
journald below a service manager that has connected stderr to the journal, else text.
.PP
The levels mean: \fBerror\fR, this node cannot do its work, and an operator must act; \fBwarn\fR,
something is wrong that will not mend itself, or somebody is refused; \fBinfo\fR, what belongs in
last month's log: start, stop, role, leader, members; \fBdebug\fR, one line an unusual event;
\fBtrace\fR, one line a message. In the journal they are priorities 3 to 7.
.PP
What strangers, clients or peers can cause again and again is logged a few times one by one, then
counted; the count is logged after a minute, ten minutes, and then every hour for as long as it goes
on.
.PP
Nothing waits for the log. A thread of its own writes it; up to 8192 lines, or 4 MiB, wait while it
cannot, an eighth of that for errors only. What finds no room, or cannot be written, is lost and
counted: in the log when it takes lines again, in \fBsystemctl status\fR, and in
\fBraftd_log_lines_lost_total\fR. So a pipe that nobody reads, a reader that is stopped or gone, a
full disk or a journal that is being restarted stop no node.
.PP
Filter by ids, and not by words, which may change. Lines at debug and trace, and those of libraries,
have none.
"#;

/// What the port for monitoring answers.
const MONITORING: &str = r#".SH MONITORING
With \fBhttp.listen\fR in raftd.toml(5), or \fB\-\-http\-listen\fR, the node answers HTTP on the
loopback interface. A thread of its own does so: no scrape holds up the node, and a node that hangs
still says so. If the address is taken, the node goes on without, says so in the log, and tries
again.
.TP
\fB/metrics\fR
All metrics below, for Prometheus: OpenMetrics 1.0 for those who ask for it, else the text format
0.0.4. State is posted by the node about once a second; ages are those of the moment of the scrape.
What is not known is left out.
.TP
\fB/livez\fR
200 while the consensus loop turns, or the log is still being opened, or the last writes are being
finished; 503 if the loop has not turned for 10 s, as the systemd unit's watchdog has it: then a
restart may help. It never depends on a quorum, on the disk or on an alarm, which no restart mends.
.TP
\fB/readyz\fR
200 while this node serves: it has a history, is a member, knows a leader, its disk finishes its
writes, and what is committed is applied. Else 503, with a line for each reason. A disk without room
for more data is no reason: reads and deletions go on.
.PP
Alert rules and a dashboard for these metrics are in examples/monitoring of the sources.
"#;

/// All commands in one page: people search it.
fn raftctl_1() -> std::io::Result<String> {
    let mut command = raftctl::command();
    command.build();
    let mut page = render(&Man::new(command.clone()).section("1"))?;
    page.push_str(".SH COMMANDS\n");
    describe(&command, "raftctl", &mut page);
    page.push_str(CERTIFICATES);
    page.push_str(".SH \"SEE ALSO\"\nraftd(8), raftd.toml(5), raft(7)\n");
    Ok(page)
}

/// How wide a comment of the sample is, without its mark.
const SAMPLE_COLUMNS: usize = 96;

/// What no single definition says: several commands, here and on other machines, one after another.
const CERTIFICATES: &str = r#".SH "WHEN CERTIFICATES END"
Before the end, where the authority is: \fBraftctl cert renew \-\-all\fR. Each node that answers
gets its certificate over the wire. After the end, and for nodes that do not answer:
.PP
1. \fBraftctl cert list\fR shows the ends of the files, \fBraftctl cert renew \-\-all\fR renews
them. If the authority's own ends: \fBraftctl cert renew \-\-authority \-\-all\fR.
.PP
2. Run the commands that it prints: each node's certificate goes to its machine, and there
\fBsystemctl reload\-or\-restart raftd\fR.
.PP
3. \fBraftctl status \-\-wait healthy \-\-timeout 60s\fR
.PP
raft(7) says more under CERTIFICATES.
"#;

fn describe(command: &Command, path: &str, page: &mut String) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let positional = sub.get_positionals().map(|argument| {
            let name = argument.get_value_names().and_then(|names| names.first());
            name.map_or_else(|| argument.get_id().to_string(), ToString::to_string)
        });
        let arguments: String = positional.map(|name| format!(" {name}")).collect();
        let has_options = sub.get_opts().any(|option| !option.is_global_set());
        if has_options || !sub.has_subcommands() {
            line(page, &format!(".SS \"{path}{arguments}\"\n{}.", escape(&about)));
        }
        for option in sub.get_opts().filter(|option| !option.is_global_set()) {
            let long = option.get_long().unwrap_or_default();
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            line(page, &format!(".TP\n\\fB\\-\\-{}\\fR\n{}.", escape(long), escape(&help)));
        }
        describe(sub, &path, page);
    }
}

/// The page as it is, with the table of rights between its marks written anew.
fn raft_7() -> std::io::Result<String> {
    const BEGIN: &str = ".\\\" rights: begin\n";
    const END: &str = ".\\\" rights: end\n";
    let page = std::fs::read_to_string(directory().join("raft.7"))?;
    let marks = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = marks
        .ok_or_else(|| std::io::Error::other("raft.7 has no place for the table of rights"))?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", rights()))
}

/// Who may do what, a line a right, with a column for each role.
fn rights() -> String {
    let width = RIGHTS.iter().map(|row| row.action.len()).max().unwrap_or(0);
    let mut table = String::from(".nf\n");
    let heads: String = RoleKind::ALL.iter().map(|role| format!("  {role}")).collect();
    line(&mut table, &escape(&format!("{:width$}{heads}", "")));
    for row in RIGHTS {
        let cell = |role: &RoleKind| {
            let mark = if row.roles.contains(role) { "yes" } else { "-" };
            format!("  {mark:<width$}", width = role.word().len())
        };
        let cells: String = RoleKind::ALL.iter().map(cell).collect();
        line(&mut table, escape(&format!("{:<width$}{cells}", row.action)).trim_end());
    }
    table.push_str(".fi\n");
    table
}

fn raftd_toml_5() -> String {
    let mut page = String::from(
        ".TH raftd.toml 5\n.SH NAME\nraftd.toml \\- configuration of raftd\n.SH DESCRIPTION\n\
         TOML. Read from \\fI/etc/raftd/raftd.toml\\fR or the file that \\fB\\-\\-config\\fR \
         names, then from \\fI*.toml\\fR in the directory of the same name with \\fI.d\\fR, in \
         order of their names, the last one winning. A flag or an environment variable goes before \
         all files. An unknown key, or a value out of its bounds, is an error that names file, \
         line and key; \\fBraftd \\-\\-check\\-config\\fR shows whether all is well, and \
         \\fBraftctl config validate\\fR does so for the file of another machine. What is in force \
         at nodes that run, and where each value comes from, shows \\fBraftctl config show\\fR; \
         \\fBraftctl config reload\\fR has them read their files again, as SIGHUP and \
         \\fBsystemctl reload\\fR do. Relative paths are relative to the file that names them. \
         Each file is read once at the start, so that it and the files of [identity] may be \
         pipes, with absolute paths in it. On SIGHUP a node reads \
         plain files only: what was a pipe cannot be read again, which is logged, and the \
         configuration stays as it was.\n.SH KEYS\n",
    );
    for key in &KEYS {
        let kind = match key.kind {
            Kind::Path { .. }
            | Kind::Listen { .. }
            | Kind::Advertised
            | Kind::Loopback
            | Kind::Level { .. }
            | Kind::Format { .. }
            | Kind::Addresses => key.kind.to_string(),
            Kind::Number { .. } | Kind::Pair { .. } => format!("a number: {}", key.kind),
        };
        line(&mut page, &format!(".TP\n\\fB{}\\fR", escape(key.name)));
        line(&mut page, &format!("{}. {}.", capital(key.meaning), capital(&escape(&kind))));
        let when = if key.is_live { "Taken on reload." } else { "Takes a restart." };
        line(&mut page, when);
    }
    page.push_str(".SH \"SEE ALSO\"\nraftd(8), raftctl(1), raft(7)\n");
    page
}

/// The configuration file as the package has it: every key with its default, as a comment.
fn sample() -> String {
    let mut text = String::from(
        "# A sample of /etc/raftd/raftd.toml. `raftctl init` makes that file, in each node's\n\
         # bundle; own settings stand best in files beside it: /etc/raftd/raftd.d/*.toml\n\
         # A line without # is in force. `raftd --check-config` says whether all is well, and\n\
         # `systemctl reload raftd` takes what is marked \"on reload\".\n",
    );
    let mut section = "";
    for key in &KEYS {
        let (of, word) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != section {
            section = of;
            // Metrics are on in the sample: who copies it is watched.
            let comment = if section == "http" { "" } else { "#" };
            line(&mut text, &format!("\n{comment}[{section}]"));
        }
        let when = if key.is_live { ", on reload" } else { "" };
        let told = format!("{}. {}{when}.", capital(key.meaning), capital(&key.kind.to_string()));
        text.push('\n');
        for told in folded(&told) {
            line(&mut text, &format!("# {told}"));
        }
        let comment = if key.kind == Kind::Loopback { "" } else { "#" };
        line(&mut text, &format!("{comment}{}", example(key.kind, word)));
    }
    text
}

/// A line of the sample that sets a key to its default, or to something that shows its form.
fn example(kind: Kind, word: &str) -> String {
    match kind {
        Kind::Path { default: Some(default) } | Kind::Listen { default } => {
            format!("{word} = \"{default}\"")
        }
        Kind::Path { default: None } => format!("{word} = \"FILE\""),
        Kind::Level { default } => format!("{word} = \"{default}\""),
        Kind::Format { default } => format!("{word} = \"{default}\""),
        Kind::Advertised => format!("{word} = \"n1.example:7400\""),
        Kind::Loopback => format!("{word} = \"127.0.0.1:7401\""),
        Kind::Number { default, .. } => format!("{word} = {default}"),
        Kind::Pair { default: (low, high), .. } => format!("{word} = [{low}, {high}]"),
        Kind::Addresses => "n1 = \"n1.example:7400\"".to_owned(),
    }
}

/// Breaks a text into lines of a comment.
fn folded(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one");
        if !last.is_empty() && last.len() + 1 + word.len() > SAMPLE_COLUMNS {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn render(man: &Man) -> std::io::Result<String> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = String::from_utf8(page).map_err(std::io::Error::other)?;
    let line = |line: &str| subcommand(line).unwrap_or_else(|| line.to_owned()) + "\n";
    Ok(page.lines().map(line).collect())
}

/// Subcommands are taken for pages of their own, which there are none of: they are below.
fn subcommand(line: &str) -> Option<String> {
    let page = line.strip_suffix("(1)").or_else(|| line.strip_suffix("(8)"))?;
    let (program, verb) = page.split_once("\\-")?;
    ["raftctl", "raftd"].contains(&program).then(|| format!("\\fB{program} {verb}\\fR"))
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("a string takes everything");
}

/// Keeps hyphens as they are, and dots from beginning a request.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace("\n.", "\n\\&.")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
