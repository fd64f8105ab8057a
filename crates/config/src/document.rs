//! Settings from a TOML document that is kept in AWS, with the names of the variables. Environment variables override it.

use std::collections::HashMap;

use toml::{Table, Value};

use super::clusters::{self, Written};
use super::table::{self, Unknown};
use super::{Aws, Reader, Refused, Settings, Stored, aws, environment};

/// The setting that names the document.
pub(super) const CONFIG: &str = "DECAMP_CONFIG";

/// Tables of a document that only the service reads.
const TABLES_OF_THE_SERVICE: [&str; 4] = ["webhooks", "terraform", "refresh", "notify"];

/// The settings of a document, by the names of the variables.
pub(super) type Rows = HashMap<String, String>;

/// The content of a document, without the tables of the service.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) rows: Rows,
    pub(super) clusters: Vec<Written>,
    /// A sentence for each name that is unknown.
    pub(super) warnings: Vec<String>,
}

/// Where the document of settings is kept, and the connection to AWS to fetch it; `None` if there is none.
///
/// # Errors
///
/// Returns the first invalid one of these settings.
pub fn kept_document() -> Result<Option<(Stored, Aws)>, Refused> {
    let all = environment();
    let get = |name: &str| all.get(name).cloned();
    let reader = Reader::new(&get);
    let Some(stored) = read(&reader)? else { return Ok(None) };
    Ok(Some((stored, aws::read(&reader)?)))
}

/// Where the document is kept.
pub(super) fn read(from: &Reader<'_>) -> Result<Option<Stored>, Refused> {
    let Some(text) = from.text(CONFIG) else { return Ok(None) };
    if text.starts_with("s3:") || text.starts_with("arn:aws:s3:") {
        return Err(Refused(format!("{CONFIG}: a document in S3 is not read; keep it in Parameter Store or Secrets Manager")));
    }
    Stored::read(CONFIG, &text).map(Some)
}

impl Settings {
    /// Reads the process's environment and the document, if there is one, for the Lambda. An unknown setting is only a warning,
    /// because Lambda gives a function its new environment before its new code, and the old code must continue meanwhile.
    ///
    /// # Errors
    ///
    /// Returns the first invalid setting.
    pub fn of_the_function(text: Option<&str>) -> Result<Self, Refused> {
        let read = |text: &str| {
            let mut table = parse(text)?;
            table.retain(|name, _| !TABLES_OF_THE_SERVICE.contains(&name));
            document(table, Unknown::Warned)
        };
        let of_the_document = |Refused(why)| Refused(format!("the document that {CONFIG} names: {why}"));
        let document = text.map(read).transpose().map_err(of_the_document)?.unwrap_or_default();
        Self::of_document_and_environment(document, Unknown::Warned)
    }

    /// Settings of a document and of the environment.
    pub(super) fn of_document_and_environment(document: Document, unknown: Unknown) -> Result<Self, Refused> {
        let Document { rows: mut all, clusters, mut warnings } = document;
        all.extend(environment());
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        let mut settings = Self::read_with(&|name| all.get(name).cloned(), &names, &clusters, unknown)?;
        settings.warnings.append(&mut warnings);
        Ok(settings)
    }
}

/// Parses a text as TOML. Errors never repeat it, because it may have secrets.
pub(super) fn parse(text: &str) -> Result<Table, Refused> {
    text.parse().map_err(|why: toml::de::Error| {
        let line = why.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Refused(format!("line {line} is not TOML"))
    })
}

/// Reads a document without the tables of the service.
pub(super) fn document(mut table: Table, unknown: Unknown) -> Result<Document, Refused> {
    let mut warnings = Vec::new();
    let clusters = table.remove("clusters").map(|value| clusters::tables(value, unknown, &mut warnings)).transpose()?;
    let (rows, more) = rows(table, unknown)?;
    warnings.extend(more);
    Ok(Document { rows, clusters: clusters.unwrap_or_default(), warnings })
}

/// What a document sets, each by a name that is known; and a sentence for each other name.
pub(super) fn rows(table: Table, unknown: Unknown) -> Result<(Rows, Vec<String>), Refused> {
    let (mut rows, mut warnings) = (Rows::new(), Vec::new());
    for (name, value) in table {
        if name == CONFIG {
            return Err(Refused(format!("{CONFIG} has no place in a document; set it in the environment")));
        }
        match (table::setting(&name), unknown) {
            (Some(_), _) => drop(rows.insert(name.clone(), written(&name, value)?)),
            (None, Unknown::Refused) => {
                let meant = table::nearest(&name);
                return Err(Refused(format!(
                    "{name} is not a setting of decamp; take it out, or write {meant} if that is meant"
                )));
            }
            (None, Unknown::Warned) => warnings.push(table::unknown(&name)),
        }
    }
    Ok((rows, warnings))
}

/// A value in the form of an environment variable.
fn written(name: &str, value: Value) -> Result<String, Refused> {
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
    text.ok_or_else(|| Refused(format!("{name}: write a text, a whole number, true, false, or a list of texts")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_takes_a_document_whose_settings_it_does_not_all_know() {
        let text = "DECAMP_RESERVE = \"45s\"\nDECAMP_OF_TOMORROW = true\n[webhooks.x]\nscheme = \"github\"\n";
        let settings = Settings::of_the_function(Some(text)).expect("it makes sense");
        assert_eq!(settings.policy.reserve, std::time::Duration::from_secs(45));
        assert!(settings.warnings.iter().any(|warning| warning.contains("DECAMP_OF_TOMORROW")), "{:?}", settings.warnings);
        let refused = Settings::of_the_function(Some("DECAMP_RESERVE = \"9h\"")).expect_err("too long");
        assert!(refused.to_string().contains("make the reserve shorter"), "{refused}");
        let refused = Settings::of_the_function(Some("DECAMP_CONFIG = \"ssm:x\"")).expect_err("it names itself");
        assert!(refused.to_string().contains("no place in a document"), "{refused}");
    }
}
