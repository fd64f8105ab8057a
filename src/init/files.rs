//! The files that `decamp init` writes.

use serde_json::{Value, json};

use super::policies::{pattern, queue, role, trust};
use super::{File, Found, With};

/// The name of every resource that the files create.
pub(super) const NAME: &str = "decamp";
/// The secrets that hold the tokens.
pub(super) const NOMAD_SECRET: &str = "decamp/nomad-token";
pub(super) const CONSUL_SECRET: &str = "decamp/consul-token";
/// The rule that sends the hook's events to the queue.
const RULE: &str = "decamp-terminate";
/// The queue keeps a message for four days, and the dead letters for fourteen. Both count from when the message was sent.
const RETENTION_S: u32 = 345_600;
const DEAD_LETTER_RETENTION_S: u32 = 1_209_600;

/// All files, in the order in which a person reads them.
pub(super) fn files(found: &Found, with: With) -> Vec<File> {
    let file = |name, text: String| File { name, text };
    let json = |name, value: Value| file(name, format!("{value:#}\n"));
    let mut files = vec![
        file("README.md", filled(include_str!("texts/readme.md"), found, with)),
        file("nomad-policy.hcl", include_str!("../../infra/policies/nomad.hcl").to_owned()),
    ];
    files.extend(
        found.consul.as_ref().map(|_| file("consul-policy.hcl", include_str!("../../infra/policies/consul.hcl").to_owned())),
    );
    files.push(file("tokens.sh", filled(include_str!("texts/tokens.sh"), found, with)));
    match with {
        With::Terraform => files.push(file("main.tf", filled(include_str!("texts/main.tf"), found, with))),
        With::AwsCli => {
            files.push(file("install.sh", filled(include_str!("texts/install.sh"), found, with)));
            let mut own = queue(found, NAME, RETENTION_S, RULE);
            let redrive = json!({ "deadLetterTargetArn": found.arn("sqs", &dead_letters()), "maxReceiveCount": 500 });
            own["RedrivePolicy"] = Value::from(redrive.to_string());
            own["VisibilityTimeout"] = Value::from("360");
            let target = |id, arn: String| json!([{ "Id": id, "Arn": arn }]);
            let mut sweep = target("function", found.arn("lambda", &format!("function:{NAME}")));
            sweep[0]["Input"] = Value::from(json!({ "decamp": "sweep" }).to_string());
            files.extend([
                json("role-policy.json", role(found)),
                json("role-trust.json", trust()),
                json("event-pattern.json", pattern(found)),
                json("queue.json", own),
                json("dead-letters.json", queue(found, &dead_letters(), DEAD_LETTER_RETENTION_S, RULE)),
                json("queue-target.json", target("queue", found.arn("sqs", NAME))),
                json("sweep-target.json", sweep),
                json("environment.json", json!({ "Variables": environment(found) })),
            ]);
        }
    }
    files
}

fn dead_letters() -> String {
    format!("{NAME}-dead-letters")
}

/// The settings of the function. At first it only observes.
fn environment(found: &Found) -> Value {
    let mut variables = json!({
        "DECAMP_MODE": "observe",
        "DECAMP_GROUPS": found.asg,
        "DECAMP_ACCOUNTS": found.account,
        "DECAMP_REGIONS": found.region,
        "DECAMP_HOOKS": NAME,
        "DECAMP_QUEUE_KEEPS": format!("{RETENTION_S}s"),
        "DECAMP_CONSUL": found.consul.is_some().to_string(),
        "NOMAD_ADDR": found.nomad.join(","),
        "NOMAD_TOKEN_SECRET": format!("secretsmanager:{NOMAD_SECRET}"),
    });
    if let Some(consul) = &found.consul {
        variables["CONSUL_HTTP_ADDR"] = Value::from(consul.join(","));
        variables["CONSUL_HTTP_TOKEN_SECRET"] = Value::from(format!("secretsmanager:{CONSUL_SECRET}"));
    }
    if !found.named.is_empty() {
        variables["DECAMP_TARGET_GROUPS"] = Value::from(arns(found));
    }
    variables
}

fn arns(found: &Found) -> String {
    found.named.iter().map(|arn| arn.as_str()).collect::<Vec<_>>().join(",")
}

