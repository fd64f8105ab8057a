//! The API with which a person or a test changes the simulated world.
//!
//! - `POST /sandbox/terminate?instance=i-…[&scale_in=true][&wait=30]` begins a termination. It answers 202 at once, and says where to
//!   find the event of the first lifecycle action. With `wait` it waits up to that many seconds and answers with the EventBridge event.
//! - `GET /sandbox/events` lists all such events.
//! - `POST /sandbox/release[?group=web]` gives a group a new version of its launch template, as a change in Terraform does.
//! - `GET /sandbox/state` shows the state of the models.
//! - `PUT /sandbox/faults` sets the rules of the fault plan.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{FaultPlan, Rule, Shared};
use decamp_core::ids::InstanceId;
use decamp_sim::auto_scaling::{AutoScaling, Instance, InstanceRefresh, LifecycleEvent};
use decamp_sim::load_balancers::{GroupSetup, LoadBalancers};

/// The sandbox's own routes, to be merged into another router.
pub fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/sandbox/terminate", post(terminate))
        .route("/sandbox/release", post(release))
        .route("/sandbox/events", get(events))
        .route("/sandbox/state", get(state))
        .route("/sandbox/faults", put(faults))
        .with_state(Arc::clone(shared))
}

#[derive(Deserialize)]
struct Termination {
    instance: String,
    #[serde(default)]
    scale_in: bool,
    #[serde(default)]
    wait: u64,
}

async fn terminate(State(shared): State<Arc<Shared>>, Query(parameters): Query<Termination>) -> Response {
    let Ok(id) = parameters.instance.parse::<InstanceId>() else {
        return (StatusCode::BAD_REQUEST, "not an EC2 instance id such as i-0123456789abcdef0\n").into_response();
    };
    let mut changes = shared.watch();
    let begun = shared.with(|models| {
        let (asg, elb) = models.aws();
        let began = asg.now();
        if parameters.scale_in { asg.scale_in(id, elb) } else { asg.terminate(id, elb) }.map(|()| began)
    });
    let since = match begun {
        Ok(since) => since,
        Err(error) => return (StatusCode::CONFLICT, format!("{error}\n")).into_response(),
    };
    let began = async {
        loop {
            let event = shared.events().into_iter().find(|event| event.instance == id && since <= event.time);
            if let Some(event) = event {
                return event;
            }
            changes.changed().await.ok();
        }
    };
    match tokio::time::timeout(Duration::from_secs(parameters.wait), began).await {
        Ok(event) => Json(as_sent(&shared, &event)).into_response(),
        Err(_) => {
            let next =
                "it leaves its attached target groups first, then its hook begins; GET /sandbox/events lists the hook's event";
            (StatusCode::ACCEPTED, Json(json!({ "instance": parameters.instance, "state": "Terminating", "next": next })))
                .into_response()
        }
    }
}

#[derive(Deserialize)]
struct Release {
    group: Option<String>,
}

async fn release(State(shared): State<Arc<Shared>>, Query(parameters): Query<Release>) -> Response {
    let released = shared.with(|models| {
        let asg = models.aws().0;
        let name = parameters.group.or_else(|| asg.groups().next().map(|setup| setup.name.to_string()))?;
        asg.change_group(&name, |setup| setup.version += 1);
        asg.group(&name).map(|setup| setup.version)
    });
    match released {
        Some(version) => Json(json!({ "version": version })).into_response(),
        None => (StatusCode::NOT_FOUND, "no such group\n").into_response(),
    }
}

fn as_sent(shared: &Shared, event: &LifecycleEvent) -> Value {
    event.event_bridge(&shared.account.region, &shared.account.id)
}

async fn events(State(shared): State<Arc<Shared>>) -> Json<Vec<Value>> {
    Json(shared.events().iter().map(|event| as_sent(&shared, event)).collect())
}

