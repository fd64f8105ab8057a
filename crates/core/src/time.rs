//! A point in time in milliseconds, by the servers' clocks.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z. Differences never wrap and never go below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// A time that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time from `earlier` to this one, or zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This time less `span`, not before 1970.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// The beginning of the span of this length that it is in, counted from 1970. A span is at least one millisecond.
    #[must_use]
    pub fn floor(self, span: Duration) -> Self {
        let span = millis(span).max(1);
        Self(self.0 / span * span)
    }

    /// Reads an RFC 3339 time as AWS and Nomad write it; Go's zero time is `None`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let stamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(stamp.as_millisecond()).ok().map(Self)
    }

    /// Reads a time as mail and AWS Health write it: `Wed, 4 Mar 2026 05:06:07 GMT`. The day of the week is not compared with the date,
    /// because it is wrong in some of AWS's own samples.
    #[must_use]
    pub fn read_mail(text: &str) -> Option<Self> {
        static MAIL: jiff::fmt::rfc2822::DateTimeParser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
        let stamp = MAIL.parse_timestamp(text).ok()?;
        u64::try_from(stamp.as_millisecond()).ok().map(Self)
    }
}

impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        self.before(span)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(stamp) => write!(f, "{stamp:.0}"),
            None => f.write_str("never"),
        }
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Formats a duration for people: `850ms`, `12s`, `4m 10s`, `2h`.
#[must_use]
pub fn plain(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", span.as_millis()),
        1..120 => format!("{seconds}s"),
        120..7200 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        120..7200 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ if seconds % 3600 < 60 => format!("{}h", seconds / 3600),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_never_goes_below_zero() {
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
        assert_eq!(Time(5).before(Duration::from_secs(1)), Time(0));
        assert_eq!(Time::NEVER + Duration::from_secs(1), Time::NEVER);
    }

    #[test]
    fn a_time_knows_the_beginning_of_its_minute() {
        let minute = Duration::from_mins(1);
        assert_eq!([Time(59_999), Time(60_000), Time(61_000)].map(|at| at.floor(minute)), [Time(0), Time(60_000), Time(60_000)]);
        assert_eq!(Time(5).floor(Duration::ZERO), Time(5));
    }

    #[test]
    fn times_are_read_as_aws_and_nomad_write_them() {
        assert_eq!(Time::read("1970-01-01T00:00:01Z"), Some(Time(1000)));
        assert_eq!(Time::read("2026-11-22T19:22:17.137553362Z").map(|t| t.0 % 1000), Some(137));
        assert_eq!(Time::read("0001-01-01T00:00:00Z"), None);
    }

    #[test]
    fn times_are_read_as_aws_health_writes_them() {
        let at = Time::read("2016-06-05T15:10:09Z");
        for text in ["Sun, 05 Jun 2016 15:10:09 GMT", "Sat, 05 Jun 2016 15:10:09 GMT", "Sun, 5 Jun 2016 15:10:09 +0000"] {
            assert_eq!(Time::read_mail(text), at, "{text}");
        }
        assert_eq!(Time::read_mail("next week"), None);
    }

    #[test]
    fn a_duration_reads_as_people_say_it() {
        let cases = [(0, "0s"), (850, "850ms"), (12_000, "12s"), (250_000, "4m 10s"), (7_200_000, "2h"), (300_000, "5m")];
        for (ms, text) in cases {
            assert_eq!(plain(Duration::from_millis(ms)), text);
        }
    }
}
