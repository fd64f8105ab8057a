//! Which of a group's settings lose requests or cannot work. Pure: from an inspection to a report.

use std::collections::BTreeSet;
use std::sync::Arc;

use decamp_core::decide::{Budget, Hook, Layer, Lifecycle, Node, NodeStatus, Snapshot, System};
use decamp_core::lambda_budget::{Numbers, Rule};
use decamp_core::time::plain;
use serde::{Serialize, Serializer};

use super::Inspection;
use super::facts::{Fact, facts};
use super::foreseen::foreseen;
use super::own_job::own_job_notices;
use super::passes::lambda_pass_notice;
use super::stops::{longest_past_stop, stop_notices};
use super::unavailable::{Unavailable, unavailable};
use super::visibility::{discovery_notices, nomad_token_notices};
use super::warm_up::warm_up_notices;
use crate::describe::Known;
use crate::exit;

/// How severe a notice is, or the worst notice of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// A departure works, and no setting loses requests.
    Works,
    /// Something to look at, which may be as it should be. No report has it as its verdict.
    Hint,
    /// A departure works, but a setting loses requests, or may.
    Warning,
    /// A fact that a departure needs could not be read.
    Unknown,
    /// A departure would not work.
    WouldNotWork,
}

impl Verdict {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Works | Self::Hint => 0,
            Self::Warning => exit::WARNINGS,
            Self::Unknown => exit::ERROR,
            Self::WouldNotWork => exit::WOULD_NOT_WORK,
        }
    }
}

/// One setting to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Notice {
    pub(crate) verdict: Verdict,
    pub(crate) layer: Layer,
    pub(crate) object: Arc<str>,
    pub(crate) value: String,
    pub(crate) needed: String,
    pub(crate) why: String,
    pub(crate) line: String,
}

/// The report of `decamp check` about one group.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(rename = "asg.name")]
    pub(crate) asg: Arc<str>,
    pub(crate) verdict: Verdict,
    /// Systems that no look could read.
    #[serde(rename = "away")]
    pub(crate) unavailable: Vec<Unavailable>,
    pub(crate) found: Vec<Fact>,
    #[serde(serialize_with = "with_unknowns")]
    pub(crate) budget: Option<(Budget, Known)>,
    /// The seconds that the longest stop of its jobs' last ended allocations really took. `null`: none is known.
    pub(crate) longest_past_stop: Option<f64>,
    /// Layers that are incomplete because a look failed.
    pub(crate) unseen: Vec<Layer>,
    pub(crate) notices: Vec<Notice>,
}

/// The report about a group.
pub(super) fn report(read: &Inspection<'_>) -> Report {
    let unavailable = unavailable(read);
    let is_unavailable = |system| unavailable.iter().any(|one| one.system == system);
    let mut notices = foreseen(read);
    notices.extend(hook_notices(read));
    notices.extend(group_notices(read));
    notices.extend(warm_up_notices(read));
    let of_target_groups = if is_unavailable(System::LoadBalancers) { Vec::new() } else { target_group_notices(read) };
    if of_target_groups.iter().any(|notice| notice.value == NOT_NAMED) {
        // "No target group is named" repeats, with less detail, that the scan found one that is not named.
        notices.retain(|notice| notice.value != NO_TARGET_GROUP);
    }
    notices.extend(of_target_groups);
    if !is_unavailable(System::Nomad) {
        notices.extend(node_notices(read));
        notices.extend(nomad_token_notices(read));
    }
    notices.extend(discovery_notices(read, is_unavailable(System::Consul)));
    notices.extend(stop_notices(read));
    notices.extend(own_job_notices(read));
    notices.extend(lambda_pass_notice(read));
    notices.sort_by(|one, other| (other.verdict, one.layer, &one.object).cmp(&(one.verdict, other.layer, &other.object)));
    let unknown = (!unavailable.is_empty()).then_some(Verdict::Unknown);
    let verdicts = notices.iter().map(|notice| notice.verdict).filter(|verdict| *verdict != Verdict::Hint);
    let verdict = verdicts.max().max(unknown).unwrap_or(Verdict::Works);
    let budget = read.budget().map(|budget| (budget, Known::of_all(read.looks.iter().map(|(_, seen)| seen))));
    let longest_past_stop = longest_past_stop(read).map(|took| took.as_secs_f64());
    let (asg, found, unseen) = (Arc::clone(&read.asg), facts(read), unseen(read));
    Report { asg, verdict, unavailable, found, budget, longest_past_stop, unseen, notices }
}

