//! Verifies messages that SNS sends over HTTP: first their claims, then the certificate, then the signature.
//!
//! The certificate's host is derived from the topic, which must be in our list. Nothing in a message decides from where anything is
//! fetched. This module fetches nothing, and the URL of a confirmation is never visited.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
    alg_id,
};
use serde::Deserialize;
use webpki::{EndEntityCert, KeyUsage};

use decamp_core::time::Time;

/// The oldest message that is accepted: SNS stops its retries after about an hour.
const OLDEST: Duration = Duration::from_hours(1);
/// How far SNS's clock may be ahead of ours.
const AHEAD: Duration = Duration::from_mins(5);
/// The largest file of certificates that is read.
pub const LARGEST_CERTIFICATE: usize = 16 * 1024;
/// The most certificates in such a file.
const LONGEST_CHAIN: usize = 5;

/// Why a message is not authentic. The sender does not learn the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Raw delivery has no signature.
    #[error("it was delivered raw, so that nothing signs it; turn raw delivery off")]
    Raw,
    /// It is not a message of SNS.
    #[error("it is no message of SNS")]
    Unreadable,
    /// A header contradicts the body.
    #[error("its headers say another thing than its body")]
    Contradiction,
    /// Its topic is not in the list.
    #[error("its topic is not in DECAMP_SNS_TOPICS")]
    Topic,
    /// Its signature version is not accepted.
    #[error("its signature is of version 1; set the topic's SignatureVersion to 2")]
    Version,
    /// The certificate's address is not at SNS in the topic's Region.
    #[error("its certificate is not at SNS")]
    Place,
    /// It was sent too long ago or in the future.
    #[error("its time is not ours")]
    OutOfTime,
    /// The certificate is not SNS's.
    #[error("its certificate is not SNS's, or not valid now")]
    Certificate,
    /// It was changed after signing.
    #[error("its signature does not fit")]
    Forged,
}

/// What a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A published message.
    Notification,
    /// This address was subscribed to the topic. Calling ConfirmSubscription with the token confirms the subscription.
    Confirmation {
        /// The token is a right to subscribe, so it is never shown.
        token: String,
    },
    /// The subscription was ended. The token, which could renew it, is not used.
    Unsubscribed,
}

/// A message with consistent claims whose signature is not verified yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it is for.
    pub kind: Kind,
    /// A topic of ours whose SNS host has the certificate.
    pub near: Arc<str>,
    /// Its id.
    pub id: String,
    /// The published text.
    pub message: String,
    /// The name of the certificate's file at SNS. The rest of its address is derived from the topic.
    pub certificate: String,
    /// Its topic, if it is one of ours. It is checked last, so that a forger cannot learn which topics are ours.
    topic: Option<Arc<str>>,
    first_version: bool,
    signature: Vec<u8>,
    canonical: String,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("near", &self.near).field("id", &self.id).finish_non_exhaustive()
    }
}

/// The body of a message. A body with a duplicate field is unreadable.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    #[serde(rename = "Type")]
    kind: String,
    message_id: String,
    topic_arn: String,
    message: String,
    subject: Option<String>,
    timestamp: String,
    signature: String,
    signature_version: String,
    #[serde(rename = "SigningCertURL")]
    signing_cert_url: String,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
}

/// Reads the claims of a message, and refuses it for everything that can be checked without its certificate, except a foreign
/// topic.
///
/// # Errors
///
/// Returns why the message is not authentic.
pub fn read(
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    topics: &[Arc<str>],
    first_version_too: bool,
    now: Time,
) -> Result<Claim, Doubt> {
    if headers("x-amz-sns-rawdelivery").is_some_and(|raw| !raw.eq_ignore_ascii_case("false")) {
        return Err(Doubt::Raw);
    }
    let said: Envelope = serde_json::from_slice(body).map_err(|_| Doubt::Unreadable)?;
    let differs = |name: &str, value: &str| headers(name).is_some_and(|said| said != value);
    if differs("x-amz-sns-message-type", &said.kind) || differs("x-amz-sns-topic-arn", &said.topic_arn) {
        return Err(Doubt::Contradiction);
    }
    let first_version = match &*said.signature_version {
        "2" => false,
        "1" if first_version_too => true,
        _ => return Err(Doubt::Version),
    };
    let place = |near: &Arc<str>| Some((Arc::clone(near), certificate_file(&said.signing_cert_url, near)?.to_owned()));
    let (near, certificate) = topics.iter().find_map(place).ok_or(Doubt::Place)?;
    let sent = Time::read(&said.timestamp).ok_or(Doubt::Unreadable)?;
    if OLDEST < now.since(sent) || AHEAD < sent.since(now) {
        return Err(Doubt::OutOfTime);
    }
    let canonical = canonical(&said)?;
    let signature = STANDARD.decode(&said.signature).map_err(|_| Doubt::Forged)?;
    let kind = match &*said.kind {
        "Notification" => Kind::Notification,
        "SubscriptionConfirmation" => Kind::Confirmation { token: said.token.ok_or(Doubt::Unreadable)? },
        "UnsubscribeConfirmation" => Kind::Unsubscribed,
        _ => return Err(Doubt::Unreadable),
    };
    let topic = topics.iter().find(|topic| ***topic == *said.topic_arn && host(topic) == host(&near)).cloned();
    let (id, message) = (said.message_id, said.message);
    Ok(Claim { kind, near, id, message, certificate, topic, first_version, signature, canonical })
}

