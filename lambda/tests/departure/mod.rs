//! The real binary takes an instance out of the sandbox, pass by pass, while clients send requests: none may fail.

mod walk;

use std::path::Path;

use decamp::sim::sandbox::{CONSUL_TOKEN, NOMAD_TOKEN};
use serde_json::Value;

use super::runtime;
use walk::{Walked, walk_out};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_fed_to_the_real_binary_takes_an_instance_out_without_a_failed_request() {
    let Walked { sandbox, passes, took, resident, printed } = walk_out(Path::new(env!("CARGO_BIN_EXE_bootstrap"))).await;
    let more = sandbox.shared.look(|stage| stage.more());
    println!("{passes} passes in {took:?}, {resident:?} KiB resident at most, requests {}", more["requests"]);
    assert_eq!(more["requests"]["failed"], Value::from(0), "{}\n{printed}", more["requests"]);
    assert!(200 <= more["requests"]["sent"].as_u64().unwrap_or(0), "too few requests to prove anything");
    assert!(2 <= passes, "one pass is no test of handing back");
    assert!(printed.contains("departed"), "{printed}");
    for secret in [NOMAD_TOKEN, CONSUL_TOKEN, "canary-handle"] {
        assert!(!printed.contains(secret), "a secret was printed:\n{printed}");
    }
}
