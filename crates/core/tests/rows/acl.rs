//! Which policies of a Nomad token prove that it sees every allocation and may drain every node. (ADR 0011.)

use decamp_core::decide::{AclNamespace, AclRules, TokenAccess, token_access};

fn node(policy: &str) -> AclRules {
    AclRules { node: Some(policy.to_owned()), namespaces: Vec::new() }
}

/// A policy with one namespace: its name, its `policy` and its capabilities.
fn namespace(name: &str, policy: &str, capabilities: &[&str]) -> AclRules {
    let capabilities = capabilities.iter().map(|&one| one.to_owned()).collect();
    AclRules { node: None, namespaces: vec![AclNamespace { name: name.to_owned(), policy: policy.to_owned(), capabilities }] }
}

fn all() -> AclRules {
    namespace("*", "", &["read-job"])
}

fn together(policies: Vec<AclRules>) -> TokenAccess {
    let named: Vec<_> = policies.into_iter().enumerate().map(|(place, rules)| (format!("p{place}"), rules)).collect();
    token_access(&named)
}

#[test]
fn these_policies_see_everything() {
    let in_one = AclRules { node: Some("write".to_owned()), ..all() };
    let cases = [
        vec![in_one],
        vec![node("write"), all()],
        vec![node("write"), namespace("*", "read", &[])],
        vec![node("write"), namespace("*", "write", &[])],
        vec![node("write"), all(), namespace("other", "read", &[])],
        vec![node("write"), all(), namespace("other", "", &["list-jobs"]), namespace("other", "write", &[])],
        vec![node("write"), node("read"), all()],
        vec![node("write"), namespace("*", "scale", &["read-job"])],
    ];
    for policies in cases {
        assert_eq!(together(policies.clone()), TokenAccess::Full, "{policies:?}");
    }
}

#[test]
fn these_policies_do_not_and_the_sentence_says_what_to_add() {
    let everything = "add `namespace \"*\"";
    let cases = [
        (vec![], "add `node"),
        (vec![], everything),
        (vec![node("write")], everything),
        (vec![all()], "add `node"),
        (vec![all(), node("read")], "add `node"),
        (vec![node("write"), all(), node("deny")], "denies nodes"),
        (vec![node("write"), namespace("default", "", &["read-job"])], everything),
        (vec![node("write"), namespace("*", "", &["list-jobs"])], everything),
        (vec![node("write"), namespace("*", "scale", &[])], everything),
        (vec![node("write"), namespace("*", "perhaps", &[])], everything),
        (vec![node("write"), namespace("*", "read", &["deny"])], everything),
        (vec![node("write"), namespace("prod*", "write", &[])], everything),
        (vec![node("write"), all(), namespace("other", "deny", &[])], "namespace \"other\" (policy p2)"),
        (vec![node("write"), all(), namespace("other", "", &["list-jobs"])], "add `read-job` to it"),
        (vec![node("write"), all(), namespace("oth*", "", &["list-jobs"])], "namespace \"oth*\""),
        (vec![node("write"), all(), namespace("other", "", &[])], "namespace \"other\""),
        (vec![node("write"), all(), namespace("other", "read", &[]), namespace("other", "deny", &[])], "namespace \"other\""),
        (vec![node("write"), all(), namespace("*", "deny", &[])], everything),
    ];
    for (policies, sentence) in cases {
        let TokenAccess::Insufficient(why) = together(policies.clone()) else { panic!("{policies:?} sees everything") };
        assert!(why.contains(sentence), "{policies:?}: {why}");
    }
}
