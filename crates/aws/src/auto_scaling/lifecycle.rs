//! Translates Auto Scaling's lifecycle states.

use decamp_core::decide::Lifecycle;

/// Reads a state. decamp does nothing about a state that is `Unknown`.
pub(super) fn lifecycle(state: &str) -> Lifecycle {
    match state {
        // `Warmed:Pending` is the way into a warm pool before its hook begins.
        "Terminating" | "Warmed:Terminating" | "Warmed:Pending" | "ReplacingRootVolume" => Lifecycle::Terminating,
        "Terminating:Wait" | "Warmed:Terminating:Wait" => Lifecycle::Waiting,
        "Warmed:Pending:Wait" => Lifecycle::WaitingForWarmPool,
        "ReplacingRootVolume:Wait" => Lifecycle::ReplacingRootVolume,
        "ReplacingRootVolume:Proceed" | "RootVolumeReplaced" => Lifecycle::Past,
        "Terminating:Proceed" | "Terminated" | "Warmed:Terminating:Proceed" | "Warmed:Terminated" => Lifecycle::Past,
        // In the warm pool already, or through the hook that leads there.
        "Warmed:Pending:Proceed" | "Warmed:Stopped" | "Warmed:Running" | "Warmed:Hibernated" => Lifecycle::Past,
        "Terminating:Retained" | "Warmed:Terminating:Retained" | "Warmed:Pending:Retained" => Lifecycle::Retained,
        "InService" | "Pending" | "Pending:Wait" | "Pending:Proceed" | "Quarantined" => Lifecycle::Staying(state.into()),
        "Standby" | "EnteringStandby" | "Detaching" | "Detached" => Lifecycle::Staying(state.into()),
        _ => Lifecycle::Unknown(state.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_the_sdk_names_is_known() {
        for state in aws_sdk_autoscaling::types::LifecycleState::values() {
            assert!(!matches!(lifecycle(state), Lifecycle::Unknown(_)), "{state}");
        }
    }

    #[test]
    fn only_a_wait_in_a_terminating_hook_is_waiting() {
        let waiting: Vec<&str> = aws_sdk_autoscaling::types::LifecycleState::values()
            .iter()
            .copied()
            .filter(|state| lifecycle(state) == Lifecycle::Waiting)
            .collect();
        assert_eq!(waiting, ["Terminating:Wait", "Warmed:Terminating:Wait"]);
        assert!(matches!(lifecycle("Pending:Wait"), Lifecycle::Staying(_)));
        assert_eq!(lifecycle("ReplacingRootVolume:Wait"), Lifecycle::ReplacingRootVolume);
        assert_eq!(lifecycle("RootVolumeReplaced"), Lifecycle::Past);
        assert!(matches!(lifecycle("terminating:wait"), Lifecycle::Unknown(_)));
    }
}
