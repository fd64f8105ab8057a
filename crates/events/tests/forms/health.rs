//! Forms of AWS Health's events, by its schema for EventBridge.

use serde_json::{Value, json};

use super::{ACCOUNT, Form, INSTANCE, envelope, form, of_text, with};

const OTHER: &str = "i-0abc1234";
const CHANGE: &str = "scheduled change: [i-0123456789abcdef0] from 2026-03-18T05:00:00Z to 2026-03-18T07:00:00Z";
const BOTH: &str = "scheduled change: [i-0123456789abcdef0, i-0abc1234] from 2026-03-18T05:00:00Z to 2026-03-18T07:00:00Z";

fn arn(id: &str) -> String {
    format!("arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/{id}")
}

/// The detail of a scheduled retirement, with every field of the schema.
fn detail(changes: Value) -> Value {
    let whole = json!({
        "eventArn": "arn:aws:health:eu-west-1::event/EC2/AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED/AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED_x",
        "service": "EC2", "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED", "eventTypeCategory": "scheduledChange",
        "eventScopeCode": "ACCOUNT_SPECIFIC", "communicationId": "7988", "startTime": "Wed, 18 Mar 2026 05:00:00 GMT",
        "endTime": "Wed, 18 Mar 2026 07:00:00 GMT", "lastUpdatedTime": "Wed, 4 Mar 2026 05:06:07 GMT", "statusCode": "upcoming",
        "eventRegion": "eu-west-1", "eventDescription": [{"language": "en_US", "latestDescription": "text"}],
        "eventMetadata": {"a": "b"}, "affectedEntities": [{
            "entityValue": INSTANCE, "lastUpdatedTime": "Wed, 4 Mar 2026 05:06:07 GMT", "status": "PENDING", "tags": {"a": "b"},
        }],
        "page": "1", "totalPages": "1", "affectedAccount": ACCOUNT,
    });
    with(whole, changes)
}

fn health(changes: Value) -> Value {
    envelope("aws.health", "AWS Health Event", &detail(changes))
}

fn entities(all: Value) -> Value {
    health(json!({ "affectedEntities": all }))
}

/// One entity with this status.
fn status(status: &str) -> Value {
    entities(json!([{"entityValue": INSTANCE, "status": status}]))
}

pub(crate) fn forms() -> Vec<Form> {
    let mut forms = whole();
    forms.extend(of_entities());
    forms
}

fn whole() -> Vec<Form> {
    let foreign = "foreign-account: not ours: of another account";
    let elsewhere = "foreign-region: not ours: of another Region";
    vec![
        form("health: a retirement with every field", &health(json!({})), CHANGE),
        form(
            "health: only the fields that are required",
            &health(json!({
                "eventScopeCode": null, "communicationId": null, "endTime": null, "lastUpdatedTime": null, "statusCode": null,
                "eventRegion": null, "eventMetadata": null, "page": null, "totalPages": null, "affectedAccount": null,
            })),
            "scheduled change: [i-0123456789abcdef0] from 2026-03-18T05:00:00Z to unknown",
        ),
        form("health: a change that has begun", &health(json!({"statusCode": "open"})), CHANGE),
        form("health: a change that is over", &health(json!({"statusCode": "closed"})), "health"),
        form("health: a change that is over, in capitals", &health(json!({"statusCode": "CLOSED"})), "health"),
        form(
            "health: a change that was called off",
            &health(json!({"eventTypeCode": "AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_CANCELLED"})),
            "health",
        ),
        form(
            "health: a change that was completed",
            &health(json!({"eventTypeCode": "AWS_EC2_SYSTEM_MAINTENANCE_COMPLETED"})),
            "health",
        ),
        form("health: a reboot", &health(json!({"eventTypeCode": "AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED"})), CHANGE),
        form("health: an issue", &health(json!({"eventTypeCategory": "issue"})), "health"),
        form("health: a notification of the account", &health(json!({"eventTypeCategory": "accountNotification"})), "health"),
        form("health: an investigation", &health(json!({"eventTypeCategory": "investigation"})), "health"),
        form("health: a change of another service", &health(json!({"service": "RDS"})), "health"),
        form("health: abuse", &envelope("aws.health", "AWS Health Abuse Event", &detail(json!({}))), "health"),
        form(
            "health: of an account of the organization that is not ours",
            &health(json!({"affectedAccount": "999999999999"})),
            foreign,
        ),
        form(
            "health: delivered to the organization's account, about ours",
            &with(health(json!({})), json!({"account": "999999999999"})),
            CHANGE,
        ),
        form(
            "health: delivered to another account, about nobody's by name",
            &with(health(json!({"affectedAccount": null})), json!({"account": "999999999999"})),
            foreign,
        ),
        form(
            "health: delivered to the Region that stands in, about ours",
            &with(health(json!({})), json!({"region": "us-west-2"})),
            CHANGE,
        ),
        form("health: delivered here, about another Region", &health(json!({"eventRegion": "us-east-1"})), elsewhere),
        form("health: about every Region", &health(json!({"eventRegion": "global"})), elsewhere),
        form(
            "health: delivered to another Region, about none by name",
            &with(health(json!({"eventRegion": null})), json!({"region": "us-west-2"})),
            elsewhere,
        ),
        form(
            "health: times as other events have them",
            &health(json!({"startTime": "2026-03-18T05:00:00Z", "endTime": "2026-03-18T07:00:00Z"})),
            CHANGE,
        ),
        form(
            "health: a time whose day of the week is wrong",
            &health(json!({"startTime": "Sat, 18 Mar 2026 05:00:00 GMT"})),
            CHANGE,
        ),
        form(
            "health: a time that nobody can read",
            &health(json!({"startTime": "soon", "endTime": null})),
            "scheduled change: [i-0123456789abcdef0] from unknown to unknown",
        ),
        form(
            "health: no time",
            &health(json!({"startTime": null, "endTime": null})),
            "scheduled change: [i-0123456789abcdef0] from unknown to unknown",
        ),
        form("health: the second of three pages", &health(json!({"page": "2", "totalPages": "3"})), CHANGE),
        form("health: pages as numbers", &health(json!({"page": 2, "totalPages": 3})), CHANGE),
        form("health: without a detail", &with(health(json!({})), json!({"detail": null})), "missing: `detail` is missing"),
        form("health: a service that is a number", &health(json!({"service": 7})), "wrong-type: `service` is not a string"),
    ]
}

