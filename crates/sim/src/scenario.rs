//! The scenario of one departure, drawn from its seed: the cluster, its jobs and load balancers, and decamp's policy.

mod arns;
mod decamp;
mod jobs;
mod needs;
mod routes;
mod volumes;
mod zones;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::arns::arn;
use self::needs::{has_addresses, has_lattice, has_short_hook, is_classic, is_zonal, keeps_connections, needs_group};
use self::zones::Zones;
use super::auto_scaling::{AutoScaling, GroupSetup as AsgSetup, HookSetup, LifecycleState};
use super::bucket::Limit;
use super::consul::{self, Consul};
use super::event::AllocationNumber;
use super::faults::{Fault, Faults};
use super::load_balancers::{GroupSetup, Kind, LoadBalancers, TargetProblem, TargetType};
use super::nomad::{self, NodeSpec, Nomad};
use super::rng::Rng;
use super::traffic::{Backend, Follows, Ingress, Traffic};
use super::world::{SimWorld, Subject};
use decamp_core::decide::{JobKind, Policy};
use decamp_core::ids::{InstanceId, NodeId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// When every departure begins: a moment in January 2027.
pub const BEGIN: Time = Time(1_800_000_000_000);
/// The longest request that any simulated client makes.
pub const LONGEST_REQUEST: Duration = Duration::from_secs(4);

/// A drawn scenario: the world and what the run needs beside it.
pub struct Scenario {
    /// The world at the beginning.
    pub world: SimWorld,
    /// The faults that the departure meets.
    pub faults: Faults,
    /// decamp's policy.
    pub policy: Policy,
    /// The hook's heartbeat time-out.
    pub heartbeat_timeout: Duration,
    /// The longest that a load balancer may still send after the deregistration. The floor counts it.
    pub balancer_floor: Duration,
    /// The longest that a load balancer may route to a target after it no longer lists it.
    pub longest_guard: Duration,
    /// The group of which an allocation may start late.
    pub service_group: Option<nomad::GroupNumber>,
    /// Draws what happens later.
    pub rng: Rng,
}

/// How many times more requests a repeated run of the same cluster sends: as many as a busy cluster, to find rare losses.
const BUSIER: u32 = 100;

/// The process behind the load balancers' port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// An ingress on every node, a system job.
    SystemIngress,
    /// An ingress that is a service job with a static port.
    ServiceIngress,
    /// A service that answers itself.
    Direct,
    /// A process that Nomad does not know.
    Host,
}

