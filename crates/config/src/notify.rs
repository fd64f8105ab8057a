//! Settings of the receivers of notifications: each has an address, a kind, and a secret if it verifies signatures. They are only
//! in the file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use toml::{Table, Value};

use super::secret::{Secret, Stored, TokenSource};
use super::webhooks::named;
use super::{Notify, NotifyKind, Refused};

impl Notify {
    /// Whether this address is safe to send to: over TLS or within this machine, and without a password in it.
    #[must_use]
    pub fn may_be_sent_to(url: &str) -> bool {
        let Ok(uri) = url.parse::<Uri>() else { return false };
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else { return false };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let loopback = host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") => !host.is_empty(),
            Some("http") => loopback,
            Some(_) | None => false,
        }
    }
}

/// Reads `[notify.NAME]`. Errors never repeat its text, because addresses are secrets too.
pub(super) fn read(value: Value) -> Result<BTreeMap<Arc<str>, Notify>, Refused> {
    let Value::Table(all) = value else {
        return Err(Refused("notify: write a table for each, such as [notify.team]".to_owned()));
    };
    all.into_iter().map(|(name, value)| Ok((named("notify", &name)?, one(&name, value)?))).collect()
}

fn one(name: &str, value: Value) -> Result<Notify, Refused> {
    let refuse = |what: &str| Err(Refused(format!("notify.{name}: {what}")));
    let Value::Table(table) = value else { return refuse("write a table") };
    let known = ["kind", "url", "url_file", "url_stored", "secret", "secret_file", "secret_stored"];
    if table.iter().any(|(key, value)| !known.contains(&key.as_str()) || !value.is_str()) {
        return refuse("only the texts kind, url, url_file, url_stored, secret, secret_file and secret_stored are known");
    }
    let url = source(name, &table, ["url", "url_file", "url_stored"])?;
    let secrets = source(name, &table, ["secret", "secret_file", "secret_stored"])?;
    match &url {
        TokenSource::None => return refuse("set one of url, url_file and url_stored"),
        TokenSource::Literal(url) if !Notify::may_be_sent_to(url.expose()) => {
            return refuse(
                "its url is none that may be sent to; write https://…, without a user name in it (http only to 127.0.0.1)",
            );
        }
        TokenSource::Literal(_) | TokenSource::File(_) | TokenSource::Stored(_) => {}
    }
    match (table.get("kind").and_then(Value::as_str), &secrets) {
        (Some("webhook"), TokenSource::None) => refuse("a webhook is signed; set one of secret, secret_file and secret_stored"),
        (Some("webhook"), TokenSource::Literal(secret)) if secret.lines().any(|line| !is_key(&line)) => {
            refuse("its secret is no whsec_ with the base64 of 24 to 64 bytes; `openssl rand -base64 32` makes one")
        }
        (Some("webhook"), _) => Ok(Notify { kind: NotifyKind::Webhook, url, secrets }),
        (Some("slack"), TokenSource::None) => Ok(Notify { kind: NotifyKind::Slack, url, secrets }),
        (Some("slack"), _) => refuse("Slack verifies no signature, its url is the secret; take the secret out"),
        (Some(_) | None, _) => refuse("kind is none of webhook, slack"),
    }
}

/// The source of an address or a secret, from the three keys that may set it.
fn source(name: &str, table: &Table, keys: [&str; 3]) -> Result<TokenSource, Refused> {
    let text = |key: &str| table.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    match keys.map(text) {
        [None, None, None] => Ok(TokenSource::None),
        [Some(literal), None, None] => Ok(TokenSource::Literal(Secret::new(literal))),
        [None, Some(file), None] => Ok(TokenSource::File(file.into())),
        [None, None, Some(stored)] => Stored::read(&format!("notify.{name}"), stored).map(TokenSource::Stored),
        _ => Err(Refused(format!("notify.{name}: {} exclude one another; set one of them", keys.join(", ")))),
    }
}

fn is_key(secret: &Secret) -> bool {
    secret.standard_key().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn of(text: &str) -> Result<BTreeMap<Arc<str>, Notify>, Refused> {
        let mut table: Table = text.parse().expect("it is TOML");
        read(table.remove("notify").expect("it has some"))
    }

    #[test]
    fn a_receiver_has_an_address_a_kind_and_its_secret() {
        let text = format!(
            "[notify.ops]\nkind = \"webhook\"\nurl = \"https://example.org/in\"\nsecret = \"{SECRET}\"\n\
             [notify.team]\nkind = \"slack\"\nurl_file = \"/secrets/slack\"\n"
        );
        let all = of(&text).expect("it makes sense");
        assert_eq!(all["ops"].kind, NotifyKind::Webhook);
        assert_eq!(all["team"].url, TokenSource::File("/secrets/slack".into()));
        assert!(!format!("{all:?}").contains("example.org"), "an address is never shown");
    }

    #[test]
    fn nothing_is_sent_unencrypted_except_within_this_machine() {
        for url in [
            "https://example.org/in",
            "https://[2001:db8::1]:8443/x",
            "http://127.0.0.1:9/x",
            "http://[::1]/x",
            "http://localhost",
        ] {
            assert!(Notify::may_be_sent_to(url), "{url}");
        }
        for url in [
            "http://example.org",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example",
            "https://me:pass@example.org",
            "ftp://example.org",
            "example.org/x",
            "https://",
            "",
            "http://10.0.0.1",
        ] {
            assert!(!Notify::may_be_sent_to(url), "{url}");
        }
    }

    #[test]
    fn invalid_tables_are_refused_and_not_repeated() {
        let url = "url = \"https://canary.example\"";
        let cases = [
            ("kind = \"webhook\"".to_owned(), "set one of url"),
            (format!("kind = \"webhook\"\n{url}"), "a webhook is signed"),
            (format!("kind = \"webhook\"\n{url}\nsecret = \"canary\""), "openssl rand"),
            (format!("kind = \"webhook\"\n{url}\nsecret = \"{SECRET}\"\nsecret_file = \"/s\""), "exclude one another"),
            (format!("kind = \"slack\"\n{url}\nsecret = \"{SECRET}\""), "take the secret out"),
            (format!("kind = \"canary\"\n{url}"), "none of webhook, slack"),
            ("kind = \"slack\"\nurl = \"http://canary.example\"".to_owned(), "write https"),
            (format!("kind = \"slack\"\n{url}\nto = \"canary\""), "only the texts"),
            ("kind = \"slack\"\nurl = 5".to_owned(), "only the texts"),
            ("kind = \"slack\"\nurl_stored = \"canary\"".to_owned(), "secretsmanager:NAME"),
        ];
        for (text, sentence) in cases {
            let Refused(why) = of(&format!("[notify.a]\n{text}")).expect_err(&text);
            assert!(why.contains(sentence) && !why.contains("canary"), "{text}: {why}");
        }
    }
}
