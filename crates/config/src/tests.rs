//! Tests of the settings: each row of the table is read, the defaults match it, and invalid settings are refused with what to
//! change.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use decamp_core::decide::{LifecycleResult, OnCancel};

fn read(set: &[(&str, &str)]) -> Result<Settings, Refused> {
    let names: Vec<&str> = set.iter().map(|(name, _)| *name).collect();
    let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    Settings::read(&get, &names)
}

/// The only cluster of these settings.
fn only(set: &[(&str, &str)]) -> Cluster {
    read(set).expect("it makes sense").clusters.all()[0].clone()
}

#[test]
fn without_any_setting_the_policy_is_the_default() {
    let settings = read(&[]).expect("nothing is wrong with nothing");
    assert_eq!(settings.policy, Policy::default());
    assert_eq!(settings.mode, Mode::Act);
    let only = settings.clusters.of("any group").expect("one cluster has all groups");
    assert_eq!(only.nomad.addresses, ["http://127.0.0.1:4646"]);
    assert_eq!(only.consul.as_ref().map(|c| &*c.addresses), Some(&["http://127.0.0.1:8500".to_owned()][..]));
}

#[test]
fn every_row_of_the_table_is_read_and_nothing_else_is() {
    let asked = RefCell::new(BTreeSet::new());
    let get = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    Settings::read(&get, &[]).expect("nothing is wrong with nothing");
    let rows: BTreeSet<String> = TABLE.iter().map(|row| row.name.to_owned()).collect();
    assert_eq!(*asked.borrow(), rows);
    assert_eq!(rows.len(), TABLE.len(), "a name stands twice in the table");
}

#[test]
fn the_defaults_in_the_table_are_the_defaults() {
    let spelled: Vec<(&str, &str)> = TABLE.iter().map(|row| (row.name, row.default)).collect();
    assert_eq!(read(&spelled), read(&[]));
}

#[test]
fn the_load_balancers_counts_are_looked_back_at_only_if_the_settings_say_so() {
    assert_eq!(read(&[]).expect("nothing is needed").look_back, None);
    assert_eq!(read(&[("DECAMP_LOOK_BACK_FOR", "3m")]).expect("it is no error").look_back, None);
    let on = |more: &[(&'static str, &'static str)]| read(&[&[("DECAMP_LOOK_BACK", "cloudwatch")], more].concat());
    assert_eq!(on(&[]).expect("it is the one source").look_back, Some(Duration::from_mins(5)));
    assert_eq!(on(&[("DECAMP_LOOK_BACK_FOR", "3m")]).expect("a time").look_back, Some(Duration::from_mins(3)));
    assert!(read(&[("DECAMP_LOOK_BACK", "yes")]).is_err());
}

#[test]
fn each_setting_of_the_policy_arrives_where_it_belongs() {
    let arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef";
    let set = [
        ("DECAMP_MAX_DEPARTURE", "3h"),
        ("DECAMP_RESERVE", "45"),
        ("DECAMP_ON_TIMEOUT", "abandon"),
        ("DECAMP_NEVER_FORCE", "true"),
        ("DECAMP_IGNORE_SYSTEM_JOBS", "yes"),
        ("DECAMP_OVERLAP", "false"),
        ("DECAMP_GUARD_ALB", "11s"),
        ("DECAMP_GUARD_NLB", "121s"),
        ("DECAMP_NO_NODE_WAIT", "31s"),
        ("DECAMP_AGENT_DEAD_WAIT", "6m"),
        ("DECAMP_LEFTOVER_WAIT", "7m"),
        ("DECAMP_ON_CANCEL", "drain-again"),
        ("DECAMP_UNKNOWN_TARGET_WAIT", "8m"),
        ("DECAMP_WITHOUT_NOMAD", "batch-*, bastion"),
        ("DECAMP_BY_HAND", "wait"),
        ("DECAMP_BY_HAND_SERVICES", "traefik, lb-*"),
        ("DECAMP_LAST_TARGET", "hold"),
        ("DECAMP_LOCAL_DATA", "hold"),
        ("DECAMP_CONSUL", "false"),
        ("DECAMP_SCAN", "1"),
        ("DECAMP_TARGET_GROUPS", arn),
        ("DECAMP_HOOKS", "a, b"),
        ("DECAMP_REFUSE_WITHOUT_SIGHT", "true"),
        ("DECAMP_MAX_KILL_TIMEOUT", "32s"),
        ("DECAMP_POSTSTOP", "33s"),
        ("DECAMP_LONGEST_REQUEST", "8s"),
        ("DECAMP_INGRESS_FORGETS", "3s"),
        ("DECAMP_INGRESS_MARGIN", "1s"),
    ];
    let settings = read(&set).expect("all of it makes sense");
    let expected = Policy {
        max_departure: Duration::from_hours(3),
        reserve: Duration::from_secs(45),
        on_timeout: LifecycleResult::Abandon,
        never_force: true,
        ignore_system_jobs: true,
        overlap: false,
        guard_alb: Duration::from_secs(11),
        guard_nlb: Duration::from_secs(121),
        no_node_wait: Duration::from_secs(31),
        without_nomad: vec!["batch-*".into(), "bastion".into()],
        agent_dead_wait: Duration::from_mins(6),
        leftover_wait: Duration::from_mins(7),
        unknown_target_wait: Duration::from_mins(8),
        on_cancel: OnCancel::DrainAgain,
        by_hand: decamp_core::decide::ByHand::Wait(vec!["traefik".into(), "lb-*".into()]),
        last_target: decamp_core::decide::LastTarget::Hold,
        local_data: decamp_core::decide::LocalData::Hold,
        consul: false,
        scan: true,
        target_groups: vec![arn.parse().expect("it fits")],
        hooks: vec!["a".into(), "b".into()],
        refuse_without_sight: true,
        max_kill_timeout: Duration::from_secs(32),
        poststop: Duration::from_secs(33),
        longest_request: Duration::from_secs(8),
        ingress_forgets: Duration::from_secs(3),
        ingress_margin: Duration::from_secs(1),
    };
    assert_eq!(settings.policy, expected);
    assert_eq!(settings.clusters.all()[0].consul, None);
}

