//! Fuzzes the readers of Nomad's answers. No allocation is over unless the answer says so, and no token can see everything unless its
//! policy says so.

use decamp_core::decide::{TokenAccess, Unseen};
use decamp_core::ids::NodeId;
use decamp_hashicorp::nomad::{read_node, read_policy};

use super::{Target, count, halves};

/// A node and its allocations.
pub(super) const NODE: Target = Target { name: "nomad-node", good: nodes, parse: parse_node, check: |_| () };
/// A policy of the token.
pub(super) const POLICY: Target = Target { name: "nomad-policy", good: policies, parse: parse_policy, check: |_| () };

fn nodes() -> Vec<Vec<u8>> {
    let calm = r#"{"ID":"80159abf-6fa2-c784-68a1-15b16ae6a51a","Name":"client1","Status":"ready","SchedulingEligibility":"eligible","HTTPAddr":"10.0.0.10:4646","Attributes":{"unique.platform.aws.instance-id":"i-0123456789abcdef0","nomad.version":"2.0.5","unique.consul.name":"client1"},"Meta":{},"DrainStrategy":null,"LastDrain":null,"ModifyIndex":21}"#;
    let draining = r#"{"ID":"80159abf-6fa2-c784-68a1-15b16ae6a51a","Name":"client1","Status":"ready","SchedulingEligibility":"ineligible","DrainStrategy":{"Deadline":60000000000,"ForceDeadline":"2026-11-22T19:22:17.137553362Z","IgnoreSystemJobs":true},"LastDrain":{"Status":"draining","Meta":{"tool":"decamp","action":"0123456789ab","phase":"services","until":"2026-11-22T19:22:17Z","longest_stop":"30","allocations":"3","warm":"false"}}}"#;
    let running = r#"[{"ID":"3f04e81c-6504-81a3-1061-7d9309d07593","Namespace":"default","JobID":"web","TaskGroup":"web","DesiredStatus":"run","ClientStatus":"running","ModifyIndex":9,"Job":{"ID":"web","Type":"service","TaskGroups":[{"Name":"web","Count":2,"ShutdownDelay":2000000000,"Migrate":{"MaxParallel":1},"Services":[{"Name":"web","Provider":"consul","PortLabel":"http"}],"Tasks":[{"Name":"server","KillTimeout":5000000000,"ShutdownDelay":0,"Leader":false,"Lifecycle":null,"Config":{"args":["--providers.consulcatalog=true","--providers.consulcatalog.refreshInterval=15s"]},"Env":null}]}]},"AllocatedResources":{"Shared":{"Networks":[{"IP":"10.0.0.10","ReservedPorts":[{"Label":"http","Value":8080}],"DynamicPorts":[{"Label":"x","Value":21001}]}],"Ports":[{"Label":"http","Value":8080,"HostIP":"10.0.0.10"}]},"Tasks":{}}}]"#;
    let stopped = r#"[{"ID":"3f04e81c-6504-81a3-1061-7d9309d07593","JobID":"web","TaskGroup":"web","DesiredStatus":"stop","ClientStatus":"complete"},{"ID":"67a091ef-9dd3-72ab-2778-9ab8cc018e4c","JobID":"old","TaskGroup":"a","DesiredStatus":"stop","ClientStatus":"failed"},{"ID":"67a091ef-9dd3-72ab-2778-9ab8cc018e4d","JobID":"old","TaskGroup":"a","DesiredStatus":"stop","ClientStatus":"lost"}]"#;
    let pairs = [(calm, running), (draining, running), (draining, stopped), (calm, "[]")];
    pairs.iter().map(|(node, allocations)| format!("{node}\n{allocations}").into_bytes()).collect()
}

fn parse_node(input: &[u8]) -> &'static str {
    let (node, allocations) = halves(input);
    let read = match read_node(NodeId(1), node, allocations) {
        Ok(read) => read,
        Err(Unseen::Away(why)) => {
            assert!(why.len() < 1_000, "an error is one line: {} bytes", why.len());
            return "refused";
        }
        Err(other) => panic!("a readable answer is never {other}"),
    };
    let over = read.allocations.iter().filter(|a| a.client.is_over()).count();
    let in_answer = count(allocations, "complete") + count(allocations, "failed");
    assert!(over <= in_answer, "{over} are over, the answer has {in_answer}");
    assert!(read.allocations.len() <= count(allocations, "{"), "an allocation is an object");
    assert!(read.drain.is_none() || 0 < count(node, "DrainStrategy"), "a drain is in the answer");
    match (&read.drain, read.allocations.len()) {
        (Some(drain), _) if drain.force_deadline.is_none() => "draining for ever",
        (Some(_), _) => "draining",
        (None, 0) => "empty",
        (None, _) => "calm",
    }
}

fn policies() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"Name":"decamp","RulesJSON":{"Agent":null,"Namespaces":[{"Capabilities":["read-job"],"Name":"*","Policy":"","Variables":null}],"Node":{"Policy":"write"}}}"#,
        r#"{"Name":"p","RulesJSON":{"Namespaces":[{"Name":"*","Policy":"read","Capabilities":["list-jobs","read-job"]},{"Name":"web-*","Policy":"deny","Capabilities":null}],"Node":{"Policy":"write"}}}"#,
        r#"{"Name":"p","RulesJSON":{"Namespaces":null,"Node":{"Policy":"deny"}}}"#,
        r#"{"Name":"p","Rules":"node { policy = \"write\" }"}"#,
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn parse_policy(input: &[u8]) -> &'static str {
    match read_policy(input) {
        Err(Unseen::Away(_)) => "refused",
        Err(other) => panic!("a readable answer is never {other}"),
        Ok(None) => "not parsed",
        Ok(Some(TokenAccess::Full)) => {
            let text = String::from_utf8_lossy(input);
            // A letter may be an escape sequence.
            let says = |word: &str| text.contains(word) || text.contains("\\u");
            for word in ["Node", "write", "Namespaces", "*"] {
                assert!(says(word), "it says {word}");
            }
            "full"
        }
        Ok(Some(TokenAccess::Insufficient(why))) if why.contains("hides") => "hidden",
        Ok(Some(TokenAccess::Insufficient(_))) => "short",
    }
}
