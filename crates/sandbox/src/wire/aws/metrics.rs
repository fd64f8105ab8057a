//! CloudWatch's GetMetricData for what the simulated load balancers counted of the clients' requests. A minute is published once it is
//! over, and only if something was counted in it.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::json::{refuse, send};
use super::load_balancers::balancer_arn;
use crate::requests::MINUTE;
use crate::wire::{Models, Shared};
use decamp_core::decide::Minute;
use decamp_core::ids::TargetGroupArn;

/// CloudWatch's name in `X-Amz-Target`.
pub(super) const SERVICE: &str = "GraniteServiceVersion20100801";

/// Answers one call.
pub(super) fn answer(shared: &Shared, input: &Value) -> Response {
    let (Some(from), Some(to)) = (input["StartTime"].as_f64(), input["EndTime"].as_f64()) else {
        return refuse(400, "MissingParameter", "StartTime and EndTime are required.");
    };
    let Some(queries) = input["MetricDataQueries"].as_array() else {
        return refuse(400, "MissingParameter", "MetricDataQueries is required.");
    };
    if to <= from {
        return refuse(400, "ValidationError", "The parameter StartTime must be less than the parameter EndTime.");
    }
    let now = shared.clock.now();
    let mut results = Vec::with_capacity(queries.len());
    for query in queries {
        let stat = &query["MetricStat"];
        if stat["Period"] != 60 || stat["Stat"] != "Sum" || stat["Metric"]["Namespace"] != "AWS/ApplicationELB" {
            return refuse(400, "ValidationError", "the sandbox has sums of AWS/ApplicationELB by the minute");
        }
        let minutes = shared.look(|models| counted(models, &stat["Metric"]["Dimensions"]));
        let value = |minute: &Minute| match stat["Metric"]["MetricName"].as_str() {
            Some("RequestCount") => minute.requests,
            Some("HTTPCode_ELB_5XX_Count") => minute.by_balancer,
            Some("HTTPCode_Target_5XX_Count") => minute.by_targets,
            Some(_) | None => 0,
        };
        let asked = |minute: &&Minute| {
            let at = std::time::Duration::from_millis(minute.at.0).as_secs_f64();
            from <= at && at < to && minute.at + MINUTE <= now && 0 < value(minute)
        };
        let shown: Vec<&Minute> = minutes.iter().filter(asked).collect();
        results.push(json!({
            "Id": query["Id"], "Label": stat["Metric"]["MetricName"], "StatusCode": "Complete",
            "Timestamps": shown.iter().map(|minute| minute.at.0 / 1000).collect::<Vec<_>>(),
            "Values": shown.iter().map(|minute| value(minute)).collect::<Vec<_>>(),
        }));
    }
    send(StatusCode::OK, &json!({ "MetricDataResults": results, "Messages": [] }))
}

/// What was counted for the target group and the load balancer of these dimensions. Each target group in use has its own load balancer.
fn counted(models: &mut dyn Models, dimensions: &Value) -> Vec<Minute> {
    let named = |name: &str| {
        let all = dimensions.as_array().into_iter().flatten();
        all.filter(|one| one["Name"] == name).find_map(|one| one["Value"].as_str())
    };
    let (balancer, group) = (named("LoadBalancer"), named("TargetGroup"));
    let balancers = models.aws().1;
    let arns: Vec<TargetGroupArn> = balancers.arns().cloned().collect();
    let is_asked = |arn: &&TargetGroupArn| {
        let setup = balancers.setup(arn).filter(|setup| setup.in_use);
        let own = setup
            .is_some_and(|setup| balancer.is_some_and(|name| balancer_arn(setup).ends_with(&format!("loadbalancer/{name}"))));
        own && group.is_none_or(|name| arn.as_str().ends_with(&format!(":{name}")))
    };
    let asked = arns.iter().find(is_asked).cloned();
    asked.map(|arn| models.counted(&arn)).unwrap_or_default()
}