/// The layers that are incomplete because a look failed.
fn unseen(read: &Inspection<'_>) -> Vec<Layer> {
    let all = |seen: &dyn Fn(&Snapshot) -> bool| !read.looks.is_empty() && read.looks.iter().all(|(_, look)| seen(look));
    let nomad = all(&|look| look.nomad.last().is_some());
    let group = all(&|look| look.group.last().is_some());
    let balancers = group && all(&|look| look.balancers.iter().all(|balancer| balancer.sight.last().is_some()));
    let layers = [
        (Layer::Container, nomad),
        (Layer::Service, nomad),
        (Layer::Ingress, nomad),
        (Layer::Node, nomad),
        (Layer::LoadBalancer, balancers && read.scanned.is_ok()),
        (Layer::Hook, group),
    ];
    layers.into_iter().filter_map(|(layer, seen)| (!seen).then_some(layer)).collect()
}

fn with_unknowns<S: Serializer>(budget: &Option<(Budget, Known)>, to: S) -> Result<S::Ok, S::Error> {
    budget.as_ref().map(|(budget, known)| known.budget_json(budget)).serialize(to)
}

/// The notice about a target group that lists the group's instances and is unknown to decamp.
const NOT_NAMED: &str = "neither attached nor named";
/// The finding of a departure that knows no target group at all.
const NO_TARGET_GROUP: &str = "no target group, attached or named";

pub(super) fn notice(verdict: Verdict, layer: Layer, object: &str, [value, needed, why, line]: [&str; 4]) -> Notice {
    let own = str::to_owned;
    Notice { verdict, layer, object: object.into(), value: own(value), needed: own(needed), why: own(why), line: own(line) }
}

/// decamp's hooks, from the first look that read them.
pub(super) fn hooks<'a>(read: &'a Inspection<'_>) -> Vec<&'a Hook> {
    let ours = &read.policy.hooks;
    let group = read.looks.iter().find_map(|(_, seen)| seen.group.last());
    group.into_iter().flat_map(|g| &g.hooks).filter(|hook| ours.is_empty() || ours.contains(&hook.name)).collect()
}

fn hook_notices(read: &Inspection<'_>) -> Vec<Notice> {
    use Verdict::{Warning, WouldNotWork};
    if read.looks.iter().all(|(_, seen)| seen.group.last().is_none()) {
        // Another notice says that there is no instance, or that Auto Scaling cannot be read.
        return Vec::new();
    }
    let hooks = hooks(read);
    let mut notices = Vec::new();
    if hooks.is_empty() {
        let why = "without a hook AWS terminates an instance at once, with everything that runs on it";
        let line = "lifecycle_transition = \"autoscaling:EC2_INSTANCE_TERMINATING\", heartbeat_timeout = 900";
        notices.push(notice(WouldNotWork, Layer::Hook, &read.asg, ["no terminating lifecycle hook of ours", "one", why, line]));
    }
    if hooks.len() > 1 {
        let names: Vec<&str> = hooks.iter().map(|hook| &*hook.name).collect();
        let why = "when no event names the hook, decamp cannot tell which one is its own";
        let line = format!("DECAMP_HOOKS={}", names[0]);
        let value = format!("terminating hooks {}", names.join(", "));
        notices.push(notice(WouldNotWork, Layer::Hook, &read.asg, [&value, "one that is decamp's", why, &line]));
    }
    for hook in hooks {
        for fault in &hook.misnamed {
            let why =
                format!("decamp does not deregister from the target groups that it means to name, so they keep sending: {fault}");
            let line = "notification_metadata = jsonencode({ target_groups = [aws_lb_target_group.this.arn] })";
            let texts = ["metadata that cannot be read", "{\"target_groups\":[\"arn:…\"]}", &why, line];
            notices.push(notice(WouldNotWork, Layer::Hook, &hook.name, texts));
        }
        let beat = hook.heartbeat_timeout;
        let value = format!("heartbeat time-out {}", plain(beat));
        let with_the_defaults = Numbers { heartbeat_timeout: beat, ..Numbers::default() };
        if !with_the_defaults.holds(Rule::HeartbeatTooShort) {
            let why = "a pass must send a heartbeat after a third of it, and end and return its message within half of it";
            notices.push(notice(WouldNotWork, Layer::Hook, &hook.name, [&value, "3m at least", why, "heartbeat_timeout = 900"]));
        } else if !(with_the_defaults.holds(Rule::VisibilityAboveHeartbeat) && with_the_defaults.holds(Rule::SweepAboveHeartbeat))
        {
            let (function, visibility) = (beat.as_secs() / 12, beat.as_secs() / 2);
            let why = format!(
                "6 times the function's time-out must fit into the queue's visibility time-out, and that into half of the heartbeat \
                 time-out; for the Lambda, this one allows a function time-out of {function}s and a visibility time-out of {visibility}s"
            );
            notices.push(notice(
                Warning,
                Layer::Hook,
                &hook.name,
                [&value, "12m for the Lambda's defaults", &why, "heartbeat_timeout = 900"],
            ));
        }
    }
    notices
}

