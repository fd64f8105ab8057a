//! `/v1/acl/…`: a token and its own policies.

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::{Answer, AppState, Request, headers, read};
use crate::wire::query_options::{HttpError, QueryOptions, ReadAnswer};
use crate::wire::tokens::is_identity;
use decamp_sim::nomad::{ApiError, NodeRule, Policy, Token};

/// The index of tokens and policies, which never change.
const INDEX: u64 = 17;

/// Refuses the request if ACLs are off.
fn acls_are_on(token: &Token) -> Result<(), HttpError> {
    match token {
        Token::AclsOff => Err(HttpError::new(400, "ACL support disabled")),
        Token::Management | Token::Client(_) | Token::Anonymous | Token::Unknown | Token::Expired | Token::Garbage => Ok(()),
    }
}

fn policies_of(token: &Token) -> &[Policy] {
    match token {
        Token::Client(policies) => policies,
        Token::AclsOff | Token::Management | Token::Anonymous | Token::Unknown | Token::Expired | Token::Garbage => &[],
    }
}

/// `GET /v1/acl/token/self`. An expired or garbled token gets its own error text.
pub(super) async fn token_self(State(shared): AppState, options: QueryOptions) -> Answer {
    let request = Request::of(&shared, options);
    acls_are_on(&request.token)?;
    let identity = request.options.secret.as_deref().is_some_and(is_identity);
    shared.look(|models| match models.cluster() {
        Some(cluster) => Ok(cluster.nomad.token_self(&request.token)?),
        None => Err(HttpError::new(404, "")),
    })?;
    let names: Vec<&str> = policies_of(&request.token).iter().map(|policy| &*policy.name).collect();
    let (name, kind, names) = match &request.token {
        Token::Client(_) if identity => return Err(HttpError::new(404, "ACL token not found")),
        Token::Management => ("Bootstrap Token", "management", Value::Null),
        Token::Anonymous => ("Anonymous Token", "client", json!(["anonymous"])),
        Token::Client(_) | Token::AclsOff | Token::Unknown | Token::Expired | Token::Garbage => {
            ("decamp", "client", json!(names))
        }
    };
    let body = json!({ "AccessorID": "ccc0fb75-8257-eea5-e660-d9d30423ddfa", "Name": name, "Type": kind, "Policies": names,
        "Roles": null, "Global": false, "ExpirationTime": null, "CreateIndex": INDEX, "ModifyIndex": INDEX });
    Ok((headers(INDEX, true), axum::Json(body)).into_response())
}

pub(super) async fn policies(State(shared): AppState, options: QueryOptions) -> Answer {
    read(&shared, options, |_, request, since| {
        acls_are_on(&request.token)?;
        let row =
            |policy: &Policy| json!({ "Name": &*policy.name, "Description": "", "CreateIndex": INDEX, "ModifyIndex": INDEX });
        Ok(ReadAnswer::newer(since, INDEX, || {
            if request.token == Token::Anonymous { Value::Null } else { policies_of(&request.token).iter().map(row).collect() }
        }))
    })
    .await
}

pub(super) async fn policy(State(shared): AppState, Path(name): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |_, request, since| {
        acls_are_on(&request.token)?;
        let policy = policies_of(&request.token).iter().find(|policy| *policy.name == *name);
        let policy = policy.ok_or(ApiError::PermissionDenied)?;
        Ok(ReadAnswer::newer(since, INDEX, || policy_json(policy)))
    })
    .await
}

fn policy_json(policy: &Policy) -> Value {
    let node = match policy.node {
        NodeRule::None => None,
        NodeRule::Read => Some("read"),
        NodeRule::Write => Some("write"),
    };
    let mut rules = node.map(|node| format!("node {{ policy = \"{node}\" }}\n")).unwrap_or_default();
    let mut namespaces = Vec::new();
    for rule in &policy.namespaces {
        let capabilities: Vec<&str> = [("read-job", rule.reads_jobs), ("scale-job", rule.scales_jobs)]
            .iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| *name)
            .collect();
        rules.push_str(&format!("namespace \"{}\" {{ capabilities = {} }}\n", rule.pattern, json!(capabilities)));
        namespaces.push(json!({ "Name": &*rule.pattern, "Policy": "", "Capabilities": capabilities, "Variables": null }));
    }
    let namespaces = if namespaces.is_empty() { Value::Null } else { Value::from(namespaces) };
    json!({ "Name": &*policy.name, "Description": "", "Rules": rules, "CreateIndex": INDEX, "ModifyIndex": INDEX,
        "RulesJSON": { "Agent": null, "HostVolumes": null, "Namespaces": namespaces, "Node": node.map(|node| json!({ "Policy": node })),
            "NodePools": null, "Operator": null, "Plugin": null, "Quota": null, "Raw": rules } })
}