/// A template with the facts in place of `@NAMES@`. Of the lines that begin with a mark only those whose condition holds are kept.
fn filled(text: &str, found: &Found, with: With) -> String {
    let quoted = |all: &mut dyn Iterator<Item = &str>| all.map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ");
    let target_groups = quoted(&mut found.attached.iter().chain(&found.named).map(|arn| arn.as_str()));
    let consul = found.consul.clone().unwrap_or_default();
    let others: Vec<&str> = found.hooks.iter().map(|hook| &**hook).filter(|hook| *hook != NAME).collect();
    let values = [
        ("@ASG@", found.asg.clone()),
        ("@REGION@", found.region.clone()),
        ("@ACCOUNT@", found.account.clone()),
        ("@ROLE@", format!("arn:{}:iam::{}:role/{NAME}-{}", found.partition, found.account, found.region)),
        ("@QUEUE@", found.arn("sqs", NAME)),
        ("@SWEEP@", found.arn("events", &format!("rule/{NAME}-sweep"))),
        ("@OTHERS@", others.join(", ")),
        ("@TARGET_GROUPS@", target_groups),
        ("@NOMAD@", quoted(&mut found.nomad.iter().map(String::as_str))),
        ("@CONSUL@", quoted(&mut consul.iter().map(String::as_str))),
        ("@VERSION@", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let marks = [
        ("@hook ", !found.has_our_hook()),
        ("@has-hook ", found.has_our_hook()),
        ("@other-hooks ", !others.is_empty()),
        ("@consul ", found.consul.is_some()),
        ("@no-consul ", found.consul.is_none()),
        ("@targets ", !(found.attached.is_empty() && found.named.is_empty())),
        ("@no-targets ", found.attached.is_empty() && found.named.is_empty()),
        ("@terraform ", with == With::Terraform),
        ("@aws-cli ", with == With::AwsCli),
    ];
    let mut out = String::new();
    for line in text.lines() {
        let marked = marks.iter().find(|(mark, _)| line.starts_with(mark) || line == mark.trim_end());
        let line = match marked {
            Some((_, false)) => continue,
            Some((mark, true)) => line.strip_prefix(mark).unwrap_or_default(),
            None => line,
        };
        let line = values.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            asg: "web".to_owned(),
            partition: "aws".to_owned(),
            region: "eu-west-1".to_owned(),
            account: "123456789012".to_owned(),
            attached: Vec::new(),
            named: Vec::new(),
            hooks: Vec::new(),
            nomad: vec!["https://nomad.example.com:4646".to_owned()],
            consul: None,
        }
    }

    fn all(found: &Found) -> Vec<File> {
        [files(found, With::Terraform), files(found, With::AwsCli)].into_iter().flatten().collect()
    }

    #[test]
    fn no_mark_of_the_templates_is_left_in_any_file() {
        let group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef";
        for (hooks, consul, attached) in [(0, false, false), (1, true, true), (2, true, false)] {
            let mut found = found();
            found.hooks = ["decamp", "logs"][..hooks].iter().map(|hook| (*hook).into()).collect();
            found.consul = consul.then(|| vec!["https://consul.example.com:8501".to_owned()]);
            found.attached = attached.then(|| group.parse().expect("an ARN")).into_iter().collect();
            for file in all(&found) {
                let left = file.text.lines().find(|line| line.starts_with('@') || line.contains("@A") || line.contains("@R"));
                assert_eq!(left, None, "{}", file.name);
                assert!(consul || !file.text.contains("consul-policy.hcl"), "{}: {}", file.name, file.text);
            }
        }
    }

    #[test]
    fn the_role_may_write_to_this_group_and_its_target_groups_and_to_nothing_else() {
        let mut found = found();
        let role_of = |found: &Found| role(found)["Statement"].as_array().expect("statements").clone();
        let writes = |statements: &[Value]| -> Vec<Value> {
            let is_look =
                |statement: &&Value| ["Describe", "NetworkInterfaces"].contains(&statement["Sid"].as_str().unwrap_or_default());
            statements.iter().filter(|s| s["Effect"] == "Allow" && !is_look(s)).map(|s| s["Resource"].clone()).collect()
        };
        let statements = role_of(&found);
        assert!(writes(&statements).iter().all(|resource| resource != "*"), "{statements:#?}");
        assert!(statements.iter().all(|statement| statement["Sid"] != "Deregister"), "there is nothing to deregister from");
        let arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef";
        found.attached = vec![arn.parse().expect("an ARN")];
        let statements = role_of(&found);
        let deregister = statements.iter().find(|statement| statement["Sid"] == "Deregister").expect("a statement");
        assert_eq!(deregister["Resource"], json!([arn]));
        assert_eq!(
            deregister["Action"],
            json!(["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:DeregisterInstancesFromLoadBalancer"])
        );
    }
}