fn group_notices(read: &Inspection<'_>) -> Vec<Notice> {
    use Verdict::{Warning, WouldNotWork};
    let mut notices = Vec::new();
    let mut say = |verdict, texts: [&str; 4]| notices.push(notice(verdict, Layer::Group, &read.asg, texts));
    if read.roster.instances.is_empty() {
        let why = "without an instance there is no node, job or target to read";
        say(Verdict::Unknown, ["no instances", "one at least", why, "# run this again when it has one"]);
    }
    if read.roster.reuses {
        let why = "the node of an instance that comes back from the warm pool stays ineligible: decamp does not handle arrivals";
        say(WouldNotWork, ["reuse on scale-in", "off", why, "instance_reuse_policy { reuse_on_scale_in = false }"]);
    }
    let is_retained = |(id, lifecycle): &(_, Lifecycle)| (*lifecycle == Lifecycle::Retained).then_some(*id);
    let retained: Vec<String> =
        read.roster.instances.iter().filter_map(is_retained).map(|id: decamp_core::ids::InstanceId| id.to_string()).collect();
    if let Some(first) = retained.first() {
        let value = format!("{} retained: {}", retained.len(), retained.join(", "));
        let line = format!("aws ec2 terminate-instances --instance-ids {first}");
        say(Warning, [&value, "none", "an abandoned departure left them; AWS bills them until somebody terminates them", &line]);
    }
    if read.looks.iter().any(|(_, seen)| seen.group.last().is_some_and(|g| g.held)) {
        let why = "while the group has it, decamp sends heartbeats and drains an instance only right before its hook ends";
        say(Warning, ["tag decamp:hold", "no such tag", why, "# remove the tag decamp:hold"]);
    }
    if let Some((least, _)) = read.roster.healthy_percentages.filter(|(least, _)| *least < 100) {
        let value = format!("MinHealthyPercentage {least}");
        let why = "instances leave before their replacements serve, and other nodes may have no room for their allocations";
        say(
            Warning,
            [&value, "100", why, "instance_maintenance_policy { min_healthy_percentage = 100, max_healthy_percentage = 150 }"],
        );
    }
    if let Some((_, why)) =
        read.looks.iter().find_map(|(d, seen)| seen.group.blind().filter(|_| seen.group.last().is_none()).map(|b| (d, &b.why)))
    {
        let why = format!("it cannot be seen: {why}");
        say(Verdict::Unknown, ["unknown", "its hooks, target groups and tags", &why, "# allow autoscaling:Describe* to decamp"]);
    }
    notices
}

