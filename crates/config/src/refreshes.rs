//! Settings of the refreshes that the service starts: for which runs of HCP Terraform, of which groups, with which preferences.
//! They are only in the file (ADR 0028).

use std::sync::Arc;
use std::time::Duration;

use toml::Value;

use super::webhooks::{only, secrets};
use super::{Refused, Terraform, duration};
use decamp_core::refresh::Preferences;

/// Reads `[refresh]`: the preferences of all refreshes that the service starts. Matching instances are always skipped.
pub(super) fn preferences(value: Value) -> Result<Preferences, Refused> {
    let refuse = |what: String| Refused(format!("refresh: {what}"));
    let Value::Table(table) = value else { return Err(refuse("write a table".to_owned())) };
    let known = ["min_healthy", "max_healthy", "warm_up", "checkpoints", "checkpoint_delay", "bake"];
    only("refresh", &table, &known)?;
    let share = |value: &Value| value.as_integer().and_then(|number| u32::try_from(number).ok());
    let percent = |key: &str| match table.get(key).map(share) {
        Some(None) => Err(refuse(format!("{key} is a whole number of percent"))),
        Some(given) => Ok(given),
        None => Ok(None),
    };
    let span = |key: &str| -> Result<Option<Duration>, Refused> {
        let Some(value) = table.get(key) else { return Ok(None) };
        let text = value.as_str().map(str::to_owned).or_else(|| value.as_integer().map(|number| number.to_string()));
        let read = text.ok_or_else(|| "write a time such as 90s".to_owned()).and_then(|text| duration::read(&text));
        read.map(Some).map_err(|why| refuse(format!("{key}: {why}")))
    };
    let checkpoints = match table.get("checkpoints").map(Value::as_array) {
        Some(None) => None,
        Some(Some(all)) => all.iter().map(share).collect(),
        None => Some(Vec::new()),
    };
    let preferences = Preferences {
        min_healthy: percent("min_healthy")?,
        max_healthy: percent("max_healthy")?,
        warm_up: span("warm_up")?,
        checkpoints: checkpoints.ok_or_else(|| refuse("checkpoints are a list of percentages".to_owned()))?,
        checkpoint_delay: span("checkpoint_delay")?,
        bake: span("bake")?,
        ..Preferences::default()
    };
    preferences.check().map_err(refuse)?;
    Ok(preferences)
}

/// Reads `[terraform]`: the signing secrets, and the groups of each workspace.
pub(super) fn terraform(value: Value) -> Result<Terraform, Refused> {
    let Value::Table(mut table) = value else { return Err(Refused("terraform: write a table".to_owned())) };
    only("terraform", &table, &["secret", "secret_file", "secret_stored", "workspaces"])?;
    let all = match table.remove("workspaces") {
        Some(Value::Table(all)) if !all.is_empty() => all,
        _ => {
            return Err(Refused(
                "terraform: [terraform.workspaces] names at least one, such as \"acme/web\" = [\"web\"]".to_owned(),
            ));
        }
    };
    let secrets = secrets("terraform", &table)?;
    let workspaces =
        all.into_iter().map(|(name, groups)| Ok((workspace(&name)?, groups_of(&groups)?))).collect::<Result<_, _>>()?;
    Ok(Terraform { secrets, workspaces })
}

fn workspace(name: &str) -> Result<Arc<str>, Refused> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match name.split_once('/') {
        Some((organization, workspace)) if plain(organization) && plain(workspace) => Ok(name.into()),
        _ => Err(Refused("terraform.workspaces: a workspace is named ORGANIZATION/WORKSPACE, with quotes around it".to_owned())),
    }
}

fn groups_of(value: &Value) -> Result<Vec<Arc<str>>, Refused> {
    let texts: Option<Vec<Arc<str>>> = match value {
        Value::String(one) => Some(vec![one.as_str().into()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(Arc::from)).collect(),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => None,
    };
    let whole = |groups: &Vec<Arc<str>>| !groups.is_empty() && groups.iter().all(|group| group_is_named(group));
    texts.filter(whole).ok_or_else(|| {
        Refused("terraform.workspaces: write the names of Auto Scaling groups, in full, such as [\"web\"]".to_owned())
    })
}

/// Whether this names exactly one group. A star would match any future group.
pub(super) fn group_is_named(group: &str) -> bool {
    !group.trim().is_empty() && !group.contains('*') && group.len() <= 255
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenSource;

    fn value(text: &str) -> Value {
        Value::Table(text.parse().expect("it is TOML"))
    }

    #[test]
    fn a_workspace_has_its_groups_and_a_refresh_its_preferences() {
        let read =
            terraform(value("secret_file = \"/s\"\n[workspaces]\n\"acme/web\" = [\"web\", \"api\"]\n\"acme/db\" = \"db\"\n"));
        let workspaces = [("acme/db", vec!["db"]), ("acme/web", vec!["web", "api"])];
        let workspaces = workspaces.map(|(name, groups)| (name.into(), groups.into_iter().map(Arc::from).collect()));
        let expected = Terraform { secrets: TokenSource::File("/s".into()), workspaces: workspaces.into() };
        assert_eq!(read, Ok(expected));
        let read = preferences(value(
            "min_healthy = 100\nmax_healthy = 110\nwarm_up = \"2m\"\ncheckpoints = [50, 100]\ncheckpoint_delay = 60",
        ));
        let expected = Preferences {
            min_healthy: Some(100),
            max_healthy: Some(110),
            warm_up: Some(Duration::from_mins(2)),
            checkpoints: vec![50, 100],
            checkpoint_delay: Some(Duration::from_mins(1)),
            ..Preferences::default()
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn invalid_tables_are_refused_and_not_repeated() {
        let workspaces = "\n[workspaces]\n\"acme/web\" = \"web\"";
        let cases = [
            ("secret = \"canary\"".to_owned(), "names at least one"),
            (format!("secret_canary = \"canary\"{workspaces}"), "only secret"),
            (workspaces.to_owned(), "set one of"),
            (format!("secret = \"canary\"\nsecret_file = \"/s\"{workspaces}"), "set one of"),
            ("secret = \"canary\"\n[workspaces]\nweb = \"canary\"".to_owned(), "ORGANIZATION/WORKSPACE"),
            ("secret = \"canary\"\n[workspaces]\n\"acme/web/x\" = \"canary\"".to_owned(), "ORGANIZATION/WORKSPACE"),
            ("secret = \"canary\"\n[workspaces]\n\"acme/web\" = \"canary-*\"".to_owned(), "in full"),
            ("secret = \"canary\"\n[workspaces]\n\"acme/web\" = []".to_owned(), "in full"),
            ("secret = \"canary\"\n[workspaces]\n\"acme/web\" = 7".to_owned(), "in full"),
        ];
        for (text, sentence) in cases {
            let Refused(why) = terraform(value(&text)).expect_err(&text);
            assert!(why.contains(sentence) && !why.contains("canary"), "{text}: {why}");
        }
        let cases = [
            ("skip_matching = false", "only min_healthy"),
            ("min_healthy = \"much\"", "whole number"),
            ("min_healthy = -1", "whole number"),
            ("min_healthy = 110", "0 to 100"),
            ("max_healthy = 110", "write both"),
            ("warm_up = true", "write a time"),
            ("warm_up = \"soon\"", "not a span"),
            ("checkpoints = 50", "a list"),
            ("checkpoints = [\"x\"]", "a list"),
        ];
        for (text, sentence) in cases {
            let Refused(why) = preferences(value(text)).expect_err(text);
            assert!(why.contains(sentence), "{text}: {why}");
        }
    }
}
