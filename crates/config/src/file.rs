//! Settings from a file or another document: the names of the variables and the tables of the service.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Table;

use super::document::{self, Document};
use super::table::Unknown;
use super::{Notify, Refused, Settings, Terraform, Webhook, notify, refreshes, webhooks};
use decamp_core::refresh::Preferences;

impl Settings {
    /// Reads a file and the process's environment, which overrides it.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or the first invalid setting.
    pub fn from_file_and_environment(file: &Path) -> Result<Self, Refused> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|why| Refused(format!("{name} cannot be read: {why}")))?;
        Self::from_document_and_environment(&name.to_string(), &text)
    }

    /// Reads a text that was fetched, and the process's environment. Errors call the text `name`.
    ///
    /// # Errors
    ///
    /// Returns the first invalid setting.
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

/// The tables of a file, for which there are no variables.
#[derive(Debug, Default)]
struct Tables {
    signed: BTreeMap<Arc<str>, Webhook>,
    terraform: Option<Terraform>,
    refresh: Preferences,
    notify: BTreeMap<Arc<str>, Notify>,
}

/// Reads the settings in a file and its tables. Errors never repeat the text, because it may have secrets.
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
    fn a_file_has_the_settings_of_the_environment_in_toml_types() {
        let text = "DECAMP_GROUPS = [\"web\", \"batch-*\"]\nDECAMP_SCAN = true\nDECAMP_MOST_DEPARTURES = 5\nNOMAD_ADDR = \"http://n:4646\"\n";
        let (all, _) = read(text).expect("it makes sense");
        let get = |name: &str| all.rows.get(name).map(String::as_str);
        assert_eq!(get("DECAMP_GROUPS"), Some("web,batch-*"));
        assert_eq!((get("DECAMP_SCAN"), get("DECAMP_MOST_DEPARTURES")), (Some("true"), Some("5")));
        assert_eq!(get("NOMAD_ADDR"), Some("http://n:4646"));
    }

    #[test]
    fn an_invalid_file_is_refused_and_not_repeated() {
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
