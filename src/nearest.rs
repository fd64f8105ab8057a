//! "Did you mean": the existing name that is most similar to a mistyped one.

use decamp_config::distance;

/// The most similar of these names, if one is similar enough: at most two letters are wrong, or one name contains the other.
pub(crate) fn nearest<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let small = name.to_lowercase();
    let wrong_letters = |other: &str| {
        let other = other.to_lowercase();
        let wrong = distance(&small, &other);
        let part = 3 <= small.len().min(other.len()) && (other.contains(&small) || small.contains(&other));
        (wrong <= 2 && wrong < name.chars().count() || part).then_some(wrong)
    };
    let near = all.into_iter().filter_map(|other| Some((wrong_letters(other)?, other)));
    near.min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_letters_or_by_a_part_and_a_different_one_is_not() {
        let all = ["api", "web-production", "web-staging", "workers"];
        assert_eq!(nearest("web-productoin", all), Some("web-production"));
        assert_eq!(nearest("staging", all), Some("web-staging"));
        assert_eq!(nearest("Worker", all), Some("workers"));
        assert_eq!(nearest("database", all), None);
        assert_eq!(nearest("x", ["y"]), None, "a single letter is similar to everything");
    }
}
