//! Settings from a file: the same names as the variables, in TOML. What the environment sets goes before it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::{Notify, Refused, Settings, Terraform, Webhook, environment, notify, refreshes, table, webhooks};
use decamp_core::refresh::Preferences;

impl Settings {
    /// Reads a file and the process's environment, which goes before it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or the first setting that makes no sense.
    pub fn from_file_and_environment(file: &Path) -> Result<Self, Refused> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|why| Refused(format!("{name} cannot be read: {why}")))?;
        let (mut all, tables) = read(&text).map_err(|Refused(why)| Refused(format!("{name}: {why}")))?;
        all.extend(environment());
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        let mut settings = Self::read(&|name| all.get(name).cloned(), &names)?;
        let Tables { signed, terraform, refresh, notify } = tables;
        (settings.serve.signed, settings.serve.notify) = (signed, notify);
        (settings.serve.terraform, settings.serve.refresh) = (terraform, refresh);
        if let Some(group) = settings.serve.refreshed_groups().find(|group| !settings.allowed.group(group)) {
            return Err(Refused(format!(
                "DECAMP_GROUPS does not allow {group}, which {name} refreshes; add it there, or take it out here"
            )));
        }
        Ok(settings)
    }
}

/// What a file sets, by the names of the variables.
type Rows = HashMap<String, String>;

/// What a file has beside them, and no variable.
#[derive(Debug, Default)]
struct Tables {
    signed: BTreeMap<Arc<str>, Webhook>,
    terraform: Option<Terraform>,
    refresh: Preferences,
    notify: BTreeMap<Arc<str>, Notify>,
}

/// The settings in a file, and its tables. The text itself is never repeated: it may hold secrets.
fn read(text: &str) -> Result<(Rows, Tables), Refused> {
    let mut table: Table = text.parse().map_err(|why: toml::de::Error| {
        let line = why.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Refused(format!("line {line} is not TOML"))
    })?;
    let tables = Tables {
        signed: table.remove("webhooks").map(webhooks::read).transpose()?.unwrap_or_default(),
        terraform: table.remove("terraform").map(refreshes::terraform).transpose()?,
        refresh: table.remove("refresh").map(refreshes::preferences).transpose()?.unwrap_or_default(),
        notify: table.remove("notify").map(notify::read).transpose()?.unwrap_or_default(),
    };
    let rows = table.into_iter().map(|(name, value)| written(known(name)?, value)).collect::<Result<_, _>>()?;
    Ok((rows, tables))
}

fn known(name: String) -> Result<String, Refused> {
    match table::setting(&name) {
        Some(_) => Ok(name),
        None => {
            let meant = table::nearest(&name);
            Err(Refused(format!("{name} is not a setting of decamp; take it out, or write {meant} if that is meant")))
        }
    }
}

/// A value as the environment would have it.
fn written(name: String, value: Value) -> Result<(String, String), Refused> {
    let text = match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(answer) => Some(answer.to_string()),
        Value::Array(all) => {
            let texts: Option<Vec<String>> = all.iter().map(|one| Some(one.as_str()?.to_owned())).collect();
            texts.filter(|texts| texts.iter().all(|text| !text.contains(','))).map(|texts| texts.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    };
    match text {
        Some(text) => Ok((name, text)),
        None => Err(Refused(format!("{name}: write a text, a whole number, true, false, or a list of texts"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_the_environment_says_in_its_own_types() {
        let text = "DECAMP_GROUPS = [\"web\", \"batch-*\"]\nDECAMP_SCAN = true\nDECAMP_MOST_DEPARTURES = 5\nNOMAD_ADDR = \"http://n:4646\"\n";
        let (all, _) = read(text).expect("it makes sense");
        let get = |name: &str| all.get(name).map(String::as_str);
        assert_eq!(get("DECAMP_GROUPS"), Some("web,batch-*"));
        assert_eq!((get("DECAMP_SCAN"), get("DECAMP_MOST_DEPARTURES")), (Some("true"), Some("5")));
        assert_eq!(get("NOMAD_ADDR"), Some("http://n:4646"));
    }

    #[test]
    fn nonsense_in_a_file_is_refused_and_not_repeated() {
        let cases = [
            ("DECAMP_GROUP = \"canary\"", "DECAMP_GROUPS if that is meant"),
            ("NOMAD_TOKEN = { canary = 1 }", "NOMAD_TOKEN: write a text"),
            ("\n\nNOMAD_TOKEN = \"canary", "line 3 is not TOML"),
            ("DECAMP_HOOKS = [\"canary,b\"]", "DECAMP_HOOKS: write a text"),
        ];
        for (text, sentence) in cases {
            let Refused(why) = read(text).expect_err(text);
            assert!(why.contains(sentence) && !why.contains("canary"), "{text}: {why}");
        }
    }
}
