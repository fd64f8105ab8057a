"""Compares the applied examples with the program: its calls, its metrics, its settings, its events."""

import json
import os
import re
import unittest
from fnmatch import fnmatchcase
from pathlib import Path

from rendered import ROOT, Example, program
from standin import STANDIN

try:
    from moto.events.models import EventPattern
except ImportError:
    EventPattern = None

PLATFORM = json.loads((Path(__file__).parent / "platform.json").read_text())
COMPLETE = Example("complete")
MINIMAL = Example("minimal")
PREFIX = Example("prefix")
SERVICE = Example("service")
# Actions of optional parts of the program, which the minimal example does not allow.
NOT_IN_THE_LEAST = {"autoscaling:SetInstanceHealth", "elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:DeregisterInstancesFromLoadBalancer", "ssm:GetParameter", "secretsmanager:GetSecretValue"}


def allowed(example):
    """The actions that the role allows."""
    return {action for statement in example.statements() if statement["Effect"] == "Allow" for action in statement["Action"]}


def made_by(caller):
    """The actions that a part of the program calls."""
    return {call["action"] for call in program()["calls"] if caller in call["callers"]}


class Role(unittest.TestCase):
    """The role allows the calls of the function and those of the platform in its name, and nothing else (ADR 0025)."""

    def test_every_call_of_the_function_is_allowed_by_the_complete_example(self):
        self.assertEqual(made_by("lambda") - allowed(COMPLETE), set())

    def test_every_call_that_needs_no_input_is_allowed_by_the_minimal_example(self):
        self.assertEqual(made_by("lambda") - allowed(MINIMAL), NOT_IN_THE_LEAST)

    def test_only_calls_that_are_made_are_allowed(self):
        for example in (COMPLETE, MINIMAL):
            self.assertEqual(allowed(example) - made_by("lambda") - set(PLATFORM), set())

    def test_the_complete_example_allows_every_call_of_the_platform(self):
        self.assertEqual(set(PLATFORM) - allowed(COMPLETE), set())

    def test_no_message_is_sent_and_no_refresh_is_started(self):
        for action in allowed(COMPLETE) | allowed(MINIMAL):
            self.assertNotRegex(action, "SendMessage|InstanceRefresh|TerminateInstance|InvokeFunction|PutMetricData")

    def test_a_star_is_a_resource_only_where_aws_knows_no_narrower_one(self):
        for statement in COMPLETE.statements():
            starred = "*" in statement["Resource"]
            self.assertEqual(starred, statement["Sid"] in {"Describe", "NetworkInterfaces", "DenyOwnNetworkInterfaces"}, statement)
            self.assertFalse([action for action in statement["Action"] if "*" in action])

    def test_each_write_is_bound_to_its_group_queue_or_secret(self):
        by_sid = {statement["Sid"]: statement for statement in COMPLETE.statements()}
        self.assertEqual(by_sid["Lifecycle"]["Resource"], ["arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*:autoScalingGroupName/web"])
        self.assertIn("autoscaling:SetInstanceHealth", by_sid["Lifecycle"]["Action"])
        self.assertEqual(by_sid["Queue"]["Resource"], [COMPLETE.one("aws_sqs_queue.this[0]")["arn"]])
        self.assertEqual(by_sid["Messages"]["Resource"], [COMPLETE.one("aws_sqs_queue.this[0]")["arn"]])
        self.assertEqual(by_sid["Logs"]["Resource"], [COMPLETE.one("aws_cloudwatch_log_group.this[0]")["arn"] + ":*"])
        self.assertEqual(len(by_sid["Deregister"]["Resource"]), 2)

    def test_the_denial_names_this_function(self):
        denial = next(statement for statement in COMPLETE.statements() if statement["Effect"] == "Deny")
        self.assertEqual(denial["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"], COMPLETE.one("aws_lambda_function.this[0]")["arn"])


