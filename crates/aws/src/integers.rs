//! Counts and durations from the signed integers of AWS's answers. A negative one counts as missing.

use std::time::Duration;

/// A count.
pub(super) fn count(number: i32) -> Option<u32> {
    u32::try_from(number).ok()
}

/// A duration from a number of seconds.
pub(super) fn seconds(number: i32) -> Option<Duration> {
    count(number).map(|number| Duration::from_secs(number.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_integer_counts_as_missing() {
        assert_eq!((count(-1), seconds(-1), seconds(i32::MIN)), (None, None, None));
        assert_eq!((count(0), seconds(i32::MAX)), (Some(0), Some(Duration::from_secs(2_147_483_647))));
    }
}
