//! Traffic sources of a group that decamp cannot leave. Auto Scaling takes its instance out of them, and nobody sees whether they still
//! send. Findings name them, and such a departure never ends as if nothing were left.

use super::case::Case;
use super::findings::{Finding, Layer, Loss};

/// Whether the group has no such source, as far as it was read.
pub(super) fn are_all_handled(case: &Case<'_>) -> bool {
    case.seen.group.last().is_none_or(|group| group.unhandled.is_empty())
}

/// One finding for each of them.
pub(super) fn of_unhandled_sources(case: &Case<'_>) -> Vec<Finding> {
    let sources = case.seen.group.last().into_iter().flat_map(|group| &group.unhandled);
    let finding = |source: &super::TrafficSource| Finding {
        layer: Layer::LoadBalancer,
        loss: Loss::UnhandledSource,
        object: source.name.clone(),
        value: format!("a traffic source of type {}", source.kind),
        needed: "a target group of Elastic Load Balancing, or a Classic Load Balancer".to_owned(),
        why: "decamp cannot leave it: Auto Scaling does so by itself, and nobody sees whether it still sends when the node is \
              drained"
            .to_owned(),
        line: format!("# detach {} from the Auto Scaling group and send through a load balancer", source.name),
    };
    sources.map(finding).collect()
}