class Service(unittest.TestCase):
    """Without a function there are still the queue, the rules and the hooks, and a policy for the role of the service."""

    ROLE = json.loads(SERVICE.all["aws_iam_role.service"]["assume_role_policy"])["Statement"]
    POLICY = json.loads(SERVICE.all["aws_iam_role_policy.service"]["policy"])["Statement"]

    def test_the_path_ends_at_the_queue(self):
        kinds = {address.split(".")[2].split("[")[0] for address in SERVICE.all if address.startswith("module.decamp.aws_")}
        self.assertEqual({kind for kind in kinds if "lambda" in kind or kind.startswith("aws_iam")}, set())
        self.assertTrue({"aws_sqs_queue", "aws_sqs_queue_policy", "aws_cloudwatch_event_target", "aws_autoscaling_lifecycle_hook"} <= kinds, kinds)

    def test_only_one_task_of_one_job_may_assume_the_role_with_a_token_of_nomad(self):
        (statement,) = self.ROLE
        self.assertEqual(statement["Action"], "sts:AssumeRoleWithWebIdentity")
        conditions = statement["Condition"]["StringEquals"]
        self.assertEqual({name.split(":")[1] for name in conditions}, {"aud", "sub"})
        self.assertEqual(conditions["nomad.example.com:sub"].count(":"), 5)
        self.assertFalse([value for value in conditions.values() if "*" in value])

    def test_the_role_is_limited_to_its_queue_and_its_group(self):
        by_sid = {statement["Sid"]: statement for statement in self.POLICY}
        queue = SERVICE.one("aws_sqs_queue.this[0]")["arn"]
        self.assertEqual((by_sid["Queue"]["Resource"], by_sid["Messages"]["Resource"]), ([queue], [queue]))
        self.assertEqual(set(by_sid["Queue"]["Action"]), {"sqs:DeleteMessage", "sqs:ReceiveMessage"})
        self.assertRegex(by_sid["Lifecycle"]["Resource"][0], ":autoScalingGroupName/workers$")
        self.assertNotIn("Logs", by_sid)
        self.assertNotIn("NetworkInterfaces", by_sid)

    def test_the_role_allows_only_the_calls_of_the_service(self):
        """With every option on (ADR 0025). The services that store the secrets use the keys in the name of the role."""
        self.assertEqual({action for statement in self.POLICY for action in statement["Action"]}, made_by("serve") | {"kms:Decrypt"})

    def test_a_star_is_a_resource_only_where_aws_knows_no_narrower_one(self):
        self.assertEqual([s["Sid"] for s in self.POLICY if "*" in s["Resource"] or s["Effect"] != "Allow"], ["Describe", "Refreshes", "LookBack"])
        self.assertFalse([action for statement in self.POLICY for action in statement["Action"] if "*" in action])

    def test_the_policy_for_those_without_terraform_is_the_same(self):
        """Its actions are. A person fills in its resources."""
        plain = json.loads((ROOT / "infra" / "serve" / "policy.json").read_text())["Statement"]
        actions = {statement["Sid"]: sorted(statement["Action"]) for statement in plain}
        rendered = {statement["Sid"]: sorted(statement["Action"]) for statement in self.POLICY}
        self.assertEqual(actions, rendered)


class Queues(unittest.TestCase):
    """Only the module's rules may send messages."""

    def test_each_queue_accepts_messages_only_from_the_rules(self):
        rules = {rule["arn"] for rule in COMPLETE.each("aws_cloudwatch_event_rule") if rule["event_pattern"]}
        self.assertEqual(len(rules), 4)
        for policy in COMPLETE.each("aws_sqs_queue_policy"):
            allow = [s for s in json.loads(policy["policy"])["Statement"] if s["Effect"] == "Allow"]
            self.assertEqual(len(allow), 1)
            self.assertEqual(set(allow[0]["Condition"]["ArnEquals"]["aws:SourceArn"]), rules)

    def test_each_policy_is_of_its_own_queue(self):
        for policy, queue in (("queue", "this"), ("dead_letters", "dead_letters")):
            rendered = COMPLETE.one(f'aws_sqs_queue_policy.this["{policy}"]')
            arn = COMPLETE.one(f"aws_sqs_queue.{queue}[0]")["arn"]
            self.assertEqual({s["Resource"] for s in json.loads(rendered["policy"])["Statement"]}, {arn})
            self.assertEqual(rendered["queue_url"], COMPLETE.one(f"aws_sqs_queue.{queue}[0]")["url"])

    def test_a_dead_letter_goes_to_the_dead_letter_queue(self):
        dead = COMPLETE.one("aws_sqs_queue.dead_letters[0]")["arn"]
        self.assertEqual(json.loads(COMPLETE.one("aws_sqs_queue.this[0]")["redrive_policy"])["deadLetterTargetArn"], dead)
        for target in COMPLETE.each("aws_cloudwatch_event_target"):
            if target["target_id"] == "queue":
                self.assertEqual(target["dead_letter_config"][0]["arn"], dead)
                self.assertEqual(target["arn"], COMPLETE.one("aws_sqs_queue.this[0]")["arn"])

    def test_only_the_queue_leaves_dead_letters(self):
        allowed = json.loads(COMPLETE.one("aws_sqs_queue_redrive_allow_policy.dead_letters[0]")["redrive_allow_policy"])
        self.assertEqual(allowed, {"redrivePermission": "byQueue", "sourceQueueArns": [COMPLETE.one("aws_sqs_queue.this[0]")["arn"]]})

    def test_no_rule_is_switched_off(self):
        for rule in COMPLETE.each("aws_cloudwatch_event_rule"):
            self.assertIn(rule["state"], (None, "ENABLED"), rule["name"])

    def test_the_mapping_joins_the_queue_to_the_function(self):
        mapping = COMPLETE.one("aws_lambda_event_source_mapping.this[0]")
        self.assertEqual(mapping["event_source_arn"], COMPLETE.one("aws_sqs_queue.this[0]")["arn"])
        self.assertEqual(mapping["function_name"], COMPLETE.one("aws_lambda_function.this[0]")["arn"])


