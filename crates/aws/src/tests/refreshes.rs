//! The requests for instance refreshes, and how their answers and errors are read.

use std::time::Duration;

use super::auto_scaling::auto_scaling;
use super::wire::{Answer, Call, Server};
use crate::Template;
use crate::refresh::{Begun, begin};
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::refresh::{NotDone, Preferences, Status};
use decamp_core::time::Time;

fn listed(id: &str, status: &str, more: &str) -> String {
    format!("<member><InstanceRefreshId>{id}</InstanceRefreshId><Status>{status}</Status>{more}</member>")
}

fn described(rows: &str) -> Answer {
    Answer::result("DescribeInstanceRefreshes", &format!("<InstanceRefreshes>{rows}</InstanceRefreshes>"))
}

#[tokio::test]
async fn a_refresh_is_requested_with_exactly_its_preferences() {
    let server = Server::start(|call: &Call| Answer::result(call.action(), "<InstanceRefreshId>r-1</InstanceRefreshId>")).await;
    let auto_scaling = auto_scaling(&server).await;
    let all = Preferences {
        min_healthy: Some(100),
        max_healthy: Some(110),
        warm_up: Some(Duration::from_secs(90)),
        checkpoints: vec![20, 100],
        checkpoint_delay: Some(Duration::from_secs(60)),
        bake: Some(Duration::from_secs(30)),
        skip_matching: true,
        auto_rollback: true,
    };
    let to = Template { id: "lt-1".to_owned(), version: 7, mixed: None };
    assert_eq!(auto_scaling.start_refresh("web", &all, Some(&to)).await.as_deref(), Ok("r-1"));
    assert_eq!(auto_scaling.start_refresh("web", &Preferences::default(), None).await.as_deref(), Ok("r-1"));
    let [full, bare] = &server.asked("StartInstanceRefresh")[..] else { panic!("two calls") };
    let expected = [
        ("AutoScalingGroupName", "web"),
        ("Preferences.MinHealthyPercentage", "100"),
        ("Preferences.MaxHealthyPercentage", "110"),
        ("Preferences.InstanceWarmup", "90"),
        ("Preferences.CheckpointPercentages.member.1", "20"),
        ("Preferences.CheckpointPercentages.member.2", "100"),
        ("Preferences.CheckpointDelay", "60"),
        ("Preferences.BakeTime", "30"),
        ("Preferences.SkipMatching", "true"),
        ("Preferences.AutoRollback", "true"),
        ("DesiredConfiguration.LaunchTemplate.LaunchTemplateId", "lt-1"),
        ("DesiredConfiguration.LaunchTemplate.Version", "7"),
    ];
    for (name, value) in expected {
        assert_eq!(full.field(name), value, "{name}");
    }
    let mut sent: Vec<&str> = bare.0.keys().map(String::as_str).collect();
    sent.sort_unstable();
    assert_eq!(sent, ["Action", "AutoScalingGroupName", "Preferences.AutoRollback", "Preferences.SkipMatching", "Version"]);
    assert_eq!(bare.field("Preferences.SkipMatching"), "true", "by default");
}

