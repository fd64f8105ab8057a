//! Tests of several clusters in one document: the cluster of a group, the settings of each table, and what is refused.

use super::*;
use crate::Settings;

const TWO: &str = r#"
DECAMP_RESERVE = "45s"
[clusters.blue]
groups = ["web", "batch-*"]
NOMAD_ADDR = "https://nomad.blue:4646"
NOMAD_TOKEN_SECRET = "ssm:/blue/nomad"
NOMAD_CACERT_SECRET = "ssm:/blue/ca"
CONSUL_HTTP_ADDR = "https://consul.blue:8501"
CONSUL_HTTP_TOKEN = "canary-of-blue"
[clusters.green]
groups = ["shop"]
NOMAD_ADDR = ["https://n1.green:4646", "https://n2.green:4646"]
DECAMP_CONSUL = false
"#;

/// Reads a document as the command line and the service do, with only these variables in the environment.
fn read(text: &str, environment: &[(&str, &str)]) -> Result<Settings, Refused> {
    read_as(text, environment, Unknown::Refused)
}

fn read_as(text: &str, environment: &[(&str, &str)], unknown: Unknown) -> Result<Settings, Refused> {
    let document = crate::document::document(text.parse().expect("it is TOML"), unknown)?;
    let mut all = document.rows;
    all.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    let mut settings = Settings::read_with(&|name| all.get(name).cloned(), &names, &document.clusters, unknown)?;
    settings.warnings.extend(document.warnings);
    Ok(settings)
}

fn refused(text: &str, environment: &[(&str, &str)]) -> String {
    read(text, environment).expect_err(text).to_string()
}

fn groups(settings: &Settings) -> Vec<&str> {
    settings.allowed.groups.iter().map(|group| &**group).collect()
}

#[test]
fn a_group_has_the_nomad_and_consul_of_its_cluster_and_everything_else_is_shared() {
    let settings = read(TWO, &[]).expect("it makes sense");
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert_eq!(groups(&settings), ["web", "batch-*", "shop"], "decamp's groups are those of its clusters");
    let of = |group| settings.clusters.of(group).expect("a cluster has it");
    for group in ["web", "batch-", "batch-of-tomorrow"] {
        assert_eq!(of(group).name.as_deref(), Some("blue"), "{group}");
        assert!(settings.allowed.group(group));
        assert!(settings.policy_of(group).consul);
    }
    let (blue, green) = (of("web"), of("shop"));
    assert_eq!((&*blue.nomad.addresses[0], &*green.nomad.addresses[1]), ("https://nomad.blue:4646", "https://n2.green:4646"));
    assert!(blue.nomad.tls.stored.ca.is_some() && green.nomad.tls.stored.is_empty(), "an authority is one cluster's");
    assert_eq!(green.nomad.token, crate::TokenSource::None, "a token is one cluster's");
    assert!(green.consul.is_none() && !settings.policy_of("shop").consul, "a cluster may be without Consul");
    assert_eq!(settings.policy_of("shop").reserve, std::time::Duration::from_secs(45));
    for group in ["web2", "batch", "shop-2", ""] {
        assert!(settings.clusters.of(group).is_none() && !settings.allowed.group(group), "{group}");
    }
    assert!(!format!("{settings:?}").contains("canary"));
}

#[test]
fn a_cluster_may_have_consul_where_the_others_have_none() {
    let text = TWO.replace("DECAMP_RESERVE", "DECAMP_CONSUL = false\nDECAMP_RESERVE");
    let text = text.replace("[clusters.blue]", "[clusters.blue]\nDECAMP_CONSUL = true");
    let settings = read(&text, &[]).expect("it makes sense");
    assert!(settings.policy_of("web").consul && !settings.policy_of("shop").consul && !settings.policy.consul);
}

#[test]
fn connections_that_were_set_for_all_clusters_are_not_used() {
    let text = format!("NOMAD_TOKEN = \"canary\"\n{TWO}");
    let environment = [("CONSUL_HTTP_ADDR", "http://elsewhere:8500"), ("NOMAD_REGION", "mars"), ("NOMAD_CACERT", "")];
    let settings = read(&text, &environment).expect("it makes sense");
    assert_eq!(settings.warnings, ["not used, because each table of clusters has its own: NOMAD_TOKEN, CONSUL_HTTP_ADDR"]);
    assert_eq!(settings.clusters, read(TWO, &[]).expect("it makes sense").clusters);
}