class Conventions(unittest.TestCase):
    """Arguments of every resource of the module whose schema has them."""

    SCHEMA = json.loads((STANDIN / "schema.json").read_text())["provider_schemas"]["registry.terraform.io/hashicorp/aws"]["resource_schemas"]
    MODULE = Path(os.environ.get("DECAMP_MODULE", ROOT / "infra"))

    def blocks(self, attribute):
        """Each resource whose schema has the attribute, with its text."""
        for file in sorted(self.MODULE.glob("*.tf")):
            for kind, name, body in re.findall(r'^resource "(aws_\w+)" "(\w+)" {\n(.*?)^}', file.read_text(), re.M | re.S):
                if attribute in self.SCHEMA[kind]["block"]["attributes"]:
                    yield f"{kind}.{name}", body

    def test_every_resource_with_a_region_has_that_of_the_inputs(self):
        self.assertGreater(len(list(self.blocks("region"))), 15)
        for name, body in self.blocks("region"):
            self.assertRegex(body, r"(?m)^  region +=", name)
            self.assertRegex(body, r"(?m)= var\.region$", name)

    def test_every_resource_with_tags_has_those_of_the_inputs(self):
        self.assertGreater(len(list(self.blocks("tags"))), 8)
        for name, body in self.blocks("tags"):
            self.assertRegex(body, r"(?m)^  tags +=.*var\.tags", name)


class Environment(unittest.TestCase):
    """The function's environment refers to secrets and never contains them."""

    def test_every_variable_is_a_setting_of_the_program(self):
        self.assertEqual(set(COMPLETE.environment()) - set(program()["settings"]), set())

    def test_no_token_is_in_it(self):
        self.assertFalse({"NOMAD_TOKEN", "CONSUL_HTTP_TOKEN"} & set(COMPLETE.environment()))
        self.assertRegex(COMPLETE.environment()["NOMAD_TOKEN_SECRET"], "^arn:aws:secretsmanager:")
        self.assertRegex(COMPLETE.environment()["CONSUL_HTTP_TOKEN_SECRET"], "^arn:aws:ssm:")

    def test_no_secret_is_in_the_state(self):
        for address, values in COMPLETE.all.items():
            if address.startswith("aws_ssm_parameter"):
                self.assertFalse(values.get("value") or values.get("value_wo"), address)

    def test_the_group_the_rule_and_the_function_have_the_same_hook(self):
        hook = COMPLETE.all["aws_autoscaling_group.this"]["initial_lifecycle_hook"][0]
        pattern = json.loads(COMPLETE.one('aws_cloudwatch_event_rule.this["lifecycle"]')["event_pattern"])
        self.assertEqual([hook["name"]], pattern["detail"]["LifecycleHookName"])
        self.assertEqual(hook["name"], COMPLETE.environment()["DECAMP_HOOKS"])
        self.assertFalse(hook["notification_metadata"])
        deregister = next(s for s in COMPLETE.statements() if s["Sid"] == "Deregister")
        self.assertEqual(COMPLETE.environment()["DECAMP_TARGET_GROUPS"].split(","), deregister["Resource"])

    def test_a_group_by_prefix_and_its_hook_match_the_rule_and_the_settings(self):
        group = PREFIX.all["module.autoscaling.aws_autoscaling_group.this"]
        pattern = json.loads(PREFIX.one('aws_cloudwatch_event_rule.this["lifecycle"]')["event_pattern"])
        self.assertEqual([hook["name"] for hook in group["initial_lifecycle_hook"]], pattern["detail"]["LifecycleHookName"])
        self.assertEqual(PREFIX.environment()["DECAMP_GROUPS"], group["name_prefix"] + "*")
        self.assertTrue(group["name"].startswith(group["name_prefix"]))
        (lifecycle,) = [s for s in PREFIX.statements() if s["Sid"] == "Lifecycle"]
        self.assertTrue(all(fnmatchcase(group["arn"], arn) for arn in lifecycle["Resource"]), lifecycle)