#[tokio::test]
async fn a_group_of_several_types_gets_the_version_and_keeps_its_policy() {
    let server = Server::start(|call: &Call| {
        let template = |id: &str| {
            let names = format!("<LaunchTemplateId>{id}</LaunchTemplateId><LaunchTemplateName>{id}-name</LaunchTemplateName>");
            format!("<LaunchTemplateSpecification>{names}<Version>3</Version></LaunchTemplateSpecification>")
        };
        let types = ["<InstanceType>c7g.large</InstanceType><WeightedCapacity>2</WeightedCapacity>", "<InstanceType>c7a.large</InstanceType>"];
        let overrides = format!("<member>{}{}</member><member>{}</member>", types[0], template("lt-arm"), types[1]);
        let policy = format!(
            "<MixedInstancesPolicy><LaunchTemplate>{}<Overrides>{overrides}</Overrides></LaunchTemplate><InstancesDistribution>\
             <OnDemandBaseCapacity>1</OnDemandBaseCapacity><SpotAllocationStrategy>price-capacity-optimized</SpotAllocationStrategy>\
             </InstancesDistribution></MixedInstancesPolicy>",
            template("lt-1")
        );
        let group = format!("<member><AutoScalingGroupName>web</AutoScalingGroupName>{policy}</member>");
        let result = format!("<AutoScalingGroups>{group}</AutoScalingGroups><InstanceRefreshId>r-1</InstanceRefreshId>");
        Answer::result(call.action(), &result)
    })
    .await;
    let auto_scaling = auto_scaling(&server).await;
    let to = auto_scaling.template("web", 7).await.expect("it answers").expect("its policy names one");
    assert_eq!((to.id.as_str(), to.version), ("lt-1", 7));
    assert_eq!(auto_scaling.start_refresh("web", &Preferences::default(), Some(&to)).await.as_deref(), Ok("r-1"));
    let call = &server.asked("StartInstanceRefresh")[0];
    let policy = |name: &str| call.field(&format!("DesiredConfiguration.MixedInstancesPolicy.{name}")).to_owned();
    for (name, value) in [
        ("LaunchTemplate.LaunchTemplateSpecification.LaunchTemplateId", "lt-1"),
        ("LaunchTemplate.LaunchTemplateSpecification.Version", "7"),
        ("LaunchTemplate.LaunchTemplateSpecification.LaunchTemplateName", ""),
        ("LaunchTemplate.Overrides.member.1.InstanceType", "c7g.large"),
        ("LaunchTemplate.Overrides.member.1.WeightedCapacity", "2"),
        ("LaunchTemplate.Overrides.member.1.LaunchTemplateSpecification.LaunchTemplateId", "lt-arm"),
        ("LaunchTemplate.Overrides.member.1.LaunchTemplateSpecification.LaunchTemplateName", ""),
        ("LaunchTemplate.Overrides.member.1.LaunchTemplateSpecification.Version", "3"),
        ("LaunchTemplate.Overrides.member.2.InstanceType", "c7a.large"),
        ("InstancesDistribution.OnDemandBaseCapacity", "1"),
        ("InstancesDistribution.SpotAllocationStrategy", "price-capacity-optimized"),
    ] {
        assert_eq!(policy(name), value, "{name}");
    }
    assert_eq!(call.field("DesiredConfiguration.LaunchTemplate.LaunchTemplateId"), "");
}

#[tokio::test]
async fn a_listed_refresh_is_read_and_an_unknown_status_has_not_ended() {
    let server = Server::start(|_: &Call| {
        let more = "<StartTime>2026-01-02T03:04:05Z</StartTime><PercentageComplete>40</PercentageComplete>\
                    <InstancesToUpdate>3</InstancesToUpdate><StatusReason>slow</StatusReason>";
        let row = listed("r-1", "InProgress", more);
        described(&format!("{row}{}<member><Status>Failed</Status></member>", listed("r-2", "Dreaming", "")))
    })
    .await;
    let all = auto_scaling(&server).await.refreshes(&"web".into()).await.expect("it answers");
    assert_eq!(all.len(), 2, "a row without an id is ignored");
    let one = &all[0];
    assert_eq!((one.status, one.percentage, one.to_update), (Status::InProgress, Some(40), Some(3)));
    assert_eq!((one.began, one.ended, one.why.as_deref()), (Time::read("2026-01-02T03:04:05Z"), None, Some("slow")));
    assert_eq!((all[1].status, all[1].status.is_over()), (Status::Unknown, false));
}

#[tokio::test]
async fn each_error_of_aws_has_its_own_meaning() {
    let cases: [(u16, &str, NotDone); 6] = [
        (400, "InstanceRefreshInProgress", NotDone::UnderWay),
        (400, "InstanceRefreshInProgressFault", NotDone::UnderWay),
        (400, "ActiveInstanceRefreshNotFound", NotDone::NoneUnderWay),
        (400, "IrreversibleInstanceRefresh", NotDone::Irreversible),
        (400, "ValidationError", NotDone::Refused(Refusal::Rejected("ValidationError: because".into()))),
        (403, "AccessDenied", NotDone::Refused(Refusal::Denied("AccessDenied: because".into()))),
    ];
    for (status, code, expected) in cases {
        let server = Server::start(move |_: &Call| Answer::error(status, code, "because")).await;
        let auto_scaling = auto_scaling(&server).await;
        assert_eq!(auto_scaling.start_refresh("web", &Preferences::default(), None).await, Err(expected.clone()));
        assert_eq!(auto_scaling.cancel_refresh("web").await, Err(expected.clone()));
        assert_eq!(auto_scaling.roll_back_refresh("web").await, Err(expected));
    }
    let server = Server::start(|_: &Call| Answer::error(403, "AccessDenied", "because")).await;
    assert!(matches!(auto_scaling(&server).await.refreshes(&"web".into()).await, Err(Unseen::Denied(_))));
    let server = Server::start(|_: &Call| Answer::error(400, "ValidationError", "AutoScalingGroup name not found - web")).await;
    let gone = auto_scaling(&server).await;
    assert_eq!(gone.refreshes_if_there(&"web".into()).await, Ok(None));
    assert!(matches!(gone.refreshes(&"web".into()).await, Err(Unseen::Away(_))), "following a refresh reports the missing group");
    let server = Server::start(|_: &Call| Answer::error(400, "ValidationError", "1 validation error detected")).await;
    assert!(matches!(auto_scaling(&server).await.refreshes_if_there(&"web".into()).await, Err(Unseen::Away(_))));
    let server = Server::start(|call: &Call| Answer::result(call.action(), "")).await;
    let nameless = auto_scaling(&server).await.cancel_refresh("web").await;
    assert!(matches!(nameless, Err(NotDone::Refused(Refusal::Away(_)))), "{nameless:?}");
}