#[test]
fn the_allow_list_is_narrowed_to_the_groups_of_the_clusters() {
    let narrowed = |list| read(TWO, &[("DECAMP_GROUPS", list)]);
    let cases: [(&str, &[&str]); 5] = [
        ("*", &["batch-*", "shop", "web"]),
        ("shop", &["shop"]),
        ("batch-1,batch-2*,w*", &["batch-1", "batch-2*", "web"]),
        ("b*", &["batch-*"]),
        ("web,web", &["web"]),
    ];
    for (list, expected) in cases {
        assert_eq!(groups(&narrowed(list).expect(list)), expected, "{list}");
    }
    for list in ["web,other", "web,other-*", "webs", "sho"] {
        let why = narrowed(list).expect_err(list).to_string();
        assert!(why.contains("no cluster has"), "{list}: {why}");
    }
    // A function continues with those groups that its document already has.
    let settings = read_as(TWO, &[("DECAMP_GROUPS", "web,other")], Unknown::Warned).expect("it makes sense");
    assert_eq!((groups(&settings), settings.warnings.len()), (vec!["web"], 1));
    let none = read_as(TWO, &[("DECAMP_GROUPS", "other")], Unknown::Warned).expect_err("an empty list would allow all");
    assert!(none.to_string().contains("no cluster has any"), "{none}");
}

#[test]
fn a_group_of_two_clusters_is_refused() {
    let both = |one: &str, other: &str| {
        format!(
            "[clusters.a]\ngroups = [\"x\", \"{one}\"]\nNOMAD_ADDR = \"http://a:1\"\nDECAMP_CONSUL = false\n[clusters.b]\ngroups = [\"{other}\"]\nNOMAD_ADDR = \"http://b:1\"\nDECAMP_CONSUL = false\n"
        )
    };
    for (one, other) in
        [("web", "web"), ("web", "web*"), ("w*", "web"), ("web-*", "web-b*"), ("web-b*", "*"), ("*", "*"), ("*", "x")]
    {
        let why = refused(&both(one, other), &[]);
        assert!(why.contains("clusters.a has the group") && why.contains("clusters.b has"), "{one} {other}: {why}");
        read_as(&both(one, other), &[], Unknown::Warned).expect_err("it is unclear which one is meant");
    }
    for (one, other) in [("web", "web2"), ("web-a*", "web-b*"), ("web", "web-*"), ("web-", "web")] {
        read(&both(one, other), &[]).unwrap_or_else(|why| panic!("{one} {other}: {why}"));
    }
}

#[test]
fn an_invalid_table_is_refused_with_what_to_write() {
    let table = |lines: &str| format!("[clusters.a]\n{lines}");
    let (groups, nomad) = ("groups = [\"web\"]\n", "NOMAD_ADDR = \"http://a:1\"\n");
    let cases = [
        ("clusters = 1".to_owned(), "clusters: write a table for each"),
        ("[clusters]\na = 1".to_owned(), "clusters.a: write a table with groups"),
        ("[clusters.\"a b\"]\n".to_owned(), "letters, digits, - and _"),
        (table(nomad), "clusters.a: groups is missing"),
        (table(&format!("groups = []\n{nomad}")), "clusters.a: groups is missing"),
        (table(&format!("groups = \"canary\"\n{nomad}")), "clusters.a: groups is missing or not a list"),
        (table(&format!("groups = [\"a,b\"]\n{nomad}")), "clusters.a: groups is missing or not a list"),
        (table(&format!("groups = [\"a\", \" \"]\n{nomad}")), "clusters.a: groups is missing or not a list"),
        (table(groups), "clusters.a: NOMAD_ADDR is missing"),
        (table(&format!("{groups}{nomad}")), "clusters.a: CONSUL_HTTP_ADDR is missing; write this cluster's, or DECAMP_CONSUL"),
        (table(&format!("{groups}{nomad}DECAMP_RESERVE = \"1m\"")), "clusters.a: DECAMP_RESERVE is for all clusters"),
        (table(&format!("{groups}{nomad}DECAMP_CONFIG = \"ssm:x\"")), "clusters.a: DECAMP_CONFIG is for all clusters"),
        (table(&format!("{groups}{nomad}NOMAD_TOKN = \"canary\"")), "clusters.a: NOMAD_TOKN is not a setting"),
        (table(&format!("{groups}{nomad}DECAMP_CONSUL = false\nNOMAD_SKIP_VERIFY = true")), "clusters.a: NOMAD_SKIP_VERIFY"),
        (table(&format!("{groups}DECAMP_CONSUL = false\nNOMAD_ADDR = \"canary:1\"")), "clusters.a: NOMAD_ADDR"),
    ];
    for (text, sentence) in cases {
        let why = refused(&text, &[]);
        assert!(why.contains(sentence), "{text}: {why}");
    }
    let newer = table(&format!("{groups}{nomad}DECAMP_CONSUL = false\nNOMAD_OF_TOMORROW = 1"));
    let settings = read_as(&newer, &[], Unknown::Warned).expect("an older function continues");
    assert!(
        settings.warnings.iter().any(|why| why.starts_with("clusters.a: NOMAD_OF_TOMORROW is not")),
        "{:?}",
        settings.warnings
    );
}

#[test]
fn a_warning_names_its_cluster() {
    let text = "[clusters.a]\ngroups = [\"web\"]\nNOMAD_ADDR = \"http://a:1\"\nNOMAD_TOKEN = \"canary\"\nDECAMP_CONSUL = false\n";
    let settings = read(text, &[]).expect("it makes sense");
    assert_eq!(settings.warnings, ["clusters.a: NOMAD_ADDR: the token goes to http://a:1 in the clear; use https"]);
}
