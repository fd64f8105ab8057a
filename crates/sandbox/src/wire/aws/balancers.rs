//! Elastic Load Balancing's query calls about load balancers. Each target group in use has its own load balancer of the same name.

use super::load_balancers::{CROSS_ZONE, balancer_arn};
use super::query::Params;
use super::xml::Xml;
use super::{QueryError, unknown};
use crate::wire::Shared;
use decamp_sim::load_balancers::{GroupSetup, Kind, LoadBalancers};

/// Answers one call.
pub(super) fn answer(shared: &Shared, action: &str, params: &Params) -> Result<Xml, QueryError> {
    match action {
        "DescribeLoadBalancers" => shared.look(|models| balancers(models.aws().1, params)),
        "DescribeLoadBalancerAttributes" => shared.look(|models| {
            let elb = models.aws().1;
            elb.read()?;
            Ok(attributes(&of(elb, params)?))
        }),
        "ModifyLoadBalancerAttributes" => shared.with(|models| modify(models.aws().1, params)),
        _ => Err(unknown(action)),
    }
}

fn not_found() -> QueryError {
    QueryError { status: 400, code: "LoadBalancerNotFound", message: "Load balancers not found".into() }
}

/// The target groups that are in use.
fn used(elb: &LoadBalancers) -> impl Iterator<Item = &GroupSetup> {
    elb.arns().filter(|arn| !arn.is_classic()).filter_map(|arn| elb.setup(arn)).filter(|setup| setup.in_use)
}

/// The target group of the load balancer that a call names.
fn of(elb: &LoadBalancers, params: &Params) -> Result<GroupSetup, QueryError> {
    let arn = params.needed("LoadBalancerArn")?;
    used(elb).find(|setup| balancer_arn(setup) == arn).cloned().ok_or_else(not_found)
}

fn balancers(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    elb.read()?;
    let (arns, names) = (params.list("LoadBalancerArns"), params.list("Names"));
    let all: Vec<&GroupSetup> = used(elb).collect();
    let wanted = |setup: &&&GroupSetup| {
        (arns.is_empty() || arns.contains(&&*balancer_arn(setup))) && (names.is_empty() || names.contains(&setup.arn.name()))
    };
    let rows: Vec<&&GroupSetup> = all.iter().filter(wanted).collect();
    if rows.is_empty() && !(arns.is_empty() && names.is_empty()) {
        return Err(not_found());
    }
    let mut xml = Xml::default();
    xml.list("LoadBalancers", rows, |xml, setup| {
        let kind = match setup.kind {
            Kind::Alb | Kind::Classic => "application",
            Kind::Nlb => "network",
        };
        xml.text("LoadBalancerArn", balancer_arn(setup))
            .text("LoadBalancerName", setup.arn.name())
            .text("DNSName", format!("{}.elb.{}.amazonaws.com", setup.arn.name(), setup.arn.region()))
            .text("Scheme", "internal")
            .text("VpcId", "vpc-00000001")
            .nested("State", "Code", "active")
            .text("Type", kind)
            .text("IpAddressType", "ipv4");
    });
    Ok(xml)
}

fn attributes(setup: &GroupSetup) -> Xml {
    let rows = [("deletion_protection.enabled", false), (CROSS_ZONE, setup.cross_zone.of_balancer)];
    let mut xml = Xml::default();
    xml.list("Attributes", rows, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
    xml
}

fn modify(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    let setup = of(elb, params)?;
    elb.deregister(&setup.arn, &[])?;
    for at in 1..=params.members("Attributes", "Key") {
        if params.member("Attributes", at, "Key") == Some(CROSS_ZONE) {
            let on = params.parsed(&format!("Attributes.member.{at}.Value"))?.unwrap_or(true);
            if setup.kind == Kind::Alb && !on {
                return Err(QueryError::invalid(format!("{CROSS_ZONE} cannot be turned off for an Application Load Balancer")));
            }
            elb.set_balancer_cross_zone(&setup.arn, on);
        }
    }
    Ok(attributes(&of(elb, params)?))
}