#[test]
fn invalid_settings_are_refused_with_what_to_change() {
    let foreign = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("DECAMP_BY_HAND_SERVICES", "traefik")], "set DECAMP_BY_HAND=wait, or unset it"),
        (&[("NOMAD_ADDR", "10.0.0.1:4646")], "write http://10.0.0.1:4646 or https://10.0.0.1:4646"),
        (&[("NOMAD_ADDR", "http://10.0.0.1:4646, 10.0.0.2:4646")], "write http://10.0.0.2:4646"),
        (&[("NOMAD_ADDR", "http://me:canary@10.0.0.1")], "take it out"),
        (&[("NOMAD_ADDR", "ftp://10.0.0.1")], "write http:// or https://"),
        (&[("CONSUL_HTTP_ADDR", "unix:///run/consul.sock")], "set http:// or https://"),
        (&[("NOMAD_SKIP_VERIFY", "true")], "set NOMAD_CACERT"),
        (&[("CONSUL_HTTP_SSL_VERIFY", "false")], "set CONSUL_CACERT"),
        (&[("NOMAD_CLIENT_CERT", "/a.pem")], "set both or neither"),
        (&[("NOMAD_CLIENT_CERT_SECRET", "ssm:/c")], "set both or neither"),
        (
            &[("CONSUL_CLIENT_CERT", "/a.pem"), ("CONSUL_CLIENT_KEY_SECRET", "ssm:/k"), ("CONSUL_CLIENT_KEY", "/k")],
            "set one of them",
        ),
        (&[("NOMAD_CACERT", "/a.pem"), ("NOMAD_CACERT_SECRET", "ssm:/c")], "set one of them"),
        (&[("NOMAD_CAPATH", "/a"), ("NOMAD_CACERT_SECRET", "ssm:/c")], "NOMAD_CACERT_SECRET exclude one another"),
        (&[("NOMAD_CACERT_SECRET", "-----BEGIN canary")], "write ssm:NAME"),
        (&[("DECAMP_CONFIG", "s3://canary/key")], "write ssm:NAME"),
        (&[("NOMAD_TOKEN", "canary"), ("NOMAD_TOKEN_FILE", "/t")], "set one of them"),
        (&[("NOMAD_TOKEN_SECRET", "canary")], "write ssm:NAME"),
        (&[("DECAMP_RESERVE", "3h")], "make the reserve shorter"),
        (&[("DECAMP_RESERVE", "5s")], "make the reserve longer"),
        (&[("DECAMP_MAX_DEPARTURE", "3d")], "set at most 48h"),
        (&[("DECAMP_MAX_DEPARTURE", "5m"), ("DECAMP_AGENT_DEAD_WAIT", "5m")], "make it shorter"),
        (&[("DECAMP_MAX_DEPARTURE", "soon")], "90s, 5m, 1h30m"),
        (&[("DECAMP_ON_TIMEOUT", "give-up")], "continue, abandon"),
        (&[("DECAMP_OVERLAP", "perhaps")], "true, false"),
        (&[("DECAMP_ACCOUNTS", "1234")], "twelve digits"),
        (&[("DECAMP_TARGET_GROUPS", "web")], "a target group ARN such as"),
        (&[("DECAMP_TARGET_GROUPS", foreign), ("DECAMP_REGIONS", "us-east-1")], "take it out"),
        (&[("DECAMP_CALL_TIMEOUT", "0")], "at least 100ms"),
        (&[("DECAMP_RESERV", "30s")], "DECAMP_RESERVE if that is meant"),
        (&[("DECAMP_GROUP", "web")], "DECAMP_GROUPS if that is meant"),
        (&[("AWS_ENDPOINT_URL_SSM", "localhost:4566")], "write http://"),
    ];
    for (set, sentence) in cases {
        let refusal = read(set).expect_err(&format!("{set:?}")).to_string();
        assert!(refusal.contains(sentence), "{set:?}: {refusal}");
        assert!(set.iter().any(|(name, _)| refusal.contains(name)), "{refusal}");
        assert!(!refusal.contains("canary"), "{refusal}");
    }
}

