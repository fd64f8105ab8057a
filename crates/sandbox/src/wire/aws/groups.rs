//! Auto Scaling's query calls about groups and their traffic sources.

use super::query::{Params, page};
use super::xml::Xml;
use super::{QueryError, refreshes};
use crate::wire::aws::Account;
use decamp_sim::auto_scaling::{AutoScaling, GroupSetup, Instance};

/// The default size of a page. AWS allows at most 100 groups.
const GROUPS_A_PAGE: usize = 50;
/// The creation time of every group of the sandbox.
const CREATED: &str = "2026-01-01T00:00:00.000Z";

/// `DescribeAutoScalingGroups`.
pub(super) fn groups(asg: &mut AutoScaling, params: &Params, account: &Account) -> Result<Xml, QueryError> {
    asg.call()?;
    let wanted = params.list("AutoScalingGroupNames");
    let with_instances = params.parsed("IncludeInstances")?.unwrap_or(true);
    let all: Vec<&GroupSetup> = asg.groups().filter(|setup| wanted.is_empty() || wanted.contains(&&*setup.name)).collect();
    let size = params.parsed("MaxRecords")?.unwrap_or(GROUPS_A_PAGE).min(100);
    let (rows, next) = page(&all, params.parsed("NextToken")?, size);
    let mut xml = Xml::default();
    xml.list("AutoScalingGroups", rows, |xml, setup| {
        let listed: Vec<&Instance> = asg.instances().filter(|i| asg.group_of(i) == &setup.name).collect();
        let mut zones: Vec<&str> = listed.iter().map(|i| &*i.zone).collect();
        zones.sort_unstable();
        zones.dedup();
        xml.text("AutoScalingGroupName", &setup.name)
            .text("AutoScalingGroupARN", account.group_arn(&setup.name))
            .text("MinSize", 0)
            .text("MaxSize", listed.len())
            .text("DesiredCapacity", listed.len())
            .text("DefaultCooldown", 300)
            .texts("AvailabilityZones", zones)
            .texts("LoadBalancerNames", setup.attached.iter().filter(|arn| arn.is_classic()).map(|arn| arn.name()))
            .texts("TargetGroupARNs", setup.attached.iter().filter(|arn| !arn.is_classic()))
            .text("HealthCheckType", "EC2")
            .text("HealthCheckGracePeriod", 0);
        refreshes::template(xml, &setup.name, setup.version);
        if with_instances {
            xml.list("Instances", &listed, |xml, i| instance(xml, asg, i, if i.healthy { "Healthy" } else { "Unhealthy" }));
        }
        xml.text("CreatedTime", CREATED)
            .texts("SuspendedProcesses", [""; 0])
            .text("VPCZoneIdentifier", "subnet-00000001")
            .list("Tags", &setup.tags, |xml, (key, value)| {
                xml.text("ResourceId", &setup.name).text("ResourceType", "auto-scaling-group");
                xml.text("Key", key).text("Value", value).text("PropagateAtLaunch", false);
            })
            .texts("TerminationPolicies", ["Default"])
            .text("NewInstancesProtectedFromScaleIn", false)
            .list("TrafficSources", sources(setup), |xml, (name, kind)| {
                xml.text("Identifier", name).text("Type", kind);
            });
        if setup.retains {
            xml.within("InstanceLifecyclePolicy", |xml| {
                xml.nested("RetentionTriggers", "TerminateHookAbandon", "retain");
            });
        }
        if let Some(pool) = setup.warm_pool {
            xml.within("WarmPoolConfiguration", |xml| {
                xml.text("MinSize", 0).text("PoolState", pool.rests.name().trim_start_matches("Warmed:"));
                xml.nested("InstanceReusePolicy", "ReuseOnScaleIn", pool.reuse_on_scale_in);
            });
        }
    });
    xml.maybe("NextToken", next);
    Ok(xml)
}

/// An instance, as both Describe calls show it. They spell the health differently.
pub(super) fn instance(xml: &mut Xml, asg: &AutoScaling, instance: &Instance, health: &str) {
    xml.text("InstanceId", instance.id)
        .text("AvailabilityZone", &instance.zone)
        .text("LifecycleState", instance.state.name())
        .text("HealthStatus", health)
        .text("ProtectedFromScaleIn", false);
    refreshes::template(xml, asg.group_of(instance), instance.version);
}

/// The traffic sources of a group, by identifier and type. The identifier of a Classic Load Balancer is its name, not an ARN.
fn sources(setup: &GroupSetup) -> Vec<(String, &'static str)> {
    let attached = setup
        .attached
        .iter()
        .map(|arn| if arn.is_classic() { (arn.name().to_owned(), "elb") } else { (arn.to_string(), "elbv2") });
    let lattice = setup.lattice.iter().map(|arn| {
        let (region, account) = (arn.region(), arn.account());
        (format!("arn:aws:vpc-lattice:{region}:{account}:targetgroup/tg-{}", arn.name()), "vpc-lattice")
    });
    attached.chain(lattice).collect()
}

/// `DescribeTrafficSources`.
pub(super) fn traffic_sources(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    let name = params.needed("AutoScalingGroupName")?;
    let wanted = params.text("TrafficSourceType").map(str::to_owned);
    let size = params.parsed("MaxRecords")?.unwrap_or(50).min(50);
    let token = params.parsed("NextToken")?;
    let setup = asg.describe_group(name)?;
    let mut all = sources(setup);
    all.retain(|(_, kind)| wanted.as_deref().is_none_or(|wanted| wanted == *kind));
    let (rows, next) = page(&all, token, size);
    let mut xml = Xml::default();
    xml.list("TrafficSources", rows, |xml, (name, kind)| {
        xml.text("TrafficSource", name).text("State", "InService").text("Identifier", name).text("Type", kind);
    });
    xml.maybe("NextToken", next);
    Ok(xml)
}

/// `DescribeLoadBalancerTargetGroups`, which other tools still use.
pub(super) fn target_groups(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    let setup = asg.describe_group(params.needed("AutoScalingGroupName")?)?;
    let mut xml = Xml::default();
    xml.list("LoadBalancerTargetGroups", setup.attached.iter().filter(|arn| !arn.is_classic()), |xml, arn| {
        xml.text("LoadBalancerTargetGroupARN", arn).text("State", "InService");
    });
    Ok(xml)
}

/// Sets or deletes tags of groups.
pub(super) fn tag(asg: &mut AutoScaling, params: &Params, set: bool) -> Result<Xml, QueryError> {
    asg.call()?;
    for at in 1..=params.members("Tags", "Key") {
        let of = |field| params.member("Tags", at, field);
        let (Some(name), Some(key)) = (of("ResourceId"), of("Key")) else {
            return Err(QueryError::invalid("a tag without ResourceId or Key"));
        };
        if asg.group(name).is_none() {
            return Err(QueryError::invalid(format!("AutoScalingGroup name not found - no such group: {name}")));
        }
        asg.change_group(name, |setup| {
            setup.tags.retain(|(known, _)| **known != *key);
            if set {
                setup.tags.push((key.into(), of("Value").unwrap_or_default().into()));
            }
        });
    }
    Ok(Xml::default())
}
