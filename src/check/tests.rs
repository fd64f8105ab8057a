//! What `decamp check` reports of a group that differs from a calm one in one respect.

mod passes;
mod stops;
mod target_groups;
mod warm_up;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use decamp_aws::Roster;
use decamp_config::Settings;
use decamp_core::decide::{
    Allocation, BalancerKind, Cause, Claims, ClientStatus, Departure, Disk, Group, HandRegistration, Hook, JobKind, Lifecycle,
    LifecycleAction, Node, NodeStatus, Nomad, Observation, Process, Provider, Registration, Registrations, Service, Snapshot,
    Target, TargetGroup, TargetHealth, Task, TaskGroup, TaskRole, TokenAccess, Unseen, Zones,
};
use decamp_core::ids::{InstanceId, NodeId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

use super::rules::{Report, Verdict, report};
use super::selection::Selection;
use super::{Inspection, print};

const NOW: Time = Time(1_800_000_000_000);

/// A calm group of two instances, in parts that a test may change.
struct Calm {
    roster: Roster,
    group: Group,
    nomad: Result<Vec<Nomad>, Unseen>,
    sight: TokenAccess,
    consul_whole: bool,
    registered: bool,
    by_hand: Vec<&'static str>,
    scanned: Result<Vec<TargetGroupArn>, Unseen>,
    variables: Vec<(&'static str, String)>,
    kind: BalancerKind,
    zones: Zones,
    delay: Duration,
    /// Whether the scan was the last to report the target group. A scan does not know which groups are attached.
    scanned_again: bool,
    /// What Nomad still has of the jobs' ended allocations.
    past: Vec<super::stops::PastStops>,
    replacing: super::warm_up::Replacing,
}

fn arn(name: &str) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/0123456789abcdef").parse().expect("an ARN")
}

fn instance(number: u8) -> InstanceId {
    format!("i-0123456789abcdef{number}").parse().expect("an id")
}

fn hook(name: &str, heartbeat_s: u64) -> Hook {
    let heartbeat_timeout = Duration::from_secs(heartbeat_s);
    Hook {
        name: name.into(),
        heartbeat_timeout,
        global_timeout: heartbeat_timeout * 100,
        target_groups: Vec::new(),
        misnamed: Vec::new(),
    }
}

fn web(job: &str, count: u32) -> Arc<TaskGroup> {
    let seconds = Duration::from_secs;
    Arc::new(TaskGroup {
        namespace: "default".into(),
        job: job.into(),
        name: "web".into(),
        kind: JobKind::Service,
        csi_plugin: false,
        migrates_disk: false,
        volumes: Vec::new(),
        count,
        max_parallel: Some(1),
        shutdown_delay: seconds(20),
        tasks: vec![Task {
            name: "srv".into(),
            shutdown_delay: seconds(0),
            kill_timeout: seconds(10),
            role: TaskRole::Main,
            process: Process::default(),
        }],
        services: vec![Service { name: "web".into(), provider: Provider::Consul, namespace: None }],
        ingress: None,
    })
}

fn allocation(number: u128, group: Arc<TaskGroup>) -> Allocation {
    let id = format!("00000000-0000-0000-0000-{number:012}").parse().expect("an id");
    let ports: Arc<[u16]> = Arc::from([20_000]);
    Allocation {
        id,
        group,
        wanted: true,
        client: ClientStatus::Running,
        ports,
        own: None,
        started: Some(Time(0)),
        told: None,
        ended: None,
        ends: [].into(),
        moved: false,
        disk: Disk::Stays,
        claims: Claims::default(),
    }
}

fn node(number: u8, group: &Arc<TaskGroup>) -> Nomad {
    let address: IpAddr = [10, 0, 0, number].into();
    let node = Node {
        id: NodeId(number.into()),
        name: format!("client{number}").into(),
        status: NodeStatus::Ready,
        status_since: None,
        eligible: true,
        drain: None,
        last_drain: None,
        addresses: vec![address],
        consul_name: None,
        notes: Vec::new(),
        leaves_local_data: false,
        version: "2.0.5".into(),
        allocations: Arc::from([allocation(number.into(), Arc::clone(group))]),
    };
    Nomad { nodes: vec![node], set_aside: Vec::new() }
}

fn calm() -> Calm {
    let job = web("web", 4);
    Calm {
        roster: Roster {
            instances: (1..=2).map(|n| (instance(n), Lifecycle::Staying("InService".into()))).collect(),
            reuses: false,
            healthy_percentages: Some((100, 150)),
            warm_up: None,
            grace: None,
        },
        group: Group {
            hooks: vec![hook("decamp", 900)],
            attached: vec![arn("front")],
            unhandled: Vec::new(),
            held: false,
            retains: false,
            activity_began: None,
            launched: decamp_core::decide::Launched::Unasked,
        },
        nomad: Ok((1..=2).map(|n| node(n, &job)).collect()),
        sight: TokenAccess::Full,
        consul_whole: true,
        registered: true,
        by_hand: Vec::new(),
        scanned: Ok(vec![arn("front")]),
        variables: Vec::new(),
        kind: BalancerKind::Alb,
        zones: Zones::Crossed,
        delay: Duration::from_secs(30),
        scanned_again: false,
        past: Vec::new(),
        replacing: super::warm_up::Replacing { checks: Vec::new(), preferences: Ok(None) },
    }
}

impl Calm {
    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn look(&self, place: usize, instance: InstanceId) -> (Departure, Snapshot) {
        let action = LifecycleAction { began: Some(NOW), ..LifecycleAction::default() };
        let departure = Departure { instance, asg: "web".into(), cause: Cause::Lifecycle(action) };
        let mut seen = Snapshot::begin(instance, NOW);
        seen.take(NOW, Observation::Group(Ok(self.group.clone())));
        let target =
            |instance| Target { id: TargetId::Instance(instance), port: 8080, zone: None, health: TargetHealth::Healthy };
        let front = TargetGroup {
            arn: arn("front"),
            attached: !self.scanned_again,
            kind: self.kind,
            delay: Some(self.delay),
            connection_termination: None,
            zones: self.zones.clone(),
            targets: Some(self.roster.instances.iter().map(|(instance, _)| target(*instance)).collect()),
        };
        seen.take(NOW, Observation::TargetGroup(arn("front"), Ok(front)));
        let nomad = self.nomad.clone().map(|nodes| nodes[place].clone());
        let services = nomad.iter().flat_map(Nomad::allocations).filter(|_| self.registered);
        let services: Vec<_> =
            services.map(|a| Registration { allocation: a.id, service: "web".into(), critical: false }).collect();
        seen.take(NOW, Observation::Nomad(nomad));
        seen.take(NOW, Observation::NomadToken(Ok(self.sight.clone())));
        let by_hand = self.by_hand.iter().map(|name| HandRegistration { service: (*name).into(), critical: false }).collect();
        let registrations = Registrations { whole: self.consul_whole, agent_dead: false, services: services.into(), by_hand };
        seen.take(NOW, Observation::Consul(Ok(registrations)));
        seen.take(NOW, Observation::Nomad(self.nomad.clone().map(|nodes| nodes[place].clone())));
        (departure, seen)
    }

    fn report(self) -> Report {
        let get = |name: &str| self.variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
        let settings = Settings::read(&get, &[]).expect("they make sense");
        let looks = (0..).zip(&self.roster.instances).map(|(place, (id, _))| self.look(place, *id)).collect();
        let (roster, scanned) = (self.roster.clone(), self.scanned.clone());
        report(&Inspection {
            asg: "web".into(),
            settings: &settings,
            policy: settings.policy_of("web"),
            roster,
            looks,
            scanned,
            servers: Ok(Vec::new()),
            past: self.past,
            replacing: self.replacing,
        })
    }
}

/// The printed report, facts included.
fn printed(report: &Report) -> String {
    let lines = print::all(&Selection::default(), std::slice::from_ref(report), "eu-west-1", true);
    lines.iter().map(|line| line.text() + "\n").collect()
}

/// The verdict, and the value of each notice.
fn reported(report: &Report) -> (Verdict, Vec<&str>) {
    (report.verdict, report.notices.iter().map(|notice| &*notice.value).collect())
}

#[test]
fn a_calm_group_works_without_a_notice() {
    let report = calm().report();
    assert_eq!(reported(&report), (Verdict::Works, vec![]));
    assert_eq!(report.verdict.exit_code(), 0);
    let (budget, _) = report.budget.expect("it has instances");
    assert_eq!((budget.balancers, budget.longest_stop), (Duration::from_secs(30), Duration::from_secs(30)));
}

#[test]
fn one_change_from_calm_makes_one_notice() {
    use Verdict::{Unknown, Warning, WouldNotWork};
    type Change = fn(&mut Calm);
    let cases: &[(Verdict, &str, Change)] = &[
        (WouldNotWork, "heartbeat time-out 2m 59s", |c| c.group.hooks = vec![hook("decamp", 179)]),
        (Warning, "heartbeat time-out 3m", |c| c.group.hooks = vec![hook("decamp", 180)]),
        (WouldNotWork, "no terminating lifecycle hook of ours", |c| c.group.hooks.clear()),
        (WouldNotWork, "terminating hooks decamp, other", |c| c.group.hooks.push(hook("other", 900))),
        (WouldNotWork, "metadata that cannot be read", |c| {
            c.group.hooks[0].misnamed.push("its key `target_group` is not read; write target_groups".into());
        }),
        (WouldNotWork, "reuse on scale-in", |c| c.roster.reuses = true),
        (Warning, "MinHealthyPercentage 90", |c| c.roster.healthy_percentages = Some((90, 100))),
        (Warning, "tag decamp:hold", |c| c.group.held = true),
        (WouldNotWork, "neither attached nor named", |c| c.scanned = Ok(vec![arn("front"), arn("other")])),
        (Unknown, "not scanned", |c| c.scanned = Err(Unseen::Throttled)),
        (WouldNotWork, "no node write", |c| c.sight = TokenAccess::Insufficient("no node write".into())),
        (Warning, "may not see all", |c| {
            c.consul_whole = false;
            c.registered = false;
        }),
        (Warning, "count 2 with max_parallel 2", |c| {
            for node in c.nomad.iter_mut().flatten().flat_map(|nomad| &mut nomad.nodes) {
                let mut all = node.allocations.to_vec();
                all.iter_mut().for_each(|a| {
                    let group = Arc::make_mut(&mut a.group);
                    (group.count, group.max_parallel) = (2, Some(2));
                });
                node.allocations = all.into();
            }
        }),
        (Warning, "switched off", |c| c.variables.push(("DECAMP_CONSUL", "false".into()))),
        (Unknown, "no instances", |c| {
            c.roster.instances.clear();
            c.scanned = Ok(vec![]);
        }),
    ];
    for (verdict, value, change) in cases {
        let report = calm().change(change).report();
        assert_eq!(reported(&report), (*verdict, vec![*value]));
        assert!(report.notices.iter().all(|n| !n.line.is_empty() && !n.why.is_empty()), "{value}");
    }
}

#[test]
fn a_heartbeat_timeout_that_the_lambdas_defaults_fit_into_makes_no_notice() {
    assert_eq!(calm().change(|c| c.group.hooks = vec![hook("decamp", 720)]).report().verdict, Verdict::Works);
    assert_eq!(calm().change(|c| c.group.hooks = vec![hook("decamp", 719)]).report().verdict, Verdict::Warning);
}

#[test]
fn a_consul_token_that_may_not_see_all_makes_no_notice_if_it_lists_every_declared_service() {
    assert_eq!(calm().change(|c| c.consul_whole = false).report().verdict, Verdict::Works);
}

#[test]
fn a_nomad_that_cannot_be_read_is_never_taken_for_one_without_nodes() {
    let report = calm().change(|c| c.nomad = Err(Unseen::Away("connection refused".into()))).report();
    assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::Unknown, 3));
    let unavailable: Vec<&str> = report.unavailable.iter().map(|one| one.why.as_str()).collect();
    assert_eq!((unavailable, report.notices.len()), (vec!["connection refused"], 0), "it is reported once");
    let printed = printed(&report);
    let zeros = ["0 allocations", "longest stop of an allocation      0s", "a departure works"];
    assert!(zeros.iter().all(|zero| !printed.contains(zero)) && printed.starts_with("Nomad cannot be seen\n"), "{printed}");
    assert_eq!(printed.matches("connection refused").count(), 1, "{printed}");
    assert!(printed.contains("longest stop of an allocation      unknown"), "{printed}");
    let json = serde_json::to_value(&report).expect("it is data");
    assert_eq!((&json["budget"]["longest_stop"], &json["verdict"]), (&serde_json::Value::Null, &"unknown".into()));
    let none = calm().change(|c| c.nomad = Ok(vec![Nomad { nodes: vec![], set_aside: vec![] }; 2])).report();
    assert_eq!(none.verdict, Verdict::WouldNotWork, "what runs there could be neither seen nor stopped");
    assert!(none.notices.iter().all(|n| n.value == "no Nomad node"), "{:?}", none.notices);
}

