//! Parses durations as people write them in settings: `90s`, `5m`, `1h30m`, or plain seconds.

use std::time::Duration;

/// The longest duration of a setting. Longer ones are typing errors.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// Parses a duration.
///
/// # Errors
///
/// Returns a sentence that says what is expected.
pub fn read(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let expected = || format!("{text:?} is not a span of time such as 90s, 5m, 1h30m or a number of seconds");
    if text.is_empty() {
        return Err(expected());
    }
    let span = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => read_units(text),
    };
    let span = span.ok_or_else(expected)?;
    if LONGEST < span {
        return Err(format!("{text:?} is longer than a week"));
    }
    Ok(span)
}

/// Numbers with units, the larger unit first, each at most once.
fn read_units(mut rest: &str) -> Option<Duration> {
    let mut whole = Duration::ZERO;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&end| end != 0)?;
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let millis = match &after[..unit] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        if last <= millis {
            return None;
        }
        last = millis;
        whole = whole.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = &after[unit..];
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_people_write_it() {
        let cases = [
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h30m15s", 5_415_000),
            ("90", 90_000),
            (" 2h ", 7_200_000),
            ("250ms", 250),
            ("0", 0),
            ("1d", 86_400_000),
        ];
        for (text, millis) in cases {
            assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn an_invalid_duration_is_refused_and_repeated() {
        for text in ["", "soon", "5 m", "-5s", "1.5h", "30m1h", "5m5m", "s", "1y", "8d", "99999999999999999999h", "5µs"] {
            let refusal = read(text).expect_err(text);
            assert!(refusal.contains(text), "{refusal}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,24}") {
            let _ = read(&text);
        }
    }
}
