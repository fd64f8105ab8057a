//! Compares the text of the Terraform module with the program: arithmetic, policies for Nomad and Consul, settings and README.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use decamp_aws::{Caller, OPERATIONS, Operation};
use decamp_core::lambda_budget::{Numbers, Rule};
use decamp_core::metrics;
use serde_json::Value;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// Fails with all of them at once.
#[track_caller]
fn none(offenders: Vec<String>, rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// Replaces one default by a number of a case.
fn change(numbers: &mut Numbers, name: &str, value: u64) {
    let span = Duration::from_secs(value);
    let place = match name {
        "heartbeat_timeout" => &mut numbers.heartbeat_timeout,
        "function_timeout" => &mut numbers.function_timeout,
        "visibility_timeout" => &mut numbers.visibility_timeout,
        "sweep_period" => &mut numbers.sweep_period,
        "message_retention" => &mut numbers.message_retention,
        "dead_letter_retention" => &mut numbers.dead_letter_retention,
        "max_departure" => &mut numbers.max_departure,
        "reserve" => &mut numbers.reserve,
        "deregistration_delay" => &mut numbers.deregistration_delay,
        "longest_stop" => &mut numbers.longest_stop,
        "guard" => &mut numbers.guard,
        "max_receive_count" => {
            numbers.max_receive_count = value.try_into().expect("a count");
            return;
        }
        other => panic!("{other} is not a number of the budget"),
    };
    *place = span;
}

#[test]
fn the_program_breaks_the_same_rules_as_the_module_in_every_case() {
    let cases: Vec<Value> = serde_json::from_str(&file("infra/tests/budget.json")).expect("a list of cases");
    assert!(30 < cases.len());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let mut numbers = Numbers::default();
        for (name, value) in case["change"].as_object().expect("the numbers that differ") {
            change(&mut numbers, name, value.as_u64().expect("seconds or a count"));
        }
        let broken: Vec<&str> = numbers.broken().into_iter().map(Rule::word).collect();
        let mut expected: Vec<&str> = case["broken"].as_array().expect("rules").iter().filter_map(Value::as_str).collect();
        expected.sort_unstable();
        if broken != expected {
            wrong.push(format!("{}: {broken:?} and not {expected:?}", case["name"]));
        }
        broken.into_iter().for_each(|rule| *seen.entry(rule).or_default() += 1);
    }
    none(wrong, "the program's arithmetic differs from the table's");
    assert_eq!(seen.len(), Rule::ALL.len(), "no case breaks some rule: {seen:?}");
}

#[test]
fn the_advised_numbers_for_a_guard_that_each_pass_waits_break_no_rule() {
    for seconds in [0, 10, 45, 46, 120, 300] {
        let guard = Duration::from_secs(seconds);
        assert_eq!(Numbers::that_outlast(guard).broken(), [], "{seconds}");
    }
}

#[test]
fn the_program_and_the_module_have_the_same_rules() {
    let module = file("infra/modules/budget/main.tf");
    let words: Vec<&str> = module.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" = {")).collect();
    let mut words: Vec<&str> = words.into_iter().filter(|word| !word.starts_with(' ')).collect();
    words.sort_unstable();
    assert_eq!(words, Rule::ALL.map(Rule::word));
}

#[test]
fn the_module_and_the_program_have_the_same_defaults() {
    let defaults = Numbers::default();
    let variables = file("infra/variables.tf");
    let default = |name: &str| -> u64 {
        let block = variables.split(&format!("variable \"{name}\" {{")).nth(1).expect("the module has this input");
        let line = block.lines().find_map(|line| line.strip_prefix("  default     = ")).expect("it has a default");
        line.parse().unwrap_or_else(|_| panic!("{name}: {line}"))
    };
    let optional = |name: &str| -> u64 {
        let line =
            variables.lines().find(|line| line.trim().starts_with(&format!("{name} ")) && line.contains("optional(number, "));
        let line = line.unwrap_or_else(|| panic!("{name} is an attribute with a default"));
        line.split("optional(number, ").nth(1).and_then(|rest| rest.trim_end_matches(')').parse().ok()).expect("a number")
    };
    assert_eq!(default("function_timeout"), defaults.function_timeout.as_secs());
    assert_eq!(default("visibility_timeout"), defaults.visibility_timeout.as_secs());
    assert_eq!(default("sweep_period") * 60, defaults.sweep_period.as_secs());
    assert_eq!(default("max_receive_count"), u64::from(defaults.max_receive_count));
    assert_eq!(default("message_retention"), defaults.message_retention.as_secs());
    assert_eq!(default("dead_letter_retention"), defaults.dead_letter_retention.as_secs());
    assert_eq!(optional("heartbeat_timeout"), defaults.heartbeat_timeout.as_secs());
    assert_eq!(optional("max"), defaults.max_departure.as_secs());
    assert_eq!(optional("reserve"), defaults.reserve.as_secs());
    assert_eq!(optional("deregistration_delay"), defaults.deregistration_delay.as_secs());
    assert_eq!(optional("longest_stop"), defaults.longest_stop.as_secs());
    assert_eq!(optional("guard"), defaults.guard.as_secs());
    let policy = decamp_core::decide::Policy::default();
    assert_eq!((defaults.max_departure, defaults.reserve), (policy.max_departure, policy.reserve));
}

