//! Keys of clients: how several are written, and how long one must be.

/// A shorter key can be guessed.
pub(super) const SHORTEST_KEY: usize = 16;

/// The keys in a secret text, separated by commas or lines. Two keys are a rotation. A key that can be guessed is left out.
pub fn keys(text: &str) -> impl Iterator<Item = &str> {
    every(text).filter(|key| SHORTEST_KEY <= key.len())
}

/// Whether a key can be guessed, or there is none.
pub(super) fn can_be_guessed(text: &str) -> bool {
    every(text).next().is_none() || every(text).any(|key| key.len() < SHORTEST_KEY)
}

fn every(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_in_one_secret_are_a_rotation() {
        let text = " the-first-of-all-keys, the-second-of-all-keys\nthe-third-of-all-keys\n a";
        let three = ["the-first-of-all-keys", "the-second-of-all-keys", "the-third-of-all-keys"];
        assert_eq!(keys(text).collect::<Vec<_>>(), three, "a key that can be guessed is left out");
    }

    #[test]
    fn a_short_key_beside_a_long_one_is_one_too_many() {
        for guessable in ["", ",", "short", "a-long-enough-key-for-all,short"] {
            assert!(can_be_guessed(guessable), "{guessable}");
        }
        assert!(!can_be_guessed("a-long-enough-key-for-all\n"));
    }
}
