//! Certificates that are renewed over the wire.

use std::fs;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use certs::{Authority, CheckedRequest, Identity, Role};
use client::{Client, ClientError};
use fixtures::load::put;
use fixtures::{Cluster, PATIENCE};
use protocol::{CertificateAnswer, CertificateRequest, Request};

use crate::revoked::{alice, client_with, connections, cut, issued, refusals};

const DAY: Duration = Duration::from_secs(86_400);

async fn ask(
    client: &Client,
    cluster: &Cluster,
    request: CertificateRequest,
) -> Result<CertificateAnswer, ClientError> {
    client.certificate(&cluster.nodes[0].address, NonZeroU64::MIN, request).await
}

/// The node would be refused by all when it is started again, if its old certificate ends first.
#[tokio::test]
async fn a_certificate_that_cannot_be_kept_is_not_used() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let before = ask(&client, &cluster, CertificateRequest::Show).await.unwrap();
    let asked = ask(&client, &cluster, CertificateRequest::Request).await.unwrap();
    let CertificateAnswer::Request(asked) = asked else { panic!("{asked:?}") };
    let asked = CheckedRequest::from_der(&asked).unwrap();
    let identity = Identity::new(cluster.authority.cluster(), Role::Node(NonZeroU64::MIN));
    let signed = cluster.authority.sign_request(&asked, &identity, DAY).unwrap();
    let install = CertificateRequest::Install {
        certificate: signed.certificate_pem,
        authorities: String::new(),
    };
    // Where it is kept is no place for a file.
    let kept = cluster.nodes[0].data.join("identity.pem");
    fs::create_dir_all(kept.join("in the way")).unwrap();
    let refused = ask(&client, &cluster, install.clone()).await;
    assert!(matches!(refused, Err(ClientError::Refused(_))), "{refused:?}");
    assert_eq!(ask(&client, &cluster, CertificateRequest::Show).await.unwrap(), before);
    // The key still waits for it.
    fs::remove_dir_all(&kept).unwrap();
    let taken = ask(&client, &cluster, install).await.unwrap();
    assert_ne!(taken, before);
    assert_eq!(ask(&client, &cluster, CertificateRequest::Show).await.unwrap(), taken);
    assert!(kept.is_file());
}

/// Lets a node use what is given, and a certificate that this authority signs if there is one.
async fn install(
    client: &Client,
    (cluster, place): (&Cluster, usize),
    signer: Option<&Authority>,
    authorities: &str,
) {
    let node = &cluster.nodes[place];
    let id = NonZeroU64::new(node.id).unwrap();
    let mut certificate = String::new();
    if let Some(signer) = signer {
        let asked = client.certificate(&node.address, id, CertificateRequest::Request).await;
        let CertificateAnswer::Request(asked) = asked.unwrap() else { panic!("no request") };
        let asked = CheckedRequest::from_der(&asked).unwrap();
        let identity = Identity::new(signer.cluster(), Role::Node(id));
        certificate = signer.sign_request(&asked, &identity, DAY).unwrap().certificate_pem;
    }
    let authorities = authorities.to_owned();
    let request = CertificateRequest::Install { certificate, authorities };
    client.certificate(&node.address, id, request).await.unwrap();
}

/// Whoever had stolen the key of an authority kept the rights of an operator on a connection that
/// was there when the authority was replaced.
#[tokio::test]
async fn connections_of_an_authority_that_is_trusted_no_more_are_closed_while_the_nodes_serve() {
    let cluster = Cluster::start(3).await;
    put(&cluster.client(), "k", "v").await.unwrap();
    cluster.converged().await;
    let old = &cluster.authority;
    let new = Authority::create(old.cluster(), DAY).unwrap();
    let both = format!("{}{}", old.trust_pem(), new.trust_pem());
    let forged = issued(&cluster, alice(), 3_600).with(None, None, Some(&both)).unwrap();
    let client = client_with(&cluster, forged.clone());
    for place in 0..3 {
        install(&client, (&cluster, place), None, &both).await;
    }
    for place in 0..3 {
        install(&client, (&cluster, place), Some(&new), &both).await;
    }
    let connected = connections(&cluster, &[0, 1, 2], &forged).await;
    let identity = Identity::new(new.cluster(), alice());
    let client = client_with(&cluster, new.issue(&identity, DAY).unwrap().credentials().unwrap());
    put(&client, "k", "w").await.unwrap();
    for connection in &connected {
        connection.call(&Request::Status).await.unwrap();
    }
    let term = client.status_of(&cluster.nodes[0].address).await.unwrap().term;

    let began = Instant::now();
    for place in 0..3 {
        install(&client, (&cluster, place), None, &new.trust_pem()).await;
    }
    let took = cut(&connected, began).await;
    println!("whoever had the former authority's certificate was cut off within {took:?}");
    for said in refusals(&cluster, &forged).await {
        assert!(said.contains("is not signed by the authority"), "{said}");
    }
    // The nodes themselves have met under the former one, and meet again.
    put(&client, "k", "x").await.unwrap();
    loop {
        let mut met = true;
        for node in &cluster.nodes {
            let status = client.status_of(&node.address).await.unwrap();
            met &= status.peers.iter().all(|peer| peer.connected);
            assert_eq!(status.term, term, "the leader stays");
        }
        if met {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "they do not meet again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    put(&client, "k", "y").await.unwrap();
}
