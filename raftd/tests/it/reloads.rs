//! A configuration that is read again while the node runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fixtures::load::put;
use fixtures::{Cluster, PATIENCE};
use protocol::{ConfigurationAnswer, ConfigurationRequest};
use rustix::process::Signal;

/// Returns the level of the log that is in force, and why the configuration was refused last.
async fn shown(cluster: &Cluster) -> (String, String) {
    let (client, address) = (cluster.client(), &cluster.nodes[0].address);
    let answer = client.configuration(address, ConfigurationRequest::Show).await.unwrap();
    client.close().await;
    let ConfigurationAnswer::Shown { settings, refused, .. } = answer else {
        panic!("{answer:?}");
    };
    let level = settings.into_iter().find(|setting| setting.name == "log_level").unwrap();
    (level.value, refused)
}

/// Waits until something is so of what is in force.
async fn until(cluster: &Cluster, wanted: impl Fn(&str, &str) -> bool) {
    let began = Instant::now();
    loop {
        let (level, refused) = shown(cluster).await;
        if wanted(&level, &refused) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "not as wanted: {level}, {refused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn replace(file: &Path, text: &str) {
    let aside = file.with_extension("aside");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, file).unwrap();
}

/// Whoever writes a file and sends the signal right behind another one's has nobody that says that
/// it was not read.
#[tokio::test]
async fn a_reload_that_is_asked_for_while_files_are_read_reads_them_once_more() {
    let cluster = Cluster::start(1).await;
    let extra = cluster.nodes[0].directory.join("raftd.d");
    fs::create_dir(&extra).unwrap();
    // It is read first; the others take long.
    let level = extra.join("00-level.toml");
    replace(&level, "log_level = \"warn\"\n");
    let comment = "# a word or two on what is set here, and why\n".repeat(20_000);
    for number in 10..90 {
        fs::write(extra.join(format!("{number}.toml")), &comment).unwrap();
    }
    cluster.nodes[0].signal(Signal::HUP);
    tokio::time::sleep(Duration::from_millis(60)).await;
    replace(&level, "log_level = \"debug\"\n");
    cluster.nodes[0].signal(Signal::HUP);
    until(&cluster, |level, _| level.contains("debug")).await;
    put(&cluster.client(), "k", "v").await.unwrap();
}

/// It would be told for ever, to operators and to whoever watches the node.
#[tokio::test]
async fn a_configuration_that_was_refused_is_no_trouble_any_more_when_one_is_taken() {
    let cluster = Cluster::start(1).await;
    let extra = cluster.nodes[0].directory.join("raftd.d");
    fs::create_dir(&extra).unwrap();
    let level = extra.join("00-level.toml");
    replace(&level, "log_level = \"loud\"\n");
    cluster.nodes[0].signal(Signal::HUP);
    until(&cluster, |_, refused| refused.contains("loud")).await;
    replace(&level, "log_level = \"warn\"\n");
    cluster.nodes[0].signal(Signal::HUP);
    until(&cluster, |level, refused| level.contains("warn") && refused.is_empty()).await;
}
