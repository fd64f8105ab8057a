//! Which tokens the pretend Nomad and Consul know, by their secrets.

use std::collections::BTreeMap;

use decamp_core::ids::NodeId;
use decamp_sim::{consul, nomad};

/// The tokens of both systems. By default ACLs are off in both.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Nomad's, by secret. A secret with two dots in it is a workload identity. `None`: ACLs are off.
    pub nomad: Option<BTreeMap<String, nomad::Token>>,
    /// Consul's, by secret. `None`: ACLs are off.
    pub consul: Option<BTreeMap<String, consul::Token>>,
}

impl Tokens {
    /// What stands behind the secret that a request to Nomad carries.
    pub(super) fn nomad(&self, secret: Option<&str>) -> nomad::Token {
        let Some(known) = &self.nomad else { return nomad::Token::AclsOff };
        match secret {
            None => nomad::Token::Anonymous,
            Some(secret) => match known.get(secret) {
                Some(token) => token.clone(),
                // Whatever is no UUID is taken for a signed identity, and found to be none.
                None if secret.parse::<NodeId>().is_ok() => nomad::Token::Unknown,
                None => nomad::Token::Garbage,
            },
        }
    }

    /// What stands behind the secret that a request to Consul carries.
    pub(super) fn consul(&self, secret: Option<&str>) -> consul::Token {
        match (&self.consul, secret) {
            (None, _) => consul::Token::AclsOff,
            (Some(_), None) => consul::Token::Blank,
            (Some(known), Some(secret)) => known.get(secret).cloned().unwrap_or(consul::Token::Unknown),
        }
    }
}

/// Whether a secret is a workload identity: a signed token, which cannot be looked up.
pub(super) fn is_identity(secret: &str) -> bool {
    secret.split('.').count() == 3
}