/// A policy on one line, without its comments.
fn rules(text: &str) -> String {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_documented_policies_are_those_of_the_module() {
    let page = rules(&file("docs/permissions.md"));
    for name in ["nomad", "consul"] {
        let policy = rules(&file(&format!("infra/policies/{name}.hcl")));
        assert!(page.contains(&policy), "docs/permissions.md differs from infra/policies/{name}.hcl: {policy}");
    }
}

/// The block of an input or output.
struct Block {
    name: String,
    description: String,
    kind: String,
    default: Option<String>,
}

/// Every block of a kind, in the layout of `terraform fmt`.
fn blocks(kind: &str, text: &str) -> Vec<Block> {
    let attribute = |block: &str, name: &str| {
        let mut lines = block.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with(name));
        let line = lines.find(|line| line[name.len()..].trim_start().starts_with('='))?;
        line.split_once('=').map(|(_, value)| value.trim().to_owned())
    };
    let begins = format!("\n{kind} \"");
    let each = text.split(&begins).skip(1).map(|rest| {
        let (name, rest) = rest.split_once('"').expect("a name in quotes");
        let block = rest.split("\n}").next().unwrap_or(rest);
        let description = attribute(block, "description").unwrap_or_default();
        Block {
            name: name.to_owned(),
            description: description.trim_matches('"').replace("\\\"", "\""),
            kind: attribute(block, "type").unwrap_or_default(),
            default: attribute(block, "default"),
        }
    });
    each.collect()
}

fn inputs() -> Vec<Block> {
    blocks("variable", &format!("\n{}", file("infra/variables.tf")))
}

fn outputs() -> Vec<Block> {
    blocks("output", &format!("\n{}", file("infra/outputs.tf")))
}

#[test]
fn every_input_and_output_has_a_type_and_a_description() {
    assert!(30 < inputs().len() && 10 < outputs().len());
    let untyped = inputs().into_iter().filter(|input| input.kind.is_empty() || input.kind.contains("any"));
    none(untyped.map(|input| input.name).collect(), "every input has a type, and none is `any`");
    let undescribed = inputs().into_iter().chain(outputs()).filter(|block| !block.description.ends_with('.'));
    none(undescribed.map(|block| block.name).collect(), "every input and output has a sentence as its description");
    let names = ["name", "autoscaling_groups", "lambda_package", "nomad"];
    assert!(names.iter().all(|name| inputs().iter().any(|input| input.name == *name)));
}

#[test]
fn the_readme_of_the_module_lists_every_input_and_output() {
    let readme = file("infra/README.md");
    let mut rows = Vec::new();
    for input in inputs() {
        let kind = match input.kind.trim_end_matches('{') {
            "object(" => "object",
            "map(object(" => "map of objects",
            "list(object(" => "list of objects",
            other => other,
        };
        let default = input.default.map_or_else(|| "**required**".to_owned(), |default| format!("`{default}`"));
        rows.push(format!("| `{}` | {kind} | {default} | {} |", input.name, input.description));
    }
    rows.extend(outputs().into_iter().map(|output| format!("| `{}` | {} |", output.name, output.description)));
    none(rows.iter().filter(|row| !readme.contains(row.as_str())).cloned().collect(), "infra/README.md lacks these rows");
    let tables = readme.split("## Inputs").nth(1).expect("the README has the tables");
    let tables = tables.split("\n## ").take(2).collect::<String>();
    let stale = tables.lines().filter(|line| line.starts_with("| `") && !rows.iter().any(|row| row == line));
    none(stale.map(str::to_owned).collect(), "infra/README.md has rows without an input or output");
}

