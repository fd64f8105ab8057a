//! Events of processes and of their entries in service discovery. The model of requests is built on them.

use decamp_core::time::Time;

/// The number of an allocation, in the order of placement. Lists with an entry for each allocation use it as their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationNumber(pub u32);

impl AllocationNumber {
    /// A process on the instance that belongs to no allocation: its service was registered by hand.
    pub const BY_HAND: Self = Self(u32::MAX);
    /// Such a process on another machine.
    pub const BY_HAND_ELSEWHERE: Self = Self(u32::MAX - 1);

    /// Whether the process belongs to no allocation.
    #[must_use]
    pub fn is_by_hand(self) -> bool {
        Self::BY_HAND_ELSEWHERE <= self
    }

    /// The number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that happened to one allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at: Time,
    /// The allocation that it happened to.
    pub allocation: AllocationNumber,
    /// The kind of event.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The process listens and answers.
    Serving,
    /// Service discovery lists this service of the allocation as passing from now on.
    InDiscovery {
        /// The service's index in `TaskGroup::services`.
        service: u16,
    },
    /// Service discovery no longer lists this service of the allocation as passing: it was removed, is critical, or its agent is dead.
    LeftDiscovery {
        /// The service's index in `TaskGroup::services`.
        service: u16,
    },
    /// Nomad's client knows that the allocation has to stop. The allocation's delays begin.
    StopRequested,
    /// The serving process got its kill signal: it takes no new work, and ends.
    Signalled,
    /// The serving process is gone.
    Ended {
        /// Whether the process was killed with the requests that it held (SIGKILL, or the machine went). Otherwise it ended by itself.
        killed: bool,
    },
    /// The allocation's last process is gone, poststop tasks included.
    Over,
}
