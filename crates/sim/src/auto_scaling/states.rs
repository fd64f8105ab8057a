//! The states of an instance in its group, and how the rules see each.

use decamp_core::decide::Lifecycle;

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A lifecycle state as AWS names it (facts/aws.md 2.5).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LifecycleState {
            $($(#[$doc])* $name,)*
        }

        impl LifecycleState {
            /// Every state.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// AWS's name for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

states! {
    /// The machine is starting.
    Pending = "Pending",
    /// The instance waits in a launching hook.
    PendingWait = "Pending:Wait",
    /// Past its launching hooks.
    PendingProceed = "Pending:Proceed",
    /// Never used by AWS.
    Quarantined = "Quarantined",
    /// The instance serves.
    InService = "InService",
    /// The instance is leaving. It leaves the attached load balancers first.
    Terminating = "Terminating",
    /// The instance waits in a terminating hook.
    TerminatingWait = "Terminating:Wait",
    /// Past its terminating hooks.
    TerminatingProceed = "Terminating:Proceed",
    /// Kept after an ABANDON.
    TerminatingRetained = "Terminating:Retained",
    /// The machine is gone.
    Terminated = "Terminated",
    /// It is leaving the group, and keeps running.
    Detaching = "Detaching",
    /// It has left the group, and keeps running.
    Detached = "Detached",
    /// On its way to standby.
    EnteringStandby = "EnteringStandby",
    /// It runs without load balancers.
    Standby = "Standby",
    /// Its root volume is being replaced.
    ReplacingRootVolume = "ReplacingRootVolume",
    /// It waits in a hook before the replacement of its root volume.
    ReplacingRootVolumeWait = "ReplacingRootVolume:Wait",
    /// Past that hook.
    ReplacingRootVolumeProceed = "ReplacingRootVolume:Proceed",
    /// Its root volume was replaced.
    RootVolumeReplaced = "RootVolumeReplaced",
    /// On its way into the warm pool.
    WarmedPending = "Warmed:Pending",
    /// It waits in a hook on its way into the warm pool.
    WarmedPendingWait = "Warmed:Pending:Wait",
    /// Past the hooks on its way into the warm pool.
    WarmedPendingProceed = "Warmed:Pending:Proceed",
    /// Kept after an ABANDON on its way into the warm pool.
    WarmedPendingRetained = "Warmed:Pending:Retained",
    /// On its way out of the warm pool for good.
    WarmedTerminating = "Warmed:Terminating",
    /// It waits in a terminating hook, out of the warm pool.
    WarmedTerminatingWait = "Warmed:Terminating:Wait",
    /// Past its terminating hooks, out of the warm pool.
    WarmedTerminatingProceed = "Warmed:Terminating:Proceed",
    /// Kept after an ABANDON, out of the warm pool.
    WarmedTerminatingRetained = "Warmed:Terminating:Retained",
    /// Gone, out of the warm pool.
    WarmedTerminated = "Warmed:Terminated",
    /// In the warm pool, switched off.
    WarmedStopped = "Warmed:Stopped",
    /// In the warm pool, running.
    WarmedRunning = "Warmed:Running",
    /// In the warm pool, hibernated.
    WarmedHibernated = "Warmed:Hibernated",
}

impl LifecycleState {
    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }

    /// The state as the rules see it.
    #[must_use]
    pub fn seen(self) -> Lifecycle {
        match self {
            // `Warmed:Pending` is the way into the warm pool before its hook begins.
            Self::Terminating | Self::WarmedTerminating | Self::WarmedPending | Self::ReplacingRootVolume => {
                Lifecycle::Terminating
            }
            Self::ReplacingRootVolumeWait => Lifecycle::ReplacingRootVolume,
            Self::TerminatingWait | Self::WarmedTerminatingWait => Lifecycle::Waiting,
            Self::WarmedPendingWait => Lifecycle::WaitingForWarmPool,
            Self::ReplacingRootVolumeProceed
            | Self::RootVolumeReplaced
            | Self::TerminatingProceed
            | Self::Terminated
            | Self::WarmedTerminatingProceed
            | Self::WarmedTerminated
            | Self::WarmedPendingProceed
            | Self::WarmedStopped
            | Self::WarmedRunning
            | Self::WarmedHibernated => Lifecycle::Past,
            Self::TerminatingRetained | Self::WarmedTerminatingRetained | Self::WarmedPendingRetained => Lifecycle::Retained,
            Self::Pending
            | Self::PendingWait
            | Self::PendingProceed
            | Self::Quarantined
            | Self::InService
            | Self::Detaching
            | Self::Detached
            | Self::EnteringStandby
            | Self::Standby => Lifecycle::Staying(self.name().into()),
        }
    }

    /// Whether the instance is in the warm pool, or on its way into it or out of it.
    #[must_use]
    pub fn is_warm(self) -> bool {
        self.name().starts_with("Warmed:")
    }

    /// Whether the instance is kept after an ABANDON.
    #[must_use]
    pub fn is_retained(self) -> bool {
        self.name().ends_with(":Retained")
    }

    /// Whether the instance may be terminated: it serves, is in standby, or rests in the warm pool.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(
            self,
            Self::InService
                | Self::Standby
                | Self::WarmedStopped
                | Self::WarmedRunning
                | Self::WarmedHibernated
                | Self::RootVolumeReplaced
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_unique_name_and_is_found_by_it() {
        for &state in LifecycleState::ALL {
            assert_eq!(LifecycleState::named(state.name()), Some(state));
        }
        assert_eq!(LifecycleState::named("Terminating:Maybe"), None);
    }
}
