//! Elastic Load Balancing's query calls about target groups and targets.

use std::sync::Arc;
use std::time::Duration;

use super::query::{Params, page};
use super::xml::Xml;
use super::{QueryError, balancers};
use crate::wire::Shared;
use decamp_core::ids::{TargetGroupArn, TargetId};
use decamp_sim::api_error::ApiError;
use decamp_sim::load_balancers::{AwsState, GroupSetup, Kind, LoadBalancers, Named, TargetType, TargetView};

const DELAY: &str = "deregistration_delay.timeout_seconds";
const TERMINATION: &str = "deregistration_delay.connection_termination.enabled";
/// The attribute of this name exists on target groups and on load balancers.
pub(super) const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
const AS_ITS_BALANCER: &str = "use_load_balancer_configuration";
/// The most groups on one page.
const PAGE: usize = 400;

/// Answers one call.
pub(super) fn answer(shared: &Shared, action: &str, params: &Params) -> Result<Xml, QueryError> {
    match action {
        "DescribeTargetGroups" => shared.look(|models| groups(models.aws().1, params)),
        "DescribeTargetGroupAttributes" => shared.look(|models| attributes(models.aws().1, params)),
        "DescribeTargetHealth" => shared.look(|models| health(models.aws().1, params)),
        "DescribeTags" => shared.look(|models| tags(models.aws().1, params)),
        "DeregisterTargets" => shared.with(|models| {
            models.aws().1.deregister(&arn(params)?, &targets(params)?)?;
            Ok(Xml::default())
        }),
        "RegisterTargets" => shared.with(|models| {
            let (auto_scaling, elb) = models.aws();
            // Elastic Load Balancing knows the zone of an instance.
            let with_zone = |named: Named| match &named.id {
                TargetId::Instance(id) => Named { zone: auto_scaling.instance(*id).map(|i| Arc::clone(&i.zone)), ..named },
                TargetId::Ip(_) | TargetId::Other(_) => named,
            };
            let targets: Vec<Named> = targets(params)?.into_iter().map(with_zone).collect();
            elb.register(&arn(params)?, &targets)?;
            Ok(Xml::default())
        }),
        "ModifyTargetGroupAttributes" => shared.with(|models| modify(models.aws().1, params)),
        _ => balancers::answer(shared, action, params),
    }
}

fn not_found() -> QueryError {
    ApiError::TargetGroupNotFound.into()
}

fn read_arn(text: &str) -> Result<TargetGroupArn, QueryError> {
    text.parse().map_err(|_| QueryError::invalid(format!("'{text}' is not a valid target group ARN")))
}

fn arn(params: &Params) -> Result<TargetGroupArn, QueryError> {
    read_arn(params.needed("TargetGroupArn")?)
}

fn targets(params: &Params) -> Result<Vec<Named>, QueryError> {
    let read = |at| {
        let id = params
            .member("Targets", at, "Id")
            .map(TargetId::read)
            .ok_or_else(|| QueryError::invalid("a target without an id"))?;
        let port = params.parsed(&format!("Targets.member.{at}.Port"))?;
        Ok(Named { id, port, zone: params.member("Targets", at, "AvailabilityZone").map(Arc::from) })
    };
    let named: Vec<Named> = (1..=params.members("Targets", "Id")).map(read).collect::<Result<_, QueryError>>()?;
    if named.is_empty() { Err(QueryError::invalid("At least one target must be specified")) } else { Ok(named) }
}

/// The load balancer of a target group. Each target group in use has its own load balancer of the same name.
pub(super) fn balancer_arn(setup: &GroupSetup) -> String {
    let kind = match setup.kind {
        Kind::Alb | Kind::Classic => "loadbalancer/app/",
        Kind::Nlb => "loadbalancer/net/",
    };
    setup.arn.as_str().replacen("targetgroup/", kind, 1)
}

