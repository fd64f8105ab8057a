//! Which of a group's settings cost requests or cannot work. Pure: what was read goes in, a report comes out.

use std::collections::BTreeSet;
use std::sync::Arc;

use decamp_core::decide::{Budget, Hook, Layer, Lifecycle, Node, NodeStatus, Snapshot, System};
use decamp_core::lambda_budget::{Numbers, Rule};
use decamp_core::time::plain;
use serde::{Serialize, Serializer};

use super::Read;
use super::away::{Away, away};
use super::facts::{Fact, facts};
use super::foreseen::foreseen;
use super::own::of_our_own_job;
use super::passes::of_passes;
use super::sight::{of_discovery, of_nomad_sight};
use crate::exit;
use crate::words::Known;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Nothing to say.
    Works,
    /// It costs something, or may.
    Warning,
    /// Something that a departure needs could not be seen.
    Unknown,
    /// A departure would not work.
    WouldNotWork,
}

impl Verdict {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Works => 0,
            Self::Warning => exit::WARNINGS,
            Self::Unknown => exit::ERROR,
            Self::WouldNotWork => exit::WOULD_NOT_WORK,
        }
    }
}

/// One thing to change.
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

/// What `decamp check` says.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(rename = "asg.name")]
    pub(crate) asg: Arc<str>,
    pub(crate) verdict: Verdict,
    /// Systems that could not be seen at all.
    pub(crate) away: Vec<Away>,
    pub(crate) found: Vec<Fact>,
    #[serde(serialize_with = "with_unknowns")]
    pub(crate) budget: Option<(Budget, Known)>,
    /// Layers of which nothing is listed because not all of it was seen.
    pub(crate) unseen: Vec<Layer>,
    pub(crate) notices: Vec<Notice>,
}

/// Everything about a group.
pub(super) fn report(read: &Read<'_>) -> Report {
    let away = away(read);
    let is_away = |system| away.iter().any(|one| one.system == system);
    let mut notices = foreseen(read);
    notices.extend(of_hooks(read));
    notices.extend(of_group(read));
    let forgotten = if is_away(System::LoadBalancers) { Vec::new() } else { of_target_groups(read) };
    if forgotten.iter().any(|notice| notice.value == FORGOTTEN) {
        // Where the scan names the group that nobody named, that none is named is the same finding with less in it.
        notices.retain(|notice| notice.value != NO_TARGET_GROUP);
    }
    notices.extend(forgotten);
    if !is_away(System::Nomad) {
        notices.extend(of_nodes(read));
        notices.extend(of_nomad_sight(read));
    }
    notices.extend(of_discovery(read, is_away(System::Consul)));
    notices.extend(of_our_own_job(read));
    notices.extend(of_passes(read));
    notices.sort_by(|one, other| (other.verdict, one.layer, &one.object).cmp(&(one.verdict, other.layer, &other.object)));
    let unknown = (!away.is_empty()).then_some(Verdict::Unknown);
    let verdict = notices.iter().map(|notice| notice.verdict).max().max(unknown).unwrap_or(Verdict::Works);
    let budget = read.budget().map(|budget| (budget, Known::of_all(read.looks.iter().map(|(_, seen)| seen))));
    Report { asg: Arc::clone(&read.asg), verdict, away, found: facts(read), budget, unseen: unseen(read), notices }
}

