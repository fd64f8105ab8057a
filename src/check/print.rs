//! The report of `decamp check` for people.

use decamp_core::decide::Layer;

use super::rules::{Report, Verdict};
use crate::words;

const LAYERS: [(Layer, &str); 7] = [
    (Layer::Container, "container"),
    (Layer::Service, "service"),
    (Layer::Ingress, "ingress"),
    (Layer::LoadBalancer, "load balancer"),
    (Layer::Node, "node"),
    (Layer::Hook, "hook"),
    (Layer::Group, "group"),
];

pub(super) fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for (layer, name) in LAYERS {
        lines.push(name.to_owned());
        let found: Vec<_> = report.found.iter().filter(|fact| fact.layer == layer).collect();
        lines.extend(found.iter().map(|fact| format!("  {}: {}", fact.object, fact.text)));
        if found.is_empty() {
            lines.push(if report.unseen.contains(&layer) { "  unknown" } else { "  nothing" }.to_owned());
        }
    }
    if let Some((budget, known)) = &report.budget {
        lines.push(String::new());
        lines.push("Time budget of the longest departure, from the entry into the hook".to_owned());
        lines.extend(words::budget(budget, *known).iter().map(|(what, how_long)| format!("  {what:<34} {how_long}")));
    }
    lines.push(String::new());
    for notice in &report.notices {
        let name = LAYERS.iter().find(|(layer, _)| *layer == notice.layer).map_or("", |(_, name)| name);
        let word = match notice.verdict {
            Verdict::WouldNotWork => "would not work",
            Verdict::Unknown => "unknown",
            Verdict::Warning | Verdict::Works => "warning",
        };
        lines.push(format!("{word}: {name}: {}: {}; needed: {}", notice.object, notice.value, notice.needed));
        lines.push(format!("  because {}", notice.why));
        lines.push(format!("  set: {}", notice.line));
    }
    let warnings = report.notices.iter().filter(|notice| notice.verdict == Verdict::Warning).count();
    lines.push(match (report.verdict, warnings) {
        (Verdict::Works, _) => format!("{}: a departure works, and no setting was found that costs a request", report.asg),
        (Verdict::Warning, 1) => format!("{}: a departure works, with 1 warning", report.asg),
        (Verdict::Warning, _) => format!("{}: a departure works, with {warnings} warnings", report.asg),
        (Verdict::Unknown, _) => {
            let unknown = report.notices.iter().filter(|notice| notice.verdict == Verdict::Unknown).count() as u64;
            format!(
                "{}: it is not known whether a departure would work: {} could not be seen",
                report.asg,
                words::counted(unknown, "thing")
            )
        }
        (Verdict::WouldNotWork, _) => format!("{}: a departure would not work as it is", report.asg),
    });
    lines
}
