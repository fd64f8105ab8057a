//! Reads single settings by their type, with refusals that name the variable.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::{Refused, duration, table};

/// A source of settings.
pub(super) struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { get }
    }

    /// The text of a setting; `None` if it is not set or empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        debug_assert!(table::setting(name).is_some(), "{name} is read but not in the table of settings");
        (self.get)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A duration.
    pub(super) fn span(&self, name: &str, default: Duration) -> Result<Duration, Refused> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => duration::read(&text).map_err(|why| Refused(format!("{name}: {why}"))),
        }
    }

    /// A boolean.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Refused> {
        let answers = [("true", true), ("false", false), ("1", true), ("0", false), ("yes", true), ("no", false)];
        Ok(self.choice(name, &answers)?.unwrap_or(default))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Refused> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)).map(|(_, choice)| *choice);
        let words = || choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        chosen.map(Some).ok_or_else(|| Refused(format!("{name}: {text:?} is none of {}", words())))
    }

    /// A comma-separated list.
    pub(super) fn list(&self, name: &str) -> Vec<Arc<str>> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Arc::from).collect()
    }

    /// A comma-separated list of values with a grammar.
    pub(super) fn list_of<T>(&self, name: &str) -> Result<Vec<T>, Refused>
    where
        T: FromStr,
        T::Err: Display,
    {
        let read = |part: &Arc<str>| part.parse().map_err(|why| Refused(format!("{name}: {part:?} is {why}")));
        self.list(name).iter().map(read).collect()
    }
}
