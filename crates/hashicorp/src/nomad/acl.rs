//! Reads what decamp's own token may do. Without that proof an empty list means nothing: Nomad answers 200 in both cases (ADR 0011).

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{CONCURRENT_REQUESTS, Client, wire};
use decamp_core::decide::{AclNamespace, AclRules, TokenAccess, Unseen, token_access};
use decamp_net::http::RequestFailure;

impl Client {
    /// Whether the token can read every allocation and may drain.
    ///
    /// # Errors
    ///
    /// Nomad does not answer, or the token is invalid or expired.
    pub async fn token_access(&self) -> Result<TokenAccess, Unseen> {
        match self.http.get("/v1/acl/token/self", &[]).await {
            Ok(answer) => {
                let token: wire::OwnToken = answer.json().map_err(RequestFailure::unseen)?;
                if token.kind == "management" {
                    return Ok(TokenAccess::Full);
                }
            }
            Err(failure) if acls_are_off(&failure) => return Ok(TokenAccess::Full),
            // A workload identity cannot be looked up as a token, but its policies are listed.
            Err(RequestFailure::Status { status: 404, .. }) => {}
            Err(failure) => return Err(failure.unseen()),
        }
        let names: Vec<wire::PolicyStub> = match self.http.get("/v1/acl/policies", &[]).await {
            // For a token without policies Nomad answers `null`.
            Ok(answer) => answer.json::<Option<_>>().map_err(RequestFailure::unseen)?.unwrap_or_default(),
            Err(failure) if acls_are_off(&failure) => return Ok(TokenAccess::Full),
            Err(failure) => return Err(failure.unseen()),
        };
        let read = names.iter().map(|stub| self.rules(&stub.name));
        let read: Vec<Result<(String, AclRules), String>> =
            stream::iter(read).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        match read.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(policies) => Ok(token_access(&policies)),
            Err(unreadable) => Ok(TokenAccess::Insufficient(unreadable.into())),
        }
    }

    /// One policy by name, or why it proves nothing.
    async fn rules(&self, name: &str) -> Result<Result<(String, AclRules), String>, Unseen> {
        // Policy names are letters, digits, `-` and `_` by Nomad's own rule. Any other name could lead to another path.
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Ok(Err("the name of a policy is invalid".to_owned()));
        }
        let policy: wire::Policy = match self.http.get(&format!("/v1/acl/policy/{name}"), &[]).await {
            Ok(answer) => answer.json().map_err(RequestFailure::unseen)?,
            Err(failure) if failure.is_denial() => {
                return Ok(Err(format!("the token may not read its policy {name}, so it proves nothing")));
            }
            Err(failure) => return Err(failure.unseen()),
        };
        let rules = policy.parsed.ok_or_else(|| format!("Nomad has not parsed policy {name}, so it proves nothing"));
        Ok(rules.map(|rules| (name.to_owned(), rules.into())))
    }
}

impl From<wire::Rules> for AclRules {
    fn from(from: wire::Rules) -> Self {
        let namespace = |n: wire::NamespaceRule| AclNamespace { name: n.name, policy: n.policy, capabilities: n.capabilities };
        Self {
            node: from.node.map(|node| node.policy).filter(|policy| !policy.is_empty()),
            namespaces: from.namespaces.into_iter().map(namespace).collect(),
        }
    }
}

fn acls_are_off(failure: &RequestFailure) -> bool {
    matches!(failure, RequestFailure::Status { status: 400, text } if text.contains("ACL support disabled"))
}
