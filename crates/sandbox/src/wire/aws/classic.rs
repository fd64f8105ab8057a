//! The query calls of Classic Load Balancers (version 2012-06-01). A Classic Load Balancer is a target group of the model whose targets
//! are instances. Each port of a target belongs to one of its listeners.

use std::collections::BTreeSet;
use std::time::Duration;

use super::query::Params;
use super::xml::Xml;
use super::{QueryError, unknown};
use crate::wire::Shared;
use decamp_core::ids::{TargetGroupArn, TargetId};
use decamp_sim::load_balancers::{AwsState, LoadBalancers, Named, TargetView};

/// Answers one call.
pub(super) fn answer(shared: &Shared, action: &str, params: &Params) -> Result<Xml, QueryError> {
    match action {
        "DescribeLoadBalancers" => shared.look(|models| balancers(models.aws().1, params)),
        "DescribeLoadBalancerAttributes" => shared.look(|models| attributes(models.aws().1, params)),
        "DescribeInstanceHealth" => shared.look(|models| health(models.aws().1, params)),
        "DeregisterInstancesFromLoadBalancer" => shared.with(|models| {
            let elb = models.aws().1;
            let arn = named(elb, params)?;
            elb.deregister(&arn, &instances(params))?;
            Ok(remaining(elb, &arn))
        }),
        "RegisterInstancesWithLoadBalancer" => shared.with(|models| {
            let elb = models.aws().1;
            let arn = named(elb, params)?;
            elb.register(&arn, &instances(params))?;
            Ok(remaining(elb, &arn))
        }),
        "ModifyLoadBalancerAttributes" => shared.with(|models| {
            let elb = models.aws().1;
            let arn = named(elb, params)?;
            let crosses = params.parsed("LoadBalancerAttributes.CrossZoneLoadBalancing.Enabled")?;
            crosses.into_iter().for_each(|on| elb.set_balancer_cross_zone(&arn, on));
            let draining = "LoadBalancerAttributes.ConnectionDraining";
            let seconds = params.parsed(&format!("{draining}.Timeout"))?.unwrap_or(300);
            let on = params.parsed(&format!("{draining}.Enabled"))?.unwrap_or(true);
            elb.set_delay(&arn, if on { Duration::from_secs(seconds) } else { Duration::ZERO });
            Ok(Xml::default())
        }),
        _ => Err(unknown(action)),
    }
}

fn not_found(name: &str) -> QueryError {
    QueryError { status: 400, code: "LoadBalancerNotFound", message: format!("There is no ACTIVE Load Balancer named '{name}'") }
}

/// The load balancer that a call names.
fn named(elb: &mut LoadBalancers, params: &Params) -> Result<TargetGroupArn, QueryError> {
    let name = params.needed("LoadBalancerName")?;
    find(elb, name).ok_or_else(|| not_found(name))
}

fn find(elb: &LoadBalancers, name: &str) -> Option<TargetGroupArn> {
    elb.arns().find(|arn| arn.is_classic() && arn.name() == name).cloned()
}

fn instances(params: &Params) -> Vec<Named> {
    let ids = (1..=params.members("Instances", "InstanceId")).filter_map(|at| params.member("Instances", at, "InstanceId"));
    ids.map(|id| Named { id: TargetId::read(id), port: None, zone: None }).collect()
}

/// The registered instances, each once.
fn registered(elb: &LoadBalancers, arn: &TargetGroupArn) -> BTreeSet<String> {
    let rows = elb.inside(arn).into_iter().filter(|row| !is_leaving(row));
    rows.map(|row| row.id.to_string()).collect()
}

fn is_leaving(row: &TargetView) -> bool {
    matches!(row.state, AwsState { state: "draining", .. } | AwsState { reason: Some("Target.NotRegistered"), .. })
}

fn remaining(elb: &LoadBalancers, arn: &TargetGroupArn) -> Xml {
    let mut xml = Xml::default();
    xml.list("Instances", registered(elb, arn), |xml, id| {
        xml.text("InstanceId", id);
    });
    xml
}

