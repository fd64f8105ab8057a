//! The simulated AWS on one port: the query protocol of Auto Scaling and Elastic Load Balancing, and the JSON calls that decamp makes.

mod auto_scaling;
mod balancers;
mod classic;
mod groups;
pub mod joint;
mod json;
mod load_balancers;
mod metrics;
mod query;
mod queues;
mod refreshes;
mod topics;
mod xml;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::query::Params;
pub use self::queues::{Queues, SqsQueue};
use self::xml::Xml;
use super::Shared;
use super::fault_layer::RefusalKind;
use decamp_sim::api_error::ApiError;
use decamp_sim::auto_scaling::group_arn;
use decamp_sim::rng::Rng;

/// The account and the Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account id, twelve digits.
    pub id: String,
    /// The Region, such as `eu-west-1`.
    pub region: String,
}

/// The contents of the JSON APIs.
#[derive(Debug)]
pub struct Stores {
    /// SSM parameters, by name.
    pub parameters: BTreeMap<String, String>,
    /// Secrets, by name or ARN.
    pub secrets: BTreeMap<String, String>,
    /// The secrets that are marked for deletion.
    pub marked_for_deletion: BTreeSet<String>,
    /// The queues of SQS, by name. The first message to a queue creates it, and a test may add one.
    pub queues: Queues,
    /// The certificate that signs SNS's messages, as PEM.
    pub signing_certificate: Option<String>,
    /// The file names under which the certificate was requested.
    pub certificates_asked: Vec<String>,
    /// Every confirmed subscription: the topic and the token.
    pub confirmations: Vec<(String, String)>,
    /// Every accepted ChangeMessageVisibility: the receipt handle and the seconds.
    pub visibilities: Vec<(String, u64)>,
    rng: Rng,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            parameters: BTreeMap::new(),
            secrets: BTreeMap::new(),
            marked_for_deletion: BTreeSet::new(),
            queues: Queues::new(),
            signing_certificate: None,
            certificates_asked: Vec::new(),
            confirmations: Vec::new(),
            visibilities: Vec::new(),
            rng: Rng::new(0x2b),
        }
    }
}

impl Account {
    fn group_arn(&self, asg: &str) -> String {
        group_arn(&self.region, &self.id, asg)
    }
}

/// The services of the query protocol. The version in a request says which one it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryService {
    AutoScaling,
    LoadBalancers,
    ClassicLoadBalancers,
    Sts,
    Sns,
}

impl QueryService {
    fn of(params: &Params) -> Option<Self> {
        match params.text("Version") {
            Some("2011-01-01") => Some(Self::AutoScaling),
            Some("2015-12-01") => Some(Self::LoadBalancers),
            Some("2012-06-01") => Some(Self::ClassicLoadBalancers),
            Some("2011-06-15") => Some(Self::Sts),
            Some("2010-03-31") => Some(Self::Sns),
            Some(_) | None => None,
        }
    }

    fn namespace(self) -> &'static str {
        match self {
            Self::AutoScaling => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
            Self::LoadBalancers => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
            Self::ClassicLoadBalancers => "http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/",
            Self::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
            Self::Sns => "http://sns.amazonaws.com/doc/2010-03-31/",
        }
    }

    /// The service name in the scope of a signature.
    fn signed_as(self) -> &'static str {
        match self {
            Self::AutoScaling => "autoscaling",
            Self::LoadBalancers | Self::ClassicLoadBalancers => "elasticloadbalancing",
            Self::Sts => "sts",
            Self::Sns => "sns",
        }
    }
}

/// The error of a query call.
struct QueryError {
    status: u16,
    code: &'static str,
    message: String,
}

impl From<ApiError> for QueryError {
    fn from(error: ApiError) -> Self {
        Self { status: error.status(), code: error.code(), message: error.to_string() }
    }
}

impl QueryError {
    fn invalid(message: impl Into<String>) -> Self {
        Self { status: 400, code: "ValidationError", message: message.into() }
    }
}

/// Every AWS API, at `POST /`.
pub fn router(shared: &Arc<Shared>) -> Router {
    Router::new().route("/", post(answer)).route("/{certificate}", get(topics::certificate)).with_state(Arc::clone(shared))
}

/// The operation of a request, as the fault plan names it: the action from its header or its form.
#[must_use]
pub fn operation(headers: &HeaderMap, body: &[u8]) -> String {
    match target(headers) {
        Some((_, operation)) => operation.to_owned(),
        None => Params::read(body).text("Action").unwrap_or_default().to_owned(),
    }
}