class Metrics(unittest.TestCase):
    """Alarms and the dashboard use the metrics that the function emits, with their dimensions."""

    # The dimension sets of the program's metrics.
    DIMENSIONS = ((), ("Asg",), ("Asg", "Outcome"), ("Asg", "Kind"), ("Kind",))

    def used(self):
        """Each (metric, dimensions) in decamp's namespace that an alarm or a widget uses."""
        for alarm in COMPLETE.each("aws_cloudwatch_metric_alarm"):
            queries = [query["metric"][0] for query in alarm["metric_query"] if query["metric"]]
            for metric in queries or [alarm]:
                if metric["namespace"] == program()["namespace"]:
                    yield metric["metric_name"], tuple(sorted(metric["dimensions"] or ()))
        body = json.loads(COMPLETE.one("aws_cloudwatch_dashboard.this[0]")["dashboard_body"])
        for widget in body["widgets"]:
            for metric in widget["properties"].get("metrics", []):
                words = [part for part in metric if isinstance(part, str)]
                if words and words[0] == program()["namespace"]:
                    yield words[1], tuple(words[2::2])
                for part in metric:
                    if isinstance(part, dict) and "expression" in part:
                        searched = re.search(r"\{(\w+),([\w,]+)\} MetricName=\"(\w+)\"", part["expression"])
                        self.assertEqual(searched[1], program()["namespace"])
                        yield searched[3], tuple(searched[2].split(","))

    def test_every_metric_that_is_watched_is_emitted(self):
        self.assertEqual({name for name, _ in self.used()} - set(program()["metrics"]), set())

    def test_every_metric_that_is_emitted_is_watched(self):
        self.assertEqual(set(program()["metrics"]) - {name for name, _ in self.used()}, set())

    def test_each_metric_is_watched_with_its_own_dimensions(self):
        for name, dimensions in self.used():
            self.assertIn(dimensions, self.DIMENSIONS, name)
            if "Outcome" in dimensions:
                self.assertIn(name, {"Departures", "DepartureSeconds", "SecondsAboveFloor", "Steps"})
            if dimensions == ("Asg", "Kind"):
                self.assertIn(name, {"Compared", "HardStops", "NotForeseen"})

    def test_every_alarm_notifies_and_says_what_to_do(self):
        alarms = COMPLETE.each("aws_cloudwatch_metric_alarm")
        self.assertEqual(len(alarms), 15)
        sections = set(re.findall(r"^## `([\w-]+)`$", (ROOT / "docs" / "alarms.md").read_text(), re.M))
        for alarm in alarms:
            self.assertEqual(len(alarm["alarm_actions"]), 1, alarm["alarm_name"])
            self.assertGreater(len(alarm["alarm_description"]), 60, alarm["alarm_name"])
            address = re.search(r" https://github\.com/decamp/decamp/blob/main/docs/alarms\.md#([\w-]+)\.?$", alarm["alarm_description"])
            self.assertIsNotNone(address, alarm["alarm_description"])
            self.assertIn(address[1], sections)

    def test_no_alarm_has_more_metrics_than_cloudwatch_allows(self):
        for alarm in COMPLETE.each("aws_cloudwatch_metric_alarm"):
            self.assertLessEqual(len(alarm["metric_query"]), 10)

    def test_the_dimensions_of_aws_metrics_name_resources_of_the_module(self):
        names = {"QueueName": {"decamp", "decamp-dead-letters"}, "FunctionName": {"decamp"}}
        names["RuleName"] = {rule["name"] for rule in COMPLETE.each("aws_cloudwatch_event_rule")}
        for alarm in COMPLETE.each("aws_cloudwatch_metric_alarm"):
            for dimension, value in (alarm["dimensions"] or {}).items():
                self.assertIn(value, names[dimension], alarm["alarm_name"])


