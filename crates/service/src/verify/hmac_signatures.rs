//! Verifies webhooks that are signed with a shared secret (HMAC): Standard Webhooks, GitHub and HCP Terraform.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::hex;
use decamp_config::Secret;
use decamp_core::time::Time;

/// How far the time of a signed webhook may differ from ours (ADR 0029).
pub const TOLERANCE: Duration = Duration::from_mins(5);
/// The most signatures of one webhook that are tried. A rotation has two.
const MOST_SIGNATURES: usize = 8;

/// Why a webhook is not authentic. The sender does not learn the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// A required header is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A header that cannot be read.
    #[error("`{0}` cannot be read")]
    Unreadable(&'static str),
    /// It was signed too long ago or in the future.
    #[error("its time is not ours")]
    OutOfTime,
    /// No secret is configured.
    #[error("no secret is set")]
    NoSecret,
    /// It was not signed with a secret of ours, or was changed after signing.
    #[error("its signature fits no secret of ours")]
    Forged,
}

/// Verifies a webhook by the Standard Webhooks specification: `id.timestamp.body`, signed by any of the secrets.
///
/// # Errors
///
/// Returns why the webhook is not authentic.
pub fn standard(headers: &dyn Fn(&str) -> Option<String>, body: &[u8], secrets: &[Secret], now: Time) -> Result<String, Doubt> {
    let header = |name: &'static str| headers(name).ok_or(Doubt::Missing(name));
    let (id, timestamp, signatures) = (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    if id.is_empty() || 256 < id.len() || !id.bytes().all(|b| b.is_ascii_graphic()) || id.contains('.') {
        return Err(Doubt::Unreadable("webhook-id"));
    }
    let digits = !timestamp.is_empty() && timestamp.len() <= 12 && timestamp.bytes().all(|b| b.is_ascii_digit());
    let seconds: u64 = timestamp.parse().ok().filter(|_| digits).ok_or(Doubt::Unreadable("webhook-timestamp"))?;
    let signed = Time(seconds.saturating_mul(1_000));
    let keys: Vec<Vec<u8>> = secrets.iter().filter_map(Secret::standard_key).collect();
    if keys.is_empty() {
        return Err(Doubt::NoSecret);
    }
    let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    // Versions other than v1 are other schemes.
    let offered = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,"));
    let offered: Vec<Vec<u8>> = offered.take(MOST_SIGNATURES).filter_map(|one| STANDARD.decode(one).ok()).collect();
    if !fits(hmac::HMAC_SHA256, &keys, &content, &offered) {
        return Err(Doubt::Forged);
    }
    // This check comes after the signature, so that an attacker cannot learn our clock by trying.
    if TOLERANCE < now.since(signed).max(signed.since(now)) {
        return Err(Doubt::OutOfTime);
    }
    Ok(id)
}

/// The `webhook-signature` header of our own webhook: a signature by each secret, so that a receiver may rotate. `None`: no secret
/// can sign.
#[must_use]
pub fn standard_signature(id: &str, seconds: u64, body: &[u8], secrets: &[Secret]) -> Option<String> {
    let content = [id.as_bytes(), b".", seconds.to_string().as_bytes(), b".", body].concat();
    let keys = secrets.iter().filter_map(Secret::standard_key).map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
    let signatures: Vec<String> = keys.map(|key| format!("v1,{}", STANDARD.encode(hmac::sign(&key, &content)))).collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

/// Verifies `X-Hub-Signature-256` of GitHub. It signs only the body, so a replay is accepted again.
///
/// # Errors
///
/// Returns why the webhook is not authentic.
pub fn github(signature: Option<&str>, body: &[u8], secrets: &[Secret]) -> Result<(), Doubt> {
    let name = "x-hub-signature-256";
    let offered = signature.ok_or(Doubt::Missing(name))?;
    let offered = offered.strip_prefix("sha256=").and_then(hex).ok_or(Doubt::Unreadable(name))?;
    plain(hmac::HMAC_SHA256, offered, body, secrets)
}

/// Verifies `X-TFE-Notification-Signature` of HCP Terraform: HMAC-SHA512 of the body, in hexadecimal digits.
///
/// # Errors
///
/// Returns why the webhook is not authentic.
pub fn terraform(signature: Option<&str>, body: &[u8], secrets: &[Secret]) -> Result<(), Doubt> {
    let name = "x-tfe-notification-signature";
    let offered = signature.ok_or(Doubt::Missing(name))?;
    let offered = hex(offered).ok_or(Doubt::Unreadable(name))?;
    plain(hmac::HMAC_SHA512, offered, body, secrets)
}

fn plain(algorithm: hmac::Algorithm, offered: Vec<u8>, body: &[u8], secrets: &[Secret]) -> Result<(), Doubt> {
    let keys: Vec<Vec<u8>> =
        secrets.iter().filter(|secret| !secret.is_blank()).map(|secret| secret.expose().as_bytes().to_vec()).collect();
    if keys.is_empty() {
        return Err(Doubt::NoSecret);
    }
    if fits(algorithm, &keys, body, &[offered]) { Ok(()) } else { Err(Doubt::Forged) }
}

/// Whether any key signed the content. All keys are always tried, and each comparison takes constant time.
fn fits(algorithm: hmac::Algorithm, keys: &[Vec<u8>], content: &[u8], offered: &[Vec<u8>]) -> bool {
    let mut fits = false;
    for key in keys {
        let key = hmac::Key::new(algorithm, key);
        for signature in offered {
            fits |= hmac::verify(&key, content, signature).is_ok();
        }
    }
    fits
}

#[cfg(test)]
mod tests;
