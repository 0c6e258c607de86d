//! Addresses of all kinds, without asking a resolver: what names lead to is given.

use super::*;

/// Judges `n1=HOST:PORT`, with what names lead to; a name that stands there already ends in `*`.
fn judged(nodes: &[(&str, &str)], names: &[(&str, &str)], sure: bool) -> Result<Warnings> {
    let place = |(name, address): &(&str, &str)| Place {
        name: name.trim_end_matches('*').to_owned(),
        address: (*address).to_owned(),
        is_new: !name.ends_with('*'),
    };
    let places: Vec<Place> = nodes.iter().map(place).collect();
    let mut spots = take_apart(&places)?;
    for spot in &mut spots {
        let Host::Name(name) = &spot.host else { continue };
        let found = names.iter().filter(|(known, _)| known == name);
        spot.found.extend(found.map(|(_, ip)| ip.parse::<IpAddr>().expect("an address")));
    }
    judge(&spots, sure)
}

fn code(nodes: &[(&str, &str)], names: &[(&str, &str)]) -> Option<codes::Code> {
    judged(nodes, names, false).err().and_then(|report| report.code)
}

#[test]
fn what_no_other_machine_can_dial_is_refused() {
    for address in [
        "0.0.0.0:7400",
        "0.0.0.7:7400",
        "[::]:7400",
        "[::ffff:0.0.0.0]:7400",
        "224.0.0.1:7400",
        "[ff02::1]:7400",
        "255.255.255.255:7400",
        "[fe80::1]:7400",
        "127.1:7400",
        "0x7f000001:7400",
        "010.0.0.1:7400",
        "10.0.0:7400",
        "10.0.0.256:7400",
        "2130706433:7400",
        "..:7400",
        "-:7400",
        "n1.-a:7400",
        "n1..example:7400",
    ] {
        assert_eq!(code(&[("n1", address)], &[]), Some(codes::NO_ADDRESS), "{address}");
    }
    let hidden = code(&[("n1", "n1.example:1")], &[("n1.example", "0.0.0.0")]);
    assert_eq!(hidden, Some(codes::NO_ADDRESS), "a name may hide it");
    assert_eq!(judged(&[("n1*", "0.0.0.0:1"), ("n2", "10.0.0.2:1")], &[], false), Ok(vec![]));
}

#[test]
fn loopback_beside_other_hosts_is_refused_and_alone_it_is_fine() {
    for local in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "localhost:1",
        "LOCALHOST.:1",
        "[::ffff:127.0.0.1]:1",
        "n1.localhost:1",
        "ip6-localhost:1",
    ] {
        assert_eq!(
            code(&[("n1", local), ("n2", "n2.example:1")], &[]),
            Some(codes::LOOPBACK),
            "{local}"
        );
        assert_eq!(
            code(&[("n1*", "10.0.0.1:1"), ("n2", local)], &[]),
            Some(codes::LOOPBACK),
            "{local}"
        );
        assert_eq!(
            code(&[("n1*", local), ("n2", "10.0.0.1:1")], &[]),
            Some(codes::LOOPBACK),
            "{local}"
        );
        let alone = judged(&[("n1", local), ("n2", "127.0.0.2:1")], &[], false);
        assert_eq!(alone, Ok(vec![]), "{local}");
    }
}

#[test]
fn a_name_that_leads_to_this_machine_only_is_warned_of() {
    // As Debian's installer writes it to /etc/hosts for the machine's own name.
    let names = [("n1.example", "127.0.1.1"), ("n2.example", "10.0.0.2")];
    let nodes = [("n1", "n1.example:1"), ("n2", "n2.example:1")];
    let warnings = judged(&nodes, &names, false).expect("it may be right");
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("n1: n1.example:1 is 127.0.1.1 on this machine"),
        "{warnings:?}"
    );
}

#[test]
fn two_spellings_of_one_address_are_one_place() {
    for (one, other) in [
        ("n.example:7400", "N.Example.:7400"),
        ("10.0.0.1:7400", "[::ffff:10.0.0.1]:7400"),
        ("10.0.0.1:7400", "10.0.0.1:07400"),
        ("[2001:db8::1]:7400", "[2001:db8:0::0:1]:7400"),
        ("10.0.0.1:7400", "10.0.0.1.:7400"),
    ] {
        let nodes = [("n1", one), ("n2", other)];
        assert_eq!(code(&nodes, &[]), Some(codes::ONE_PLACE), "{one} {other}");
        let sure = judged(&nodes, &[], true).map_err(|report| report.code);
        assert_eq!(sure, Err(Some(codes::ONE_PLACE)), "nobody can be sure of that");
    }
}

#[test]
fn loopback_is_one_place_whatever_it_is_called() {
    let nodes = [("n1", "localhost:1"), ("n2", "127.0.0.1:1")];
    let sure = judged(&nodes, &[("localhost", "127.0.0.1")], true).map_err(|report| report.code);
    assert_eq!(sure, Err(Some(codes::ONE_PLACE)));
}

#[test]
fn a_member_at_loopback_is_to_be_moved_first() {
    let report = judged(&[("n1*", "127.0.0.1:1"), ("n2", "10.0.0.2:1")], &[], false);
    let help = report.expect_err("they do not reach each other").help;
    assert!(help[1].starts_with("raftctl member update n1 --address HOST:PORT"), "{help:?}");
}

#[test]
fn names_that_lead_to_one_place_are_refused_unless_somebody_is_sure() {
    let names = [("a.example", "10.0.0.1"), ("b.example", "10.0.0.1"), ("b.example", "10.0.0.2")];
    let nodes = [("n1", "a.example:1"), ("n2", "b.example:1"), ("n3", "10.0.0.3:1")];
    let report = judged(&nodes, &names, false).expect_err("they are one place");
    assert_eq!(report.code, Some(codes::ONE_PLACE));
    assert!(report.message.ends_with("are one place: 10.0.0.1:1"), "{}", report.message);
    let warnings = judged(&nodes, &names, true).expect("somebody is sure");
    assert!(warnings[0].contains("are one place"), "{warnings:?}");
}

#[test]
fn several_nodes_on_one_machine_are_warned_of() {
    let names = [("a.example", "10.0.0.1"), ("b.example", "10.0.0.1")];
    let nodes = [("n1", "a.example:1"), ("n2", "b.example:2"), ("n3", "10.0.0.1:3")];
    let warnings = judged(&nodes, &names, false).expect("they may be there");
    assert_eq!(warnings, ["n1 n2 n3 are on one machine, 10.0.0.1: they fail together"]);
    let stood = [("n1*", "10.0.0.1:1"), ("n2*", "10.0.0.1:2"), ("n3", "10.0.0.3:1")];
    assert_eq!(judged(&stood, &[], false), Ok(vec![]), "that was said when it was written");
}
