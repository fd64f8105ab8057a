//! Requests of the query protocol: a form whose names spell out lists and structures.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::Refused;

/// The fields of one request.
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads a form. Nonsense in it becomes nonsense in a value, never an error.
    pub(super) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn needed(&self, name: &str) -> Result<&str, Refused> {
        self.text(name).ok_or_else(|| {
            Refused::invalid(format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
            ))
        })
    }

    /// A value that must fit its type if it is there.
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refused> {
        let read = |text: &str| text.parse().map_err(|_| Refused::invalid(format!("Value '{text}' at '{name}' is not valid")));
        self.text(name).map(read).transpose()
    }

    /// `Name.member.1`, `Name.member.2`, …
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|at| self.text(&format!("{name}.member.{at}"))).collect()
    }

    /// How many `Name.member.N.key` there are.
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
    fn lists_and_structures_are_spelled_out_in_names() {
        let params =
            Params::read(b"InstanceIds.member.1=i-1&InstanceIds.member.2=i-2&Targets.member.1.Id=i%2D1&Targets.member.1.Port=80");
        assert_eq!(params.list("InstanceIds"), ["i-1", "i-2"]);
        assert_eq!((params.members("Targets", "Id"), params.member("Targets", 1, "Id")), (1, Some("i-1")));
        assert!(params.list("Nothing").is_empty() && params.needed("Nothing").is_err());
    }

    #[test]
    fn pages_come_one_after_the_other_until_the_list_is_over() {
        let all = [1, 2, 3, 4, 5];
        assert_eq!(page(&all, None, 2), (&all[..2], Some(2)));
        assert_eq!(page(&all, Some(4), 2), (&all[4..], None));
        assert_eq!(page(&all, Some(99), 2), (&all[5..], None));
    }
}
