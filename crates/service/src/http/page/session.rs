//! The page's session: a cookie that says until when it is good, sealed with the admin token, so that no replica has to remember it.

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
/// Says what is sealed, so that a seal for something else is none for this.
const PURPOSE: &[u8] = b"decamp page session ";

/// Its name. Browsers take a cookie whose name begins so only from this very host, over TLS or loopback, for all paths: a neighbour under
/// the same domain can set none.
const NAME: &str = "__Host-decamp";
/// Cookies of that name that are looked at: each costs a hash or two.
const MOST: usize = 8;

/// The cookie that opens the page, for whoever showed this token.
pub(super) fn cookie(token: &str, now: Time) -> String {
    let until = (now + LASTS).0;
    let seal = hmac::sign(&key(token), &sealed(until));
    format!("{NAME}={until}.{}; Path=/; Max-Age={}; HttpOnly; Secure; SameSite=Strict", hex(seal.as_ref()), LASTS.as_secs())
}

/// What takes that cookie out of a browser.
pub(super) fn no_cookie() -> String {
    format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict")
}

/// Whether a request carries such a cookie.
///
/// # Errors
///
/// The token that it would be sealed with cannot be had.
pub(crate) async fn is_open(keys: &Keys, headers: &HeaderMap, service: &Service) -> Result<bool, Problem> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let ours = cookies.filter_map(|cookie| cookie.trim().strip_prefix(NAME)?.strip_prefix('='));
    // Whoever put one before ours, of a path or a time before, closes nothing.
    let ours: Vec<&str> = ours.take(MOST).collect();
    if ours.is_empty() {
        return Ok(false);
    }
    keys.opens(|tokens| ours.iter().any(|cookie| is_good(cookie, tokens, service.live.now()))).await
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
    fn a_cookie_opens_until_its_time_and_only_with_its_token() {
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
