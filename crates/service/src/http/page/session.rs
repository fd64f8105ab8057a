//! The page's session: a cookie with its expiry, sealed with the admin token, so that replicas store no sessions.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use ring::hmac;

use crate::Service;
use crate::http::keys::Keys;
use crate::http::problem::Problem;
use decamp_config::Secret;
use decamp_core::ids::hex;
use decamp_core::time::Time;
use decamp_core::world::World;

/// How long a session lasts.
const LASTS: Duration = Duration::from_hours(12);
/// Part of the sealed text, so that a seal made for another purpose is not valid here.
const PURPOSE: &[u8] = b"decamp page session ";

/// The cookie's name. Because of the prefix, browsers accept it only from this host, over TLS or loopback, for all paths. A neighbour under
/// the same domain cannot set it.
const NAME: &str = "__Host-decamp";
/// The most cookies of that name that are checked: each costs a hash or two.
const MOST: usize = 8;

/// The cookie that opens the page, for a client that has shown this token.
pub(super) fn cookie(token: &str, now: Time) -> String {
    let until = (now + LASTS).0;
    let seal = hmac::sign(&key(token), &sealed(until));
    format!("{NAME}={until}.{}; Path=/; Max-Age={}; HttpOnly; Secure; SameSite=Strict", hex(seal.as_ref()), LASTS.as_secs())
}

/// The cookie that removes it from a browser.
pub(super) fn no_cookie() -> String {
    format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict")
}

/// Whether a request has a valid cookie.
///
/// # Errors
///
/// The admin token cannot be read.
pub(crate) async fn is_open(keys: &Keys, headers: &HeaderMap, service: &Service) -> Result<bool, Problem> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let ours = cookies.filter_map(|cookie| cookie.trim().strip_prefix(NAME)?.strip_prefix('='));
    // Another cookie of the same name before ours must not hide it.
    let ours: Vec<&str> = ours.take(MOST).collect();
    if ours.is_empty() {
        return Ok(false);
    }
    keys.satisfy(|tokens| ours.iter().any(|cookie| is_good(cookie, tokens, service.live.now()))).await
}

fn is_good(cookie: &str, keys: &[Secret], now: Time) -> bool {
    let Some((until, seal)) = cookie.split_once('.') else { return false };
    let (Ok(until), Some(seal)) = (until.parse::<u64>(), unhex(seal)) else { return false };
    now.0 < until && keys.iter().any(|token| hmac::verify(&key(token.expose()), &sealed(until), &seal).is_ok())
}

fn key(token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes())
}

fn sealed(until: u64) -> Vec<u8> {
    [PURPOSE, until.to_string().as_bytes()].concat()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    crate::verify::hex(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_valid_until_its_expiry_and_only_with_its_token() {
        let now = Time(1_000_000);
        let cookie = cookie("the-token-of-admin", now);
        let value = cookie.strip_prefix("__Host-decamp=").and_then(|rest| rest.split(';').next()).expect("a cookie");
        let (right, wrong) = ([Secret::new("the-token-of-admin")], [Secret::new("another-token")]);
        assert!(is_good(value, &right, now) && !is_good(value, &wrong, now) && !is_good(value, &[], now));
        assert!(!is_good(value, &right, now + LASTS));
        let (until, seal) = value.split_once('.').expect("two parts");
        let longer = format!("{}.{seal}", until.parse::<u64>().expect("a number") + 1);
        for forged in [&*longer, "", ".", "9999999999999.", "x.00"] {
            assert!(!is_good(forged, &right, now), "{forged}");
        }
        for attribute in ["HttpOnly", "Secure", "SameSite=Strict"] {
            assert!(cookie.contains(attribute));
        }
        assert!(!cookie.contains("the-token"));
    }
}