fn of_entities() -> Vec<Form> {
    let two = |one: Value| entities(json!([one, {"entityValue": OTHER, "status": "PENDING"}]));
    let other = "scheduled change: [i-0abc1234] from 2026-03-18T05:00:00Z to 2026-03-18T07:00:00Z";
    let bad_id = "bad-name: `entityValue` is not an EC2 instance id such as i-0123456789abcdef0";
    vec![
        form("entity: an ARN", &entities(json!([{"entityValue": arn(INSTANCE)}])), CHANGE),
        form(
            "entity: an ARN of China's partition",
            &entities(json!([{"entityValue": arn(INSTANCE).replace("arn:aws:", "arn:aws-cn:")}])),
            CHANGE,
        ),
        form(
            "entity: an ARN without account and Region",
            &entities(json!([{"entityValue": format!("arn:aws:ec2:::instance/{INSTANCE}")}])),
            CHANGE,
        ),
        form(
            "entity: an id and an ARN of the same",
            &entities(json!([{"entityValue": INSTANCE}, {"entityValue": arn(INSTANCE)}])),
            CHANGE,
        ),
        form("entity: an id and an ARN of two", &entities(json!([{"entityValue": INSTANCE}, {"entityValue": arn(OTHER)}])), BOTH),
        form("entity: impaired", &status("IMPAIRED"), CHANGE),
        form("entity: pending", &status("PENDING"), CHANGE),
        form("entity: of a status that is not known", &status("UNKNOWN"), CHANGE),
        form("entity: of a status that AWS may add", &status("EXPEDITED"), CHANGE),
        form("entity: resolved", &status("RESOLVED"), "health"),
        form("entity: resolved, in small letters", &status("resolved"), "health"),
        form("entity: not impaired", &status("UNIMPAIRED"), "health"),
        form(
            "entity: a status under the API's name",
            &entities(json!([{"entityValue": INSTANCE, "statusCode": "RESOLVED"}])),
            "health",
        ),
        form("entity: one resolved and one pending", &two(json!({"entityValue": INSTANCE, "status": "RESOLVED"})), other),
        form("entity: a volume", &entities(json!([{"entityValue": "vol-0123456789abcdef0"}])), "health"),
        form(
            "entity: a volume's ARN beside an instance",
            &two(json!({"entityValue": "arn:aws:ec2:eu-west-1:123456789012:volume/vol-0123456789abcdef0"})),
            other,
        ),
        form("entity: a dedicated host", &entities(json!([{"entityValue": "h-0123456789abcdef0"}])), "health"),
        form("entity: the whole account", &entities(json!([{"entityValue": ACCOUNT}])), "health"),
        form("entity: of unknown extent", &entities(json!([{"entityValue": "UNKNOWN"}])), "health"),
        of_text(
            "entity: one of another account",
            two(json!({"entityValue": arn(INSTANCE).replace(ACCOUNT, "999999999999")})).to_string(),
            &[other, "foreign-account: not ours: of another account"],
        ),
        of_text(
            "entity: one of another Region",
            two(json!({"entityValue": arn(INSTANCE).replace("eu-west-1", "us-east-1")})).to_string(),
            &[other, "foreign-region: not ours: of another Region"],
        ),
        of_text(
            "entity: one of another account by its field",
            two(json!({"entityValue": INSTANCE, "awsAccountId": "999999999999"})).to_string(),
            &[other, "foreign-account: not ours: of another account"],
        ),
        of_text(
            "entity: one without a value",
            two(json!({"status": "PENDING"})).to_string(),
            &[other, "missing: `entityValue` is missing"],
        ),
        of_text(
            "entity: one whose value is a number",
            two(json!({"entityValue": 7})).to_string(),
            &[other, "wrong-type: `entityValue` is not a string"],
        ),
        of_text(
            "entity: one that is no object",
            two(json!("i-0123456789abcdef0")).to_string(),
            &[other, "wrong-type: `affectedEntities` is not an array of objects"],
        ),
        of_text("entity: one with an id that is none", two(json!({"entityValue": "i-UPPER"})).to_string(), &[other, bad_id]),
        form("entity: only a bad one", &entities(json!([{"entityValue": "i-0123/../"}])), bad_id),
        form("entity: none, and no resource", &entities(json!([])), "health"),
        form(
            "entity: no list, and a resource",
            &with(health(json!({"affectedEntities": null})), json!({"resources": [INSTANCE]})),
            CHANGE,
        ),
        form(
            "entity: no list, and a resource's ARN",
            &with(health(json!({"affectedEntities": null})), json!({"resources": [arn(INSTANCE)]})),
            CHANGE,
        ),
        form(
            "entity: no list, and no resources",
            &with(health(json!({"affectedEntities": null})), json!({"resources": null})),
            "health",
        ),
        form(
            "entity: a list that is none",
            &entities(json!({"entityValue": INSTANCE})),
            "wrong-type: `affectedEntities` is not an array",
        ),
    ]
}
