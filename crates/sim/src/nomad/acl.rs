//! ACLs: tokens and policies as Nomad applies them (facts/nomad.md 11.1 and 11.2).

use std::sync::Arc;

use decamp_core::decide::snapshot::TokenAccess;

/// The token of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// ACLs are off: every caller may do everything.
    AclsOff,
    /// A management token.
    Management,
    /// A client token, or a workload identity, with these policies (those of its roles included).
    Client(Vec<Policy>),
    /// No token, and no anonymous policy grants anything.
    Anonymous,
    /// A token that the servers do not know.
    Unknown,
    /// An expired token.
    Expired,
    /// A text that is no token.
    Garbage,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// Its `node` rule.
    pub node: NodeRule,
    /// Its `namespace` rules.
    pub namespaces: Vec<NamespaceRule>,
}

/// A policy's rule for nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRule {
    /// Nothing.
    None,
    /// Nodes may be listed and read.
    Read,
    /// Nodes may also be drained.
    Write,
}

/// A policy's rule for the namespaces whose names match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRule {
    /// A name, or a pattern with `*`.
    pub pattern: Arc<str>,
    /// Whether jobs and allocations may be read.
    pub reads_jobs: bool,
    /// Whether jobs may be scaled.
    pub scales_jobs: bool,
}

impl Policy {
    /// The policy that decamp needs: node write, and `read-job` in every namespace.
    #[must_use]
    pub fn decamp() -> Self {
        let everywhere = NamespaceRule { pattern: "*".into(), reads_jobs: true, scales_jobs: false };
        Self { name: "decamp".into(), node: NodeRule::Write, namespaces: vec![everywhere] }
    }
}

impl Token {
    /// Whether the servers accept the token. They answer others only with "permission denied".
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match self {
            Self::AclsOff | Self::Management | Self::Client(_) | Self::Anonymous => true,
            Self::Unknown | Self::Expired | Self::Garbage => false,
        }
    }

    fn may_do_everything(&self) -> bool {
        matches!(self, Self::AclsOff | Self::Management)
    }

    fn policies(&self) -> &[Policy] {
        match self {
            Self::Client(policies) => policies,
            Self::AclsOff | Self::Management | Self::Anonymous | Self::Unknown | Self::Expired | Self::Garbage => &[],
        }
    }

    /// What the token may do with nodes.
    #[must_use]
    pub fn node(&self) -> NodeRule {
        if self.may_do_everything() {
            return NodeRule::Write;
        }
        self.policies().iter().map(|p| p.node).max().unwrap_or(NodeRule::None)
    }

    /// Whether the token may read jobs and allocations of a namespace. In each policy the narrowest rule that matches decides.
    #[must_use]
    pub fn reads_jobs(&self, namespace: &str) -> bool {
        self.may_do_everything() || self.rules(namespace).any(|rule| rule.reads_jobs)
    }

    /// Whether the token may scale jobs of a namespace.
    #[must_use]
    pub fn scales_jobs(&self, namespace: &str) -> bool {
        self.may_do_everything() || self.rules(namespace).any(|rule| rule.scales_jobs)
    }

    /// Whether the token may read jobs of at least one namespace, which lists over all namespaces require.
    #[must_use]
    pub fn reads_some_jobs(&self) -> bool {
        self.may_do_everything() || self.policies().iter().flat_map(|p| &p.namespaces).any(|rule| rule.reads_jobs)
    }

    fn rules<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a NamespaceRule> {
        self.policies().iter().filter_map(move |policy| {
            let matching = policy.namespaces.iter().filter(|rule| rule.matches(namespace));
            matching.max_by_key(|rule| (&*rule.pattern == namespace, rule.pattern.len()))
        })
    }

    /// What the token's own policies prove that it can see.
    #[must_use]
    pub fn token_access(&self) -> TokenAccess {
        if self.may_do_everything() {
            return TokenAccess::Full;
        }
        if self.node() < NodeRule::Write {
            return TokenAccess::Insufficient("node { policy = \"write\" } is missing".into());
        }
        let rules = || self.policies().iter().flat_map(|p| &p.namespaces);
        if !rules().any(|rule| &*rule.pattern == "*" && rule.reads_jobs) {
            return TokenAccess::Insufficient("namespace \"*\" { capabilities = [\"read-job\"] } is missing".into());
        }
        match rules().find(|rule| !rule.reads_jobs) {
            Some(rule) => TokenAccess::Insufficient(format!("namespace \"{}\" takes read-job away", rule.pattern).into()),
            None => TokenAccess::Full,
        }
    }
}

impl NamespaceRule {
    /// Whether the rule applies to this namespace. A `*` at the end matches any text.
    fn matches(&self, namespace: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(start) => namespace.starts_with(start),
            None => *self.pattern == *namespace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(rules: &[(&str, bool)]) -> Token {
        let namespaces = rules
            .iter()
            .map(|(pattern, reads_jobs)| NamespaceRule {
                pattern: (*pattern).into(),
                reads_jobs: *reads_jobs,
                scales_jobs: false,
            })
            .collect();
        Token::Client(vec![Policy { name: "test".into(), node: NodeRule::Write, namespaces }])
    }

    #[test]
    fn a_narrower_rule_beats_the_star_and_takes_full_access_away() {
        for pattern in ["other", "oth*"] {
            let token = token(&[("*", true), (pattern, false)]);
            assert!(token.reads_jobs("default"));
            assert!(!token.reads_jobs("other"), "{pattern}");
            assert_ne!(token.token_access(), TokenAccess::Full);
        }
        assert_eq!(Token::Client(vec![Policy::decamp()]).token_access(), TokenAccess::Full);
    }

    #[test]
    fn one_namespace_of_two_is_not_full_access() {
        assert_ne!(token(&[("default", true)]).token_access(), TokenAccess::Full);
    }
}
