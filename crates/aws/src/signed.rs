//! Signs and sends calls of AWS without an SDK client, because a whole crate for a few calls would be too much. The calls that fetch a
//! secret are here. `sqs`, `sns`, `cloudwatch` and `load_balancers::classic` have others.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::aws::{Aws, classify, date, no_proxy, unseen};
use super::{endpoints, xml};
use decamp_config::{Secret, Stored, Tls};
use decamp_core::decide::Refusal;
use decamp_net::http;
use decamp_net::secrets::{Fetch, NotFetched};
use decamp_net::tls;

/// The time limit of a call. There are no retries: the next look asks for the token again, and a message becomes visible again by itself.
pub(super) const CALL: Duration = Duration::from_secs(5);
/// The most bytes of an answer. Secrets have at most 64 KiB, ten messages at most 1 MiB before they are escaped.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// The most concurrent calls, except long polls. A thousand messages that are hidden or deleted at the same time are a thousand calls, and
/// each would have its own connection, which takes some 30 KiB.
const MOST_CONCURRENT: usize = 32;
/// The most idle connections that are kept, and for how long: enough for a steady load.
const MOST_IDLE: usize = 16;
const IDLE: Duration = Duration::from_secs(30);
/// Credentials are fetched again this long before they expire.
const BEFORE_EXPIRY: Duration = Duration::from_mins(5);

/// One operation of a service.
pub(super) struct Operation {
    /// The operation's name.
    pub(super) name: &'static str,
    /// The service's name in hosts and signatures.
    pub(super) service: &'static str,
    /// The prefix of `X-Amz-Target`; empty if the operation takes a form instead of JSON.
    pub(super) target: &'static str,
    /// The content type of the request.
    pub(super) kind: &'static str,
}

const GET_PARAMETER: Operation =
    Operation { name: "GetParameter", service: "ssm", target: "AmazonSSM", kind: "application/x-amz-json-1.1" };
const GET_SECRET_VALUE: Operation =
    Operation { name: "GetSecretValue", service: "secretsmanager", target: "secretsmanager", kind: "application/x-amz-json-1.1" };

/// A client for these operations, with the credentials of decamp's other calls.
pub struct Signed {
    pub(super) aws: Aws,
    credentials: Mutex<Option<Credentials>>,
    /// Limits the concurrent calls.
    permits: Semaphore,
    /// Made with the first call, because most processes make none.
    http: OnceLock<reqwest::Client>,
}

