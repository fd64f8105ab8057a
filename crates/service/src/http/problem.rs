//! The answer to every refused request: a problem document that says what to do (RFC 9457).

use crate::terraform_run::Invalid;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// The credentials of the webhooks listener. API destinations send a key in a header, or Basic.
const KEYS: &str = "Basic realm=\"decamp\", Bearer realm=\"decamp\"";
/// The credential of the admin listener. Basic is not named, because a browser would then ask for a password by itself.
const TOKEN: &str = "Bearer realm=\"decamp\"";

/// A refusal. It repeats nothing of the request.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    /// Seconds after which the same request may succeed.
    retry_after: Option<u32>,
    /// The credentials to send, where they are missing or wrong.
    challenge: Option<&'static str>,
    more: Map<String, Value>,
}

/// A refusal (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it documents what `into_response` writes")]
pub(super) struct Document {
    /// The kind of refusal: `urn:decamp:problem:` and a word.
    r#type: String,
    /// The same as text.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What to do.
    detail: String,
    /// Why the replica takes no work. Only `/readyz` has it, for authenticated callers.
    not_ready: Option<Vec<crate::health::Ill>>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), retry_after: None, challenge: None, more: Map::new() }
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "Not found",
            "No route has this path. GET /v1/openapi.json on the admin listener lists all routes.",
        )
    }

    pub(super) fn no_such_departure() -> Self {
        let detail = "This replica knows no departure of this instance, in progress or ended. GET /v1/departures lists all.";
        Self::new(StatusCode::NOT_FOUND, "no-such-departure", "No such departure", detail)
    }

    pub(super) fn method() -> Self {
        let detail = "The Allow header names the methods of this path.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    pub(super) fn too_large(most: usize) -> Self {
        let detail = format!("A body may have {most} bytes. Send fewer events at a time.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    pub(super) fn too_slow() -> Self {
        let detail = "The body did not arrive in time. Send the request again, without pauses.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body arrived too slowly", detail)
    }

    pub(super) fn broken_body() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "broken-body",
            "The body is incomplete",
            "The body ended before its announced length. Send the request again.",
        )
    }

    pub(super) fn bad_event(why: String) -> Self {
        let detail = format!(
            "decamp cannot act on anything in the body: {why}. Send an event as AWS writes it, or as the OpenAPI document shows."
        );
        Self::new(StatusCode::BAD_REQUEST, "bad-event", "Not an event that decamp knows", detail)
    }

    /// Only for a signed notification.
    pub(super) fn bad_notification(bad: Invalid) -> Self {
        let detail =
            format!("{bad}. Use a notification of HCP Terraform or Terraform Enterprise with the destination type generic.");
        Self::new(StatusCode::BAD_REQUEST, "bad-notification", "Not a notification that decamp can act on", detail)
    }

    pub(super) fn bad_instance() -> Self {
        let detail = "Name the instance by its id, such as i-0123456789abcdef0.";
        Self::new(StatusCode::BAD_REQUEST, "bad-instance", "Not an instance id", detail)
    }

    /// The same for an unknown key, a wrong one, and where none is set.
    pub(super) fn unauthorized() -> Self {
        let detail = "Send a key of DECAMP_EVENTS_KEY.";
        let problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Missing or unknown key", detail);
        Self { challenge: Some(KEYS), ..problem }
    }

    /// The same for an unknown name, a wrong signature and a missing one, so that a forger learns nothing.
    pub(super) fn unsigned() -> Self {
        let detail =
            "Sign the request with a secret that is set under this name, and send it within five minutes of its timestamp.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Missing or wrong signature", detail)
    }

    /// The same for the admin listener.
    pub(super) fn admin_unauthorized() -> Self {
        let detail = "Send the admin token as a bearer token, or log in at /login.";
        let problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Missing or unknown token", detail);
        Self { challenge: Some(TOKEN), ..problem }
    }

    /// The same for every reason, so that a forger learns nothing.
    pub(super) fn not_believed() -> Self {
        let detail = "The message could not be verified. The log has the reason, under the id in the x-request-id header.";
        Self::new(StatusCode::FORBIDDEN, "not-believed", "Not verified", detail)
    }

    pub(super) fn cannot_verify() -> Self {
        let detail = "A key, secret or certificate that verifies the request could not be read. Send the request again. The log says which.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "cannot-verify", "Cannot verify now", detail);
        Self { retry_after: Some(10), ..problem }
    }

    /// Only for a signed notification.
    pub(super) fn foreign_workspace() -> Self {
        let detail =
            "The settings name no workspace of this organization. Add it under [terraform.workspaces] in the settings' file.";
        Self::new(StatusCode::FORBIDDEN, "foreign-workspace", "Unknown Terraform organization", detail)
    }

    pub(super) fn not_refreshed() -> Self {
        let detail = "Auto Scaling did not start the refresh of every group. Send the request again. The log says why.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-refreshed", "The refresh was not started", detail);
        Self { retry_after: Some(30), ..problem }
    }

    pub(super) fn wrong_host() -> Self {
        let detail = "The Host header does not name this service. Use a name of DECAMP_HOSTS.";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", "Not addressed to this service", detail)
    }

    pub(super) fn too_many(seconds: u32) -> Self {
        let detail = format!("This source has used up its rate limit. Wait {seconds} s.");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail);
        Self { retry_after: Some(seconds), ..problem }
    }

    pub(super) fn busy() -> Self {
        let detail = "Too many requests are in progress. Send the request again.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail);
        Self { retry_after: Some(1), ..problem }
    }

    /// The cause is not the sender's.
    pub(super) fn timed_out() -> Self {
        let detail = "The request was not answered in time. The log says what it waited for. Send it again.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "late", "Not answered in time", detail);
        Self { retry_after: Some(5), ..problem }
    }

    pub(super) fn full(most: usize) -> Self {
        let detail =
            format!("This replica has {most} departures in progress, its limit. Send the request again, or to another replica.");
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "full", "Too many departures", detail);
        Self { retry_after: Some(30), ..problem }
    }

    pub(super) fn too_many_warnings(most: usize) -> Self {
        let detail = format!(
            "This replica has {most} warnings in progress, its limit: it asks Auto Scaling which group each instance belongs to. Send the \
             request again, or to another replica."
        );
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-warnings", "Too many warnings", detail);
        Self { retry_after: Some(30), ..problem }
    }

    pub(super) fn stopping() -> Self {
        let detail = "This replica is stopping. Send the request to another one.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "Stopping", detail);
        Self { retry_after: Some(5), ..problem }
    }

    pub(super) fn not_ready(why: Option<Value>) -> Self {
        let detail =
            "This replica cannot take work now. Send it to another one. With the admin token, this answer says what is missing.";
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
