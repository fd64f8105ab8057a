//! The tokens that the simulated Nomad and Consul accept, by their secrets.

use std::collections::BTreeMap;

use decamp_core::ids::NodeId;
use decamp_sim::{consul, nomad};

/// The tokens of both systems. By default ACLs are off in both.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Nomad's tokens, by secret. A secret with two dots is a workload identity. `None` means that ACLs are off.
    pub nomad: Option<BTreeMap<String, nomad::Token>>,
    /// Consul's tokens, by secret. `None` means that ACLs are off.
    pub consul: Option<BTreeMap<String, consul::Token>>,
}

impl Tokens {
    /// The token for the secret of a request to Nomad.
    pub(super) fn nomad(&self, secret: Option<&str>) -> nomad::Token {
        let Some(known) = &self.nomad else { return nomad::Token::AclsOff };
        match secret {
            None => nomad::Token::Anonymous,
            Some(secret) => match known.get(secret) {
                Some(token) => token.clone(),
                // Nomad treats a secret that is not a UUID as a signed identity, and finds it invalid.
                None if secret.parse::<NodeId>().is_ok() => nomad::Token::Unknown,
                None => nomad::Token::Garbage,
            },
        }
    }

    /// The token for the secret of a request to Consul.
    pub(super) fn consul(&self, secret: Option<&str>) -> consul::Token {
        match (&self.consul, secret) {
            (None, _) => consul::Token::AclsOff,
            (Some(_), None) => consul::Token::Blank,
            (Some(known), Some(secret)) => known.get(secret).cloned().unwrap_or(consul::Token::Unknown),
        }
    }
}

/// Whether a secret is a workload identity, which is a signed token that cannot be looked up.
pub(super) fn is_identity(secret: &str) -> bool {
    secret.split('.').count() == 3
}
