//! Tests of the settings that `decamp serve` refuses, and of the sentences that say why.

use super::*;
use crate::Settings;

fn read(set: &[(&str, &str)]) -> Result<Vec<String>, Refused> {
    let names: Vec<&str> = set.iter().map(|(name, _)| *name).collect();
    let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    Settings::read(&get, &names)?.serve.check()
}

#[test]
fn unsafe_settings_are_refused_with_what_to_change() {
    let tls = [("DECAMP_ADMIN_CERT", "/c.pem"), ("DECAMP_ADMIN_KEY", "/k.pem")];
    let open = ("DECAMP_ADMIN_LISTEN", "0.0.0.0:8481");
    let token = ("DECAMP_ADMIN_TOKEN_FILE", "/t");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[open], "set DECAMP_ADMIN_CERT"),
        (&[open, tls[0]], "set both or neither"),
        (&[open, tls[0], tls[1]], "set DECAMP_ADMIN_TOKEN_FILE"),
        (&[open, tls[0], tls[1], token], "write them, such as"),
        (&[("DECAMP_WEBHOOKS_LISTEN", "[::]:8480")], "write them, such as"),
        (&[("DECAMP_WEBHOOKS_LISTEN", "8480")], "no address with a port"),
        (&[("DECAMP_EVENTS_KEY", "canary")], "at least 16 characters"),
        (&[("DECAMP_EVENTS_KEY", "a-long-enough-key-for-all,canary")], "at least 16 characters"),
        (&[("DECAMP_QUEUES", "decamp")], "arn:aws:sqs:eu-west-1"),
        (&[("DECAMP_SNS_TOPICS", "arn:aws:sqs:eu-west-1:123456789012:decamp")], "arn:aws:sns:eu-west-1"),
        (&[("DECAMP_MOST_DEPARTURES", "10001")], "between 1 and 10000"),
        (&[("DECAMP_SWEEP", "0")], "at least 1s"),
        (&[("DECAMP_QUEUE_HIDDEN", "5s")], "6s to 1h"),
        (&[("DECAMP_QUEUE_HIDDEN", "61m")], "6s to 1h"),
        (&[("DECAMP_TRACES", "collector:4318")], "such as http://127.0.0.1:4318"),
        (&[("DECAMP_TRACES", "https://me:canary@collector")], "goes into DECAMP_TRACES_HEADER"),
        (&[("DECAMP_TRACES", "http://127.0.0.1:4318/v1/traces/")], "leave /v1/traces away"),
        (&[("DECAMP_TRACES", "http://127.0.0.1.example"), ("DECAMP_TRACES_HEADER", "a: canary")], "use https"),
        (&[("DECAMP_STALLED_AFTER", "0")], "at least 1s"),
        (&[("DECAMP_SOURCE_RATE", "many")], "not a whole number"),
        (&[("DECAMP_EVENTS_HEADER", "a b")], "such as x-api-key"),
        (&[("DECAMP_TRUSTED_PROXIES", "10.0.0.0/40")], "10.0.0.0/16"),
        (&[("DECAMP_SNS_CERTIFICATES", "https://evil.example/x.pem")], "the last part of"),
    ];
    for (set, sentence) in cases {
        let refusal = read(set).expect_err(&format!("{set:?}")).to_string();
        assert!(refusal.contains(sentence), "{set:?}: {refusal}");
        assert!(!refusal.contains("canary"), "{refusal}");
    }
}

#[test]
fn settings_without_any_source_of_events_are_a_warning() {
    assert_eq!(read(&[]).map(|warnings| warnings.len()), Ok(1));
    assert_eq!(read(&[("DECAMP_EVENTS_KEY", "a-long-enough-key-for-all")]), Ok(Vec::new()));
}
