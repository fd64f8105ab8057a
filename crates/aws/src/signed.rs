//! Calls of AWS that are signed by hand, because a whole client crate would be too much: two that fetch a secret; `queues` has those of SQS,
//! `load_balancers::classic` those of Classic Load Balancers.

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

use super::aws::{Aws, classify, date, not_through, unseen};
use super::{endpoints, xml};
use decamp_config::{Secret, Stored, Tls};
use decamp_core::decide::Refusal;
use decamp_net::http;
use decamp_net::secrets::{Fetch, NotFetched};
use decamp_net::tls;

/// A whole call. There is no retry: a token is asked for again with the next look, and a message comes back by itself.
pub(super) const CALL: Duration = Duration::from_secs(5);
/// Secrets have at most 64 KiB, ten messages at most 1 MiB before they are escaped.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// Calls at once, long polls aside. A thousand messages that are hidden again or deleted at the same moment are a thousand calls:
/// each would have a connection of its own, and hold some 30 KiB here.
const AT_ONCE: usize = 32;
/// Idle connections that are kept, and for how long: enough for what comes steadily.
const MOST_IDLE: usize = 16;
const IDLE: Duration = Duration::from_secs(30);
/// Credentials are fetched anew this long before they end.
const CREDENTIALS_END: Duration = Duration::from_mins(5);

/// One operation of a service that speaks JSON.
pub(super) struct Operation {
    /// Its name.
    pub(super) name: &'static str,
    /// The service, as in its host's name and in signatures.
    pub(super) service: &'static str,
    /// The prefix of `X-Amz-Target`; empty: it takes a form.
    pub(super) target: &'static str,
    pub(super) kind: &'static str,
}

const GET_PARAMETER: Operation =
    Operation { name: "GetParameter", service: "ssm", target: "AmazonSSM", kind: "application/x-amz-json-1.1" };
const GET_SECRET_VALUE: Operation =
    Operation { name: "GetSecretValue", service: "secretsmanager", target: "secretsmanager", kind: "application/x-amz-json-1.1" };

/// A caller of these operations, with the credentials that all of decamp uses.
pub struct Signed {
    pub(super) aws: Aws,
    credentials: Mutex<Option<Credentials>>,
    /// Whoever calls waits here until few enough do.
    turn: Semaphore,
    /// Made with the first call: most processes never make one.
    http: OnceLock<reqwest::Client>,
}

impl Signed {
    /// A caller; nothing is sent yet.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { aws: aws.clone(), credentials: Mutex::default(), turn: Semaphore::new(AT_ONCE), http: OnceLock::new() }
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

    /// Where an operation is called, with a slash at the end: as the SDK's own clients are, or where the settings say.
    pub(super) fn address(&self, operation: &Operation, region: &str) -> Result<String, Refusal> {
        let settings = &self.aws.settings;
        let own = match operation.service {
            "ssm" => &settings.ssm_endpoint,
            "sqs" => &settings.sqs_endpoint,
            "sns" => &settings.sns_endpoint,
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

    /// Makes one call, in JSON or, where the operation has no target, as a form. `secret` is what AWS might repeat in an error, and nobody should read.
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
        let _turn = if time <= CALL { Some(self.turn().await?) } else { None };
        self.aws.calls.count(operation.name);
        let sent = self.aws.clock.now();
        let mut answer = request.send().await.map_err(|why| away(&why))?;
        let status = answer.status();
        if status.is_success()
            && let Some(date) = answer.headers().get("date").and_then(|text| date(text.to_str().ok()?))
        {
            self.aws.clock.hear(date, sent, self.aws.clock.now());
        }
        let mut read = Zeroizing::new(Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(|why| away(&why))? {
            if LARGEST_ANSWER < read.len() + chunk.len() {
                return Err(Refusal::Away("an answer that never ends".into()));
            }
            read.extend_from_slice(&chunk);
        }
        if status.is_success() {
            // An empty result is `{}` or nothing at all; a page of HTML is neither.
            let is_json =
                !speaks_json || read.trim_ascii().is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(&read).is_ok();
            return if is_json { Ok(read) } else { Err(Refusal::Away("an answer that is not JSON".into())) };
        }
        Err(refusal_of(status.as_u16(), &read, secret))
    }

    /// Waits until few enough others call.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        match timeout(CALL, self.turn.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Refusal::Away("too many calls before it were not answered in time".into())),
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
        if let Some(held) = held.filter(|held| held.expiry().is_some_and(|end| now + CREDENTIALS_END < end)) {
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
                builder = http::through(builder, &proxy.url, &not_through(proxy))?;
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

/// What a refusal says of the secret. Secrets Manager and SSM have a code for one that is not there; for one that is marked for deletion
/// Secrets Manager has only a sentence (`InvalidRequestException`).
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

/// The token in what `GetParameter` answered.
///
/// # Errors
///
/// There is none in it. What is said of it repeats nothing that was in it.
pub fn parameter_of(answer: &[u8]) -> Result<Secret, Refusal> {
    read::<ParameterAnswer>(answer).map(|answer| Secret::new(answer.parameter.value))
}

/// The token in what `GetSecretValue` answered.
///
/// # Errors
///
/// As for [`parameter_of`].
pub fn secret_of(answer: &[u8]) -> Result<Secret, Refusal> {
    read::<SecretAnswer>(answer).map(|answer| Secret::new(answer.secret_string))
}

/// What an answer other than a success says. `secret` is what it may repeat, and nobody should read.
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
    // The parser's own words may repeat what it could not read.
    serde_json::from_slice(answer).map_err(|_| Refusal::Away("the answer is not what was asked for".into()))
}

/// The Region in an ARN; `None` for a plain name.
fn region_of(name: &str) -> Option<&str> {
    name.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
}

pub(super) fn away(why: &reqwest::Error) -> Refusal {
    let mut text: Arc<str> = why.to_string().into();
    let mut cause = std::error::Error::source(why);
    while let Some(error) = cause {
        text = format!("{text}: {error}").into();
        cause = error.source();
    }
    Refusal::Away(text)
}