fn groups(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    elb.read()?;
    let (arns, names) = (params.list("TargetGroupArns"), params.list("Names"));
    let all: Vec<GroupSetup> = elb.arns().filter(|arn| !arn.is_classic()).filter_map(|arn| elb.setup(arn)).cloned().collect();
    let chosen: Vec<&GroupSetup> = match (arns.as_slice(), names.as_slice(), params.text("LoadBalancerArn")) {
        ([], [], None) => all.iter().collect(),
        ([], [], Some(balancer)) => all.iter().filter(|s| s.in_use && balancer_arn(s) == balancer).collect(),
        // A single missing one fails the whole call.
        (_, _, _) => {
            let by_arn = arns.iter().map(|arn| all.iter().find(|s| s.arn.as_str() == *arn));
            let by_name = names.iter().map(|name| all.iter().find(|s| s.arn.name() == *name));
            by_arn.chain(by_name).collect::<Option<_>>().ok_or_else(not_found)?
        }
    };
    let (rows, next) = page(&chosen, params.parsed("Marker")?, params.parsed("PageSize")?.unwrap_or(PAGE).min(PAGE));
    let mut xml = Xml::default();
    xml.list("TargetGroups", rows, |xml, setup| {
        let (protocol, kind) = match (setup.kind, setup.target_type) {
            (Kind::Alb | Kind::Classic, TargetType::Instance) => ("HTTP", "instance"),
            (Kind::Alb | Kind::Classic, TargetType::Ip) => ("HTTP", "ip"),
            (Kind::Nlb, TargetType::Instance) => ("TCP", "instance"),
            (Kind::Nlb, TargetType::Ip) => ("TCP", "ip"),
        };
        xml.text("TargetGroupArn", &setup.arn)
            .text("TargetGroupName", setup.arn.name())
            .text("Protocol", protocol)
            .text("Port", setup.port)
            .text("VpcId", "vpc-00000001")
            .text("HealthCheckProtocol", protocol)
            .text("HealthCheckPort", "traffic-port")
            .text("HealthCheckEnabled", true)
            .text("HealthCheckIntervalSeconds", 10)
            .text("HealthCheckTimeoutSeconds", 5)
            .text("HealthyThresholdCount", 2)
            .text("UnhealthyThresholdCount", 2);
        if setup.kind == Kind::Alb {
            xml.text("HealthCheckPath", "/").nested("Matcher", "HttpCode", 200).text("ProtocolVersion", "HTTP1");
        }
        let balancers = setup.in_use.then(|| balancer_arn(setup));
        xml.texts("LoadBalancerArns", balancers).text("TargetType", kind).text("IpAddressType", "ipv4");
    });
    xml.maybe("NextMarker", next);
    Ok(xml)
}

fn attributes(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    let arn = arn(params)?;
    elb.delay(&arn)?;
    elb.setup(&arn).map(listed_attributes).ok_or_else(not_found)
}

fn listed_attributes(setup: &GroupSetup) -> Xml {
    let own = match setup.kind {
        Kind::Alb | Kind::Classic => ("load_balancing.algorithm.type", "round_robin".to_owned()),
        Kind::Nlb => (TERMINATION, setup.connection_termination.to_string()),
    };
    let crosses = setup.cross_zone.of_group.map_or_else(|| AS_ITS_BALANCER.to_owned(), |on| on.to_string());
    let rows =
        [(DELAY, setup.delay.as_secs().to_string()), ("stickiness.enabled", "false".to_owned()), (CROSS_ZONE, crosses), own];
    let mut xml = Xml::default();
    xml.list("Attributes", rows, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
    xml
}

fn modify(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    let arn = arn(params)?;
    elb.deregister(&arn, &[])?;
    for at in 1..=params.members("Attributes", "Key") {
        if params.member("Attributes", at, "Key") == Some(DELAY) {
            let seconds = params.parsed(&format!("Attributes.member.{at}.Value"))?.unwrap_or(300);
            elb.set_delay(&arn, Duration::from_secs(seconds));
        }
        if params.member("Attributes", at, "Key") == Some(TERMINATION) {
            let terminates = params.parsed(&format!("Attributes.member.{at}.Value"))?.unwrap_or(false);
            elb.set_connection_termination(&arn, terminates);
        }
        if params.member("Attributes", at, "Key") == Some(CROSS_ZONE) {
            let value = params.member("Attributes", at, "Value").unwrap_or(AS_ITS_BALANCER);
            let of_group = match value {
                AS_ITS_BALANCER => None,
                on => Some(on.parse().map_err(|_| QueryError::invalid(format!("'{on}' is not a valid value for {CROSS_ZONE}")))?),
            };
            elb.set_cross_zone(&arn, of_group);
        }
    }
    elb.setup(&arn).map(listed_attributes).ok_or_else(not_found)
}

fn health(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    let arn = arn(params)?;
    let listed = elb.target_views(&arn)?;
    let default = elb.setup(&arn).map_or(0, |setup| setup.port);
    let rows = if params.members("Targets", "Id") == 0 {
        listed
    } else {
        let find = |named: Named| {
            let port = named.port.unwrap_or(default);
            let row = listed.iter().find(|row| row.id == named.id && row.port == port).cloned();
            let state = AwsState { state: "unused", reason: Some("Target.NotRegistered") };
            row.unwrap_or(TargetView { id: named.id, port, zone: named.zone, state })
        };
        targets(params)?.into_iter().map(find).collect()
    };
    let mut xml = Xml::default();
    xml.list("TargetHealthDescriptions", rows, |xml, row| {
        xml.within("Target", |xml| {
            xml.text("Id", &row.id).text("Port", row.port).maybe("AvailabilityZone", row.zone.as_deref());
        });
        xml.text("HealthCheckPort", row.port);
        xml.within("TargetHealth", |xml| {
            xml.text("State", row.state.state).maybe("Reason", row.state.reason);
        });
    });
    Ok(xml)
}

fn tags(elb: &mut LoadBalancers, params: &Params) -> Result<Xml, QueryError> {
    elb.read()?;
    let arns = params.list("ResourceArns");
    if arns.iter().any(|arn| arn.parse().is_ok_and(|arn: TargetGroupArn| elb.setup(&arn).is_none())) {
        return Err(not_found());
    }
    let mut xml = Xml::default();
    xml.list("TagDescriptions", arns, |xml, arn| {
        xml.text("ResourceArn", arn).texts("Tags", [""; 0]);
    });
    Ok(xml)
}
