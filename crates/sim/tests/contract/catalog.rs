//! Single answers of Consul: refusals, tokens without enough rights, and the catalog after an agent's death.

use decamp_core::decide::snapshot::Provider;
use decamp_core::time::Time;
use decamp_sim::consul;
use decamp_sim::consul::Consul;
use decamp_sim::rng::Rng;

use crate::recording::exchanges;
use crate::small::Small;
use crate::{FLOOR, TODAY, versions};

fn consul_token(name: &str) -> consul::Token {
    match name {
        "management" | "reader" => consul::Token::Full,
        "blank" => consul::Token::Blank,
        "unknown" => consul::Token::Unknown,
        "nodes-only" => consul::Token::NodesOnly,
        "one-service" => consul::Token::OneService("app".into()),
        "services-only" => consul::Token::ServicesOnly,
        other => panic!("an unknown token: {other}"),
    }
}

/// The status, the number of rows, and whether the header says that the answer was filtered.
fn consul_answer(consul: &mut Consul, path: &str, token: &consul::Token) -> Option<(u16, usize, bool)> {
    fn rows<T>(answer: Result<consul::Answer<Vec<T>>, consul::ApiError>) -> (u16, usize, bool) {
        answer.map_or_else(|refused| (refused.status(), 0, false), |a| (200, a.body.len(), a.filtered))
    }
    let read = consul::Read::Default;
    let words: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    Some(match words[..] {
        ["catalog", "node-services", node] => match consul.node_services(node, token, read) {
            Ok(a) => (200, a.body.services.len() + a.body.others.len(), a.filtered),
            Err(refused) => (refused.status(), 0, false),
        },
        ["health", "node", node] => rows(consul.list_checks(node, token, read)),
        ["catalog", "service", name] => rows(consul.list_instances(name, token, read)),
        ["catalog", "services"] => rows(consul.list_names(token, read)),
        ["catalog", "nodes"] => rows(consul.list_nodes(token, read)),
        _ => return None,
    })
}

#[test]
fn each_token_sees_of_consul_what_it_saw_in_the_recording_and_no_header_says_so_to_a_blank_one() {
    let Some(recorded) = exchanges(TODAY, "who-sees-what-consul") else { return };
    let mut consul = Consul::new(consul::Version::V1_19_2, Time(1_000), Rng::new(1));
    let node = consul.add_node("ip-127-0-0-10".into());
    ["api", "app", "consul"].into_iter().for_each(|name| consul.add_other(node, name.into()));
    let mut compared = 0;
    for exchange in &recorded {
        let Some((status, rows, filtered)) = consul_answer(&mut consul, &exchange.path, &consul_token(&exchange.token)) else {
            continue;
        };
        let line = format!("{} {}", exchange.token, exchange.path);
        assert_eq!(u64::from(status), exchange.status, "{line}");
        assert_eq!(filtered, exchange.filtered, "{line}");
        let body = &exchange.body;
        let recorded = match (body["Services"].as_array(), body.as_array(), body.as_object()) {
            (Some(services), _, _) => services.len(),
            (_, Some(list), _) => list.len(),
            // The keys are names of services, except in the answer for a node without services.
            (_, _, Some(names)) => names.keys().filter(|key| *key != "Node" && *key != "Services").count(),
            _ => 0,
        };
        assert_eq!(rows, recorded, "{line}");
        compared += 1;
    }
    assert!(30 < compared, "{compared}");
}

#[test]
fn consul_refuses_in_its_own_words() {
    for folder in [TODAY, FLOOR] {
        let Some(recorded) = exchanges(folder, "errors") else { return };
        let mut consul = Consul::new(versions(folder).1, Time(1_000), Rng::new(1));
        consul.add_node("ip-127-0-0-11".into());
        let mut denied = 0;
        for exchange in recorded.iter().filter(|e| e.to == "consul") {
            match (exchange.status, exchange.body.as_str()) {
                (403, Some("ACL not found")) => {
                    let refused = consul.list_nodes(&consul::Token::Unknown, consul::Read::Default).expect_err("unknown");
                    assert_eq!((refused.status(), refused.text()), (403, "ACL not found"));
                    denied += 1;
                }
                (403, Some("Permission denied")) => {
                    let refused = consul.may_deregister(&consul::Token::Blank).expect_err("blank");
                    assert_eq!((refused.status(), refused.text()), (403, "Permission denied"));
                    denied += 1;
                }
                (200, None) if exchange.path.ends_with("/nobody") => {
                    let name = exchange.path.rsplit('/').next().expect("a name");
                    let answer = consul.node_services(name, &consul::Token::Full, consul::Read::Default).expect("200");
                    assert!(!answer.body.node && answer.body.services.is_empty());
                }
                _ => {}
            }
        }
        assert_eq!(denied, if folder == FLOOR { 2 } else { 0 });
    }
}

#[test]
fn a_dead_agents_node_stays_in_the_catalog_until_it_is_deregistered() {
    let Some(recorded) = exchanges(FLOOR, "consul-agent-dies") else { return };
    let mut small = Small::new(FLOOR, &[("80159abf-6fa2-c784-68a1-15b16ae6a51a", "ip-127-0-0-12")]);
    let node = small.consul_node();
    small.consul.add_other(node, "nomad-client".into());
    small.run("ingress", "default", Provider::Consul, 1);
    small.run("pinned", "default", Provider::Consul, 1);
    let mut killed = false;
    for exchange in &recorded {
        let critical =
            exchange.body.as_array().into_iter().flatten().any(|c| c["CheckID"] == "serfHealth" && c["Status"] == "critical");
        if critical && !std::mem::replace(&mut killed, true) {
            small.consul.kill_agent(node);
            small.consul.advance(Time(12_000), &mut Vec::new());
        }
        if exchange.is_write() {
            small.consul.deregister_node(node, &mut Vec::new());
        } else if exchange.path.contains("/node-services/") {
            let answer =
                small.consul.node_services("ip-127-0-0-12", &consul::Token::Full, consul::Read::Default).expect("200").body;
            let recorded = exchange.body["Services"].as_array().map_or(0, Vec::len);
            assert_eq!(answer.services.len() + answer.others.len(), recorded, "{}", exchange.body);
            assert_eq!(answer.node, exchange.body["Node"].is_object());
        } else if exchange.path.contains("/health/node/") {
            let seen = small.consul.look(node, &consul::Token::Full, consul::Read::Default).expect("200").body;
            assert_eq!(seen.agent_dead, critical, "{}", exchange.body);
        }
    }
    assert!(killed);
}