impl Signed {
    /// Makes a client. Nothing is sent yet.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        let permits = Semaphore::new(MOST_CONCURRENT);
        Self { aws: aws.clone(), credentials: Mutex::default(), permits, http: OnceLock::new() }
    }

    async fn parameter(&self, name: &str) -> Result<Secret, Refusal> {
        let body = json!({ "Name": name, "WithDecryption": true });
        let answer = self.call(&GET_PARAMETER, region_of(name), body.to_string(), "", CALL).await?;
        parameter_of(&answer)
    }

    async fn secret(&self, id: &str) -> Result<Secret, Refusal> {
        let answer = self.call(&GET_SECRET_VALUE, region_of(id), json!({ "SecretId": id }).to_string(), "", CALL).await?;
        secret_of(&answer)
    }

    /// The address of an operation, with a slash at the end: from the settings, else the same as for the SDK's clients.
    pub(super) fn address(&self, operation: &Operation, region: &str) -> Result<String, Refusal> {
        let settings = &self.aws.settings;
        let own = match operation.service {
            "ssm" => &settings.ssm_endpoint,
            "sqs" => &settings.sqs_endpoint,
            "sns" => &settings.sns_endpoint,
            "monitoring" => &settings.cloudwatch_endpoint,
            "elasticloadbalancing" => &settings.load_balancing_endpoint,
            _ => &settings.secrets_manager_endpoint,
        };
        if let Some(endpoint) = self.aws.endpoint(own) {
            return Ok(format!("{}/", endpoint.trim_end_matches('/')));
        }
        let config = &self.aws.config;
        let (fips, dual_stack) = (config.use_fips().unwrap_or(false), config.use_dual_stack().unwrap_or(false));
        let host = endpoints::host(operation.service, region, fips, dual_stack).map_err(|why| Refusal::Away(why.into()))?;
        Ok(format!("https://{host}/"))
    }

    /// Makes one call with JSON, or with a form if the operation has no target. `secret` is removed from errors, because AWS might repeat
    /// it there.
    pub(super) async fn call(
        &self,
        operation: &Operation,
        region: Option<&str>,
        body: String,
        secret: &str,
        time: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let region = region.or(self.aws.region()).ok_or(Refusal::Away("no Region is set".into()))?;
        let address = self.address(operation, region)?;
        let target = format!("{}.{}", operation.target, operation.name);
        let speaks_json = !operation.target.is_empty();
        let mut headers = vec![("content-type", operation.kind)];
        headers.extend(speaks_json.then_some(("x-amz-target", target.as_str())));
        let signature = self.sign(operation, region, &address, &headers, body.as_bytes()).await?;
        let mut request = self.http()?.post(address).timeout(time).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in signature {
            request = request.header(name, value);
        }
        let _permit = if time <= CALL { Some(self.permit().await?) } else { None };
        self.aws.calls.count(operation.name);
        let sent = self.aws.clock.now();
        let mut answer = request.send().await.map_err(|why| not_reached(&why))?;
        let status = answer.status();
        if status.is_success()
            && let Some(date) = answer.headers().get("date").and_then(|text| date(text.to_str().ok()?))
        {
            self.aws.clock.hear(date, sent, self.aws.clock.now());
        }
        let mut read = Zeroizing::new(Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(|why| not_reached(&why))? {
            if LARGEST_ANSWER < read.len() + chunk.len() {
                return Err(Refusal::Away("the answer is too large".into()));
            }
            read.extend_from_slice(&chunk);
        }
        if status.is_success() {
            // An empty result is `{}` or an empty body; a page of HTML is neither.
            let is_json =
                !speaks_json || read.trim_ascii().is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(&read).is_ok();
            return if is_json { Ok(read) } else { Err(Refusal::Away("the answer is not JSON".into())) };
        }
        Err(refusal_of(status.as_u16(), &read, secret))
    }

    /// Waits until another call may be made.
    async fn permit(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        match timeout(CALL, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Refusal::Away("too many concurrent calls are waiting for an answer".into())),
        }
    }

    async fn sign(
        &self,
        operation: &Operation,
        region: &str,
        address: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Vec<(String, String)>, Refusal> {
        let identity = self.credentials().await?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(operation.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(self.aws.clock.now().0))
            .settings(SigningSettings::default())
            .build()
            .map_err(|why| Refusal::Away(format!("cannot sign: {why}").into()))?
            .into();
        let request = SignableRequest::new("POST", address, headers.iter().copied(), SignableBody::Bytes(body))
            .map_err(|why| Refusal::Away(format!("cannot sign: {why}").into()))?;
        let signed = sign(request, &parameters).map_err(|why| Refusal::Away(format!("cannot sign: {why}").into()))?;
        let (instructions, _) = signed.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    async fn credentials(&self) -> Result<Credentials, Refusal> {
        let now = SystemTime::now();
        let held = self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(held) = held.filter(|held| held.expiry().is_some_and(|end| now + BEFORE_EXPIRY < end)) {
            return Ok(held);
        }
        let provider = self.aws.config.credentials_provider().ok_or(Refusal::Away("there are no credentials".into()))?;
        let fetched = timeout(CALL, provider.provide_credentials()).await;
        let fetched = fetched.map_err(|_| Refusal::Away("no credentials in time".into()))?;
        let fetched = fetched.map_err(|why| Refusal::Away(format!("no credentials: {why}").into()))?;
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = Some(fetched.clone());
        Ok(fetched)
    }

    pub(super) fn http(&self) -> Result<&reqwest::Client, Refusal> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let made = tls::config(&Tls::default(), true).and_then(|tls| {
            let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
            let mut builder = builder.pool_max_idle_per_host(MOST_IDLE).pool_idle_timeout(IDLE);
            if let Some(proxy) = &self.aws.settings.proxy {
                builder = http::through(builder, &proxy.url, &no_proxy(proxy))?;
            }
            Ok(builder.redirect(reqwest::redirect::Policy::none()).build()?)
        });
        let made = made.map_err(|why| Refusal::Away(format!("{why:#}").into()))?;
        Ok(self.http.get_or_init(|| made))
    }
}

