//! The rehearsal through a Network Load Balancer, whose clients keep their connections. With decamp no request fails, and connections
//! that the load balancer is configured to cut are foreseen by name.

use serde_json::Value;

use super::{SHORT, alone, complaint, rehearse, text};

/// The runs of these arguments, the exit code, and the standard error.
fn runs(port: u16, arguments: &[&str]) -> (Vec<Value>, Option<i32>, String) {
    let output = rehearse(port, &SHORT).args(arguments).arg("--json").output().expect("the binary starts");
    let lines = text(&output.stdout);
    let runs = lines.lines().skip(1).map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    (runs, output.status.code(), complaint(&output))
}

fn number(run: &Value, path: &str) -> u64 {
    run.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {}", run["account"]))
}

#[test]
fn connections_that_clients_keep_are_closed_in_order_before_the_machine_goes() {
    let _alone = alone();
    let arguments = ["--balancer", "nlb", "--driver", "terminate-at-once", "--driver", "decamp"];
    let (runs, code, complaint) = runs(18_107, &arguments);
    let [baseline, decamp] = &runs[..] else { panic!("{} runs: {complaint}", runs.len()) };
    assert_eq!(code, Some(0), "{complaint}\n{}", decamp["account"]["failures"]);
    assert!(0 < number(baseline, "/account/failed"), "a baseline that loses nothing proves nothing");
    assert_eq!(number(decamp, "/account/failed"), 0);
    // Nearly all requests use connections that carried others before.
    assert!(number(decamp, "/account/requests") / 2 < number(decamp, "/account/kept/requests"), "{}", decamp["account"]["kept"]);
    for story in decamp["stories"].as_array().expect("a list") {
        let outcome = story[1]["outcome"].as_str().expect("it ended");
        assert!(outcome.starts_with("departed"), "{outcome}");
    }
}

#[test]
fn connections_that_the_load_balancer_cuts_by_its_settings_are_foreseen_by_name() {
    let _alone = alone();
    let (runs, code, complaint) = runs(18_107, &["--balancer", "nlb-termination", "--driver", "decamp"]);
    let [decamp] = &runs[..] else { panic!("{} runs: {complaint}", runs.len()) };
    assert_eq!(code, Some(0), "{complaint}\n{}", decamp["account"]["failures"]);
    assert!(0 < number(decamp, "/account/kept/failed"), "nothing was cut: {}", decamp["account"]["kept"]);
    assert_eq!(
        (number(decamp, "/judged/attributable"), number(decamp, "/judged/foreseen")),
        (0, number(decamp, "/account/failed"))
    );
    for finding in decamp["judged"]["by_finding"].as_object().expect("an object").keys() {
        assert!(finding.contains("connection_termination.enabled true"), "{finding}");
    }
}
