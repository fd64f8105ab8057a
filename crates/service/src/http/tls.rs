//! A listener's certificate, which is read again when its files change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::departures::lock;
use decamp_core::time::Time;

/// A certificate and its key, as their files were when they were last usable.
pub(super) struct ServerCertificate {
    certificate: PathBuf,
    key: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    config: Arc<ServerConfig>,
    /// The listener's own certificate, the first of its chain.
    own: CertificateDer<'static>,
    /// When both files were written; `None` if that is unknown.
    written: Option<[SystemTime; 2]>,
}

impl ServerCertificate {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// One of them cannot be read, or the key is not the certificate's.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Arc<Self>> {
        let (config, own) = config(certificate, key)?;
        let held = Held { config, own, written: written(certificate, key) };
        Ok(Arc::new(Self { certificate: certificate.to_owned(), key: key.to_owned(), held: Mutex::new(held) }))
    }

    /// Makes a handshake with the newest usable certificate.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, now: Time) -> io::Result<TlsStream<S>> {
        TlsAcceptor::from(self.newest(now)).accept(stream).await
    }

    fn newest(&self, now: Time) -> Arc<ServerConfig> {
        let mut held = lock(&self.held);
        let written = written(&self.certificate, &self.key);
        if written.is_some() && written != held.written {
            // Also after a failure: the same files are not read again.
            held.written = written;
            match config(&self.certificate, &self.key) {
                // A faulty renewal may bring an expired certificate, which no client would accept.
                Ok((_, own)) if is_out_of_date(&own, now) && !is_out_of_date(&held.own, now) => {
                    warn!(file = %self.certificate.display(), "the new certificate has expired or is not valid yet; the old one stays");
                }
                Ok((config, own)) => {
                    (held.config, held.own) = (config, own);
                    info!(file = %self.certificate.display(), "read the new certificate");
                }
                Err(why) => {
                    warn!(file = %self.certificate.display(), "the new certificate cannot be used; the old one stays in use: {why:#}")
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

/// Whether a certificate has expired or is not valid yet. webpki checks the validity period before it looks for an issuer, so no
/// issuer is needed: every other answer means that the period is right.
fn is_out_of_date(certificate: &CertificateDer<'_>, now: Time) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    let checked = certificate.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &[], &[], now, KeyUsage::server_auth(), None, None);
    matches!(checked, Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }))
}

fn config(certificate: &Path, key: &Path) -> Result<(Arc<ServerConfig>, CertificateDer<'static>)> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("read certificates from {}", certificate.display()))?;
    let Some(own) = chain.first().cloned() else { bail!("there is no certificate in {}", certificate.display()) };
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("read a private key from {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("use the certificate with its key")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_validity_period_alone_decides_whether_a_certificate_is_out_of_date() {
        let read = |file: &[u8]| CertificateDer::from_pem_slice(file).expect("a certificate");
        let at = |text: &str| Time::read(text).expect("a time");
        let good = read(include_bytes!("../../../../tests/serve/sns/signer.pem"));
        let expired = read(include_bytes!("../../../../tests/serve/sns/expired.pem"));
        let now = at("2027-01-01T00:00:00Z");
        assert!(!is_out_of_date(&good, now), "its issuer does not matter");
        assert!(is_out_of_date(&expired, now));
        assert!(is_out_of_date(&good, at("1999-01-01T00:00:00Z")) && is_out_of_date(&good, at("2999-01-01T00:00:00Z")));
        assert!(!is_out_of_date(&CertificateDer::from(&good[..100]), now), "nothing is known of a damaged one");
    }
}
