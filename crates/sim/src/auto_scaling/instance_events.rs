//! Events of instances, to which the judge and the process models react.

use std::sync::Arc;

use super::actions::Ending;
use super::states::LifecycleState;
use decamp_core::ids::InstanceId;

/// An event of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceEvent {
    /// It changed its state.
    State {
        /// The instance.
        instance: InstanceId,
        /// The new state.
        state: LifecycleState,
    },
    /// It began to wait in a hook.
    ActionBegan {
        /// The instance.
        instance: InstanceId,
        /// The hook's name.
        hook: Arc<str>,
    },
    /// A lifecycle action ended.
    ActionEnded {
        /// The instance.
        instance: InstanceId,
        /// The hook's name.
        hook: Arc<str>,
        /// What ended it.
        ending: Ending,
    },
    /// The machine was terminated or switched off, and every process on it ended.
    MachineStopped(InstanceId),
    /// The machine was switched on again.
    MachineStarted(InstanceId),
    /// Auto Scaling no longer lists the instance.
    Delisted(InstanceId),
    /// Auto Scaling itself launched an instance.
    Launched(InstanceId),
}

/// A change of a machine, or of its place in service. The processes on it and the load balancers depend on these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineEvent {
    /// Auto Scaling itself launched the instance.
    Launched(InstanceId),
    /// The instance is in service from now on.
    EnteredService(InstanceId),
    /// The machine was terminated or switched off, and every process on it ended.
    Stopped(InstanceId),
}

impl InstanceEvent {
    /// What the event changes for the machine.
    pub(super) fn of_machine(&self) -> Option<MachineEvent> {
        match *self {
            Self::Launched(instance) => Some(MachineEvent::Launched(instance)),
            Self::State { instance, state: LifecycleState::InService } => Some(MachineEvent::EnteredService(instance)),
            Self::MachineStopped(instance) => Some(MachineEvent::Stopped(instance)),
            Self::State { .. }
            | Self::ActionBegan { .. }
            | Self::ActionEnded { .. }
            | Self::MachineStarted(_)
            | Self::Delisted(_) => None,
        }
    }
}