/// The text that SNS signs: some fields in a fixed order, each name and each value on its own line.
fn canonical(said: &Envelope) -> Result<String, Doubt> {
    let mut lines: Vec<(&str, &str)> = vec![("Message", &said.message), ("MessageId", &said.message_id)];
    match &*said.kind {
        "Notification" => {
            lines.extend(said.subject.as_deref().map(|subject| ("Subject", subject)));
            lines.push(("Timestamp", &said.timestamp));
        }
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => {
            lines.push(("SubscribeURL", said.subscribe_url.as_deref().ok_or(Doubt::Unreadable)?));
            lines.push(("Timestamp", &said.timestamp));
            lines.push(("Token", said.token.as_deref().ok_or(Doubt::Unreadable)?));
        }
        _ => return Err(Doubt::Unreadable),
    }
    lines.extend([("TopicArn", &*said.topic_arn), ("Type", &*said.kind)]);
    Ok(lines.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect())
}

/// The host of SNS in a topic's Region.
#[must_use]
pub fn host(topic: &str) -> String {
    let region = topic.split(':').nth(3).unwrap_or_default();
    decamp_aws::endpoints::plain_host("sns", region)
}

/// Whether this has the form of a certificate file's name at SNS.
#[must_use]
pub fn is_certificate_file(file: &str) -> bool {
    let number = file.strip_prefix("SimpleNotificationService-").and_then(|rest| rest.strip_suffix(".pem"));
    number.is_some_and(|number| number.len() == 32 && number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The file's name, if the address is exactly SNS's own for this topic. The address is compared as text and never parsed.
fn certificate_file<'a>(address: &'a str, topic: &str) -> Option<&'a str> {
    let file = address.strip_prefix("https://")?.strip_prefix(&*host(topic))?.strip_prefix('/')?;
    is_certificate_file(file).then_some(file)
}

/// Verifies the signature of a message with a file of certificates, SNS's own first, and returns its topic.
///
/// # Errors
///
/// Returns why the message is not authentic.
pub fn verify(claim: &Claim, certificates: &[u8], anchors: &[TrustAnchor<'_>], now: Time) -> Result<Arc<str>, Doubt> {
    let algorithm: &dyn SignatureVerificationAlgorithm =
        if claim.first_version { &Sha1 } else { webpki::ring::RSA_PKCS1_2048_8192_SHA256 };
    let fits = |own: &EndEntityCert<'_>| own.verify_signature(algorithm, claim.canonical.as_bytes(), &claim.signature);
    with_signer(&claim.near, certificates, anchors, now, fits)?.map_err(|_| Doubt::Forged)?;
    claim.topic.clone().ok_or(Doubt::Topic)
}

/// Checks that a file of certificates is SNS's in this topic's Region and valid now.
///
/// # Errors
///
/// Returns an error if it is not.
pub fn is_of_sns(near: &str, certificates: &[u8], anchors: &[TrustAnchor<'_>], now: Time) -> Result<(), Doubt> {
    with_signer(near, certificates, anchors, now, |_| ())
}

/// Calls `then` with the signing certificate if it is SNS's.
fn with_signer<T>(
    near: &str,
    certificates: &[u8],
    anchors: &[TrustAnchor<'_>],
    now: Time,
    then: impl FnOnce(&EndEntityCert<'_>) -> T,
) -> Result<T, Doubt> {
    if LARGEST_CERTIFICATE < certificates.len() {
        return Err(Doubt::Certificate);
    }
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(certificates).take(LONGEST_CHAIN).collect();
    let chain = chain.map_err(|_| Doubt::Certificate)?;
    let (own, others) = chain.split_first().ok_or(Doubt::Certificate)?;
    let own = EndEntityCert::try_from(own).map_err(|_| Doubt::Certificate)?;
    let time = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    own.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, anchors, others, time, KeyUsage::server_auth(), None, None)
        .map_err(|_| Doubt::Certificate)?;
    let host = host(near);
    // Older certificates are valid for all Regions.
    let names = [host, decamp_aws::endpoints::global_host("sns")];
    let named = names
        .iter()
        .any(|name| ServerName::try_from(&**name).is_ok_and(|name| own.verify_is_valid_for_subject_name(&name).is_ok()));
    if !named {
        return Err(Doubt::Certificate);
    }
    Ok(then(&own))
}

/// RSA with SHA-1, only for SNS's first signature version. No certificate may be signed with it.
#[derive(Debug)]
struct Sha1;

impl SignatureVerificationAlgorithm for Sha1 {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public_key);
        key.verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        // sha1WithRSAEncryption, 1.2.840.113549.1.1.5, with its empty parameters.
        AlgorithmIdentifier::from_slice(&[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00])
    }
}

#[cfg(test)]
mod tests;
