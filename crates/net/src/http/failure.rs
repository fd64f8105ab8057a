//! The ways in which a request can fail, and what they mean for the rules: `Unseen` for a look, `Refusal` for a write.

use std::error::Error;
use std::sync::Arc;

use reqwest::Method;

use decamp_core::decide::{Refusal, Unseen};

/// The longest text of a server that is shown: enough for a sentence.
const LONGEST_TEXT: usize = 200;

/// The shortest token. Nomad's and Consul's are UUIDs or longer.
const SHORTEST_TOKEN: usize = 8;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFailure {
    /// There is no token, or no certificate, to send it with.
    NoToken(Unseen),
    /// No connection was made. The server certainly did not receive the request.
    NotSent(Arc<str>),
    /// The connection broke, or the time was up. The server may have received the request.
    NoAnswer(Arc<str>),
    /// The answer is not one that Nomad or Consul give.
    Nonsense(Arc<str>),
    /// The answer is too long.
    TooLarge(Arc<str>),
    /// The server refused the request.
    Status {
        /// The HTTP status.
        status: u16,
        /// The server's text, trimmed.
        text: Arc<str>,
    },
}

/// The text for a request that was not answered in time.
const LATE: &str = "no answer in time";

impl RequestFailure {
    /// An answer of more than this many bytes.
    #[must_use]
    pub fn too_large(largest: usize) -> Self {
        Self::TooLarge(format!("an answer of more than {largest} bytes").into())
    }

    /// Whether the time was up before the whole answer had arrived.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Self::NoAnswer(why) if why.ends_with(LATE))
    }

    /// Converts an error of the HTTP library, by whether the request may have reached the server.
    pub fn of(why: reqwest::Error) -> Self {
        let why = why.without_url();
        let mut cause: &dyn Error = &why;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let text: Arc<str> = if why.is_timeout() { LATE.into() } else { cause.to_string().into() };
        if why.is_connect() || why.is_builder() { Self::NotSent(text) } else { Self::NoAnswer(text) }
    }

    /// Adds the method and the address, except to a server's own message.
    pub fn at(self, method: &Method, address: &str, path: &str) -> Self {
        let with_request = |why: Arc<str>| format!("{method} {address}{path}: {why}").into();
        match self {
            Self::NotSent(why) => Self::NotSent(with_request(why)),
            Self::NoAnswer(why) => Self::NoAnswer(with_request(why)),
            Self::Nonsense(why) => Self::Nonsense(with_request(why)),
            Self::TooLarge(why) => Self::TooLarge(with_request(why)),
            Self::NoToken(_) | Self::Status { .. } => self,
        }
    }

    /// Whether TLS failed, because one side does not accept the other's certificate (any more).
    #[must_use]
    pub fn is_tls(&self) -> bool {
        // An alert about a certificate comes before the server processes a request. Other alerts may come at any time.
        let about = ["BadCertificate", "Certificate", "UnknownCA", "UnsupportedCertificate", "AccessDenied", "HandshakeFailure"];
        let refused = |why: &str| {
            let (_, alert) = why.split_once("received fatal alert: ")?;
            Some(about.iter().any(|name| alert.starts_with(name)))
        };
        match self {
            Self::NotSent(why) | Self::NoAnswer(why) => why.contains("invalid peer certificate") || refused(why).unwrap_or(false),
            Self::NoToken(_) | Self::Nonsense(_) | Self::TooLarge(_) | Self::Status { .. } => false,
        }
    }

    /// Whether another address may succeed.
    pub fn is_address(&self) -> bool {
        match self {
            // The other addresses would answer the same.
            Self::NoToken(_) | Self::TooLarge(_) => false,
            Self::NotSent(_) | Self::NoAnswer(_) | Self::Nonsense(_) => true,
            Self::Status { status, .. } => !self.is_denial() && (*status == 429 || 500 <= *status),
        }
    }

    /// Whether the token was refused. Nomad answers 500 to a token that has expired or is not one (facts/nomad.md 11.5).
    #[must_use]
    pub fn is_denial(&self) -> bool {
        match self {
            Self::NoToken(_) | Self::NotSent(_) | Self::NoAnswer(_) | Self::Nonsense(_) | Self::TooLarge(_) => false,
            Self::Status { status: 401 | 403, .. } => true,
            Self::Status { status: 500, text } => {
                let signs =
                    ["ACL token expired", "ACL token not found", "ACL not found", "Permission denied", "parse signed token"];
                signs.iter().any(|sign| text.contains(sign))
            }
            Self::Status { .. } => false,
        }
    }

    /// Whether the server says that the node does not exist. Its text decides, because any proxy can answer with the same status.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Status { status: 404 | 500, text } if text.contains("node not found"))
    }

    /// The failure of a look.
    #[must_use]
    pub fn unseen(self) -> Unseen {
        match self {
            Self::NoToken(why) => why,
            Self::NotSent(why) | Self::NoAnswer(why) | Self::Nonsense(why) | Self::TooLarge(why) => Unseen::Away(why),
            Self::Status { ref text, .. } if self.is_denial() => Unseen::Denied(Arc::clone(text)),
            Self::Status { status: 429, .. } => Unseen::Throttled,
            Self::Status { status: 503, ref text } if text.contains("rate limit") => Unseen::Throttled,
            Self::Status { status, text } => Unseen::Away(format!("answered {status}: {text}").into()),
        }
    }

    /// The failure of a write.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        if self.is_missing() {
            return Refusal::Missing;
        }
        match self {
            Self::NoToken(Unseen::Denied(why)) => Refusal::Denied(why),
            Self::NoToken(Unseen::Throttled) => Refusal::Throttled,
            Self::NoToken(why @ (Unseen::Away(_) | Unseen::Stale)) => Refusal::Away(why.to_string().into()),
            Self::NotSent(why) | Self::NoAnswer(why) | Self::Nonsense(why) | Self::TooLarge(why) => Refusal::Away(why),
            Self::Status { ref text, .. } if self.is_denial() => Refusal::Denied(Arc::clone(text)),
            Self::Status { status: 429, .. } => Refusal::Throttled,
            Self::Status { status: 503, ref text } if text.contains("rate limit") => Refusal::Throttled,
            Self::Status { status: status @ 500.., text } => Refusal::Away(format!("answered {status}: {text}").into()),
            Self::Status { status, text } => Refusal::Rejected(format!("answered {status}: {text}").into()),
        }
    }
}