async fn faults(State(shared): State<Arc<Shared>>, Json(rules): Json<Vec<Rule>>) -> StatusCode {
    shared.set_faults(FaultPlan::new(rules, 0));
    StatusCode::NO_CONTENT
}

async fn state(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let (groups, [targets, classic], more) = shared.look(|models| {
        let (asg, elb) = models.aws();
        (groups(asg), [false, true].map(|classic| target_groups(elb, classic)), models.more())
    });
    let mut state = json!({ "now": shared.clock.now(), "account": shared.account.id, "region": shared.account.region, "auto_scaling_groups": groups, "target_groups": targets, "classic_load_balancers": classic });
    if let Value::Object(fields) = &mut state {
        fields.extend(more);
    }
    Json(state)
}

fn groups(asg: &AutoScaling) -> Vec<Value> {
    let one = |setup: &decamp_sim::auto_scaling::GroupSetup| {
        let hooks: Vec<Value> = (setup.hooks.iter())
            .map(|hook| {
                json!({ "name": &*hook.name, "transition": hook.transition.name(), "heartbeat_timeout": hook.heartbeat_timeout.as_secs(),
                    "global_timeout": hook.global_timeout().as_secs(), "default_result": hook.default_result, "metadata": hook.metadata.as_deref() })
            })
            .collect();
        let instances: Vec<Value> =
            asg.instances().filter(|i| asg.group_of(i) == &setup.name).map(|i| instance(asg, i)).collect();
        let tags: Vec<Value> = setup.tags.iter().map(|(key, value)| json!({ "key": &**key, "value": &**value })).collect();
        let refreshes: Vec<Value> = asg.refreshes(&setup.name).into_iter().map(refresh).collect();
        json!({ "name": &*setup.name, "version": setup.version, "refreshes": refreshes, "attached": setup.attached, "lattice": setup.lattice, "retains": setup.retains, "tags": tags, "hooks": hooks, "instances": instances })
    };
    asg.groups().map(one).collect()
}

fn refresh(refresh: &InstanceRefresh) -> Value {
    json!({ "id": &*refresh.id, "status": refresh.status.name(), "reason": refresh.reason.as_deref(), "began": refresh.began,
        "ended": refresh.ended, "percentage": refresh.percentage, "to_update": refresh.to_update, "version": refresh.version,
        "skip_matching": refresh.preferences.skip_matching, "min_healthy": refresh.preferences.min_healthy,
        "max_healthy": refresh.preferences.max_healthy, "checkpoints": refresh.preferences.checkpoints })
}

fn instance(asg: &AutoScaling, instance: &Instance) -> Value {
    let action = |action: &decamp_sim::auto_scaling::Action| json!({ "hook": &*action.hook, "token": action.token.expose(), "began": action.began, "expires": action.expires, "open": action.is_open() });
    let actions: Vec<Value> = instance.actions.iter().map(action).collect();
    json!({ "id": instance.id, "zone": &*instance.zone, "state": instance.state.name(), "version": instance.version, "healthy": instance.healthy, "runs": instance.runs,
        "actions": actions, "activity_began": asg.activity_began(instance.id) })
}

/// Every target group, or every Classic Load Balancer.
fn target_groups(elb: &LoadBalancers, classic: bool) -> Vec<Value> {
    let one = |setup: &GroupSetup| {
        let targets: Vec<Value> = (elb.inside(&setup.arn).iter())
            .map(|row| {
                let routed = elb.is_routed(&setup.arn, &row.id, row.port);
                json!({ "id": row.id, "port": row.port, "zone": row.zone.as_deref(), "state": row.state.state, "reason": row.state.reason, "routed": routed })
            })
            .collect();
        json!({ "arn": setup.arn, "name": setup.arn.name(), "kind": setup.kind, "port": setup.port, "delay": setup.delay.as_secs(),
            "in_use": setup.in_use, "targets": targets })
    };
    elb.arns().filter(|arn| arn.is_classic() == classic).filter_map(|arn| elb.setup(arn)).map(one).collect()
}
