//! A listener's certificate, read again when its file changes.

mod validity;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use self::validity::validity;
use crate::departures::lock;
use decamp_core::time::Time;

/// A certificate and its key, as their files were when they could last be used.
pub(super) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    config: Arc<ServerConfig>,
    /// From when to when it is valid, if that can be read.
    valid: Option<(Time, Time)>,
    /// When both files were written; `None` if that cannot be told.
    written: Option<[SystemTime; 2]>,
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or both do not belong together.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Arc<Self>> {
        let (config, valid) = config(certificate, key)?;
        let held = Held { config, valid, written: written(certificate, key) };
        Ok(Arc::new(Self { certificate: certificate.to_owned(), key: key.to_owned(), held: Mutex::new(held) }))
    }

    /// Shakes hands, with the newest certificate that can be used.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, now: Time) -> io::Result<TlsStream<S>> {
        TlsAcceptor::from(self.newest(now)).accept(stream).await
    }

    fn newest(&self, now: Time) -> Arc<ServerConfig> {
        let mut held = lock(&self.held);
        let written = written(&self.certificate, &self.key);
        if written.is_some() && written != held.written {
            // Whatever comes of it: the same files are not read again.
            held.written = written;
            match config(&self.certificate, &self.key) {
                // A clumsy renewal puts back what is over; nobody would get in.
                Ok((_, valid)) if is_over(valid, now) && !is_over(held.valid, now) => {
                    warn!(file = %self.certificate.display(), "the new certificate is not valid now, the old one is and stays");
                }
                Ok((config, valid)) => {
                    (held.config, held.valid) = (config, valid);
                    info!(file = %self.certificate.display(), "the certificate was read again");
                }
                Err(why) => {
                    warn!(file = %self.certificate.display(), "the new certificate cannot be used, the old one is: {why:#}")
                }
            }
        }
        Arc::clone(&held.config)
    }
}

fn written(certificate: &Path, key: &Path) -> Option<[SystemTime; 2]> {
    let of = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    Some([of(certificate)?, of(key)?])
}

/// Whether this is known not to be valid now.
fn is_over(valid: Option<(Time, Time)>, now: Time) -> bool {
    valid.is_some_and(|(from, until)| now < from || until < now)
}

/// The times between which a certificate is valid.
type Validity = (Time, Time);

fn config(certificate: &Path, key: &Path) -> Result<(Arc<ServerConfig>, Option<Validity>)> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("read certificates from {}", certificate.display()))?;
    if chain.is_empty() {
        bail!("there is no certificate in {}", certificate.display());
    }
    let valid = chain.first().and_then(validity);
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("read a private key from {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("use the certificate with its key")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), valid))
}
