//! Reads the JSON log lines of decamp's Lambda function and service, and records them as the story of each departure.

use serde_json::Value;

use super::worker::{Journal, record_findings, record_line, record_outcome};
use decamp_core::decide::Finding;
use decamp_core::ids::InstanceId;

/// Records a line that was logged `at` seconds after the load began.
pub(super) fn capture(journal: &Journal, at: f64, line: &str) {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return };
    let Some(instance) = line["instance.id"].as_str().and_then(|id| id.parse::<InstanceId>().ok()) else { return };
    let Some(message) = line["message"].as_str() else { return };
    if let Some(finding) = finding(&line) {
        record_findings(journal, vec![finding]);
    }
    record_line(journal, instance, at, message);
    if let Some(outcome) = line["outcome"].as_str() {
        record_outcome(journal, instance, outcome.to_owned());
    }
}

/// The finding that a line reports, if it reports one.
fn finding(line: &Value) -> Option<Finding> {
    if !(line["action"] == "foresee" || line["action"] == "stopped") {
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
        let found = finding(&line).expect("the line reports a finding");
        assert_eq!((found.layer, found.loss, &*found.object), (Layer::LoadBalancer, Loss::DelayTooShort, "web"));
        line["action"] = json!("drain");
        assert_eq!(finding(&line), None);
    }

    #[test]
    fn every_word_of_the_log_is_read_back() {
        for layer in
            [Layer::Container, Layer::Service, Layer::Ingress, Layer::LoadBalancer, Layer::Node, Layer::Hook, Layer::Group]
        {
            assert_eq!(json!(layer), layer.word());
        }
        for loss in [
            Loss::LeavesBeforeForgotten,
            Loss::KilledWithRequests,
            Loss::DeafTask,
            Loss::AbruptTask,
            Loss::SlowStop,
            Loss::NoCopyLeft,
            Loss::DelayTooShort,
            Loss::KeptConnections,
            Loss::LastHealthyTarget,
            Loss::CutAtDeadline,
            Loss::NeverMigrates,
            Loss::DiskCut,
            Loss::LocalData,
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
