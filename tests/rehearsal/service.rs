//! decamp as a job on the cluster whose nodes leave: the nodes of both replicas leave at once, one replica is killed, and the page shows
//! every departure.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::devtools::{Browser, chromium};
use super::{alone, complaint, rehearse, text};

/// The port of the ingress. The page has the next port.
const PORT: u16 = 18_141;

/// The answer of the replica on this node. `None` if there is no replica.
fn ask(node: u8, path: &str) -> Option<String> {
    let address = SocketAddr::from(([127, 0, 0, 10 + node], PORT + 1));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.{}\r\nconnection: close\r\n\r\n", 10 + node).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

#[test]
fn the_service_replaces_the_nodes_that_it_runs_on_and_its_page_shows_each() {
    let _alone = alone();
    let plan = ["--nodes", "4", "--services", "2", "--rate", "100", "--calm", "3s", "--driver", "serve", "--json"];
    let mut child = rehearse(PORT, &plan).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let instances: Vec<String> = (1..=4_u64).map(|number| format!("i-{:017x}", 0x0abc_0000_0000 + number)).collect();
    // The instances that some page showed, and the nodes that had a replica.
    let (mut shown, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    // The instances whose departure some page drew after its end.
    let mut charted = BTreeSet::new();
    // A page that is opened before the first departure and never loaded again.
    let (mut browser, mut drawn, mut lost) = (None, BTreeSet::new(), false);
    let chromium = chromium();
    while child.try_wait().expect("it can be waited for").is_none() {
        for node in 1..=8 {
            let Some(page) = ask(node, "/") else { continue };
            hosts.insert(node);
            shown.extend(instances.iter().filter(|id| page.contains(id.as_str())).cloned());
            let charts: Vec<&str> =
                page.split("<figure>").skip(1).filter(|figure| figure.contains("<rect class=\"own\"")).collect();
            charted.extend(instances.iter().filter(|id| charts.iter().any(|figure| figure.contains(id.as_str()))).cloned());
            if let (2, None, Some(chromium)) = (node, &browser, &chromium) {
                assert!(shown.is_empty(), "it is opened before anything leaves: {shown:?}");
                browser = Some(Browser::open(chromium, &format!("http://127.0.0.12:{}/", PORT + 1)));
            }
        }
        if let Some(browser) = &mut browser {
            let text = browser.text();
            lost |= text.contains("This replica cannot be reached");
            drawn.extend(instances.iter().filter(|id| text.contains(id.as_str())).cloned());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = child.wait_with_output().expect("it ended");
    let run: Value = text(&output.stdout).lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("a run");
    assert_eq!(output.status.code(), Some(0), "{}\n{:#}", complaint(&output), run["account"]["failures"]);
    assert_eq!((run["driver"].as_str(), run["account"]["failed"].as_u64()), (Some("serve"), Some(0)));
    assert!(1_000 < run["account"]["requests"].as_u64().expect("a number"), "{}", run["account"]["requests"]);
    assert_eq!(run["kills"], 1, "one replica was killed on the way");
    assert_eq!(shown.len(), 4, "{shown:?}");
    assert!(!charted.is_empty(), "no page drew a departure after its end");
    assert!(hosts.contains(&1) && hosts.contains(&2), "it began on the first two nodes: {hosts:?}");
    assert!(hosts.iter().any(|node| 4 < *node), "and went on to new ones: {hosts:?}");

    // The browser's page is updated by a stream, which breaks when its replica is killed or leaves.
    if let Some(browser) = browser {
        assert!(drawn.contains(&instances[0]) && drawn.contains(&instances[1]), "{drawn:?}");
        assert!(lost, "its replica left with its node, and the page did not say so");
        assert_eq!(browser.complaints, Vec::<String>::new());
    }

    // The departures of its own two nodes overlapped.
    let strips = run["strips"].as_array().expect("a list");
    let span = |node: &str| {
        let strip = strips.iter().find(|strip| strip["node"] == node).expect("it is there");
        let (gone, took) = (strip["gone"].as_f64().expect("it is gone"), strip["departure"].as_f64().expect("by its hook"));
        (gone - took, gone)
    };
    let (first, second) = (span("node-1"), span("node-2"));
    assert!(first.0 < second.1 && second.0 < first.1, "{first:?} {second:?}");
    for story in run["stories"].as_array().expect("a list") {
        assert!(story[1]["outcome"].is_string(), "{story}");
    }
}