#[test]
fn every_variable_of_the_module_is_a_setting() {
    let main = file("infra/main.tf");
    let set = main.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|word| {
        ["DECAMP_", "NOMAD_", "CONSUL_"].iter().any(|prefix| word.len() > prefix.len() && word.starts_with(prefix))
    });
    let set: Vec<&str> = set.collect();
    assert!(15 < set.len(), "{set:?}");
    let unknown = set.into_iter().filter(|name| decamp_config::setting(name).is_none());
    none(unknown.map(str::to_owned).collect(), "infra/main.tf sets variables that are no settings of decamp");
}

#[test]
fn the_program_accepts_the_document_of_the_module() {
    for (of, lines) in [
        ("document", &["settings OK: groups workers, mode act"][..]),
        (
            "clusters",
            &[
                "settings OK: groups shop-*, workers, mode act",
                "cluster blue: groups workers, Nomad https://blue:4646",
                "cluster green: groups shop-*, Nomad https://green:4646",
            ],
        ),
    ] {
        let snapshot: Value =
            serde_json::from_str(&file(&format!("infra/tests/combinations/snapshots/{of}.json"))).expect("a snapshot");
        let document = tempfile::NamedTempFile::new().expect("a file");
        let text = snapshot["aws_ssm_parameter.settings[0]"]["insecure_value"].as_str().expect("a text");
        fs::write(document.path(), text).expect("the file is writable");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_decamp"));
        command.env_clear().env("AWS_REGION", "eu-west-1").env("DECAMP_QUEUES", "arn:aws:sqs:eu-west-1:123456789012:decamp");
        command.args(["serve", "--check", "--config"]).arg(document.path());
        let output = command.output().expect("the binary starts");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stderr.is_empty(), "{of}: {stderr}");
        assert_eq!(stdout.lines().count(), lines.len(), "{stdout}");
        assert!(stdout.lines().zip(lines).all(|(line, begins)| line.starts_with(begins)), "{stdout}");
    }
}

/// Every action of AWS in the text.
fn actions(text: &str) -> BTreeSet<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let services = [
        "autoscaling:",
        "elasticloadbalancing:",
        "ssm:",
        "secretsmanager:",
        "sqs:",
        "sns:",
        "kms:",
        "logs:",
        "ec2:",
        "cloudwatch:",
    ];
    let is_action = |word: &&str| {
        let operation = services.iter().find_map(|service| word.strip_prefix(service));
        operation
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(char::is_alphanumeric))
    };
    quoted.filter(is_action).filter(|word| !["kms:ViaService", "sqs:SendMessage"].contains(word)).map(str::to_owned).collect()
}

#[test]
fn the_role_allows_the_calls_of_the_function_and_of_the_platform() {
    let named = actions(&file("infra/iam.tf"));
    let call = |operation: &Operation| format!("{}:{}", operation.service, operation.name);
    let made_by = |caller| -> BTreeSet<String> {
        OPERATIONS.iter().filter(|operation| operation.callers.contains(&caller)).map(call).collect()
    };
    let called = made_by(Caller::Lambda);
    let served = made_by(Caller::Serve);
    let platform: BTreeMap<String, String> =
        serde_json::from_str(&file("tests/infra/platform.json")).expect("actions and reasons");
    none(called.difference(&named).cloned().collect(), "infra/iam.tf lacks a call of the Lambda function");
    let made = |action: &&String| called.contains(*action) || served.contains(*action) || platform.contains_key(*action);
    none(named.iter().filter(|action| !made(action)).cloned().collect(), "infra/iam.tf allows actions that nothing calls");
}

#[test]
fn the_services_policy_allows_only_its_calls() {
    let named = actions(&file("infra/serve/policy.json"));
    let called = OPERATIONS.iter().filter(|operation| operation.callers.contains(&Caller::Serve));
    let called = called.map(|operation| format!("{}:{}", operation.service, operation.name));
    // The services that store the secrets decrypt them in the name of the role.
    let called: BTreeSet<String> = called.chain(["kms:Decrypt".to_owned()]).collect();
    assert_eq!(named, called);
}

#[test]
fn the_module_and_the_program_have_the_same_metrics() {
    let monitoring = file("infra/monitoring.tf");
    let table = monitoring.split("  metrics = {\n").nth(1).and_then(|rest| rest.split("\n  }").next()).expect("a table");
    let mut names: Vec<&str> = table.split('"').skip(1).step_by(2).collect();
    names.sort_unstable();
    let mut expected = metrics::ALL.map(|metric| metric.name);
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(monitoring.contains(&format!("namespace = \"{}\"", metrics::NAMESPACE)));
}