# The rules of the complete example, whose group is "web" and hook "decamp", that match each sample event of the project.
SAMPLES = {
    "eventbridge-terminate.json": {"lifecycle"},
    "eventbridge-terminate-bare.json": set(),
    "eventbridge-terminate-root-volume.json": {"lifecycle"},
    "eventbridge-terminate-warm-pool.json": {"lifecycle"},
    "spot-interruption.json": {"spot-interruption"},
    "rebalance.json": {"rebalance"},
    "health-scheduled-change.json": {"scheduled-change"},
    "health-issue.json": set(),
    "eventbridge-launch.json": set(),
    "eventbridge-refresh-started.json": set(),
    "eventbridge-terminate-successful.json": set(),
    "state-change.json": set(),
    "schedule.json": set(),
    "bad/other-account.json": set(),
    "bad/other-group.json": set(),
    "bad/other-hook.json": set(),
    "bad/custom-source.json": set(),
    "bad/launching-in-terminate.json": set(),
    # The account is in a field that most of these events do not have, so only the program refuses it.
    "bad/health-of-another-account.json": {"scheduled-change"},
    "bad/line-break-in-the-group.json": set(),
    "bad/no-account.json": set(),
    "bad/other-region.json": set(),
    "scheduler.json": set(),
    # Faults that only the program can see and refuses.
    "bad/envelope-and-notification.json": {"lifecycle"},
    "bad/filter-in-the-instance.json": {"lifecycle"},
    "bad/instance-is-a-number.json": {"lifecycle"},
    "bad/no-instance.json": {"lifecycle"},
    "bad/other-account-in-resources.json": {"lifecycle"},
    "bad/other-group-in-resources.json": {"lifecycle"},
    "bad/other-instance-in-resources.json": {"spot-interruption"},
    "bad/short-token.json": {"lifecycle"},
    "bad/time-in-words.json": {"lifecycle"},
    "bad/two-tokens.json": {"lifecycle"},
}


@unittest.skipIf(EventPattern is None, "skipped: moto is not installed")
class Events(unittest.TestCase):
    """The rules match the project's own sample events, and no foreign ones."""

    def matching(self, event, example=COMPLETE):
        """The rules that match an event."""
        found = set()
        for address, rule in example.all.items():
            if "aws_cloudwatch_event_rule.this[" in address:
                if EventPattern.load(rule["event_pattern"]).matches_event(event):
                    found.add(address.split('"')[1])
        return found

    def sample(self, name):
        """A sample event with the group of the complete example."""
        text = (ROOT / "crates" / "events" / "tests" / "events" / name).read_text()
        return json.loads(text.replace('"workers"', '"web"').replace("autoScalingGroupName/workers", "autoScalingGroupName/web"))

    def test_each_sample_matches_the_expected_rules(self):
        for name, expected in SAMPLES.items():
            with self.subTest(name):
                self.assertEqual(self.matching(self.sample(name)), expected)

    def test_every_sample_of_eventbridge_is_listed(self):
        folder = ROOT / "crates" / "events" / "tests" / "events"
        events = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in folder.rglob("*.json")}
        named = {name for name, event in events.items() if isinstance(event, dict) and "detail-type" in event}
        self.assertEqual(named, set(SAMPLES))

    def test_no_pattern_matches_an_event_with_one_changed_field(self):
        for path, value in (
            (("account",), "999999999999"),
            (("region",), "us-east-1"),
            (("source",), "com.example"),
            (("detail-type",), "EC2 Instance-launch Lifecycle Action"),
            (("detail", "AutoScalingGroupName"), "web2"),
            (("detail", "LifecycleHookName"), "decamp2"),
            (("detail", "LifecycleTransition"), "autoscaling:EC2_INSTANCE_LAUNCHING"),
        ):
            event = self.sample("eventbridge-terminate.json")
            *parents, last = path
            parent = event
            for key in parents:
                parent = parent[key]
            parent[last] = value
            with self.subTest(path):
                self.assertEqual(self.matching(event), set())

    def test_a_prefix_matches_every_group_that_begins_with_it_and_no_other(self):
        for name, expected in (("web-20260101", {"lifecycle"}), ("web-", {"lifecycle"}), ("web", set()), ("webs-1", set()), ("a-web-1", set())):
            event = self.sample("eventbridge-terminate.json")
            event["detail"]["AutoScalingGroupName"] = name
            with self.subTest(name):
                self.assertEqual(self.matching(event, PREFIX), expected)

    def test_the_schedule_sends_the_programs_sweep_event(self):
        target = COMPLETE.one("aws_cloudwatch_event_target.sweep[0]")
        by_hand = json.loads((ROOT / "crates" / "events" / "tests" / "events" / "sweep-by-hand.json").read_text())
        self.assertEqual(json.loads(target["input"]), by_hand)


if __name__ == "__main__":
    unittest.main(verbosity=1)
