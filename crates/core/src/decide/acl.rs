//! Whether the policies of a Nomad token together let it see every allocation and drain every node (ADR 0011).

use std::collections::{BTreeMap, BTreeSet};

use super::TokenAccess;

/// The rules of one policy that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclRules {
    /// `node { policy = … }`.
    pub node: Option<String>,
    /// `namespace "…" { … }`, in order.
    pub namespaces: Vec<AclNamespace>,
}

/// One `namespace` block of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclNamespace {
    /// A name, or a pattern with `*`.
    pub name: String,
    /// `policy = …`, empty if it is not set.
    pub policy: String,
    /// `capabilities = […]`.
    pub capabilities: Vec<String>,
}

/// What a namespace's rules from all policies add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Yes,
    No,
    /// Overrides every other rule for the same name.
    Denied,
}

/// What these named policies together let a token see.
///
/// Nomad adds up the rules of all policies for the same name or pattern, and then applies the one rule that fits a namespace best. A
/// narrower rule replaces `*`. It does not add to it, even if another policy has it (facts/nomad.md 11.2). So every rule must let the token
/// read.
#[must_use]
pub fn token_access(policies: &[(String, AclRules)]) -> TokenAccess {
    let mut missing = Vec::new();
    let node: BTreeSet<&str> = policies.iter().filter_map(|(_, rules)| rules.node.as_deref()).collect();
    if node.contains("deny") {
        missing.push("a policy denies nodes; remove `node { policy = \"deny\" }`".to_owned());
    } else if !node.contains("write") {
        missing.push("add `node { policy = \"write\" }`".to_owned());
    }
    let mut namespaces: BTreeMap<&str, (Reads, &str)> = BTreeMap::new();
    for (policy, rules) in policies {
        for rule in &rules.namespaces {
            let known = namespaces.entry(&rule.name).or_insert((Reads::No, policy));
            known.0 = match (known.0, reads(rule)) {
                (Reads::Denied, _) | (_, Reads::Denied) => Reads::Denied,
                (Reads::Yes, _) | (_, Reads::Yes) => Reads::Yes,
                (Reads::No, Reads::No) => Reads::No,
            };
        }
    }
    if !matches!(namespaces.get("*"), Some((Reads::Yes, _))) {
        missing.push("add `namespace \"*\" { capabilities = [\"read-job\"] }`".to_owned());
    }
    for (name, (known, policy)) in &namespaces {
        if *name != "*" && *known != Reads::Yes {
            missing
                .push(format!("the rule for namespace \"{name}\" (policy {policy}) hides its allocations; add `read-job` to it"));
        }
    }
    if missing.is_empty() { TokenAccess::Full } else { TokenAccess::Insufficient(missing.join("; ").into()) }
}

fn reads(rule: &AclNamespace) -> Reads {
    if rule.policy == "deny" || rule.capabilities.iter().any(|c| c == "deny") {
        return Reads::Denied;
    }
    // `scale` and `list` do not let a token read jobs. An unknown policy or capability proves nothing.
    let reads = matches!(rule.policy.as_str(), "read" | "write") || rule.capabilities.iter().any(|c| c == "read-job");
    if reads { Reads::Yes } else { Reads::No }
}