#[test]
fn a_short_departure_needs_no_other_setting() {
    assert!(read(&[("DECAMP_MAX_DEPARTURE", "2m")]).is_ok());
}

#[test]
fn no_secret_is_in_what_settings_print() {
    let settings = read(&[("NOMAD_TOKEN", "canary"), ("CONSUL_HTTP_TOKEN", "canary")]).expect("it makes sense");
    assert!(!format!("{settings:?}").contains("canary"));
}

#[test]
fn addresses_are_read_as_the_vendors_tools_read_them() {
    let consul = |set: &[(&str, &str)]| only(set).consul.expect("it is on").addresses;
    assert_eq!(consul(&[("CONSUL_HTTP_ADDR", "c:8500")]), ["http://c:8500"]);
    assert_eq!(consul(&[("CONSUL_HTTP_ADDR", "c:8501"), ("CONSUL_HTTP_SSL", "true")]), ["https://c:8501"]);
    assert_eq!(consul(&[("CONSUL_HTTP_ADDR", "https://a/consul/,http://[::1]:8500")]), ["https://a/consul", "http://[::1]:8500"]);
}

#[test]
fn a_token_over_plain_http_is_a_warning_except_on_loopback() {
    let warned = |address: &str| {
        let settings = read(&[("NOMAD_ADDR", address), ("NOMAD_TOKEN", "t"), ("DECAMP_GROUPS", "web")]).expect("it makes sense");
        !settings.warnings.is_empty()
    };
    assert!(warned("http://10.0.0.1:4646"));
    assert!(!warned("http://127.0.0.1:4646"));
    assert!(!warned("https://10.0.0.1:4646"));
}

#[test]
fn an_allow_list_allows_the_names_in_it() {
    let allowed = Allowed { groups: vec!["web".into(), "batch-*".into()], ..Allowed::default() };
    for (name, is_allowed) in [("web", true), ("web2", false), ("batch-a", true), ("batch", false), ("", false)] {
        assert_eq!(allowed.group(name), is_allowed, "{name}");
    }
    assert!(allowed.account("123456789012") && allowed.region("eu-west-1"));
}

#[test]
fn certificates_in_files_and_in_aws_can_be_combined() {
    let set =
        [("NOMAD_CACERT_SECRET", "ssm:/ca"), ("NOMAD_CLIENT_CERT", "/c.pem"), ("NOMAD_CLIENT_KEY_SECRET", "secretsmanager:key")];
    let tls = only(&set).nomad.tls;
    let stored =
        StoredTls { ca: Some(Stored::Ssm("/ca".into())), certificate: None, key: Some(Stored::SecretsManager("key".into())) };
    assert_eq!(tls, Tls { certificate: Some("/c.pem".into()), stored, ..Tls::default() });
}

#[test]
fn an_unknown_setting_is_a_warning_for_a_function_and_an_error_for_a_person() {
    let set = [("DECAMP_RESERV", "45s"), ("DECAMP_GROUPS", "web")];
    let names = set.map(|(name, _)| name);
    let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let warnings = table::check_unknown(&names, table::Unknown::Warned).expect("it is a warning");
    assert!(warnings[0].contains("DECAMP_RESERV is not a setting of this version") && warnings[0].contains("DECAMP_RESERVE may"));
    assert!(Settings::read(&get, &names).is_err());
}
