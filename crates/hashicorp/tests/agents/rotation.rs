//! Certificates that change while a client exists: the next call uses the new contents of the files.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decamp_config::{Secret, Stored, StoredTls, Tls};
use decamp_core::decide::Unseen;
use decamp_hashicorp::nomad;
use decamp_net::secrets::{Fetch, NoStore, NotFetched};
use futures_util::future::BoxFuture;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::process::on_the_path;
use super::server::{clock, connection};

/// An authority with a certificate for the server and one for the client.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new(openssl: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |arguments: &str| {
            let output = Command::new(openssl).current_dir(folder.path()).args(arguments.split(' ')).output().expect("it runs");
            assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
        std::fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1").expect("it is ours");
        for name in ["server", "client"] {
            run(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
            run(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile names"
            ));
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server that trusts only this authority.
    fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = |name| CertificateDer::from_pem_file(self.file(name)).expect("openssl made it");
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).expect("an authority");
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).expect("openssl made it");
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("both");
        let builder = builder.with_client_cert_verifier(clients.expect("an authority"));
        Arc::new(builder.with_single_cert(vec![certificate("server.pem")], key).expect("they fit"))
    }

    /// Copies the client's files to `folder`.
    fn copy_client_files(&self, folder: &Path) {
        for name in ["ca.pem", "client.pem", "client.key"] {
            std::fs::copy(self.file(name), folder.join(name)).expect("it is ours");
        }
    }
}

fn serve(config: Arc<Mutex<Arc<ServerConfig>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = format!("https://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config.lock().expect("no test panics in it"));
            std::thread::spawn(move || answer(config, stream));
        }
    });
    address
}

/// Answers one request per connection, so that each request has its own handshake.
fn answer(config: Arc<ServerConfig>, stream: TcpStream) -> Option<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        read.push(byte[0]);
    }
    let body = r#"{"Members":[]}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes()).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

#[tokio::test]
async fn certificates_and_authorities_are_read_again_when_they_change_or_are_rejected() {
    let Some(openssl) = on_the_path("openssl") else { return };
    let (old, new) = (Authority::new(&openssl), Authority::new(&openssl));
    let ours = tempfile::tempdir().expect("a folder");
    old.copy_client_files(ours.path());
    let config = Arc::new(Mutex::new(old.server()));
    let address = serve(Arc::clone(&config));
    let mut settings = connection(&[&address], None);
    settings.timeout = Duration::from_secs(5);
    settings.tls = Tls {
        ca: Some(ours.path().join("ca.pem")),
        certificate: Some(ours.path().join("client.pem")),
        key: Some(ours.path().join("client.key")),
        ..Tls::default()
    };
    let client = nomad::Client::new(&settings, Arc::new(NoStore), clock()).expect("there is nothing wrong with it");
    assert_eq!(client.servers().await, Ok(Vec::new()));

    // The servers are rotated first. Until the files follow, no connection is trusted.
    *config.lock().expect("no test panics in it") = new.server();
    assert!(matches!(client.servers().await, Err(Unseen::Away(_))));
    new.copy_client_files(ours.path());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(client.servers().await, Ok(Vec::new()), "the new files are used");

    // A certificate without its key changes nothing.
    std::fs::copy(old.file("client.pem"), ours.path().join("client.pem")).expect("it is ours");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(client.servers().await, Ok(Vec::new()), "the earlier certificate stays in use");
    *config.lock().expect("no test panics in it") = old.server();
    old.copy_client_files(ours.path());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(client.servers().await, Ok(Vec::new()));

    // The files are written within one clock tick and with the same length, so only the failing TLS handshake shows the change.
    let unchanged = std::fs::metadata(ours.path().join("ca.pem")).and_then(|m| m.modified()).expect("it is there");
    new.copy_client_files(ours.path());
    for name in ["ca.pem", "client.pem", "client.key"] {
        let file = std::fs::File::options().append(true).open(ours.path().join(name)).expect("it is ours");
        file.set_modified(unchanged).expect("it is ours");
    }
    *config.lock().expect("no test panics in it") = new.server();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(client.servers().await, Ok(Vec::new()), "a failed handshake makes the client read them");
}

/// A store of secrets whose values are the files of a folder.
struct FolderStore(Mutex<PathBuf>);

impl Fetch for FolderStore {
    fn fetch<'a>(&'a self, stored: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
        let (Stored::Ssm(name) | Stored::SecretsManager(name)) = stored;
        let read = std::fs::read_to_string(self.0.lock().expect("no test panics in it").join(name));
        Box::pin(async move { read.map(Secret::new).map_err(|_| NotFetched::Unseen(Unseen::Denied("the role may not".into()))) })
    }
}

#[tokio::test]
async fn certificates_in_aws_are_fetched_when_first_needed_and_again_when_they_are_rejected() {
    let Some(openssl) = on_the_path("openssl") else { return };
    let (old, new) = (Authority::new(&openssl), Authority::new(&openssl));
    let store = Arc::new(FolderStore(Mutex::new(PathBuf::from("/nowhere"))));
    let config = Arc::new(Mutex::new(old.server()));
    let address = serve(Arc::clone(&config));
    let mut settings = connection(&[&address], None);
    settings.timeout = Duration::from_secs(5);
    settings.tls.stored = StoredTls {
        ca: Some(Stored::Ssm("ca.pem".into())),
        certificate: Some(Stored::Ssm("client.pem".into())),
        key: Some(Stored::SecretsManager("client.key".into())),
    };
    let client = nomad::Client::new(&settings, Arc::<FolderStore>::clone(&store), clock()).expect("nothing is fetched yet");
    let denied = client.servers().await;
    assert!(matches!(&denied, Err(Unseen::Denied(why)) if why.contains("the role may not")), "{denied:?}");

    // A failed fetch is repeated after a second.
    store.0.lock().expect("no test panics in it").clone_from(&old.folder.path().to_owned());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(client.servers().await, Ok(Vec::new()));

    // After a rotation a failed handshake makes the client fetch them again, if the last fetch was long enough ago.
    store.0.lock().expect("no test panics in it").clone_from(&new.folder.path().to_owned());
    assert_eq!(client.servers().await, Ok(Vec::new()), "nothing failed, nothing is fetched");
    *config.lock().expect("no test panics in it") = new.server();
    assert!(matches!(client.servers().await, Err(Unseen::Away(_))), "it was fetched a moment ago");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(client.servers().await, Ok(Vec::new()), "a failed handshake makes the client fetch them");
}

#[tokio::test]
async fn the_error_about_an_invalid_certificate_in_aws_does_not_repeat_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(FolderStore(Mutex::new(folder.path().to_owned())));
    let mut settings = connection(&["https://127.0.0.1:1"], None);
    settings.tls.stored.ca = Some(Stored::Ssm("ca.pem".into()));
    for (text, said) in [("canary", "there is no certificate in"), ("", "there is nothing in the parameter ca.pem")] {
        std::fs::write(folder.path().join("ca.pem"), text).expect("it is ours");
        let client = nomad::Client::new(&settings, Arc::<FolderStore>::clone(&store), clock()).expect("nothing is fetched yet");
        let unseen = client.servers().await;
        let Err(Unseen::Away(why)) = unseen else { panic!("{unseen:?}") };
        assert!(why.contains(said) && !why.contains("canary"), "{why}");
    }
}