fn target_group_notices(read: &Inspection<'_>) -> Vec<Notice> {
    use Verdict::{Warning, WouldNotWork};
    let mut notices = Vec::new();
    let group = read.looks.iter().find_map(|(_, seen)| seen.group.last());
    let known = |arn| {
        let named = group.is_some_and(|g| g.attached.contains(arn) || g.hooks.iter().any(|h| h.target_groups.contains(arn)));
        named || read.policy.target_groups.contains(arn)
    };
    match &read.scanned {
        Ok(found) => {
            for arn in found.iter().filter(|arn| !known(*arn)) {
                let why =
                    "it keeps sending to an instance that leaves: decamp only deregisters from attached or named target groups";
                let line = format!("DECAMP_TARGET_GROUPS={arn}");
                let texts = [NOT_NAMED, "named", why, &line];
                let verdict = if read.policy.scan { continue } else { WouldNotWork };
                notices.push(notice(verdict, Layer::LoadBalancer, arn.name(), texts));
            }
        }
        Err(why) => {
            let why = format!("it is unknown whether others list the group's instances: {why}");
            let texts = ["not scanned", "a scan of all target groups", &why, "# allow elasticloadbalancing:Describe* to decamp"];
            notices.push(notice(Verdict::Unknown, Layer::LoadBalancer, &read.asg, texts));
        }
    }
    let mut reported = BTreeSet::new();
    for balancer in read.looks.iter().flat_map(|(_, seen)| &seen.balancers) {
        let name = balancer.arn.name();
        let gone = balancer.sight.last().is_some_and(|g| g.targets.is_none());
        if !reported.insert(balancer.arn.to_string()) {
            continue;
        }
        match (balancer.sight.last(), balancer.sight.blind()) {
            (Some(_), _) if gone => {
                let texts = [
                    "named, but does not exist",
                    "an existing target group",
                    "decamp ignores it",
                    "# remove it from the setting or metadata that names it",
                ];
                notices.push(notice(Warning, Layer::LoadBalancer, name, texts));
            }
            (None, Some(blind)) => {
                let why = format!("it cannot be seen, and a departure would wait for it: {}", blind.why);
                let texts = ["unknown", "its targets", &why, "# allow elasticloadbalancing:Describe* to decamp"];
                notices.push(notice(Verdict::Unknown, Layer::LoadBalancer, name, texts));
            }
            (Some(group), _) if group.delay.is_none() => {
                let why = "its deregistration delay cannot be read, so 300 s are assumed";
                let texts =
                    ["delay unknown", "a readable delay", why, "# allow elasticloadbalancing:DescribeTargetGroupAttributes"];
                notices.push(notice(Warning, Layer::LoadBalancer, name, texts));
            }
            (Some(_) | None, _) => {}
        }
    }
    notices
}

fn node_notices(read: &Inspection<'_>) -> Vec<Notice> {
    use Verdict::{Warning, WouldNotWork};
    let mut notices = Vec::new();
    for (departure, seen) in &read.looks {
        let instance = departure.instance.to_string();
        let mut say = |verdict, texts: [&str; 4]| notices.push(notice(verdict, Layer::Node, &instance, texts));
        match seen.nomad.last() {
            None => {
                let why = seen
                    .nomad
                    .blind()
                    .map_or_else(|| "it was not read".to_owned(), |b| format!("Nomad cannot be seen: {}", b.why));
                say(Verdict::Unknown, ["unknown", "its Nomad node", &why, "NOMAD_ADDR=https://… NOMAD_TOKEN=…"]);
            }
            Some(nomad) if nomad.nodes.is_empty() => {
                if is_named_by_any(&read.policy.without_nomad, &read.asg) {
                    continue;
                }
                let why = "no node has its instance id in its attributes, meta, name or hostname: decamp would neither see nor stop what \
                           runs on it";
                say(
                    WouldNotWork,
                    [
                        "no Nomad node",
                        "one",
                        why,
                        "# let Nomad reach the instance metadata service, or set client { meta { instance_id = … } }; \
                         DECAMP_WITHOUT_NOMAD names groups that run no Nomad",
                    ],
                );
            }
            Some(nomad) => {
                for node in nomad.nodes.iter().filter(|node| node.status != NodeStatus::Ready) {
                    let value = format!("node {} {:?}", node.name, node.status).to_lowercase();
                    say(
                        Warning,
                        [&value, "ready", "its allocations can be neither stopped nor seen", "# repair its Nomad agent"],
                    );
                }
                // decamp's own drain belongs to a departure in progress, which must not be cancelled.
                let ours = |node: &&Node| node.last_drain.as_ref().is_some_and(|last| last.meta.is_some());
                for node in nomad.nodes.iter().filter(|node| node.drain.is_some() && !ours(node)) {
                    let value = format!("node {} is draining", node.name);
                    say(
                        Warning,
                        [
                            &value,
                            "no drain before the departure",
                            "decamp would take over somebody else's drain",
                            "nomad node drain -disable <node>",
                        ],
                    );
                }
            }
        }
    }
    notices
}

fn is_named_by_any(patterns: &[Arc<str>], name: &str) -> bool {
    patterns.iter().any(|pattern| decamp_core::decide::is_named_by(pattern, name))
}