#[test]
fn decamps_own_job_must_survive_the_loss_of_any_host() {
    let with_jobs = |counts: [(&str, u32); 2]| {
        let nodes = (1..=2).zip(counts).map(|(n, (job, count))| node(n, &web(job, count))).collect();
        calm().change(|c| c.nomad = Ok(nodes)).report()
    };
    assert_eq!(reported(&with_jobs([("decamp", 2), ("decamp", 2)])).0, Verdict::Works);
    assert!(reported(&with_jobs([("decamp", 2), ("web", 4)])).1.contains(&"decamp on one host"));
    assert!(reported(&with_jobs([("decamp", 1), ("web", 4)])).1.contains(&"decamp in one copy"));
}

#[test]
fn a_retained_instance_is_named_with_the_command_that_terminates_it() {
    let report = calm().change(|c| c.roster.instances[1].1 = Lifecycle::Retained).report();
    let notice = report.notices.iter().find(|n| n.value.contains("retained")).expect("it is named");
    assert_eq!(notice.line, format!("aws ec2 terminate-instances --instance-ids {}", instance(2)));
}

#[test]
fn a_loss_that_each_departure_would_foresee_is_reported_once_for_the_group() {
    let short = |job: &str| {
        let mut group = (*web(job, 4)).clone();
        group.shutdown_delay = Duration::from_secs(2);
        Arc::new(group)
    };
    let report = calm().change(|c| c.nomad = Ok((1..=2).map(|n| node(n, &short("web"))).collect())).report();
    assert_eq!(reported(&report), (Verdict::Warning, vec!["shutdown_delay 2s"]));
}