#[tokio::test]
async fn a_refresh_in_progress_is_adopted_and_after_one_that_just_ended_a_new_one_starts() {
    let busy = Server::start(|call: &Call| match call.action() {
        "StartInstanceRefresh" => Answer::error(400, "InstanceRefreshInProgress", ""),
        _ => described(&format!("{}{}", listed("r-1", "Failed", ""), listed("r-2", "Baking", ""))),
    })
    .await;
    let begun = begin(&auto_scaling(&busy).await, &"web".into(), &Preferences::default(), None).await.expect("it is adopted");
    assert!(matches!(&begun, Begun::Adopted(refresh) if &*refresh.id == "r-2"), "{begun:?}");
    for status in [Status::Cancelling, Status::RollbackInProgress] {
        let undone = Server::start(move |call: &Call| match call.action() {
            "StartInstanceRefresh" => Answer::error(400, "InstanceRefreshInProgress", ""),
            _ => described(&listed("r-2", status.name(), "")),
        })
        .await;
        let begun = begin(&auto_scaling(&undone).await, &"web".into(), &Preferences::default(), None).await;
        assert_eq!(begun, Err(NotDone::BeingUndone(status)));
    }
    // It is in progress at the first call, and has ended at the look.
    let first = std::sync::atomic::AtomicBool::new(true);
    let ended = Server::start(move |call: &Call| match call.action() {
        "StartInstanceRefresh" if first.swap(false, std::sync::atomic::Ordering::Relaxed) => {
            Answer::error(400, "InstanceRefreshInProgress", "")
        }
        "StartInstanceRefresh" => Answer::result(call.action(), "<InstanceRefreshId>r-3</InstanceRefreshId>"),
        _ => described(&listed("r-2", "Successful", "")),
    })
    .await;
    let begun = begin(&auto_scaling(&ended).await, &"web".into(), &Preferences::default(), None).await;
    assert_eq!(begun, Ok(Begun::Started("r-3".into())));
    let failing = Server::start(|call: &Call| match call.action() {
        "StartInstanceRefresh" => Answer::error(400, "InstanceRefreshInProgress", ""),
        _ => Answer::error(403, "AccessDenied", ""),
    })
    .await;
    let begun = begin(&auto_scaling(&failing).await, &"web".into(), &Preferences::default(), None).await;
    assert!(matches!(begun, Err(NotDone::Refused(Refusal::Denied(_)))), "{begun:?}");
}

#[tokio::test]
async fn the_preferences_of_the_last_refresh_are_read() {
    let preferences =
        "<Preferences><MinHealthyPercentage>90</MinHealthyPercentage><InstanceWarmup>45</InstanceWarmup></Preferences>";
    let rows = listed("r-2", "Successful", preferences);
    let server = Server::start(move |_: &Call| described(&rows)).await;
    let read = auto_scaling(&server).await.last_preferences("web").await.expect("it is listed").expect("there is one");
    assert_eq!((read.min_healthy, read.max_healthy, read.warm_up), (Some(90), None, Some(Duration::from_secs(45))));
    assert_eq!(server.asked("DescribeInstanceRefreshes")[0].field("MaxRecords"), "1");
    let none = Server::start(|_: &Call| described("")).await;
    assert_eq!(auto_scaling(&none).await.last_preferences("web").await, Ok(None));
}
