//! The modelled version of Nomad, and the differences between versions (facts/nomad.md 12).

use std::fmt;
use std::sync::Arc;

/// A version of Nomad's servers and clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 2 of 2.0.5.
    pub major: u8,
    /// 0 of 2.0.5.
    pub minor: u8,
    /// 5 of 2.0.5.
    pub patch: u8,
}

impl Version {
    /// The oldest version that must work.
    pub const V1_1_2: Self = Self::new(1, 1, 2);
    /// The last recorded version of 1.10.
    pub const V1_10_5: Self = Self::new(1, 10, 5);
    /// The current version.
    pub const V2_0_5: Self = Self::new(2, 0, 5);

    /// `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self { major, minor, patch }
    }

    /// The text of the node attribute `nomad.version`.
    #[must_use]
    pub fn text(self) -> Arc<str> {
        self.to_string().into()
    }

    fn backported(self, backports: &[Self], first: Self) -> bool {
        first <= self || backports.iter().any(|b| (b.major, b.minor) == (self.major, self.minor) && *b <= self)
    }

    /// A drain completes when clients report that all allocations are over. Earlier versions complete it when all have to stop.
    #[must_use]
    pub fn completes_on_client_status(self) -> bool {
        self.backported(&[Self::new(1, 3, 14), Self::new(1, 4, 9)], Self::new(1, 5, 4))
    }

    /// Node metadata can be written by the API.
    #[must_use]
    pub fn has_dynamic_metadata(self) -> bool {
        Self::new(1, 5, 0) <= self
    }

    /// A task inside its `shutdown_delay` reads `pending`.
    #[must_use]
    pub fn shows_pending_in_shutdown_delay(self) -> bool {
        Self::new(1, 5, 0) <= self
    }

    /// `filter` works on lists. Earlier versions ignore it and return everything.
    #[must_use]
    pub fn filters(self) -> bool {
        Self::new(1, 3, 0) <= self
    }

    /// Nomad has its own service discovery.
    #[must_use]
    pub fn has_services(self) -> bool {
        Self::new(1, 3, 0) <= self
    }

    /// CSI plugins are drained last.
    #[must_use]
    pub fn drains_plugins_last(self) -> bool {
        Self::new(1, 3, 0) <= self
    }

    /// `migrate.max_parallel` holds over several draining nodes.
    #[must_use]
    pub fn holds_max_parallel_over_nodes(self) -> bool {
        Self::new(1, 10, 3) <= self
    }

    /// Nomad does not start batch allocations elsewhere that a deadline stopped.
    #[must_use]
    pub fn leaves_batch_stopped(self) -> bool {
        Self::new(1, 11, 0) <= self
    }

    /// The client's `max_kill_timeout` caps `kill_timeout`.
    #[must_use]
    pub fn caps_kill_timeout(self) -> bool {
        self.backported(&[Self::new(1, 1, 15), Self::new(1, 2, 9)], Self::new(1, 3, 2))
    }

    /// The answer to an unknown token says so. Later versions only say "permission denied". This was recorded with 1.1.2 and 2.0.5. The
    /// version of the change is not known; the rework of authentication in 1.5 is a guess.
    #[must_use]
    pub fn reports_unknown_tokens(self) -> bool {
        self < Self::new(1, 5, 0)
    }

    /// System allocations have a health.
    #[must_use]
    pub fn has_health_of_system_jobs(self) -> bool {
        Self::new(2, 0, 0) <= self
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drain_fix_is_in_exactly_the_releases_that_have_it() {
        for (version, fixed) in [
            (Version::V1_1_2, false),
            (Version::new(1, 3, 13), false),
            (Version::new(1, 3, 14), true),
            (Version::new(1, 4, 8), false),
            (Version::new(1, 4, 9), true),
            (Version::new(1, 5, 3), false),
            (Version::new(1, 5, 4), true),
            (Version::V2_0_5, true),
        ] {
            assert_eq!(version.completes_on_client_status(), fixed, "{version}");
        }
    }
}