/// The layers of which not everything was seen.
fn unseen(read: &Read<'_>) -> Vec<Layer> {
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

/// A target group that holds the group's instances and that nobody told decamp of.
const FORGOTTEN: &str = "neither attached nor named";
/// What a departure foresees that knows of no target group at all.
const NO_TARGET_GROUP: &str = "no target group, attached or named";

pub(super) fn notice(verdict: Verdict, layer: Layer, object: &str, [value, needed, why, line]: [&str; 4]) -> Notice {
    let own = str::to_owned;
    Notice { verdict, layer, object: object.into(), value: own(value), needed: own(needed), why: own(why), line: own(line) }
}

/// Our hooks, as the first look showed them.
pub(super) fn hooks<'a>(read: &'a Read<'_>) -> Vec<&'a Hook> {
    let ours = &read.policy.hooks;
    let group = read.looks.iter().find_map(|(_, seen)| seen.group.last());
    group.into_iter().flat_map(|g| &g.hooks).filter(|hook| ours.is_empty() || ours.contains(&hook.name)).collect()
}

fn of_hooks(read: &Read<'_>) -> Vec<Notice> {
    use Verdict::{Warning, WouldNotWork};
    if read.looks.iter().all(|(_, seen)| seen.group.last().is_none()) {
        // Without an instance, or blind: said elsewhere.
        return Vec::new();
    }
    let hooks = hooks(read);
    let mut notices = Vec::new();
    if hooks.is_empty() {
        let why = "an instance that does not wait is terminated with whatever runs on it";
        let line = "lifecycle_transition = \"autoscaling:EC2_INSTANCE_TERMINATING\", heartbeat_timeout = 900";
        notices.push(notice(WouldNotWork, Layer::Hook, &read.asg, ["no terminating lifecycle hook of ours", "one", why, line]));
    }
    if hooks.len() > 1 {
        let names: Vec<&str> = hooks.iter().map(|hook| &*hook.name).collect();
        let why = "nobody can say which of them is decamp's when no event names it";
        let line = format!("DECAMP_HOOKS={}", names[0]);
        let value = format!("terminating hooks {}", names.join(", "));
        notices.push(notice(WouldNotWork, Layer::Hook, &read.asg, [&value, "one that is decamp's", why, &line]));
    }
    for hook in hooks {
        for fault in &hook.misnamed {
            let why = format!("target groups that it means to name are not left, and go on sending: {fault}");
            let line = "notification_metadata = jsonencode({ target_groups = [aws_lb_target_group.this.arn] })";
            let words = ["metadata that cannot be read", "{\"target_groups\":[\"arn:…\"]}", &why, line];
            notices.push(notice(WouldNotWork, Layer::Hook, &hook.name, words));
        }
        let beat = hook.heartbeat_timeout;
        let value = format!("heartbeat time-out {}", plain(beat));
        let with_the_defaults = Numbers { heartbeat_timeout: beat, ..Numbers::default() };
        if !with_the_defaults.holds(Rule::HeartbeatTooShort) {
            let why = "a pass must heartbeat at a third of it, and end and be handed back within half of it";
            notices.push(notice(WouldNotWork, Layer::Hook, &hook.name, [&value, "3m at least", why, "heartbeat_timeout = 900"]));
        } else if !(with_the_defaults.holds(Rule::VisibilityAboveHeartbeat) && with_the_defaults.holds(Rule::SweepAboveHeartbeat))
        {
            let (function, visibility) = (beat.as_secs() / 12, beat.as_secs() / 2);
            let why = format!(
                "6 times the function's time-out must fit into the queue's visibility time-out, and that into half of the heartbeat \
                 time-out; this one allows a function of {function}s and a visibility of {visibility}s, if the Lambda is used"
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

fn of_group(read: &Read<'_>) -> Vec<Notice> {
    use Verdict::{Warning, WouldNotWork};
    let mut notices = Vec::new();
    let mut say = |verdict, words: [&str; 4]| notices.push(notice(verdict, Layer::Group, &read.asg, words));
    if read.roster.instances.is_empty() {
        let why = "without an instance there is no node, job or target to read";
        say(Verdict::Unknown, ["no instances", "one at least", why, "# run this again when it has one"]);
    }
    if read.roster.reuses {
        let why =
            "an instance that comes back from the warm pool has a node that stays ineligible: nothing waits for its arrival";
        say(WouldNotWork, ["reuse on scale-in", "off", why, "instance_reuse_policy { reuse_on_scale_in = false }"]);
    }
    let is_retained = |(id, lifecycle): &(_, Lifecycle)| (*lifecycle == Lifecycle::Retained).then_some(*id);
    let retained: Vec<String> =
        read.roster.instances.iter().filter_map(is_retained).map(|id: decamp_core::ids::InstanceId| id.to_string()).collect();
    if let Some(first) = retained.first() {
        let value = format!("{} retained: {}", retained.len(), retained.join(", "));
        let line = format!("aws ec2 terminate-instances --instance-ids {first}");
        say(Warning, [&value, "none", "an abandoned departure left them; they are billed until somebody terminates them", &line]);
    }
    if read.looks.iter().any(|(_, seen)| seen.group.last().is_some_and(|g| g.held)) {
        let why = "while it stands decamp heartbeats, and walks the instance out only right before its hook ends";
        say(Warning, ["tag decamp:hold", "no such tag", why, "# remove the tag decamp:hold"]);
    }
    if let Some((least, _)) = read.roster.healthy_percentages.filter(|(least, _)| *least < 100) {
        let value = format!("MinHealthyPercentage {least}");
        let why = "instances leave before others have taken their place, and what ran on them may fit nowhere";
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

fn of_target_groups(read: &Read<'_>) -> Vec<Notice> {
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
                let why = "it goes on sending to an instance that leaves: decamp touches only what it was told of";
                let line = format!("DECAMP_TARGET_GROUPS={arn}");
                let words = [FORGOTTEN, "named", why, &line];
                let verdict = if read.policy.scan { continue } else { WouldNotWork };
                notices.push(notice(verdict, Layer::LoadBalancer, arn.name(), words));
            }
        }
        Err(why) => {
            let why = format!("whether others hold the group's instances cannot be seen: {why}");
            let words = ["not scanned", "a scan of all target groups", &why, "# allow elasticloadbalancing:Describe* to decamp"];
            notices.push(notice(Verdict::Unknown, Layer::LoadBalancer, &read.asg, words));
        }
    }
    let mut told = BTreeSet::new();
    for balancer in read.looks.iter().flat_map(|(_, seen)| &seen.balancers) {
        let name = balancer.arn.name();
        let gone = balancer.sight.last().is_some_and(|g| g.targets.is_none());
        if !told.insert(balancer.arn.to_string()) {
            continue;
        }
        match (balancer.sight.last(), balancer.sight.blind()) {
            (Some(_), _) if gone => {
                let words = [
                    "named, but not there",
                    "an existing target group",
                    "nothing is done about it",
                    "# take it out where it is named",
                ];
                notices.push(notice(Warning, Layer::LoadBalancer, name, words));
            }
            (None, Some(blind)) => {
                let why = format!("it cannot be seen, and a departure would wait for it: {}", blind.why);
                let words = ["unknown", "its targets", &why, "# allow elasticloadbalancing:Describe* to decamp"];
                notices.push(notice(Verdict::Unknown, Layer::LoadBalancer, name, words));
            }
            (Some(group), _) if group.delay.is_none() => {
                let why = "its deregistration delay cannot be read, so 300 s are assumed";
                let words =
                    ["delay unknown", "a readable delay", why, "# allow elasticloadbalancing:DescribeTargetGroupAttributes"];
                notices.push(notice(Warning, Layer::LoadBalancer, name, words));
            }
            (Some(_) | None, _) => {}
        }
    }
    notices
}

fn of_nodes(read: &Read<'_>) -> Vec<Notice> {
    use Verdict::{Warning, WouldNotWork};
    let mut notices = Vec::new();
    for (departure, seen) in &read.looks {
        let instance = departure.instance.to_string();
        let mut say = |verdict, words: [&str; 4]| notices.push(notice(verdict, Layer::Node, &instance, words));
        match seen.nomad.last() {
            None => {
                let why = seen
                    .nomad
                    .blind()
                    .map_or_else(|| "it was not looked at".to_owned(), |b| format!("Nomad cannot be seen: {}", b.why));
                say(Verdict::Unknown, ["unknown", "its Nomad node", &why, "NOMAD_ADDR=https://… NOMAD_TOKEN=…"]);
            }
            Some(nomad) if nomad.nodes.is_empty() => {
                if is_named_by_any(&read.policy.without_nomad, &read.asg) {
                    continue;
                }
                let why = "no node has its instance id, in its attributes, its meta, its name or its hostname: what runs on it would be \
                           neither seen nor stopped";
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
                    say(Warning, [&value, "ready", "what runs on it cannot be stopped or seen", "# look after its Nomad agent"]);
                }
                // A drain of decamp's own belongs to a departure under way: to cancel it would be wrong advice.
                let ours = |node: &&Node| node.last_drain.as_ref().is_some_and(|last| last.meta.is_some());
                for node in nomad.nodes.iter().filter(|node| node.drain.is_some() && !ours(node)) {
                    let value = format!("node {} is draining", node.name);
                    say(
                        Warning,
                        [
                            &value,
                            "no drain before the departure",
                            "somebody's drain would be adopted",
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
