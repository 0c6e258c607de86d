//! How a status reads.

use super::*;
use crate::cluster::testing::{survey, well};
use crate::cluster::{Row, Silence};
use crate::output::Output;
use crate::output::form::Form;
use client::Common;

fn output() -> Output {
    Output { form: Form::Table, headers: true, quiet: true, draws: false, colours: false }
}

fn silent(name: &str) -> Row {
    let silence = Silence { why: "connection refused".into(), common: Common::Nothing };
    Row { name: name.into(), id: None, address: format!("{name}:1"), answer: Err(silence) }
}

#[test]
fn nodes_that_do_not_answer_keep_their_rows() {
    let survey = Survey::of(vec![silent("n1"), silent("n2"), silent("n3")]);
    let verdict = judge(&survey, 0);
    let text = text::render(&output(), "prod", &survey, &verdict);
    assert!(
        text.starts_with("CLUSTER  prod   NO QUORUM\nREASON   0 of 3 nodes reachable"),
        "{text}"
    );
    for name in ["n1", "n2", "n3"] {
        let row = format!("{name}    -     unreachable (connection refused)\n");
        assert!(text.contains(&row), "{text}");
    }
    let data = json::render("prod", &survey, &verdict);
    assert_eq!(data["health"], "NO_QUORUM");
    assert_eq!(data["nodes"].as_array().map(Vec::len), Some(3));
    assert_eq!(data["nodes"][0]["error"], "connection refused");
}

#[test]
fn a_cluster_that_has_lost_its_history_is_told_from_one_that_has_none_yet() {
    let none = judge(&Survey::of(Vec::new()), 0);
    let fresh = Verdict { health: Health::Uninitialised, reason: "no history".into(), ..none };
    let known = Some(Generation::new([0xab; 32]));
    let all = survey(vec![Some(well(1)), Some(well(2)), None]);
    assert_eq!(with_known(fresh.clone(), &all, None), fresh);
    let lost = with_known(fresh.clone(), &all, known);
    assert_eq!(lost.health, Health::Uninitialised);
    assert!(lost.reason.starts_with("no history, but abab..abab is known"), "{}", lost.reason);
    assert!(lost.reason.contains("restore a snapshot"), "{}", lost.reason);
    let down = with_known(fresh, &survey(vec![Some(well(1)), None, None]), known);
    assert!(down.reason.ends_with("start the nodes that do not answer: they may have it"));
}

#[test]
fn nobody_has_caught_up_who_does_not_answer() {
    assert!(!caught_up(&Survey::of(vec![silent("n1")]), 0));
}

#[test]
fn a_certificate_problem_is_told_from_silence() {
    let mut rows = vec![silent("n1")];
    assert_eq!(unreachable(&Survey::of(rows.clone())).code, Some(codes::UNREACHABLE));
    rows[0].answer = Err(Silence { why: "expired".into(), common: Common::Certificates });
    assert_eq!(unreachable(&Survey::of(rows)).code, Some(codes::CERTIFICATES));
}
