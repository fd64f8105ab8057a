//! Secrets and their sources. A secret is wiped from memory when it is dropped, and is never printed.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::Refused;
use super::reader::Reader;

/// A secret text. `Debug` shows `***`; there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret from a text, without surrounding white space (files and secret stores end in a newline).
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// The secret itself, only for the request.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The signing secrets in it, one a line, because they may contain any other character.
    pub fn lines(&self) -> impl Iterator<Item = Self> {
        self.expose().lines().map(str::trim).filter(|line| !line.is_empty()).map(Self::new)
    }

    /// The key in a secret as the Standard Webhooks specification writes it: `whsec_` and base64, 24 to 64 bytes.
    #[cfg(feature = "service")]
    #[must_use]
    pub fn standard_key(&self) -> Option<Vec<u8>> {
        use base64::Engine as _;
        let text = self.expose();
        let key = base64::engine::general_purpose::STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
        (24..=64).contains(&key.len()).then_some(key)
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The source of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TokenSource {
    /// There is none: ACLs are off, or the anonymous token is enough.
    #[default]
    None,
    /// The text itself.
    Literal(Secret),
    /// A file. It is read again after a refusal, because it may have been rotated.
    File(PathBuf),
    /// A parameter or secret in AWS, fetched when it is first needed.
    Stored(Stored),
}

impl TokenSource {
    /// The secret, if it is on this machine. A secret that is kept in AWS is not fetched.
    ///
    /// # Errors
    ///
    /// Returns an error if its file cannot be read or is empty.
    pub fn at_hand(&self, name: &str) -> Result<Option<Secret>, Refused> {
        match self {
            Self::None | Self::Stored(_) => Ok(None),
            Self::Literal(secret) => Ok(Some(secret.clone())),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) if text.trim().is_empty() => {
                    Err(Refused(format!("{name}: there is nothing in its file {}; write the secret into it", path.display())))
                }
                Ok(text) => Ok(Some(Secret::new(text))),
                Err(why) => Err(Refused(format!(
                    "{name}: its file {} cannot be read ({why}); see that it is there, and that this user may read it",
                    path.display()
                ))),
            },
        }
    }
}

/// A secret kept in AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A parameter of Systems Manager's Parameter Store, by name or ARN.
    Ssm(String),
    /// A secret of Secrets Manager, by name or ARN.
    SecretsManager(String),
}

impl Stored {
    /// Reads `ssm:NAME`, `secretsmanager:NAME` or an ARN of either service.
    pub(super) fn read(variable: &str, text: &str) -> Result<Self, Refused> {
        let text = text.trim();
        let service = text.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(1));
        match (service, text.split_once(':')) {
            (Some("ssm"), _) => Ok(Self::Ssm(text.to_owned())),
            (Some("secretsmanager"), _) => Ok(Self::SecretsManager(text.to_owned())),
            (None, Some(("ssm", name))) if !name.is_empty() => Ok(Self::Ssm(name.to_owned())),
            (None, Some(("secretsmanager", name))) if !name.is_empty() => Ok(Self::SecretsManager(name.to_owned())),
            // The error does not repeat the text, which may be the token itself in the wrong variable.
            _ => Err(Refused(format!("{variable}: write ssm:NAME, secretsmanager:NAME, or an ARN of one of them"))),
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssm(name) => write!(f, "the parameter {name}"),
            Self::SecretsManager(name) => write!(f, "the secret {name}"),
        }
    }
}

/// The source of a secret, from the three variables that may set it.
pub(super) fn source(from: &Reader<'_>, literal: &str, file: &str, stored: &str) -> Result<TokenSource, Refused> {
    match (from.text(literal), from.text(file), from.text(stored)) {
        (None, None, None) => Ok(TokenSource::None),
        (Some(text), None, None) => Ok(TokenSource::Literal(Secret::new(text))),
        (None, Some(path), None) => Ok(TokenSource::File(path.into())),
        (None, None, Some(name)) => Stored::read(stored, &name).map(TokenSource::Stored),
        _ => Err(Refused(format!("{literal}, {file} and {stored} exclude one another; set one of them"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let source = TokenSource::Literal(Secret::new("canary"));
        assert_eq!(format!("{source:?}"), "Literal(***)");
    }

    #[test]
    fn a_stored_secret_is_named_by_name_or_arn() {
        let cases = [
            ("ssm:/decamp/nomad", Stored::Ssm("/decamp/nomad".into())),
            ("secretsmanager:decamp", Stored::SecretsManager("decamp".into())),
            (
                "arn:aws:ssm:eu-west-1:123456789012:parameter/x",
                Stored::Ssm("arn:aws:ssm:eu-west-1:123456789012:parameter/x".into()),
            ),
            (
                "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:x",
                Stored::SecretsManager("arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:x".into()),
            ),
        ];
        for (text, stored) in cases {
            assert_eq!(Stored::read("NOMAD_TOKEN_SECRET", text), Ok(stored));
        }
    }

    #[test]
    fn a_token_in_the_wrong_variable_is_refused_without_being_repeated() {
        for text in ["8f3c-canary", "ssm:", "vault:canary", "arn:aws:s3:::canary"] {
            let refused = Stored::read("NOMAD_TOKEN_SECRET", text).expect_err(text);
            assert!(!refused.to_string().contains("canary"), "{refused}");
        }
    }
}
