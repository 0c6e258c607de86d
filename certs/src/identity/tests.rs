#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const CLUSTER: &str = "000102030405060708090a0b0c0d0e0f";

fn reason(uri: &str) -> String {
    match Identity::parse_uri(uri) {
        Err(IdentityError::BadUri { reason, .. }) => reason,
        other => panic!("{uri}: {other:?}"),
    }
}

#[test]
fn a_cluster_id_is_32_lowercase_hex_digits() {
    let id: ClusterId = CLUSTER.parse().unwrap();
    assert_eq!(id.to_bytes(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    assert_eq!(id.to_string(), CLUSTER);
    assert_eq!(format!("{id:?}"), format!("ClusterId({CLUSTER})"));
    let upper = CLUSTER.to_uppercase();
    for bad in ["", "00", &CLUSTER[1..], &format!("{CLUSTER}0"), &upper, &"g".repeat(32)] {
        let error = bad.parse::<ClusterId>().unwrap_err();
        assert!(matches!(error, IdentityError::BadClusterId { .. }), "{bad}: {error}");
    }
}

#[test]
fn two_generated_cluster_ids_differ() {
    assert_ne!(ClusterId::generate().unwrap(), ClusterId::generate().unwrap());
}

#[test]
fn each_role_has_its_uri() {
    let cluster: ClusterId = CLUSTER.parse().unwrap();
    let name = || "ci-runner_2.prod".parse::<Name>().unwrap();
    let node = Role::Node(NonZeroU64::MAX);
    for (role, path) in [
        (node, "node/18446744073709551615"),
        (Role::Operator(name()), "operator/ci-runner_2.prod"),
        (Role::Client(name()), "client/ci-runner_2.prod"),
        (Role::Reader(name()), "reader/ci-runner_2.prod"),
        (Role::Backup(name()), "backup/ci-runner_2.prod"),
    ] {
        let identity = Identity::new(cluster, role);
        assert_eq!(identity.to_uri(), format!("spiffe://{CLUSTER}/{path}"));
        assert_eq!(identity.to_uri().parse::<Identity>().unwrap(), identity);
    }
}

#[test]
fn only_a_node_has_a_node_id() {
    let cluster: ClusterId = CLUSTER.parse().unwrap();
    let node = Identity::new(cluster, Role::Node(NonZeroU64::MIN));
    assert_eq!(node.node_id(), Some(NonZeroU64::MIN));
    let client = Identity::new(cluster, Role::Client("1".parse().unwrap()));
    assert_eq!(client.node_id(), None);
}

#[test]
fn a_bad_uri_is_refused_with_the_part_that_is_wrong() {
    let uri = |path: &str| format!("spiffe://{CLUSTER}{path}");
    for (bad, expected) in [
        (String::new(), "does not begin with spiffe://"),
        (format!("https://{CLUSTER}/node/1"), "does not begin with spiffe://"),
        ("spiffe://".to_owned(), "cluster id is not 32"),
        ("spiffe://prod/node/1".to_owned(), "cluster id is not 32"),
        (uri(""), "names a cluster and no role"),
        (uri("/"), "is not of the form"),
        (uri("/node"), "is not of the form"),
        (uri("/node/"), "not a decimal number"),
        (uri("/node/+1"), "not a decimal number"),
        (uri("/node/-1"), "not a decimal number"),
        (uri("/node/1x"), "not a decimal number"),
        (uri("/node/1/2"), "not a decimal number"),
        (uri("/node/0"), "zero"),
        (uri("/node/01"), "begins with a zero"),
        (uri("/node/18446744073709551616"), "does not fit into 64 bits"),
        (uri("/Node/1"), "the role is none of"),
        (uri("/admin/root"), "the role is none of"),
        (uri("//1"), "the role is none of"),
        (uri("/operator/"), "the name is empty"),
        (uri("/operator/Alice"), "has a character"),
        (uri("/operator/a/b"), "has a character"),
        (uri("/operator/a%20b"), "has a character"),
        (uri("/operator/.."), "does not begin with a letter or digit"),
        (uri("/operator/a?x=1"), "has a character"),
        (uri(&format!("/reader/{}", "a".repeat(65))), "longer than 64 bytes"),
        (uri(&format!("/reader/{}", "a".repeat(9_000))), "bytes are more than"),
    ] {
        let reason = reason(&bad);
        assert!(reason.contains(expected), "{bad}: {reason}");
    }
}

#[test]
fn the_longest_uri_is_accepted_and_its_message_is_bounded() {
    let longest = format!("spiffe://{CLUSTER}/operator/{}", "z".repeat(MAX_NAME_BYTES));
    assert_eq!(longest.len(), MAX_URI_BYTES);
    assert_eq!(Identity::parse_uri(&longest).unwrap().to_uri(), longest);
    let error = Identity::parse_uri(&"\n".repeat(1_000_000)).unwrap_err().to_string();
    assert!(error.len() < 400 && !error.contains('\n'), "{error}");
}

#[test]
fn an_authority_s_uri_names_its_cluster_and_nothing_else() {
    let cluster: ClusterId = CLUSTER.parse().unwrap();
    assert_eq!(ClusterId::parse_uri(&cluster.to_uri()).unwrap(), cluster);
    for bad in [format!("spiffe://{CLUSTER}/"), format!("spiffe://{CLUSTER}/node/1")] {
        assert!(ClusterId::parse_uri(&bad).is_err(), "{bad}");
    }
}

#[test]
fn identities_and_roles_read_well() {
    let identity =
        Identity::new(CLUSTER.parse().unwrap(), Role::Reader("grafana".parse().unwrap()));
    assert_eq!(identity.to_string(), format!("reader grafana of cluster {CLUSTER}"));
    assert_eq!(Role::Node(NonZeroU64::MIN).to_string(), "node 1");
}

fn any_role() -> impl Strategy<Value = Role> {
    let name = || "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|text| text.parse::<Name>().unwrap());
    prop_oneof![
        (1..=u64::MAX).prop_map(|id| Role::Node(NonZeroU64::new(id).unwrap())),
        name().prop_map(Role::Operator),
        name().prop_map(Role::Client),
        name().prop_map(Role::Reader),
        name().prop_map(Role::Backup),
    ]
}

proptest! {
    #[test]
    fn every_identity_comes_back_from_its_uri(bytes: [u8; 16], role in any_role()) {
        let identity = Identity::new(ClusterId::from_bytes(bytes), role);
        let uri = identity.to_uri();
        prop_assert!(uri.len() <= MAX_URI_BYTES);
        prop_assert_eq!(Identity::parse_uri(&uri).unwrap(), identity);
    }

    #[test]
    fn whatever_parses_is_spelled_in_the_only_way(
        text in "spiffe://[0-9a-f]{31,33}/(node|operator|client|reader|Node)/[0-9a-zA-Z._/%-]{0,70}"
    ) {
        if let Ok(identity) = Identity::parse_uri(&text) {
            prop_assert_eq!(identity.to_uri(), text);
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text: String) {
        let _ = Identity::parse_uri(&text);
        let _ = Identity::parse_uri(&format!("spiffe://{CLUSTER}/{text}"));
        let _ = ClusterId::parse_uri(&text);
        let _ = text.parse::<ClusterId>();
        let _ = text.parse::<Name>();
    }
}