/// The service and operation of a JSON call.
fn target(headers: &HeaderMap) -> Option<(&str, &str)> {
    headers.get("x-amz-target")?.to_str().ok()?.rsplit_once('.')
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some((service, operation)) = target(&headers) {
        return json::answer(&shared, service, operation, &headers, &body).await;
    }
    let params = Params::read(&body);
    let Some(service) = QueryService::of(&params) else {
        return refuse(
            &shared,
            QueryService::AutoScaling,
            QueryError { status: 400, code: "NoSuchVersion", message: "no such version".into() },
        );
    };
    if let Err(refused) = check_signature(&headers, service.signed_as()) {
        return refuse(&shared, service, refused);
    }
    let action = params.text("Action").unwrap_or_default();
    let result = match service {
        QueryService::AutoScaling => auto_scaling::answer(&shared, action, &params),
        QueryService::LoadBalancers => load_balancers::answer(&shared, action, &params),
        QueryService::ClassicLoadBalancers => classic::answer(&shared, action, &params),
        QueryService::Sts => identity(&shared, action),
        QueryService::Sns => topics::answer(&shared, action, &params),
    };
    match result {
        Ok(result) => {
            let mut xml = Xml::default();
            xml.within_namespace(&format!("{action}Response"), service.namespace(), |xml| {
                xml.raw(&format!("{action}Result"), &result);
                xml.nested("ResponseMetadata", "RequestId", request_id(&shared));
            });
            send(200, xml)
        }
        Err(refused) => refuse(&shared, service, refused),
    }
}

/// Refuses a request that is not signed, or is signed for another service. The signature itself is not checked.
fn check_signature(headers: &HeaderMap, service: &str) -> Result<(), QueryError> {
    let refused = |code, message: &str| Err(QueryError { status: 403, code, message: message.to_owned() });
    let Some(given) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return refused("MissingAuthenticationToken", "Missing Authentication Token");
    };
    let scope = given.split_once("Credential=").and_then(|(_, rest)| rest.split(',').next()).unwrap_or_default();
    if !given.starts_with("AWS4-HMAC-SHA256") || scope.split('/').nth(3) != Some(service) {
        return refused("SignatureDoesNotMatch", "Credential should be scoped to correct service");
    }
    Ok(())
}

fn identity(shared: &Shared, action: &str) -> Result<Xml, QueryError> {
    if action != "GetCallerIdentity" {
        return Err(unknown(action));
    }
    let account = &shared.account.id;
    let mut xml = Xml::default();
    xml.text("Arn", format!("arn:aws:sts::{account}:assumed-role/decamp/sandbox"))
        .text("UserId", "AROASANDBOX:sandbox")
        .text("Account", account);
    Ok(xml)
}

fn unknown(action: &str) -> QueryError {
    QueryError { status: 400, code: "InvalidAction", message: format!("Could not find operation {action}") }
}

fn request_id(shared: &Shared) -> String {
    shared.stores().rng.uuid()
}

fn refuse(shared: &Shared, service: QueryService, refused: QueryError) -> Response {
    // The two services have different codes for the same error.
    let code = match (service, refused.code) {
        (QueryService::LoadBalancers, "Throttling") => "ThrottlingException",
        (_, code) => code,
    };
    let mut xml = Xml::default();
    xml.within_namespace("ErrorResponse", service.namespace(), |xml| {
        xml.within("Error", |xml| {
            xml.text("Type", if refused.status < 500 { "Sender" } else { "Receiver" })
                .text("Code", code)
                .text("Message", &refused.message);
        });
        xml.text("RequestId", request_id(shared));
    });
    send(refused.status, xml)
}

fn send(status: u16, xml: Xml) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "text/xml")], xml.finish()).into_response()
}

/// An error of the fault plan, in the format of the requested service.
pub(super) fn refused(shared: &Shared, headers: &HeaderMap, body: &Bytes, kind: RefusalKind) -> Response {
    let (status, code, message) = match kind {
        RefusalKind::Broken => (500, "InternalFailure", "We encountered an internal error. Please try again."),
        RefusalKind::Throttled => (400, "Throttling", "Rate exceeded"),
        RefusalKind::Denied => (403, "AccessDenied", "User is not authorized to perform this operation"),
        RefusalKind::Expired => (403, "ExpiredToken", "The security token included in the request is expired"),
    };
    if target(headers).is_some() {
        let code = match kind {
            RefusalKind::Throttled => "ThrottlingException",
            RefusalKind::Denied => "AccessDeniedException",
            RefusalKind::Expired => "ExpiredTokenException",
            RefusalKind::Broken => "InternalServerError",
        };
        return json::refuse(if kind == RefusalKind::Broken { 500 } else { 400 }, code, message);
    }
    let service = QueryService::of(&Params::read(body)).unwrap_or(QueryService::AutoScaling);
    refuse(shared, service, QueryError { status, code, message: message.to_owned() })
}
