//! Whether a token's policies together let it see every allocation and drain every node (D9).

use std::collections::{BTreeMap, BTreeSet};

use super::wire;
use decamp_core::decide::NomadSight;

/// What a policy says that matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// `node { policy = … }`.
    pub(super) node: Option<String>,
    /// `namespace "…" { … }`, in order.
    pub(super) namespaces: Vec<Namespace>,
}

/// One `namespace` block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Namespace {
    /// A name, or a pattern with `*`.
    pub(super) name: String,
    /// `policy = …`.
    pub(super) policy: String,
    /// `capabilities = […]`.
    pub(super) capabilities: Vec<String>,
}

impl From<wire::Rules> for Rules {
    fn from(from: wire::Rules) -> Self {
        let namespace = |n: wire::NamespaceRule| Namespace { name: n.name, policy: n.policy, capabilities: n.capabilities };
        Self {
            node: from.node.map(|node| node.policy).filter(|policy| !policy.is_empty()),
            namespaces: from.namespaces.into_iter().map(namespace).collect(),
        }
    }
}

/// What a namespace's rules of all policies come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Yes,
    No,
    /// Beats everything else that is said of the same name.
    Denied,
}

/// What these policies, with their names, come to together.
///
/// Nomad adds up what all policies say of the same name or pattern, and then takes the one rule that fits a namespace best: a
/// narrower rule replaces `*`, it does not add to it, even if another policy has it. So every rule there is must let us read.
pub(super) fn sight(policies: &[(String, Rules)]) -> NomadSight {
    let mut missing = Vec::new();
    let node: BTreeSet<&str> = policies.iter().filter_map(|(_, rules)| rules.node.as_deref()).collect();
    if node.contains("deny") {
        missing.push("a policy denies nodes; take `node { policy = \"deny\" }` away".to_owned());
    } else if !node.contains("write") {
        missing.push("add `node { policy = \"write\" }`".to_owned());
    }
    let mut namespaces: BTreeMap<&str, (Reads, &str)> = BTreeMap::new();
    for (policy, rules) in policies {
        for rule in &rules.namespaces {
            let said = namespaces.entry(&rule.name).or_insert((Reads::No, policy));
            said.0 = match (said.0, reads(rule)) {
                (Reads::Denied, _) | (_, Reads::Denied) => Reads::Denied,
                (Reads::Yes, _) | (_, Reads::Yes) => Reads::Yes,
                (Reads::No, Reads::No) => Reads::No,
            };
        }
    }
    if !matches!(namespaces.get("*"), Some((Reads::Yes, _))) {
        missing.push("add `namespace \"*\" { capabilities = [\"read-job\"] }`".to_owned());
    }
    for (name, (said, policy)) in &namespaces {
        if *name != "*" && *said != Reads::Yes {
            missing
                .push(format!("the rule for namespace \"{name}\" (policy {policy}) hides its allocations; add `read-job` to it"));
        }
    }
    if missing.is_empty() { NomadSight::Full } else { NomadSight::Short(missing.join("; ").into()) }
}

fn reads(rule: &Namespace) -> Reads {
    if rule.policy == "deny" || rule.capabilities.iter().any(|c| c == "deny") {
        return Reads::Denied;
    }
    // `scale` and `list` do not let a token read jobs, and what is not known here is no proof.
    let reads = matches!(rule.policy.as_str(), "read" | "write") || rule.capabilities.iter().any(|c| c == "read-job");
    if reads { Reads::Yes } else { Reads::No }
}

#[cfg(test)]
mod tests {
    use super::super::hcl;
    use super::*;

    const NODE: &str = "node { policy = \"write\" }\n";
    const ALL: &str = "namespace \"*\" { capabilities = [\"read-job\"] }\n";

    fn together(policies: &[&str]) -> NomadSight {
        let read = |(i, text): (usize, &&str)| (format!("p{i}"), hcl::read(text).expect(text));
        sight(&policies.iter().enumerate().map(read).collect::<Vec<_>>())
    }

    #[test]
    fn these_policies_see_everything() {
        let cases: &[&[&str]] = &[
            &["node { policy = \"write\" } namespace \"*\" { capabilities = [\"read-job\"] }"],
            &[NODE, ALL],
            &[NODE, "namespace \"*\" { policy = \"read\" }"],
            &[NODE, "namespace \"*\" { policy = \"write\" }"],
            &[NODE, ALL, "namespace \"other\" { policy = \"read\" }"],
            &[NODE, ALL, "namespace \"other\" { capabilities = [\"list-jobs\"] }", "namespace \"other\" { policy = \"write\" }"],
            &[NODE, "node { policy = \"read\" }", ALL],
            &[NODE, "namespace \"*\" { policy = \"scale\" capabilities = [\"read-job\"] }"],
        ];
        for policies in cases {
            assert_eq!(together(policies), NomadSight::Full, "{policies:?}");
        }
    }

    #[test]
    fn these_policies_do_not_and_the_sentence_says_what_to_add() {
        let cases: &[(&[&str], &str)] = &[
            (&[], "add `node"),
            (&[], "add `namespace \"*\""),
            (&[NODE], "add `namespace \"*\""),
            (&[ALL], "add `node"),
            (&[ALL, "node { policy = \"read\" }"], "add `node"),
            (&[NODE, ALL, "node { policy = \"deny\" }"], "denies nodes"),
            (&[NODE, "namespace \"default\" { capabilities = [\"read-job\"] }"], "add `namespace \"*\""),
            (&[NODE, "namespace \"*\" { capabilities = [\"list-jobs\"] }"], "add `namespace \"*\""),
            (&[NODE, "namespace \"*\" { policy = \"scale\" }"], "add `namespace \"*\""),
            (&[NODE, "namespace \"*\" { policy = \"perhaps\" }"], "add `namespace \"*\""),
            (&[NODE, "namespace \"*\" { policy = \"read\" capabilities = [\"deny\"] }"], "add `namespace \"*\""),
            (&[NODE, "namespace \"prod*\" { policy = \"write\" }"], "add `namespace \"*\""),
            (&[NODE, ALL, "namespace \"other\" { policy = \"deny\" }"], "namespace \"other\" (policy p2)"),
            (&[NODE, ALL, "namespace \"other\" { capabilities = [\"list-jobs\"] }"], "add `read-job` to it"),
            (&[NODE, ALL, "namespace \"oth*\" { capabilities = [\"list-jobs\"] }"], "namespace \"oth*\""),
            (&[NODE, ALL, "namespace \"other\" { }"], "namespace \"other\""),
            (
                &[NODE, ALL, "namespace \"other\" { policy = \"read\" }", "namespace \"other\" { policy = \"deny\" }"],
                "namespace \"other\"",
            ),
            (&[NODE, ALL, "namespace \"*\" { policy = \"deny\" }"], "add `namespace \"*\""),
        ];
        for (policies, sentence) in cases {
            let NomadSight::Short(why) = together(policies) else { panic!("{policies:?} sees everything") };
            assert!(why.contains(sentence), "{policies:?}: {why}");
        }
    }

    #[test]
    fn a_policy_that_nomad_parsed_is_read_like_its_text() {
        let parsed: wire::Rules = serde_json::from_value(serde_json::json!({
            "Agent": null, "Node": { "Policy": "write" }, "Operator": null,
            "Namespaces": [{ "Capabilities": ["read-job"], "Name": "*", "Policy": "", "Variables": null }],
        }))
        .expect("as Nomad answers");
        assert_eq!(Some(Rules::from(parsed)), hcl::read(&format!("{NODE}{ALL}")));
    }
}
