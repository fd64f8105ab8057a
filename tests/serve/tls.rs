//! A listener with a certificate: it serves the certificate, and the new one after the file has changed.

use std::sync::Arc;

use decamp_sandbox::serve;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::replica::{Replica, quick};

/// The name in both certificates.
const NAME: &str = "sns.eu-west-1.amazonaws.com";

/// Sends a request, trusting one authority.
async fn ask(address: &str, root: &[u8]) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root).expect("a root")).expect("it can be believed");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("there are some");
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(NAME).expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_served_and_the_new_one_after_its_file_has_changed() {
    let (root, other) = (include_bytes!("sns/root.pem"), include_bytes!("sns/other-root.pem"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("certificate"), include_bytes!("sns/signer.pem")).expect("it is ours");
    std::fs::write(path("key"), include_bytes!("sns/signer.key.pem")).expect("it is ours");
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let (certificate, key) = (path("certificate"), path("key"));
    let settings = [("DECAMP_WEBHOOKS_CERT", &*certificate), ("DECAMP_WEBHOOKS_KEY", &*key), ("DECAMP_HOSTS", NAME)];
    let replica = Replica::start(&sandbox, &settings).await;
    let address = replica.webhooks.trim_start_matches("http://");
    // The health routes are on the other listener, so the answer here is a problem document.
    assert!(ask(address, root).await.expect("it is trusted").starts_with("HTTP/1.1 404"));
    assert!(ask(address, other).await.is_err(), "it was signed by another authority");

    std::fs::write(path("certificate"), "nonsense").expect("it is ours");
    assert!(ask(address, root).await.is_ok(), "an unusable certificate is not served");
    // An expired certificate with its key.
    std::fs::write(path("certificate"), include_bytes!("sns/expired.pem")).expect("it is ours");
    std::fs::write(path("key"), include_bytes!("sns/foreign.key.pem")).expect("it is ours");
    assert!(ask(address, root).await.is_ok(), "an expired certificate does not replace a valid one: {}", replica.printed());
    replica.says("has expired or is not valid yet; the old one stays").await;
    std::fs::write(path("certificate"), include_bytes!("sns/foreign.pem")).expect("it is ours");
    std::fs::write(path("key"), include_bytes!("sns/foreign.key.pem")).expect("it is ours");
    assert!(ask(address, other).await.is_ok(), "{}", replica.printed());
    assert!(ask(address, root).await.is_err());
    let plain = TcpStream::connect(address).await.expect("it listens");
    drop(plain);
    assert!(!replica.printed().contains("PRIVATE"), "{}", replica.printed());
}
