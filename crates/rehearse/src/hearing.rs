//! What decamp logs, as its Lambda and its service do: lines of JSON, of which a departure's story is made.

use serde_json::Value;

use super::worker::{Ear, ended, foresee, say};
use decamp_core::decide::Finding;
use decamp_core::ids::InstanceId;

/// Takes in a line that was logged `at` so many seconds after the load began.
pub(super) fn hear(ear: &Ear, at: f64, line: &str) {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return };
    let Some(instance) = line["instance.id"].as_str().and_then(|id| id.parse::<InstanceId>().ok()) else { return };
    let Some(message) = line["message"].as_str() else { return };
    if let Some(finding) = foreseen(&line) {
        foresee(ear, vec![finding]);
    }
    say(ear, instance, at, message);
    if let Some(outcome) = line["outcome"].as_str() {
        ended(ear, instance, outcome.to_owned());
    }
}

/// What a line says that was foreseen, if that is what it is about.
fn foreseen(line: &Value) -> Option<Finding> {
    if line["action"] != "foresee" {
        return None;
    }
    serde_json::from_value(line.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_core::decide::{Layer, Loss};
    use serde_json::json;

    #[test]
    fn a_line_about_a_finding_is_read_and_any_other_is_not() {
        let mut line = json!({
            "level": "WARN", "instance.id": "i-1", "action": "foresee", "layer": "load-balancer", "loss": "delay-too-short",
            "object": "web", "value": "5s", "needed": "6s", "why": "because", "line": "delay = 6", "message": "foreseen: …",
        });
        let finding = foreseen(&line).expect("it is one");
        assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::LoadBalancer, Loss::DelayTooShort, "web"));
        line["action"] = json!("drain");
        assert_eq!(foreseen(&line), None);
    }

    #[test]
    fn the_words_of_the_log_are_those_that_are_read() {
        for layer in
            [Layer::Container, Layer::Service, Layer::Ingress, Layer::LoadBalancer, Layer::Node, Layer::Hook, Layer::Group]
        {
            assert_eq!(json!(layer), layer.word());
        }
        for loss in [
            Loss::LeavesBeforeForgotten,
            Loss::KilledWithRequests,
            Loss::NoCopyLeft,
            Loss::DelayTooShort,
            Loss::KeptConnections,
            Loss::LastHealthyTarget,
            Loss::CutAtDeadline,
            Loss::NeverMigrates,
            Loss::DiskCut,
            Loss::NoTargetGroup,
            Loss::UnhandledSource,
            Loss::UnknownTarget,
            Loss::NotATarget,
            Loss::NotInConsul,
            Loss::RegisteredByHand,
            Loss::DoesNotFit,
            Loss::Interrupted,
        ] {
            assert_eq!(json!(loss), loss.word());
        }
    }
}