impl Fetch for Signed {
    fn fetch<'a>(&'a self, stored: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
        Box::pin(async move {
            let fetched = match stored {
                Stored::Ssm(name) => self.parameter(name).await,
                Stored::SecretsManager(id) => self.secret(id).await,
            };
            fetched.map_err(not_fetched)
        })
    }
}

/// What a refusal means for the secret. Secrets Manager and SSM have a code for a secret that does not exist. For a secret that is marked
/// for deletion Secrets Manager has only a message (`InvalidRequestException`).
fn not_fetched(refusal: Refusal) -> NotFetched {
    match refusal {
        Refusal::Rejected(why)
            if ["ResourceNotFoundException: ", "ParameterNotFound: "].iter().any(|code| why.starts_with(code))
                || why.starts_with("InvalidRequestException: ") && why.contains("marked for deletion") =>
        {
            NotFetched::Gone(why)
        }
        Refusal::Rejected(_)
        | Refusal::Throttled
        | Refusal::Denied(_)
        | Refusal::Away(_)
        | Refusal::NoActiveAction
        | Refusal::Missing => NotFetched::Unseen(unseen(refusal)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterAnswer {
    parameter: Parameter,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretAnswer {
    secret_string: String,
}

#[derive(Deserialize, Default)]
struct ErrorAnswer {
    #[serde(rename = "__type")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// The token in an answer to `GetParameter`.
///
/// # Errors
///
/// The answer has none. The error repeats nothing of the answer.
pub fn parameter_of(answer: &[u8]) -> Result<Secret, Refusal> {
    read::<ParameterAnswer>(answer).map(|answer| Secret::new(answer.parameter.value))
}

/// The token in an answer to `GetSecretValue`.
///
/// # Errors
///
/// As for [`parameter_of`].
pub fn secret_of(answer: &[u8]) -> Result<Secret, Refusal> {
    read::<SecretAnswer>(answer).map(|answer| Secret::new(answer.secret_string))
}

/// The refusal in an answer that is not a success. `secret` is removed from it.
#[must_use]
pub fn refusal_of(status: u16, answer: &[u8], secret: &str) -> Refusal {
    if let Some((code, message)) = xml::error(answer) {
        return classify(status, Some(&code), &message, Some(secret));
    }
    let error: ErrorAnswer = serde_json::from_slice(answer).unwrap_or_default();
    let code = error.code.as_deref().map(|code| code.rsplit('#').next().unwrap_or(code));
    classify(status, code, error.message.as_deref().unwrap_or_default(), Some(secret))
}

pub(super) fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Refusal> {
    // The parser's error is dropped, because it may repeat a part of the answer.
    serde_json::from_slice(answer).map_err(|_| Refusal::Away("the answer has an unexpected form".into()))
}

/// The Region of an ARN; `None` for a plain name.
fn region_of(name: &str) -> Option<&str> {
    name.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
}

pub(super) fn not_reached(why: &reqwest::Error) -> Refusal {
    let mut text: Arc<str> = why.to_string().into();
    let mut cause = std::error::Error::source(why);
    while let Some(error) = cause {
        text = format!("{text}: {error}").into();
        cause = error.source();
    }
    Refusal::Away(text)
}
