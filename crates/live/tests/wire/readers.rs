//! Reads one world twice, with the live adapters over the wire and by the simulator directly from the models. Both must see the
//! same.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{
    Allocation, Cause, Departure, Group, GroupToRead, LifecycleAction, Node, Nomad, Observation, Part, Provider, Registration,
    Registrations, Snapshot,
};
use decamp_core::ids::{InstanceId, TargetGroupArn};
use decamp_core::time::Time;
use decamp_core::world::World;
use decamp_sandbox::{ASG, Options};
use decamp_sim::consul;
use decamp_sim::consul::Token as ConsulToken;
use decamp_sim::nomad;
use decamp_sim::nomad::Token;
use futures_util::future::{Either, join, select};

use super::rig::{Rig, quick};

fn parts(rig: &Rig) -> Vec<Part> {
    let groups = rig.sandbox.shared.look(|stage| stage.aws().1.arns().map(to_read).collect());
    let targets = Part::TargetGroups { groups, attributes_again: true };
    vec![Part::Lifecycle, Part::Group { with_activity: true }, targets, Part::Nomad, Part::Consul, Part::NomadServices]
}

fn to_read(arn: &TargetGroupArn) -> GroupToRead {
    GroupToRead { arn: arn.clone(), attached: arn_is_attached(arn) }
}

/// Attached groups come from the group's own settings, the others from the hook's metadata.
fn arn_is_attached(arn: &TargetGroupArn) -> bool {
    arn.name().starts_with("attached")
}

fn sorted(seen: Registrations) -> Registrations {
    let mut services: Vec<Registration> = seen.services.to_vec();
    services.sort_by(|a, b| (a.allocation, &a.service).cmp(&(b.allocation, &b.service)));
    Registrations { services: services.into(), ..seen }
}

/// AWS has whole seconds.
fn in_seconds(group: Group) -> Group {
    Group { activity_began: group.activity_began.map(|at| Time(at.0 / 1000 * 1000)), ..group }
}

/// The adapters do not keep the configuration of ended allocations, by which an ingress is recognized, because thousands of them
/// may be listed.
fn without_ingress_of_ended(mut nomad: Nomad) -> Nomad {
    for node in &mut nomad.nodes {
        let lean = |allocation: &Allocation| {
            let mut lean = allocation.clone();
            if lean.client.is_over() {
                Arc::make_mut(&mut lean.group).ingress = None;
            }
            lean
        };
        node.allocations = node.allocations.iter().map(lean).collect();
    }
    nomad
}

/// Reads the world as the simulator's worker does.
fn by_the_simulator(rig: &Rig, instance: InstanceId) -> Vec<Observation> {
    rig.sandbox.shared.look(|stage| {
        let (asg, elb) = stage.aws();
        let group = asg.look_group(ASG, Some(instance)).map(in_seconds);
        let mut seen = vec![Observation::Lifecycle(asg.look_lifecycle(instance)), Observation::Group(group)];
        let arns: Vec<_> = elb.arns().cloned().collect();
        let mut targets = Vec::new();
        for arn in arns {
            let look = elb.look_group(&arn, arn_is_attached(&arn), None);
            targets.push(Observation::TargetGroup(arn, look));
        }
        seen.extend(targets);
        let cluster = stage.cluster().expect("a sandbox has one");
        let ids: Vec<_> = cluster.nomad.nodes_of(instance).collect();
        let nodes: Vec<Node> = (ids.iter())
            .map(|id| cluster.nomad.look(*id, &Token::AclsOff, nomad::Read::Default).expect("there is a leader").body)
            .collect();
        let agent = cluster.consul.node_number(&nodes[0].name).expect("it has an agent");
        let consul = cluster.consul.look(agent, &ConsulToken::Full, consul::Read::Default).expect("there is a leader").body;
        let services =
            cluster.nomad.registrations(ids[0], &Token::AclsOff, nomad::Read::Default).expect("there is a leader").body;
        seen.push(Observation::Nomad(Ok(without_ingress_of_ended(Nomad { nodes, set_aside: Vec::new() }))));
        seen.push(Observation::Consul(Ok(sorted(consul))));
        seen.push(Observation::NomadServices(Ok(sorted(services))));
        seen
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are compared as they are")]
async fn over_the_wire(rig: &Rig, instance: InstanceId) -> Vec<Observation> {
    let departure = Departure { instance, asg: ASG.into(), cause: Cause::Lifecycle(LifecycleAction::default()) };
    let seen = rig.live.look(&departure, &Snapshot::begin(departure.instance, rig.live.now()), &parts(rig)).await;
    let tidy = |showing| match showing {
        Observation::Group(look) => Observation::Group(look.map(in_seconds)),
        Observation::Nomad(look) => Observation::Nomad(look.map(without_ingress_of_ended)),
        Observation::Consul(look) => Observation::Consul(look.map(sorted)),
        Observation::NomadServices(look) => Observation::NomadServices(look.map(sorted)),
        other => other,
    };
    seen.into_iter().map(tidy).collect()
}

/// Reads both ways and compares. Returns `false` if the world changed meanwhile.
async fn compare(rig: &Rig, instance: InstanceId) -> bool {
    let before = by_the_simulator(rig, instance);
    let read = over_the_wire(rig, instance).await;
    if before != by_the_simulator(rig, instance) {
        return false;
    }
    for (seen, held) in read.iter().zip(&before) {
        assert_eq!(seen, held, "the adapters (left) and the simulator (right)");
    }
    assert_eq!(read.len(), before.len());
    true
}

async fn differ_nowhere(options: Options) {
    let rig = Rig::start(&options).await;
    let instance = rig.sandbox.instances[0];
    let compared = std::cell::Cell::new(0_u32);
    let reading = async {
        loop {
            let round = compare(&rig, instance).await;
            compared.set(compared.get() + u32::from(round));
            // An interval that is not in step with the simulated systems.
            tokio::time::sleep(Duration::from_millis(137)).await;
        }
    };
    match select(Box::pin(rig.depart(instance)), Box::pin(reading)).await {
        Either::Left(((outcome, story), _)) => assert_eq!(outcome.word(), "departed", "{story}"),
        Either::Right(_) => unreachable!("reading goes on for ever"),
    }
    assert!(5 <= compared.get(), "only {} looks compared", compared.get());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapters_and_the_simulator_see_one_world_all_through_a_departure() {
    let native = Options { provider: Provider::Nomad, ..quick() };
    join(differ_nowhere(quick()), differ_nowhere(native)).await;
}
