//! Reads the events of AWS Health: which instances a scheduled change affects, and when.

use super::json::{Fields, Object, string};
use super::rejection::{Ours, Rejection};
use super::{EventContent, Informational};
use decamp_core::ids::InstanceId;
use decamp_core::proactive_replacement::Window;
use decamp_core::time::Time;

/// The most entities of a health event. Longer lists come in pages, each as an event.
const MOST_ENTITIES: usize = 1_000;

/// Reads a health event. A bad entity is rejected without affecting the others.
pub(super) fn read(envelope: &Object<'_>, ours: Ours<'_>) -> Result<Vec<Result<EventContent, Rejection>>, Rejection> {
    let detail = super::envelope::detail(envelope)?;
    about(envelope, &detail, ours)?;
    let nothing = || Ok(vec![Ok(EventContent::Informational(Informational::Health))]);
    if !is_to_come(&detail)? {
        return nothing();
    }
    let mut instances: Vec<InstanceId> = Vec::new();
    let mut bad = Vec::new();
    for entity in entities(envelope, &detail)? {
        match entity.and_then(|entity| entity.instance(ours)) {
            Ok(found) => instances.extend(found.filter(|id| !instances.contains(id))),
            Err(rejection) => bad.push(Err(rejection)),
        }
    }
    if instances.is_empty() {
        return if bad.is_empty() { nothing() } else { Ok(bad) };
    }
    let window = Window { begins: time(&detail, "startTime")?, ends: time(&detail, "endTime")? };
    bad.insert(0, Ok(EventContent::ScheduledChange { instances, window }));
    Ok(bad)
}

/// Rejects an event about another account or Region. The envelope names the account and Region of delivery. The affected ones
/// differ for an organization's view and when a backup Region delivers.
fn about(envelope: &Object<'_>, detail: &Object<'_>, ours: Ours<'_>) -> Result<(), Rejection> {
    let account = detail.text("affectedAccount")?.map_or_else(|| envelope.required("account"), Ok)?;
    let region = detail.text("eventRegion")?.map_or_else(|| envelope.required("region"), Ok)?;
    ours.account(&account)?;
    ours.region(&region)
}

/// Whether it reports a change of EC2 that is still to come.
fn is_to_come(detail: &Object<'_>) -> Result<bool, Rejection> {
    let is = |field, value: &str| Ok::<_, Rejection>(detail.text(field)?.is_some_and(|text| text.eq_ignore_ascii_case(value)));
    let code = detail.text("eventTypeCode")?.unwrap_or_default().to_ascii_uppercase();
    // A cancelled or completed change keeps its category.
    let called_off = ["CANCELLED", "CANCELED", "COMPLETED", "COMPLETE"].iter().any(|end| code.ends_with(end));
    Ok(is("service", "EC2")? && is("eventTypeCategory", "scheduledChange")? && !is("statusCode", "closed")? && !called_off)
}

/// One affected entity.
struct Entity {
    value: String,
    /// Its own state, if the event has one.
    status: Option<String>,
    /// The account that it belongs to, if the entity names one.
    account: Option<String>,
}

/// The affected entities, or the resources of the envelope if the event lists no entities.
fn entities(envelope: &Object<'_>, detail: &Object<'_>) -> Result<Vec<Result<Entity, Rejection>>, Rejection> {
    let field = "affectedEntities";
    let listed = detail.array(field, MOST_ENTITIES)?.unwrap_or_default();
    if !listed.is_empty() {
        return Ok(listed.into_iter().map(|text| entity(text, field)).collect());
    }
    let field = "resources";
    let named = envelope.array(field, MOST_ENTITIES)?.unwrap_or_default();
    let resource = |text| {
        let value = string(text).ok_or(Rejection::WrongType { field, expected: "an array of strings" })?;
        Ok(Entity { value: value.into_owned(), status: None, account: None })
    };
    Ok(named.into_iter().map(resource).collect())
}

fn entity(text: &str, field: &'static str) -> Result<Entity, Rejection> {
    let object = Object::read(text).map_err(|_| Rejection::WrongType { field, expected: "an array of objects" })?;
    let own = |field| Ok::<_, Rejection>(object.text(field)?.map(|text| text.into_owned()));
    Ok(Entity {
        value: object.required("entityValue")?.into_owned(),
        status: own("status")?.or(own("statusCode")?),
        account: own("awsAccountId")?,
    })
}

impl Entity {
    /// The instance of this entity. `None`: it is not an instance, or the change no longer affects it.
    fn instance(&self, ours: Ours<'_>) -> Result<Option<InstanceId>, Rejection> {
        // IMPAIRED, PENDING, UNKNOWN and statuses that AWS may add mean affected.
        let is_over = |status: &String| ["RESOLVED", "UNIMPAIRED"].iter().any(|over| status.eq_ignore_ascii_case(over));
        if self.status.as_ref().is_some_and(is_over) {
            return Ok(None);
        }
        if let Some(account) = &self.account {
            ours.account(account)?;
        }
        let value = self.value.trim();
        if !value.starts_with("arn:") {
            // Volumes, hosts and whole accounts have scheduled changes too.
            return if value.starts_with("i-") { id(value).map(Some) } else { Ok(None) };
        }
        let parts: Vec<&str> = value.splitn(6, ':').collect();
        let ["arn", _, "ec2", region, account, resource] = parts[..] else { return Ok(None) };
        let Some(name) = resource.strip_prefix("instance/") else { return Ok(None) };
        let instance = id(name)?;
        if !account.is_empty() {
            ours.account(account)?;
        }
        if !region.is_empty() {
            ours.region(region)?;
        }
        Ok(Some(instance))
    }
}

fn id(text: &str) -> Result<InstanceId, Rejection> {
    text.parse().map_err(Rejection::bad("entityValue"))
}

/// A time as health events write it (`Wed, 4 Mar 2026 05:06:07 GMT`) or as all other events do. A time that cannot be read counts
/// as unknown, so that the change is not missed.
fn time(detail: &Object<'_>, field: &'static str) -> Result<Option<Time>, Rejection> {
    Ok(detail.text(field)?.and_then(|text| Time::read(&text).or_else(|| Time::read_mail(&text))))
}
