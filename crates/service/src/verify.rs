//! Verifies signatures: each way in which a webhook proves its sender. Pure: bodies, headers, secrets and times are arguments.

pub mod hmac_signatures;
pub mod sns;

/// The bytes that hexadecimal digits spell.
#[must_use]
pub fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
