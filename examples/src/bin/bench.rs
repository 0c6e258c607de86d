//! Measures a local three-node cluster: puts and linearizable gets at several numbers of clients;
//! beside another system, if a command is given that loads it, in turns within one run, so that
//! what counts is a ratio.

use std::process::{Command, ExitCode, Stdio};

use examples::cluster::Cluster;
use serde_json::Value;

const HELP: &str = "Measures puts and linearizable gets on a local cluster of three nodes.

Usage: bench [--clients 1,64,256] [--seconds 5] [--size 256] [--beside COMMAND]

  --beside COMMAND   loads another system in turns with ours: a shell command in which {kind} (put,
                     get), {clients}, {seconds} and {size} are replaced, and which prints one JSON
                     object with ops_per_s, p50_us and p99_us";

struct Plan {
    clients: Vec<u64>,
    seconds: u64,
    size: u64,
    beside: Option<String>,
}

/// Operations a second, and two latencies in microseconds.
struct Measured {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let plan = match plan(&arguments) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("error: {why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn plan(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan { clients: vec![1, 64, 256], seconds: 5, size: 256, beside: None };
    let number = |text: &str| text.parse().map_err(|_| format!("{text} is not a number"));
    for pair in arguments.chunks(2) {
        let [flag, value] = pair else {
            return Err(format!("{} needs a value", pair[0]));
        };
        match flag.as_str() {
            "--clients" => {
                plan.clients = value.split(',').map(number).collect::<Result<_, _>>()?;
            }
            "--seconds" => plan.seconds = number(value)?,
            "--size" => plan.size = number(value)?,
            "--beside" => plan.beside = Some(value.clone()),
            _ => return Err(format!("unknown argument: {flag}")),
        }
    }
    Ok(plan)
}

fn run(plan: &Plan) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cluster = Cluster::start(directory.path(), 3)?;
    println!(
        "three nodes and the load on this machine, values of {} B, {} s each; latencies in ms",
        plan.size, plan.seconds
    );
    println!("WORK  CLIENTS   RAFTD/S     P50     P99  OTHER/S     P50     P99  RATIO");
    for kind in ["put", "get"] {
        for clients in &plan.clients {
            let ours = ours(&cluster, plan, kind, *clients)?;
            let row = format!("{kind:<5} {clients:>7} {}", show(&ours));
            match &plan.beside {
                None => println!("{row}"),
                Some(command) => {
                    let theirs = theirs(command, plan, kind, *clients)?;
                    let ratio = ours.per_s / theirs.per_s;
                    println!("{row} {} {ratio:>6.1}", show(&theirs));
                }
            }
        }
    }
    cluster.stop()
}

fn show(measured: &Measured) -> String {
    let Measured { per_s, p50_us, p99_us } = measured;
    format!("{per_s:>9.0} {:>7.2} {:>7.2}", p50_us / 1e3, p99_us / 1e3)
}

fn ours(cluster: &Cluster, plan: &Plan, kind: &str, clients: u64) -> Result<Measured, String> {
    let mut command = cluster.raftctl()?;
    let work = if kind == "put" { "--writes" } else { "--reads" };
    let seconds = format!("{}s", plan.seconds);
    command.args(["bench", work, "-o", "json", "--duration", &seconds]);
    command.args(["--clients", &clients.to_string(), "--size", &plan.size.to_string()]);
    command.args(["--keys", "100000"]);
    let envelope = json(command)?;
    let row = &envelope["data"]["operations"][0];
    let lost = row["failed"].as_u64().unwrap_or(0) + row["unknown"].as_u64().unwrap_or(0);
    if lost > 0 {
        return Err(format!("{lost} operations failed: {row}"));
    }
    measured(row, ["perSecond", "p50Us", "p99Us"])
}

fn theirs(command: &str, plan: &Plan, kind: &str, clients: u64) -> Result<Measured, String> {
    let filled = command
        .replace("{kind}", kind)
        .replace("{clients}", &clients.to_string())
        .replace("{seconds}", &plan.seconds.to_string())
        .replace("{size}", &plan.size.to_string());
    let mut shell = Command::new("sh");
    shell.args(["-c", &filled]);
    measured(&json(shell)?, ["ops_per_s", "p50_us", "p99_us"])
}

fn measured(row: &Value, names: [&str; 3]) -> Result<Measured, String> {
    let number = |name: &str| row[name].as_f64().ok_or_else(|| format!("no {name} in {row}"));
    let [per_s, p50_us, p99_us] = names;
    Ok(Measured { per_s: number(per_s)?, p50_us: number(p50_us)?, p99_us: number(p99_us)? })
}

fn json(mut command: Command) -> Result<Value, String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{command:?}: {error}"))
}
