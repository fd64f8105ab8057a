//! "Did you mean": the names that a mistyped one may have meant.

use decamp_config::distance;

/// The nearest of these names, and nothing if none is near: at most two letters are wrong, or one is a part of the other.
pub(crate) fn nearest<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let small = name.to_lowercase();
    let far = |other: &str| {
        let other = other.to_lowercase();
        let wrong = distance(&small, &other);
        let part = 3 <= small.len().min(other.len()) && (other.contains(&small) || small.contains(&other));
        (wrong <= 2 && wrong < name.chars().count() || part).then_some(wrong)
    };
    let near = all.into_iter().filter_map(|other| Some((far(other)?, other)));
    near.min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_letters_or_its_part_and_a_strange_one_is_not() {
        let all = ["api", "web-production", "web-staging", "workers"];
        assert_eq!(nearest("web-productoin", all), Some("web-production"));
        assert_eq!(nearest("staging", all), Some("web-staging"));
        assert_eq!(nearest("Worker", all), Some("workers"));
        assert_eq!(nearest("database", all), None);
        assert_eq!(nearest("x", ["y"]), None, "everything is near to a single letter");
    }
}