/// A server's text, safe to show: short, on one line, without control characters, and without the secrets in case it repeats them.
pub fn plain_text<'a>(body: &[u8], secrets: impl IntoIterator<Item = &'a str>) -> Arc<str> {
    // A token may extend over the end of the text, so it is removed before the text is cut.
    let far = &body[..body.len().min(LONGEST_TEXT * 8)];
    let mut text = String::from_utf8_lossy(far).into_owned();
    // Shorter texts are no tokens and might be part of any word.
    for secret in secrets.into_iter().filter(|secret| SHORTEST_TOKEN <= secret.len()) {
        text = text.replace(secret, "***");
    }
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_TEXT).collect();
    clean.trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, text: &str) -> RequestFailure {
        RequestFailure::Status { status, text: text.into() }
    }

    #[test]
    fn a_refused_look_is_never_an_answer() {
        let cases = [
            (status(403, "Permission denied"), Unseen::Denied("Permission denied".into())),
            (status(500, "ACL token expired"), Unseen::Denied("ACL token expired".into())),
            (status(403, "ACL not found"), Unseen::Denied("ACL not found".into())),
            (status(429, "Your IP is issuing too many"), Unseen::Throttled),
            (status(503, "rate limit exceeded for operation"), Unseen::Throttled),
            (status(500, "No cluster leader"), Unseen::Away("answered 500: No cluster leader".into())),
            (status(404, "node not found"), Unseen::Away("answered 404: node not found".into())),
            (status(302, ""), Unseen::Away("answered 302: ".into())),
        ];
        for (failure, unseen) in cases {
            assert_eq!(failure.clone().unseen(), unseen, "{failure:?}");
        }
    }

    #[test]
    fn a_refused_write_says_whether_it_may_have_worked() {
        let cases = [
            (status(500, "node not found"), Refusal::Missing),
            (status(404, "node not found"), Refusal::Missing),
            (status(404, "<h1>Not Found</h1>"), Refusal::Rejected("answered 404: <h1>Not Found</h1>".into())),
            (status(403, "Permission denied"), Refusal::Denied("Permission denied".into())),
            (status(500, "rpc error: EOF"), Refusal::Away("answered 500: rpc error: EOF".into())),
            (status(400, "Request body is empty"), Refusal::Rejected("answered 400: Request body is empty".into())),
            (status(429, ""), Refusal::Throttled),
            (RequestFailure::NoAnswer(LATE.into()), Refusal::Away(LATE.into())),
        ];
        for (failure, refusal) in cases {
            assert_eq!(failure.clone().refusal(), refusal, "{failure:?}");
        }
    }

    #[test]
    fn a_servers_text_is_short_and_clean_and_without_the_token() {
        let text = plain_text("no\r\n\u{1b}[31mtoken 8f3c-canary here".as_bytes(), Some("8f3c-canary"));
        assert_eq!(&*text, "no   [31mtoken *** here");
        let long = format!("{}8f3c-canary", "x".repeat(LONGEST_TEXT - 4));
        let text = plain_text(long.as_bytes(), Some("8f3c-canary"));
        assert!(text.chars().count() <= LONGEST_TEXT && !text.contains("8f3c"), "{text}");
    }
}
