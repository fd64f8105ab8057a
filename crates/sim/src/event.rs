//! What happens to processes and to their places in service discovery: what a model of requests is laid over.

use decamp_core::time::Time;

/// The number of an allocation, in the order of placement: an index into whatever is kept beside each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationNumber(pub u32);

impl AllocationNumber {
    /// Stands for a process on the instance that is no allocation's: its service was registered by hand.
    pub const BY_HAND: Self = Self(u32::MAX);
    /// The same on another machine.
    pub const BY_HAND_ELSEWHERE: Self = Self(u32::MAX - 1);

    /// Whether it is no allocation's.
    #[must_use]
    pub fn is_by_hand(self) -> bool {
        Self::BY_HAND_ELSEWHERE <= self
    }

    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that happened to one allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// To which.
    pub allocation: AllocationNumber,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Its process listens and answers.
    Serving,
    /// Service discovery lists this service of it as passing, from now on.
    InDiscovery {
        /// The service's place in `TaskGroup::services`.
        service: u16,
    },
    /// Service discovery no longer lists this service of it as passing: removed, critical, or its agent dead.
    LeftDiscovery {
        /// The service's place in `TaskGroup::services`.
        service: u16,
    },
    /// Nomad's client knows that it is to stop; its delays begin.
    ToldToStop,
    /// Its serving process got its kill signal: it takes no new work, and ends.
    Signalled,
    /// Its serving process is gone.
    Ended {
        /// Killed with whatever it held (SIGKILL, or the machine went), or ended by itself.
        killed: bool,
    },
    /// Its last process is gone, poststop tasks included.
    Over,
}
