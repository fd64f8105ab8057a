//! Settings from a file or another document: the names of the variables, and the service's tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Table;

use super::document::{self, Document};
use super::table::Unknown;
use super::{Notify, Refused, Settings, Terraform, Webhook, notify, refreshes, webhooks};
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
        Self::from_document_and_environment(&name.to_string(), &text)
    }

    /// The same of a text that was fetched; `name` is what refusals call it.
    ///
    /// # Errors
    ///
    /// The first setting that makes no sense.
    pub fn from_document_and_environment(name: &str, text: &str) -> Result<Self, Refused> {
        let (document, tables) = read(text).map_err(|Refused(why)| Refused(format!("{name}: {why}")))?;
        let mut settings = Self::of_document_and_environment(document, Unknown::Refused)?;
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

/// What a file has beside them, and no variable.
#[derive(Debug, Default)]
struct Tables {
    signed: BTreeMap<Arc<str>, Webhook>,
    terraform: Option<Terraform>,
    refresh: Preferences,
    notify: BTreeMap<Arc<str>, Notify>,
}

/// The settings in a file, and its tables. The text itself is never repeated: it may hold secrets.
fn read(text: &str) -> Result<(Document, Tables), Refused> {
    let mut table: Table = document::parse(text)?;
    let tables = Tables {
        signed: table.remove("webhooks").map(webhooks::read).transpose()?.unwrap_or_default(),
        terraform: table.remove("terraform").map(refreshes::terraform).transpose()?,
        refresh: table.remove("refresh").map(refreshes::preferences).transpose()?.unwrap_or_default(),
        notify: table.remove("notify").map(notify::read).transpose()?.unwrap_or_default(),
    };
    Ok((document::document(table, Unknown::Refused)?, tables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_the_environment_says_in_its_own_types() {
        let text = "DECAMP_GROUPS = [\"web\", \"batch-*\"]\nDECAMP_SCAN = true\nDECAMP_MOST_DEPARTURES = 5\nNOMAD_ADDR = \"http://n:4646\"\n";
        let (all, _) = read(text).expect("it makes sense");
        let get = |name: &str| all.rows.get(name).map(String::as_str);
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