#[test]
fn the_readme_of_the_module_lists_every_mutant() {
    let (script, readme) = (file("tests/infra/mutants.py"), file("infra/README.md"));
    // Each mutant begins a line: `    ("what is wrong", "where", …`.
    let first_two = |line: &str| {
        let mut quoted = line.strip_prefix("    (\"")?.split('"');
        Some((quoted.next()?.to_owned(), quoted.nth(1)?.to_owned()))
    };
    let mutants: Vec<(String, String)> = script.lines().filter_map(first_two).collect();
    assert!(25 <= mutants.len(), "{}", mutants.len());
    let rows = mutants.iter().map(|(what, place)| format!("| {what} | `{place}` |"));
    none(rows.filter(|row| !readme.contains(row.as_str())).collect(), "infra/README.md lacks these mutants");
    let listed = readme.split("| fault | in |").nth(1).expect("a table").lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(listed, mutants.len());
}

#[test]
fn alarms_can_watch_exactly_the_documented_outcomes() {
    let monitoring = file("infra/monitoring.tf");
    let list = monitoring.split("  outcomes = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a list");
    let mut known: Vec<&str> = list.split(", ").map(|word| word.trim_matches('"')).collect();
    known.sort_unstable();
    let readme = file("docs/outcomes.md");
    let mut words: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    words.sort_unstable();
    assert_eq!(known, words);
}

#[test]
fn the_replace_input_and_setting_have_the_same_values() {
    let variables = file("infra/variables.tf");
    let words = variables.split("], var.replace)").next().and_then(|rest| rest.rsplit("contains([").next()).expect("a list");
    let setting = decamp_config::setting("DECAMP_REPLACE").expect("it is a setting");
    assert_eq!(words.replace('"', ""), setting.unit);
    assert!(variables.contains(&format!("default     = \"{}\"", setting.default)));
}

#[test]
fn the_job_of_the_service_has_the_required_lines_and_sets_only_settings() {
    let job = file("infra/serve/decamp.nomad.hcl");
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let flat = plain(&job);
    // ADR 0031. The test with two replicas on leaving nodes (tests/rehearsal/service.rs) uses the same job.
    for line in [
        "type = \"service\"",
        "count = 2",
        "operator = \"distinct_hosts\"",
        "migrate { max_parallel = 1",
        "kill_timeout = \"30s\"",
        "? [\"serve\"] : [\"serve\", \"--config\"",
        // The task uses Nomad's own token for it, so that nobody has to create, store or rotate one.
        "identity { file = true }",
    ] {
        assert!(flat.contains(line), "infra/serve/decamp.nomad.hcl has no {line}");
    }
    let block = job.split("      env {\n").nth(1).and_then(|rest| rest.split("\n      }").next()).expect("a block of variables");
    let names: Vec<&str> = block.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "#").collect();
    assert!(10 < names.len(), "{names:?}");
    // The SDK reads these two variables. decamp has no setting for them.
    let known =
        |name: &&str| decamp_config::setting(name).is_some() || ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"].contains(name);
    none(names.iter().filter(|name| !known(name)).map(|name| (*name).to_owned()).collect(), "these are no settings");
    // Only the image's user can read the files that Nomad writes for it.
    let templates: Vec<&str> =
        flat.split("template {").skip(1).filter(|text| text.contains("destination = \"secrets/")).collect();
    none(
        templates
            .iter()
            .filter(|text| !text.contains("perms = \"0400\" uid = 65532 gid = 65532"))
            .map(|text| (*text).to_owned())
            .collect(),
        "templates that the image's user cannot read",
    );
    assert_eq!(templates.len(), 1);
    assert!(flat.contains("NOMAD_TOKEN_FILE = \"${NOMAD_SECRETS_DIR}/nomad_token\""), "the job does not use Nomad's token file");
    // The job contains no secret: tokens come from Nomad's variables and from AWS.
    none(names.iter().filter(|name| name.ends_with("TOKEN")).map(|name| (*name).to_owned()).collect(), "a token in the job");
}

#[test]
fn the_image_is_built_from_scratch_and_runs_the_service_without_root() {
    let recipe = file("infra/serve/Containerfile");
    let from = recipe.lines().filter(|line| line.starts_with("FROM ")).collect::<Vec<_>>();
    assert_eq!(from, ["FROM scratch"]);
    for line in ["USER 65532:65532", "STOPSIGNAL SIGTERM", "ENTRYPOINT [\"/usr/local/bin/decamp\"]", "CMD [\"serve\"]"] {
        assert!(recipe.lines().any(|known| known == line), "{line}");
    }
}
