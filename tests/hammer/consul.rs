//! Fuzzes the reader of Consul's answers. An answer without the node is never complete, and every registration is in the answer.

use decamp_core::decide::Unseen;
use decamp_hashicorp::consul::read_registrations;

use super::{Target, count, halves};

/// A node's services and checks.
pub(super) const TARGET: Target = Target { name: "consul", good, parse, check: |_| () };

fn good() -> Vec<Vec<u8>> {
    let services = r#"{"Node":{"ID":"a","Node":"client1","Address":"10.0.0.10","Meta":{"consul-version":"1.19.2"}},"Services":[{"ID":"_nomad-task-3f04e81c-6504-81a3-1061-7d9309d07593-group-web-web-http","Service":"web","Port":21001},{"ID":"_nomad-task-67a091ef-9dd3-72ab-2778-9ab8cc018e4c-group-api-api-http","Service":"api"},{"ID":"consul","Service":"consul"}]}"#;
    let none = r#"{"Node":null,"Services":null}"#;
    let empty = r#"{"Node":{"Node":"client1"},"Services":[]}"#;
    let alive = r#"[{"Node":"client1","CheckID":"serfHealth","Status":"passing","ServiceID":""},{"Node":"client1","CheckID":"c","Status":"critical","ServiceID":"_nomad-task-3f04e81c-6504-81a3-1061-7d9309d07593-group-web-web-http"}]"#;
    let dead = r#"[{"CheckID":"serfHealth","Status":"critical","ServiceID":""}]"#;
    let pairs = [(services, alive), (services, dead), (empty, alive), (none, "[]")];
    pairs.iter().map(|(services, checks)| format!("{services}\n{checks}").into_bytes()).collect()
}

fn parse(input: &[u8]) -> &'static str {
    let (services, checks) = halves(input);
    let read = match read_registrations("client1", services, checks) {
        Ok(read) => read,
        Err(Unseen::Away(why)) => {
            assert!(why.len() < 1_000, "an error is one line: {} bytes", why.len());
            return "refused";
        }
        Err(other) => panic!("a readable answer is never {other}"),
    };
    assert!(!read.whole || 0 < count(services, "client1"), "a complete answer names its node");
    assert!(read.services.len() <= count(services, "nomad-task-"), "a registration is in the answer");
    let critical = read.agent_dead || read.services.iter().any(|service| service.critical);
    assert!(!critical || 0 < count(checks, "critical"), "a critical check is in the answer");
    match (read.whole, read.agent_dead, read.services.is_empty()) {
        (false, ..) => "not whole",
        (true, true, _) => "agent dead",
        (true, false, true) => "empty",
        (true, false, false) => "registered",
    }
}
