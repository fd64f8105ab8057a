//! Named webhooks: each is bound to one scheme, its secrets and one action, in the settings' file alone (D25).

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::{Table, Value};

use super::secret::{Secret, Stored, TokenSource};
use super::{Refused, Webhook, WebhookScheme};

/// Reads `[webhooks.NAME]`. No text of it is repeated: it may hold secrets.
pub(super) fn read(value: Value) -> Result<BTreeMap<Arc<str>, Webhook>, Refused> {
    let Value::Table(all) = value else {
        return Err(Refused("webhooks: write a table for each, such as [webhooks.deploy]".to_owned()));
    };
    all.into_iter().map(|(name, value)| Ok((named(&name)?, one(&name, value)?))).collect()
}

fn named(name: &str) -> Result<Arc<str>, Refused> {
    let fits = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if fits { Ok(name.into()) } else { Err(Refused("webhooks: a name has letters, digits, - and _, 64 at most".to_owned())) }
}

fn one(name: &str, value: Value) -> Result<Webhook, Refused> {
    let refuse = |what: &str| Err(Refused(format!("webhooks.{name}: {what}")));
    let Value::Table(table) = value else { return refuse("write a table") };
    let known = ["scheme", "action", "secret", "secret_file", "secret_stored"];
    if table.keys().any(|key| !known.contains(&key.as_str())) {
        return refuse("only scheme, action, secret, secret_file and secret_stored are known");
    }
    let scheme = match text(&table, "scheme") {
        Some("standard") => WebhookScheme::Standard,
        Some("github") => WebhookScheme::GitHub,
        Some(_) | None => return refuse("scheme is none of standard, github"),
    };
    if text(&table, "action") != Some("look") {
        return refuse("action is look: nothing else can be done by a webhook yet");
    }
    let secrets = match (text(&table, "secret"), text(&table, "secret_file"), text(&table, "secret_stored")) {
        (Some(secret), None, None) => TokenSource::Literal(Secret::new(secret)),
        (None, Some(file), None) => TokenSource::File(file.into()),
        (None, None, Some(stored)) => TokenSource::Stored(Stored::read(&format!("webhooks.{name}"), stored)?),
        _ => return refuse("set one of secret, secret_file and secret_stored"),
    };
    Ok(Webhook { scheme, secrets })
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str().filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<BTreeMap<Arc<str>, Webhook>, Refused> {
        let mut table: Table = text.parse().expect("it is TOML");
        read(table.remove("webhooks").expect("it has some"))
    }

    #[test]
    fn a_webhook_has_one_scheme_one_action_and_its_secrets() {
        let all =
            of("[webhooks.deploy]\nscheme = \"standard\"\naction = \"look\"\nsecret_file = \"/s\"\n").expect("it makes sense");
        let expected = Webhook { scheme: WebhookScheme::Standard, secrets: TokenSource::File("/s".into()) };
        assert_eq!(all.get("deploy"), Some(&expected));
    }

    #[test]
    fn nonsense_is_refused_and_not_repeated() {
        let cases = [
            ("[webhooks.a]\nscheme = \"canary\"\naction = \"look\"\nsecret = \"canary\"", "standard, github"),
            ("[webhooks.a]\nscheme = \"github\"\naction = \"refresh\"\nsecret = \"canary\"", "action is look"),
            ("[webhooks.a]\nscheme = \"github\"\naction = \"look\"", "set one of"),
            ("[webhooks.a]\nscheme = \"github\"\naction = \"look\"\nsecret = \"\"", "set one of"),
            ("[webhooks.a]\nscheme = \"github\"\naction = \"look\"\nsecret = \"canary\"\nsecret_file = \"/s\"", "set one of"),
            ("[webhooks.a]\nscheme = \"github\"\naction = \"look\"\nsecrets = \"canary\"", "only scheme"),
            ("[webhooks.\"a/b\"]\nscheme = \"github\"\naction = \"look\"\nsecret = \"canary\"", "a name has"),
            ("webhooks = \"canary\"", "[webhooks.deploy]"),
        ];
        for (text, sentence) in cases {
            let Refused(why) = of(text).expect_err(text);
            assert!(why.contains(sentence) && !why.contains("canary"), "{text}: {why}");
        }
    }
}