fn balancers(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    elb.read()?;
    let wanted = params.list("LoadBalancerNames");
    if let Some(missing) = wanted.iter().find(|name| find(elb, name).is_none()) {
        return Err(not_found(missing));
    }
    let all: Vec<TargetGroupArn> = elb.arns().filter(|arn| arn.is_classic()).cloned().collect();
    let rows = all.into_iter().filter(|arn| wanted.is_empty() || wanted.contains(&arn.name()));
    let mut xml = Xml::default();
    xml.list("LoadBalancerDescriptions", rows, |xml, arn| {
        let port = elb.setup(&arn).map(|setup| setup.port);
        let ports: BTreeSet<u16> = elb.inside(&arn).iter().map(|row| row.port).chain(port).collect();
        xml.text("LoadBalancerName", arn.name())
            .text("DNSName", format!("{}.{}.elb.amazonaws.com", arn.name(), arn.region()))
            .list("ListenerDescriptions", ports, |xml, port| {
                xml.within("Listener", |xml| {
                    xml.text("Protocol", "HTTP")
                        .text("LoadBalancerPort", port)
                        .text("InstanceProtocol", "HTTP")
                        .text("InstancePort", port);
                });
            })
            .list("Instances", registered(elb, &arn), |xml, id| {
                xml.text("InstanceId", id);
            })
            .text("Scheme", "internal");
    });
    Ok(xml)
}

fn attributes(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    let arn = named(elb, params)?;
    let delay = elb.delay(&arn)?;
    let crosses = elb.setup(&arn).is_some_and(|setup| setup.cross_zone.is_on());
    let mut xml = Xml::default();
    xml.within("LoadBalancerAttributes", |xml| {
        xml.nested("CrossZoneLoadBalancing", "Enabled", crosses);
        xml.within("ConnectionDraining", |xml| {
            xml.text("Enabled", !delay.is_zero()).text("Timeout", if delay.is_zero() { 300 } else { delay.as_secs() });
        });
    });
    Ok(xml)
}

fn health(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    let arn = named(elb, params)?;
    let mut rows = elb.target_views(&arn)?;
    // An instance has one row for all its ports.
    rows.sort_by_key(|row| row.id.to_string());
    rows.dedup_by(|one, other| one.id == other.id);
    let wanted: Vec<TargetId> = instances(params).into_iter().map(|named| named.id).collect();
    let absent = wanted.iter().filter(|id| rows.iter().all(|row| row.id != **id)).cloned().collect::<Vec<_>>();
    rows.retain(|row| wanted.is_empty() || wanted.contains(&row.id));
    let states = rows
        .iter()
        .map(|row| (row.id.to_string(), instance_state(row)))
        .chain(absent.into_iter().map(|id| (id.to_string(), GONE)));
    let mut xml = Xml::default();
    xml.list("InstanceStates", states, |xml, (id, [state, reason, description])| {
        xml.text("InstanceId", id).text("State", state).text("ReasonCode", reason).text("Description", description);
    });
    Ok(xml)
}

const GONE: [&str; 3] = ["OutOfService", "Instance", "Instance is not currently registered with the LoadBalancer."];

/// State, reason and description in AWS's words.
fn instance_state(row: &TargetView) -> [&'static str; 3] {
    match row.state.state {
        "healthy" => ["InService", "N/A", "N/A"],
        // AWS shows it as in service while its requests finish ("Configure connection draining").
        "draining" => ["InService", "N/A", "Instance deregistration currently in progress."],
        "initial" => ["OutOfService", "ELB", "Instance registration is still in progress."],
        "unused" if row.state.reason == Some("Target.NotRegistered") => GONE,
        "unused" => ["OutOfService", "Instance", "Instance is in stopped state."],
        _ => [
            "OutOfService",
            "Instance",
            "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.",
        ],
    }
}
