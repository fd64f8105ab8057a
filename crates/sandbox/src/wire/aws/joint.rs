//! One AWS in front of several worlds: an account with several clusters, each with its own Auto Scaling group and load balancers.
//!
//! A request that names an object of one world goes to that world. If a list in a request names objects of several worlds, each world gets
//! its own part, and the lists in the answers are joined. A request that names no object goes to all worlds.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::State;
use axum::http::response::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::{Shared, answer, target};
use decamp_core::ids::{InstanceId, TargetGroupArn};

/// Separates the name of a list from the position in it.
const MEMBER: &str = ".member.";
/// The longest answer of a sandbox, in bytes.
const LONGEST: usize = 1 << 24;

/// The Auto Scaling and Elastic Load Balancing of all worlds as one. The other APIs are those of the first world.
///
/// The worlds must not share names of groups, target groups or instances.
pub fn router(worlds: Vec<Arc<Shared>>) -> Router {
    Router::new().route("/", post(answer_jointly)).with_state(Arc::from(worlds))
}

async fn answer_jointly(State(worlds): State<Arc<[Arc<Shared>]>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(first) = worlds.first() else { return ().into_response() };
    if target(&headers).is_some() {
        return answer(State(Arc::clone(first)), headers, body).await;
    }
    let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let mut answers = Vec::new();
    for (place, world) in worlds.iter().enumerate() {
        let is_foreign = |value: &str| worlds.iter().enumerate().any(|(other, of)| other != place && has(of, value));
        if let Some(own) = own_fields(&fields, is_foreign) {
            let form: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(own).finish();
            answers.push(answer(State(Arc::clone(world)), headers.clone(), form.into()).await);
        }
    }
    join(answers).await
}

/// Whether a value names an object of a world.
fn has(world: &Shared, value: &str) -> bool {
    world.look(|models| {
        let (auto_scaling, balancers) = models.aws();
        let instance = value.parse::<InstanceId>().is_ok_and(|id| auto_scaling.instance(id).is_some());
        let arn = value.parse::<TargetGroupArn>().is_ok_and(|arn| balancers.setup(&arn).is_some());
        instance || arn || auto_scaling.group(value).is_some()
    })
}

/// The fields of a request that concern one world. `None` if the request names only objects of other worlds.
fn own_fields(fields: &[(String, String)], is_foreign: impl Fn(&str) -> bool) -> Option<Vec<(String, String)>> {
    let (listed, single): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| name.contains(MEMBER));
    if single.iter().any(|(_, value)| is_foreign(value)) {
        return None;
    }
    let mut own: Vec<(String, String)> = single.into_iter().cloned().collect();
    // Count the remaining items of each list, so that their positions have no gaps.
    let mut lists: HashMap<&str, usize> = HashMap::new();
    for (name, value) in listed {
        let (list, place) = name.split_once(MEMBER)?;
        let left = lists.entry(list).or_default();
        if is_foreign(value) {
            continue;
        }
        *left += 1;
        let name = if place.contains('.') { name.clone() } else { format!("{list}{MEMBER}{left}") };
        own.push((name, value.clone()));
    }
    lists.values().all(|left| 0 < *left).then_some(own)
}

/// Joins the lists of all successful answers. If there is none, it returns the first error.
async fn join(answers: Vec<Response>) -> Response {
    let mut joined: Option<(Parts, String)> = None;
    for answer in answers {
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8_lossy(&to_bytes(body, LONGEST).await.unwrap_or_default()).into_owned();
        joined = Some(match joined {
            Some((before, all)) if before.status.is_success() && parts.status.is_success() => (before, with_members(&all, &text)),
            Some(before) if before.0.status.is_success() || !parts.status.is_success() => before,
            Some(_) | None => (parts, text),
        });
    }
    match joined {
        Some((parts, text)) => (parts.status, [(header::CONTENT_TYPE, "text/xml")], text).into_response(),
        None => ().into_response(),
    }
}

/// Appends the members of the second answer's list to the first answer's list.
fn with_members(one: &str, other: &str) -> String {
    const END: &str = "</member>";
    let all = |text: &str| Some((text.find("<member>")?, text.rfind(END)? + END.len()));
    match (all(one), all(other)) {
        (Some((_, end)), Some((from, to))) => format!("{}{}{}", &one[..end], &other[from..to], &one[end..]),
        (None, Some(_)) => other.to_owned(),
        (_, None) => one.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(String, String)> {
        form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn a_world_gets_the_fields_that_are_not_another_worlds() {
        let all = fields("Action=X&Ids.member.1=a&Ids.member.2=b&Ids.member.3=c");
        let of = |others: &'static str| own_fields(&all, move |value| others.contains(value));
        assert_eq!(of("a"), Some(fields("Action=X&Ids.member.1=b&Ids.member.2=c")));
        assert_eq!(of("-"), Some(all.clone()));
        assert_eq!(of("abc"), None, "the whole list is foreign");
        assert_eq!(own_fields(&fields("Action=X&Name=a"), |value| value == "a"), None);
        let nested = fields("Action=X&Targets.member.1.Id=a&Targets.member.1.Port=80");
        assert_eq!(own_fields(&nested, |_| false), Some(nested.clone()));
    }

    #[test]
    fn lists_are_joined_and_nested_lists_stay_in_place() {
        let one = "<R><L><member>1<M><member>x</member></M></member></L></R>";
        let (other, none) = ("<R><L><member>2</member></L></R>", "<R><L></L></R>");
        assert_eq!(with_members(one, other), "<R><L><member>1<M><member>x</member></M></member><member>2</member></L></R>");
        assert_eq!((with_members(one, none), with_members(none, other)), (one.to_owned(), other.to_owned()));
    }
}
