//! One AWS in front of several worlds: an account in which each of several clusters has an Auto Scaling group and load balancers of its own.
//!
//! What names a thing of one world is answered by that one. A list with things of several is asked of each by its own, and the answers' lists
//! are put together. What names nothing of any world is asked of all.

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

/// What separates the name of a list from the place in it.
const MEMBER: &str = ".member.";
/// No answer of a sandbox is longer.
const LONGEST: usize = 1 << 24;

/// The Auto Scaling and Elastic Load Balancing of all worlds as one. The other APIs are those of the first.
///
/// The names of their groups, target groups and instances must differ.
pub fn router(worlds: Vec<Arc<Shared>>) -> Router {
    Router::new().route("/", post(of_all)).with_state(Arc::from(worlds))
}

async fn of_all(State(worlds): State<Arc<[Arc<Shared>]>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(first) = worlds.first() else { return ().into_response() };
    if target(&headers).is_some() {
        return answer(State(Arc::clone(first)), headers, body).await;
    }
    let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let mut answers = Vec::new();
    for (place, world) in worlds.iter().enumerate() {
        let is_anothers = |value: &str| worlds.iter().enumerate().any(|(other, of)| other != place && has(of, value));
        if let Some(own) = own(&fields, is_anothers) {
            let form: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(own).finish();
            answers.push(answer(State(Arc::clone(world)), headers.clone(), form.into()).await);
        }
    }
    join(answers).await
}

/// Whether a value names something of a world.
fn has(world: &Shared, value: &str) -> bool {
    world.look(|stage| {
        let (auto_scaling, balancers) = stage.aws();
        let instance = value.parse::<InstanceId>().is_ok_and(|id| auto_scaling.instance(id).is_some());
        let arn = value.parse::<TargetGroupArn>().is_ok_and(|arn| balancers.setup(&arn).is_some());
        instance || arn || auto_scaling.group(value).is_some()
    })
}

/// What of a request concerns one world: nothing, if it is about another's thing alone.
fn own(fields: &[(String, String)], is_anothers: impl Fn(&str) -> bool) -> Option<Vec<(String, String)>> {
    let (listed, single): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| name.contains(MEMBER));
    if single.iter().any(|(_, value)| is_anothers(value)) {
        return None;
    }
    let mut own: Vec<(String, String)> = single.into_iter().cloned().collect();
    // Each list by its name, and how many of it are left; places have no gap.
    let mut lists: HashMap<&str, usize> = HashMap::new();
    for (name, value) in listed {
        let (list, place) = name.split_once(MEMBER)?;
        let left = lists.entry(list).or_default();
        if is_anothers(value) {
            continue;
        }
        *left += 1;
        let name = if place.contains('.') { name.clone() } else { format!("{list}{MEMBER}{left}") };
        own.push((name, value.clone()));
    }
    lists.values().all(|left| 0 < *left).then_some(own)
}

/// The answers as one: those that are no refusals, with their lists put together.
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

/// The first answer with the members of the second in its list.
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
    fn a_world_is_asked_for_what_is_no_others() {
        let all = fields("Action=X&Ids.member.1=a&Ids.member.2=b&Ids.member.3=c");
        let of = |others: &'static str| own(&all, move |value| others.contains(value));
        assert_eq!(of("a"), Some(fields("Action=X&Ids.member.1=b&Ids.member.2=c")));
        assert_eq!(of("-"), Some(all.clone()));
        assert_eq!(of("abc"), None, "all of the list is another's");
        assert_eq!(own(&fields("Action=X&Name=a"), |value| value == "a"), None);
        let nested = fields("Action=X&Targets.member.1.Id=a&Targets.member.1.Port=80");
        assert_eq!(own(&nested, |_| false), Some(nested.clone()));
    }

    #[test]
    fn lists_are_put_together_and_what_is_nested_stays_where_it_is() {
        let one = "<R><L><member>1<M><member>x</member></M></member></L></R>";
        let (other, none) = ("<R><L><member>2</member></L></R>", "<R><L></L></R>");
        assert_eq!(with_members(one, other), "<R><L><member>1<M><member>x</member></M></member><member>2</member></L></R>");
        assert_eq!((with_members(one, none), with_members(none, other)), (one.to_owned(), other.to_owned()));
    }
}
