//! What every refused request is answered with: a problem document that says what to do (RFC 9457).

use crate::terraform_run::Invalid;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// What opens the webhooks listener: API destinations send a key in a header, or Basic.
const KEYS: &str = "Basic realm=\"decamp\", Bearer realm=\"decamp\"";
/// What opens the admin listener. Were Basic named, a browser would ask for a password in a box of its own.
const TOKEN: &str = "Bearer realm=\"decamp\"";

/// A refusal. Nothing that was sent is repeated in it.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    /// Seconds after which the same may work.
    retry_after: Option<u32>,
    /// What is to be shown, where nothing was, or nothing that is known.
    challenge: Option<&'static str>,
    more: Map<String, Value>,
}

/// What a refusal looks like (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it documents what `into_response` writes")]
pub(super) struct Document {
    /// Which refusal: `urn:decamp:problem:` and a word.
    r#type: String,
    /// The same in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What to do.
    detail: String,
    /// Why no work can be taken; of `/readyz` alone, for those who are trusted.
    not_ready: Option<Vec<crate::health::Ill>>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), retry_after: None, challenge: None, more: Map::new() }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here", "Look at the list of routes in the README.")
    }

    pub(super) fn no_such_departure() -> Self {
        let detail = "No instance of this id is on its way out, and this replica remembers none. GET /v1/departures lists all.";
        Self::new(StatusCode::NOT_FOUND, "no-such-departure", "No such departure", detail)
    }

    pub(super) fn method() -> Self {
        let detail = "This path is there for another method; the Allow header names it.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Another method is wanted", detail)
    }

    pub(super) fn too_large(most: usize) -> Self {
        let detail = format!("A body has at most {most} bytes. Send fewer events at a time.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    pub(super) fn too_slow() -> Self {
        let detail = "The body did not come in time. Send it again, at once.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body came too slowly", detail)
    }

    pub(super) fn broken_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "broken-body", "The body broke off", "Send all of it.")
    }

    pub(super) fn bad_event(why: String) -> Self {
        let detail = format!(
            "Nothing in the body can be acted on: {why}. Send an event as AWS writes it, or what the OpenAPI document shows."
        );
        Self::new(StatusCode::BAD_REQUEST, "bad-event", "No event that decamp knows", detail)
    }

    /// Only a signed notification gets so far.
    pub(super) fn bad_notification(bad: Invalid) -> Self {
        let detail = format!("{bad}. HCP Terraform and Terraform Enterprise send notifications of the destination type generic.");
        Self::new(StatusCode::BAD_REQUEST, "bad-notification", "No notification of Terraform that decamp can act on", detail)
    }

    pub(super) fn bad_instance() -> Self {
        let detail = "An instance is named by its id, such as i-0123456789abcdef0.";
        Self::new(StatusCode::BAD_REQUEST, "bad-instance", "Not an instance id", detail)
    }

    /// The same for an unknown and a wrong credential, and where there is none to be had.
    pub(super) fn unauthorized() -> Self {
        let detail = "Send a key that this service knows.";
        let problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No key, or an unknown one", detail);
        Self { challenge: Some(KEYS), ..problem }
    }

    /// The same for an unknown name, a wrong signature and none: who forges learns nothing.
    pub(super) fn unsigned() -> Self {
        let detail = "Sign it with a secret that is set here under this name, and send it within five minutes of its timestamp.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not signed, or with an unknown secret", detail)
    }

    /// The same of the admin listener.
    pub(super) fn closed() -> Self {
        let detail = "Send the admin token as a bearer token, or log in at /login.";
        let problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No token, or an unknown one", detail);
        Self { challenge: Some(TOKEN), ..problem }
    }

    /// The same whatever the doubt: who forges learns nothing.
    pub(super) fn not_believed() -> Self {
        let detail = "It does not come from whom it says. The log names what was doubted, by the request's id.";
        Self::new(StatusCode::FORBIDDEN, "not-believed", "Not believed", detail)
    }

    pub(super) fn cannot_verify() -> Self {
        let detail = "What is needed to believe it could not be fetched. Send it again; the log says what is missing.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "cannot-verify", "It cannot be verified now", detail);
        Self { retry_after: Some(10), ..problem }
    }

    /// Only a signed notification gets so far.
    pub(super) fn foreign_workspace() -> Self {
        let detail = "No workspace of this Terraform organization is named here. Name it under [terraform.workspaces] in the settings' file.";
        Self::new(StatusCode::FORBIDDEN, "foreign-workspace", "Not a Terraform organization of this service", detail)
    }

    pub(super) fn not_refreshed() -> Self {
        let detail = "Auto Scaling did not start the refresh of every group. Send it again; the log says why.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-refreshed", "The refresh was not started", detail);
        Self { retry_after: Some(30), ..problem }
    }

    pub(super) fn wrong_host() -> Self {
        let detail = "The request was addressed to a name that is not this service's. Use one of DECAMP_HOSTS.";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", "Not addressed to this service", detail)
    }

    pub(super) fn too_many(seconds: u32) -> Self {
        let detail = format!("This source asks too often. Wait {seconds} s.");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail);
        Self { retry_after: Some(seconds), ..problem }
    }

    pub(super) fn busy() -> Self {
        let detail = "Too many requests are being answered. Send it again.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail);
        Self { retry_after: Some(1), ..problem }
    }

    /// Whatever it was, it was not the sender's fault.
    pub(super) fn late() -> Self {
        let detail = "It was not answered in time; the log says what it waited for. Send it again.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "late", "Not answered in time", detail);
        Self { retry_after: Some(5), ..problem }
    }

    pub(super) fn full(most: usize) -> Self {
        let detail =
            format!("This replica has {most} departures in hand, which is all it takes on. Send it again, or to another.");
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "full", "Too many departures", detail);
        Self { retry_after: Some(30), ..problem }
    }

    pub(super) fn too_many_warnings(most: usize) -> Self {
        let detail = format!(
            "{most} warnings of instances wait here until Auto Scaling says whose those are. Send it again, or to another replica."
        );
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-warnings", "Too many warnings", detail);
        Self { retry_after: Some(30), ..problem }
    }

    pub(super) fn stopping() -> Self {
        let detail = "This replica was told to stop. Send it again, to another one.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "Stopping", detail);
        Self { retry_after: Some(5), ..problem }
    }

    pub(super) fn not_ready(why: Option<Value>) -> Self {
        let detail = "This replica cannot take work now. Send it to another one; with the admin token this says what is missing.";
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", detail);
        problem.retry_after = Some(5);
        problem.more.extend(why.map(|why| ("not_ready".to_owned(), why)));
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:decamp:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(fields) = &mut body {
            fields.extend(self.more);
        }
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body.to_string()).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
