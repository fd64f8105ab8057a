//! Requests of the query protocol: forms whose field names encode lists and structures.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::QueryError;

/// The fields of one request.
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads a form. Invalid input becomes an invalid value, never an error.
    pub(super) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn needed(&self, name: &str) -> Result<&str, QueryError> {
        self.text(name).ok_or_else(|| {
            QueryError::invalid(format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
            ))
        })
    }

    /// A value that must parse if it is set.
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, QueryError> {
        let read = |text: &str| text.parse().map_err(|_| QueryError::invalid(format!("Value '{text}' at '{name}' is not valid")));
        self.text(name).map(read).transpose()
    }

    /// `Name.member.1`, `Name.member.2`, …
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|at| self.text(&format!("{name}.member.{at}"))).collect()
    }

    /// The number of fields `Name.member.N.key`.
    pub(super) fn members(&self, name: &str, key: &str) -> usize {
        (1..).take_while(|at| self.text(&format!("{name}.member.{at}.{key}")).is_some()).count()
    }

    /// `Name.member.AT.key`.
    pub(super) fn member(&self, name: &str, at: usize, key: &str) -> Option<&str> {
        self.text(&format!("{name}.member.{at}.{key}"))
    }
}

/// One page of a list, and the token of the next one.
pub(super) fn page<T>(all: &[T], token: Option<usize>, size: usize) -> (&[T], Option<usize>) {
    let from = token.unwrap_or(0).min(all.len());
    let to = (from + size.max(1)).min(all.len());
    (&all[from..to], (to < all.len()).then_some(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_encode_lists_and_structures() {
        let params =
            Params::read(b"InstanceIds.member.1=i-1&InstanceIds.member.2=i-2&Targets.member.1.Id=i%2D1&Targets.member.1.Port=80");
        assert_eq!(params.list("InstanceIds"), ["i-1", "i-2"]);
        assert_eq!((params.members("Targets", "Id"), params.member("Targets", 1, "Id")), (1, Some("i-1")));
        assert!(params.list("Nothing").is_empty() && params.needed("Nothing").is_err());
    }

    #[test]
    fn pages_follow_one_another_to_the_end_of_the_list() {
        let all = [1, 2, 3, 4, 5];
        assert_eq!(page(&all, None, 2), (&all[..2], Some(2)));
        assert_eq!(page(&all, Some(4), 2), (&all[4..], None));
        assert_eq!(page(&all, Some(99), 2), (&all[5..], None));
    }
}