#[test]
fn the_verdict_is_never_works_while_a_fact_that_it_needs_is_unknown() {
    type Change = fn(&mut Calm);
    let changes: [(&str, Change); 3] = [
        ("the scan", |c| c.scanned = Err(Unseen::Denied("no".into()))),
        ("Nomad", |c| c.nomad = Err(Unseen::Throttled)),
        ("all instances", |c| {
            c.roster.instances.clear();
            c.scanned = Ok(vec![]);
        }),
    ];
    for (what, change) in changes {
        let report = calm().change(change).report();
        let printed = printed(&report);
        assert!(report.verdict == Verdict::Unknown && !printed.contains("a departure works"), "{what}: {printed}");
    }
}

#[test]
fn an_instance_without_a_node_is_named_although_the_others_have_one() {
    let untied = |c: &mut Calm| {
        if let Ok(nodes) = &mut c.nomad {
            nodes[1].nodes.clear();
        }
    };
    let report = calm().change(untied).report();
    assert_eq!(reported(&report), (Verdict::WouldNotWork, vec!["no Nomad node"]));
    assert_eq!(*report.notices[0].object, instance(2).to_string());
    assert!(!printed(&report).contains("a departure works"));
    // The setting names groups that run no Nomad.
    let report = calm().change(untied).change(|c| c.variables = vec![("DECAMP_WITHOUT_NOMAD", "w*".to_owned())]).report();
    assert_eq!(reported(&report), (Verdict::Works, vec![]));
}

#[test]
fn a_service_that_was_registered_by_hand_is_named() {
    let report = calm().change(|c| c.by_hand = vec!["edge"]).report();
    assert_eq!(reported(&report), (Verdict::Warning, vec!["registered with the node's Consul agent, and not by Nomad"]));
    assert_eq!(&*report.notices[0].object, "edge");
    let printed = printed(&report);
    let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("1 service in Consul and edge, registered by hand with the node's agent"), "{printed}");
}

#[test]
fn a_running_service_that_consul_does_not_list_is_named_although_the_token_sees_all() {
    let report = calm().change(|c| c.registered = false).report();
    assert_eq!(reported(&report), (Verdict::Warning, vec!["running, and Consul does not list web on its node"]));
}
