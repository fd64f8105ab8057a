//! TLS of clients: the trusted authorities, our own certificate, and the name that a server's certificate must have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use decamp_config::{Secret, Tls};

/// The PEM texts that were fetched from the places that `Tls::stored` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The trusted authorities.
    pub ca: Option<Secret>,
    /// Our certificate, with its chain.
    pub certificate: Option<Secret>,
    /// Its private key.
    pub key: Option<Secret>,
}

/// The TLS configuration of a client whose certificates are all in files. `used` says whether any address is `https`. If not, no
/// file is read.
///
/// # Errors
///
/// Returns an error if a file cannot be read or has other content.
pub fn config(tls: &Tls, used: bool) -> Result<ClientConfig> {
    config_with(tls, &Fetched::default(), used)
}

/// The TLS configuration from files and fetched texts.
///
/// # Errors
///
/// Returns an error if a file cannot be read, or if a file or text has other content.
pub fn config_with(tls: &Tls, fetched: &Fetched, used: bool) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?;
    if !used {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let verifier = verifier(tls, fetched, provider)?;
    // The verifier is rustls's own. Only the name that it compares with may differ.
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let chain = match (&fetched.certificate, &tls.certificate) {
        (Some(text), _) => Some(certificates_in(text, "the client certificate that was fetched")?),
        (None, Some(file)) => Some(certificates(file)?),
        (None, None) => None,
    };
    let key = match (&fetched.key, &tls.key) {
        (Some(text), _) => {
            // No message may contain the text, because it is the key.
            Some(PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).context("read the private key that was fetched")?)
        }
        (None, Some(file)) => {
            Some(PrivateKeyDer::from_pem_file(file).with_context(|| format!("read a private key from {}", file.display()))?)
        }
        (None, None) => None,
    };
    match (chain, key) {
        (Some(chain), Some(key)) => builder.with_client_auth_cert(chain, key).context("use the client certificate with its key"),
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) | (None, Some(_)) => bail!("a client certificate and its key belong together"),
    }
}

fn verifier(tls: &Tls, fetched: &Fetched, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let roots = Arc::new(match &fetched.ca {
        Some(text) => added(&certificates_in(text, "the authorities that were fetched")?, "what was fetched")?,
        None => roots(tls)?,
    });
    let usual =
        WebPkiServerVerifier::builder_with_provider(roots, provider).build().context("use the certificate authorities")?;
    let Some(name) = &tls.server_name else { return Ok(usual) };
    let name = ServerName::try_from(name.clone()).with_context(|| format!("use {name:?} as the server's name"))?;
    Ok(Arc::new(Named { name, usual }))
}

/// The trusted authorities: those in the settings, else the system's.
///
/// # Errors
///
/// Returns an error if a file cannot be read or has no certificate, or if no authority is known.
pub fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut files: Vec<PathBuf> = tls.ca.iter().cloned().collect();
    if let Some(folder) = &tls.ca_path {
        let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        let is_pem = |path: &PathBuf| path.extension().is_some_and(|e| e == "pem" || e == "crt" || e == "cer");
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_pem));
    }
    let mut roots = RootCertStore::empty();
    if tls.ca.is_none() && tls.ca_path.is_none() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for file in files {
        roots.roots.extend(added(&certificates(&file)?, &file.display().to_string())?.roots);
    }
    if roots.is_empty() {
        bail!("no certificate authority is known, so no server can be trusted; name one in the settings");
    }
    Ok(roots)
}

/// A store that trusts these certificates.
fn added(certificates: &[CertificateDer<'static>], of: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).with_context(|| format!("use a certificate of {of} as authority"))?;
    }
    Ok(roots)
}

fn certificates_in(text: &Secret, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.expose().as_bytes())
        .collect::<Result<_, _>>()
        .with_context(|| format!("read {what}"))?;
    if found.is_empty() {
        bail!("there is no certificate in {what}; write it as PEM (-----BEGIN CERTIFICATE-----)");
    }
    Ok(found)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .with_context(|| format!("read {}", file.display()))?
        .collect::<Result<_, _>>()
        .with_context(|| format!("read certificates from {}", file.display()))?;
    if found.is_empty() {
        bail!("there is no certificate in {}", file.display());
    }
    Ok(found)
}

/// Verifies the certificate against one fixed name, whatever the address: Nomad's servers are all `server.<region>.nomad`.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    usual: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.usual.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