/// Draws a scenario. With another `again` the cluster is the same; its requests, many more of them, its timings and its polls differ.
#[must_use]
pub fn draw(seed: u64, faults: Faults, again: u64) -> Scenario {
    let mut rng = Rng::new(seed ^ 0x000d_eca3_9000_0001);
    let instance = InstanceId::from_number(0xabc_0000 + seed % 0xffff);
    let secs = Duration::from_secs;
    // Sweeps alone cannot keep a hook alive that is shorter than the function allows.
    let swept = faults.has(Fault::SweepsAlone) || faults.has(Fault::MessageLate);
    let short_hook = !swept && has_short_hook(faults);
    let heartbeat_timeout = if short_hook { secs(60 + rng.below(60)) } else { secs([180, 300, 900, 3600][pick(&mut rng, 4)]) };

    // The load balancers.
    let mut balancers = LoadBalancers::new(BEGIN, rng.bits(), Limit::None, Limit::None);
    let groups = [0, 1, 1, 1, 1, 2, 2, 3, 4, 5][pick(&mut rng, 10)];
    let groups = if needs_group(faults) { groups.max(1) } else { groups };
    let mut attached = Vec::new();
    let mut named = Vec::new();
    let mut fronts = Vec::new();
    let (mut balancer_floor, mut longest_guard) = (Duration::ZERO, Duration::ZERO);
    let policy_guards = (secs(10), secs(120));
    let arn = |place: usize| if place == 0 && is_classic(faults) { arns::classic() } else { arn(place) };
    for place in 0..groups {
        let keeps = place == 0 && keeps_connections(faults);
        let (zonal, classic) = (place == 0 && is_zonal(faults), place == 0 && is_classic(faults));
        let kind = if rng.one_in(8) || keeps || zonal && seed.is_multiple_of(2) { Kind::Nlb } else { Kind::Alb };
        let kind = if classic { Kind::Classic } else { kind };
        let mut setup = GroupSetup::new(arn(place), kind, 8080);
        setup.connection_termination = keeps && seed.is_multiple_of(2);
        setup.cross_zone = if zonal { zones::not_crossed(kind) } else { zones::crossed() };
        let short = faults.has(Fault::RequestsOutliveTheDelay) && place == 0;
        setup.delay = if short { secs(rng.below(3)) } else { secs([5, 10, 20, 30, 30, 60, 120, 300][pick(&mut rng, 8)]) };
        // Some Classic Load Balancers have connection draining turned off.
        setup.delay = if classic && seed.is_multiple_of(4) { Duration::ZERO } else { setup.delay };
        setup.lag = match kind {
            Kind::Alb | Kind::Classic => (Duration::ZERO, secs(8)),
            Kind::Nlb => (secs(5), secs(100)),
        };
        let guard = if kind == Kind::Nlb { policy_guards.1 } else { policy_guards.0 };
        // decamp waits longer than any guard for a target that may be the instance's.
        let doubtful = has_addresses(faults) || faults.has(Fault::FoundByScan);
        longest_guard = longest_guard.max(if doubtful { secs(600) } else { guard });
        // Only a named group holds addresses of the instance.
        let by_address = place == 0 && has_addresses(faults);
        let to_find = place == 0 && faults.has(Fault::FoundByScan) && !has_addresses(faults);
        let not_listed = place == 0 && faults.has(Fault::NotListed) && !to_find;
        if rng.one_in(2) && !(short || by_address || to_find || not_listed || faults.has(Fault::SeveralPorts)) {
            attached.push(arn(place));
            balancer_floor = balancer_floor.max(if setup.delay < guard { guard } else { Duration::ZERO });
        } else {
            if !to_find {
                named.push(arn(place));
            }
            balancer_floor = balancer_floor.max(setup.delay.max(guard));
        }
        // A scan cannot find an address that no system reports.
        let findable = !faults.has(Fault::NoNode) && !faults.has(Fault::FingerprintMissing);
        if by_address
            || to_find && findable && seed.is_multiple_of(2)
            || faults.has(Fault::SeveralPorts) && !to_find && place == 0 && groups > 1
        {
            setup.target_type = TargetType::Ip;
        }
        fronts.push((arn(place), setup.target_type));
        balancers.add_group(setup);
    }

    // Nomad and Consul.
    let version =
        [nomad::Version::V2_0_5, nomad::Version::V2_0_5, nomad::Version::V1_10_5, nomad::Version::V1_1_2][pick(&mut rng, 4)];
    let consul_version = if rng.one_in(4) { consul::Version::V1_8_7 } else { consul::Version::V1_19_2 };
    let mut consul = Consul::new(consul_version, BEGIN, Rng::new(rng.bits()));
    let mut nomad = Nomad::new(version, BEGIN, Rng::new(rng.bits())).capped_at(decamp::max_kill_timeout(seed, faults));
    let others = 1 + rng.below(3);
    let mut nodes = Vec::new();
    for place in 0..=others {
        let name: Arc<str> = jobs::name("ip-10-0-0-", place);
        let agent = consul.add_node(Arc::clone(&name));
        let number = nomad.add_node(NodeSpec {
            id: NodeId(u128::from(rng.bits()) << 64 | u128::from(rng.bits())),
            name: Arc::clone(&name),
            instance: if place == 0 {
                (!faults.has(Fault::NoNode) && !faults.has(Fault::FingerprintMissing)).then_some(instance)
            } else {
                Some(InstanceId::from_number(place))
            },
            addresses: vec![IpAddr::from([10, 0, 0, u8::try_from(10 + place).unwrap_or(255)])],
            consul: Some((agent, name)),
        });
        nodes.push((number, agent));
    }
    let (our_node, our_agent) = nodes[0];

    let behind = match rng.below(10) {
        0 => Behind::ServiceIngress,
        1 => Behind::Direct,
        2 => Behind::Host,
        _ => Behind::SystemIngress,
    };
    let mut cluster = jobs::Cluster {
        nomad,
        consul,
        rng: Rng::new(rng.bits()),
        nodes: nodes.iter().map(|(n, _)| *n).collect(),
        // On some days batch jobs have more to do.
        works_long: again % 4 == 3,
        // Where clients keep connections, one ingress in three has less time to stop than a request takes.
        stops_in_short: keeps_connections(faults) && seed.is_multiple_of(3),
    };
    let polls = faults.has(Fault::IngressPolls);
    let backend = match behind {
        Behind::SystemIngress => Some(cluster.ingress(JobKind::System, polls)),
        Behind::ServiceIngress => Some(cluster.ingress(JobKind::Service, polls)),
        Behind::Direct => Some(cluster.direct()),
        Behind::Host => None,
    };
    let mesh = faults.has(Fault::OwnAddresses).then(|| cluster.mesh());
    let drawn = cluster.services(faults);
    let mut aside = Rng::new(seed ^ 0x6c61_7465);
    let in_consul = |group: &nomad::GroupNumber| cluster.nomad.groups()[group.index()].spec.group.in_consul().next().is_some();
    let first = drawn.first.filter(in_consul).filter(|_| aside.one_in(12));
    let late = first.and_then(|first| cluster.comes_up_late(first, &mut aside));
    cluster.beside(faults);
    let strange = IpAddr::from([172, 26, 64, 5]);
    if faults.has(Fault::StrangersAddress) {
        cluster.stranger(seed.is_multiple_of(2), seed % 4 < 2, strange);
    }
    cluster.earlier(Rng::new(seed ^ 0x6561_726c_6965_7221));
    let jobs::Cluster { mut nomad, mut consul, .. } = cluster;
    // If no node reports the instance id, neither does a second one.
    if faults.has(Fault::TwoNodes) && !faults.has(Fault::FingerprintMissing) && !faults.has(Fault::NoNode) {
        let ghost = nomad.add_node(NodeSpec {
            id: NodeId(u128::from(rng.bits())),
            name: jobs::name("ghost-", 0),
            instance: Some(instance),
            // An agent that registered again on the same machine has the machine's address, and so has the row that it left behind.
            addresses: vec![IpAddr::from([10, 0, 0, 10])],
            consul: None,
        });
        nomad.kill_agent(ghost);
    }

    // Targets: the instance's first, then those of the others.
    let zones = is_zonal(faults).then(|| Zones::draw(seed, instance, others));
    let unreported =
        (faults.has(Fault::UnknownAddress) && mesh.is_none()).then(|| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 0x10]));
    let addresses: Vec<IpAddr> =
        [IpAddr::from([10, 0, 0, 10])].into_iter().chain(unreported).chain(mesh.map(|_| jobs::mesh_address(0))).collect();
    let ours: Vec<TargetId> =
        [TargetId::Instance(instance)].into_iter().chain(addresses.iter().copied().map(TargetId::Ip)).collect();
    // This applies only to groups that list instances, because targets by address are found in another way.
    let first = fronts.first().filter(|(arn, target_type)| *target_type == TargetType::Instance && named.contains(arn));
    let not_listed = first.filter(|_| faults.has(Fault::NotListed)).map(|(arn, _)| arn.clone());
    let never_registered = not_listed.clone().filter(|_| seed.is_multiple_of(2));
    let lists_late = not_listed.filter(|_| never_registered.is_none()).map(|arn| (arn, 1));
    for (place, (arn, target_type)) in fronts.iter().enumerate() {
        let by_address = place == 0 && has_addresses(faults);
        let zone = |of: u64| zones.as_ref().filter(|_| place == 0).map(|zones| zones.of(of));
        let id = match target_type {
            TargetType::Ip if by_address => ours[ours.len() - 1].clone(),
            TargetType::Ip => ours[1].clone(),
            TargetType::Instance => ours[0].clone(),
        };
        if never_registered.as_ref() != Some(arn) {
            balancers.put_target(arn, id, 8080, zone(0));
        }
        if by_address && faults.has(Fault::StrangersAddress) {
            balancers.put_target(arn, TargetId::Ip(strange), 8080, None);
        }
        let lonely = faults.has(Fault::LastHealthyTarget);
        for place in 1..=others {
            let id = match target_type {
                TargetType::Ip if by_address && mesh.is_some() => TargetId::Ip(jobs::mesh_address(place)),
                TargetType::Ip => TargetId::Ip(IpAddr::from([10, 0, 0, u8::try_from(10 + place).unwrap_or(255)])),
                TargetType::Instance => TargetId::Instance(InstanceId::from_number(place)),
            };
            if !lonely {
                balancers.put_target(arn, id, 8080, zone(place));
            }
        }
        if faults.has(Fault::SeveralPorts) && *target_type == TargetType::Instance && never_registered.as_ref() != Some(arn) {
            balancers.put_target(arn, ours[0].clone(), 8443, zone(0));
            if seed.is_multiple_of(2) {
                // A target that is `unused` is registered all the same: it may be used again.
                balancers.set_problem(arn, &ours[0], 8443, Some(TargetProblem::InvalidState));
            }
        }
    }

    // An ingress always gets traffic. If decamp knows no target group, there is one that it does not know.
    let is_ingress = matches!(behind, Behind::SystemIngress | Behind::ServiceIngress);
    let unknown = (fronts.is_empty() && is_ingress).then(|| arn(groups));
    if let Some(arn) = &unknown {
        balancers.add_group(GroupSetup::new(arn.clone(), Kind::Alb, 8080));
        balancers.put_target(arn, ours[0].clone(), 8080, None);
        for place in 1..=others {
            balancers.put_target(arn, TargetId::Instance(InstanceId::from_number(place)), 8080, None);
        }
    }

    // A source that decamp cannot deregister from, and Auto Scaling can. It sends for minutes more.
    let lattice = has_lattice(faults).then(|| arn(groups + 1));
    if let Some(arn) = &lattice {
        balancers.add_group(GroupSetup { lag: (secs(5), secs(240)), ..GroupSetup::new(arn.clone(), Kind::Alb, 8080) });
        balancers.put_target(arn, ours[0].clone(), 8080, None);
        for place in 1..=others {
            balancers.put_target(arn, TargetId::Instance(InstanceId::from_number(place)), 8080, None);
        }
    }

    // Auto Scaling.
    let mut auto_scaling = AutoScaling::new(BEGIN, rng.bits(), Limit::None);
    let mut asg = AsgSetup::new(jobs::name("web", 0));
    let mut hook = HookSetup::terminating("decamp".into(), heartbeat_timeout);
    hook.target_groups.clone_from(&named);
    asg.hooks.push(hook);
    if faults.has(Fault::SecondHook) || faults.has(Fault::HooksNotNamed) {
        let mut another = HookSetup::terminating("another".into(), secs(1800));
        // This hook may be the only one that is left, and then decamp acts on it.
        if faults.has(Fault::HooksNotNamed) {
            another.target_groups.clone_from(&named);
        }
        asg.hooks.push(another);
    }
    asg.attached.clone_from(&attached);
    asg.lattice.extend(lattice.clone());
    asg.retains = faults.has(Fault::AbandonRetains);
    let asg_name = Arc::clone(&asg.name);
    auto_scaling.add_group(asg);
    auto_scaling.put_instance(&asg_name, instance, "eu-west-1a".into(), LifecycleState::InService);
    // Of the instances without a node, one in three is young, and one in three is in a group that runs no Nomad.
    let no_node = faults.has(Fault::NoNode) && !faults.has(Fault::FingerprintMissing);
    if no_node && seed.is_multiple_of(3) {
        auto_scaling.launched_at(instance, Time(BEGIN.0 - rng.below(600_000)));
    }
    // An instance that never came up is in no target group, and that is no fault.
    let is_young = never_registered.is_some() && seed % 3 == 1 && !faults.has(Fault::NoNode);
    if is_young {
        auto_scaling.launched_at(instance, Time(BEGIN.0 - 300_000));
    }

    // Clients.
    let follows = if faults.has(Fault::IngressPolls) { Follows::Polls(secs(15)) } else { Follows::Watches };
    let calm = Duration::from_millis(900 + rng.below(2200));
    let gap = if again == 0 { calm } else { calm / BUSIER };
    let front_arns: Vec<TargetGroupArn> = fronts.iter().map(|(arn, _)| arn.clone()).collect();
    let sending: Vec<TargetGroupArn> = front_arns.iter().chain(&unknown).chain(&lattice).cloned().collect();
    let mut otherwise = Rng::new(again);
    let mut rng_of_run = |bits: u64| Rng::new(if again == 0 { bits } else { bits ^ otherwise.bits() });
    let mut traffic = Traffic::new(BEGIN, rng_of_run(rng.bits()), sending, ours, gap, LONGEST_REQUEST);
    traffic.ingress = Ingress::new(follows, Time(BEGIN.0 - rng_of_run(rng.bits()).below(15_000)));
    if follows == Follows::Watches {
        let every = secs([2, 3, 5, 10, 20][pick(&mut rng, 5)]);
        traffic.ingress = traffic.ingress.with_other_changes(BEGIN, every, rng_of_run(rng.bits()));
    }
    if faults.has(Fault::IngressUnderLoad) {
        // A generator of its own keeps the draws of all other clusters unchanged.
        let works_for = Duration::from_millis(500 + Rng::new(seed ^ again ^ 0x6c6f_6164).below(2_000));
        traffic.ingress = traffic.ingress.under_load(works_for);
    }
    for front in 0..fronts.len() + unknown.iter().len() + lattice.iter().len() {
        for port in [8080, 8443] {
            let known = front < fronts.len();
            match mesh.filter(|_| front == 0) {
                Some(copy) => traffic.add_backend(Backend { front, port, behind: Some(copy), is_ingress: false, known }),
                None => traffic.add_backend(Backend { front, port, behind: backend, is_ingress, known }),
            }
        }
    }
    if keeps_connections(faults) {
        // The first backend of the first target group: the group's own port.
        traffic.keep_connections(0, 0);
    }
    let numbers = routes::number(&nomad, &mut traffic, drawn.routed, late);
    let by_hand = faults.has(Fault::ByHand).then(|| jobs::name("by-hand", 0));
    let number_by_hand = by_hand.clone().map(|name| {
        consul.register(our_agent, consul::Entry::by_hand(name), BEGIN, &mut Vec::new());
        traffic.ingress.add_service(vec![AllocationNumber::BY_HAND, AllocationNumber::BY_HAND_ELSEWHERE], true)
    });

    let policy = decamp::policy(seed, faults, &mut rng, no_node && seed % 3 == 1);
    let subject = Subject {
        instance,
        asg: asg_name,
        node: (!faults.has(Fault::NoNode)).then_some(our_node),
        consul_node: our_agent,
        fronts: front_arns,
        addresses,
        unreported,
        nomad_token: decamp::nomad_token(seed, faults),
        consul_token: decamp::consul_token(seed, faults),
        consul_lists: decamp::consul_lists(seed, faults),
        lists_late,
        never_registered: never_registered.filter(|_| !is_young),
        by_hand,
        joining: zones.as_ref().and(first).map(|_| zones::joining()),
        zones_unanswered: false,
        zones_unreported: zones.as_ref().is_some_and(|zones| zones.leaves_one_out),
        zones: zones.map(|zones| zones.reported).unwrap_or_default(),
    };
    let mut world = SimWorld::new(BEGIN, auto_scaling, balancers, nomad, consul, traffic, rng_of_run(rng.bits()), subject);
    world.set_service_numbers(numbers);
    number_by_hand.into_iter().for_each(|number| world.set_number_by_hand(number));
    let all = u32::try_from(world.nomad.allocations().len()).unwrap_or(u32::MAX);
    (0..all).for_each(|number| world.add_process(AllocationNumber(number), true));
    Scenario { world, faults, policy, heartbeat_timeout, balancer_floor, longest_guard, service_group: drawn.first, rng }
}

pub(super) fn pick(rng: &mut Rng, many: u64) -> usize {
    usize::try_from(rng.below(many)).unwrap_or(0)
}
