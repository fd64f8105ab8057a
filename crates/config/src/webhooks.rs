//! Settings of named webhooks: each has one scheme, its secrets and one action. They are only in the file (ADR 0029).

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::{Table, Value};

use super::refreshes::group_is_named;
use super::secret::{Secret, Stored, TokenSource};
use super::{Refused, Webhook, WebhookAction, WebhookScheme};

/// Reads `[webhooks.NAME]`. Errors never repeat its text, because it may have secrets.
pub(super) fn read(value: Value) -> Result<BTreeMap<Arc<str>, Webhook>, Refused> {
    let Value::Table(all) = value else {
        return Err(Refused("webhooks: write a table for each, such as [webhooks.deploy]".to_owned()));
    };
    all.into_iter().map(|(name, value)| Ok((named("webhooks", &name)?, one(&name, value)?))).collect()
}

/// Checks the name of a table of this kind.
pub(super) fn named(kind: &str, name: &str) -> Result<Arc<str>, Refused> {
    let fits = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if fits { Ok(name.into()) } else { Err(Refused(format!("{kind}: a name has letters, digits, - and _, 64 at most"))) }
}

fn one(name: &str, value: Value) -> Result<Webhook, Refused> {
    let refuse = |what: &str| Err(Refused(format!("webhooks.{name}: {what}")));
    let Value::Table(table) = value else { return refuse("write a table") };
    let place = format!("webhooks.{name}");
    only(&place, &table, &["scheme", "action", "group", "secret", "secret_file", "secret_stored"])?;
    let scheme = match text(&table, "scheme") {
        Some("standard") => WebhookScheme::Standard,
        Some("github") => WebhookScheme::GitHub,
        Some(_) | None => return refuse("scheme is none of standard, github"),
    };
    let action = match (text(&table, "action"), text(&table, "group")) {
        (Some("look"), None) => WebhookAction::Look,
        (Some("look"), Some(_)) => return refuse("a webhook that looks has no group; take it out"),
        // GitHub signs only the body, so a recorded webhook that is sent again would start another refresh.
        (Some("refresh"), _) if scheme == WebhookScheme::GitHub => return refuse("only the scheme standard may refresh"),
        (Some("refresh"), Some(group)) if group_is_named(group) => WebhookAction::Refresh(group.into()),
        (Some("refresh"), _) => return refuse("group names the one Auto Scaling group that is refreshed"),
        _ => return refuse("action is none of look, refresh"),
    };
    Ok(Webhook { scheme, secrets: secrets(&place, &table)?, action })
}

/// The source of a table's secrets.
pub(super) fn secrets(place: &str, table: &Table) -> Result<TokenSource, Refused> {
    match (text(table, "secret"), text(table, "secret_file"), text(table, "secret_stored")) {
        (Some(secret), None, None) => Ok(TokenSource::Literal(Secret::new(secret))),
        (None, Some(file), None) => Ok(TokenSource::File(file.into())),
        (None, None, Some(stored)) => Ok(TokenSource::Stored(Stored::read(place, stored)?)),
        _ => Err(Refused(format!("{place}: set one of secret, secret_file and secret_stored"))),
    }
}

/// Refuses a table with other keys than these. The error does not repeat an unknown key, which may be a misplaced secret.
pub(super) fn only(place: &str, table: &Table, known: &[&str]) -> Result<(), Refused> {
    if table.keys().all(|key| known.contains(&key.as_str())) {
        return Ok(());
    }
    Err(Refused(format!("{place}: only {} are known", known.join(", "))))
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
        let (scheme, secrets) = (WebhookScheme::Standard, TokenSource::File("/s".into()));
        let expected = Webhook { scheme, secrets: secrets.clone(), action: WebhookAction::Look };
        assert_eq!(all.get("deploy"), Some(&expected));
        let text = "[webhooks.deploy]\nscheme = \"standard\"\naction = \"refresh\"\ngroup = \"web\"\nsecret_file = \"/s\"\n";
        let expected = Webhook { scheme, secrets, action: WebhookAction::Refresh("web".into()) };
        assert_eq!(of(text).expect("it makes sense").get("deploy"), Some(&expected));
    }

    #[test]
    fn invalid_tables_are_refused_and_not_repeated() {
        let cases = [
            ("[webhooks.a]\nscheme = \"canary\"\naction = \"look\"\nsecret = \"canary\"", "standard, github"),
            ("[webhooks.a]\nscheme = \"github\"\naction = \"canary\"\nsecret = \"canary\"", "none of look, refresh"),
            (
                "[webhooks.a]\nscheme = \"github\"\naction = \"refresh\"\ngroup = \"web\"\nsecret = \"canary\"",
                "only the scheme standard",
            ),
            ("[webhooks.a]\nscheme = \"standard\"\naction = \"refresh\"\nsecret = \"canary\"", "group names the one"),
            (
                "[webhooks.a]\nscheme = \"standard\"\naction = \"refresh\"\ngroup = \"canary-*\"\nsecret = \"canary\"",
                "group names the one",
            ),
            ("[webhooks.a]\nscheme = \"standard\"\naction = \"look\"\ngroup = \"canary\"\nsecret = \"canary\"", "has no group"),
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
