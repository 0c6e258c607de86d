//! Certificates that are renewed over the wire.

use std::fs;
use std::num::NonZeroU64;
use std::time::Duration;

use certs::{CheckedRequest, Identity, Role};
use client::{Client, ClientError};
use fixtures::Cluster;
use protocol::{CertificateAnswer, CertificateRequest};

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
    let day = Duration::from_secs(86_400);
    let signed = cluster.authority.sign_request(&asked, &identity, day).unwrap();
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
