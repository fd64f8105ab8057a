"""Deliberate faults in the Terraform module, each of which a named layer of its checks must notice: `just infra-mutants`."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import changes
import check
from standin import ROOT, Failed, Scratch, have_standin

HERE = Path(__file__).parent
BUDGET, CONDITIONS, VALIDATION, WIRING, IAM, CHANGES = ("budget", "conditions", "validation", "wiring", "iam", "changes")

# The fault, its file, the text that is replaced, its replacement, and the layer that must notice: a file of tests/, "rendered", "changes" or "order".
MUTANTS = [
    ("the visibility may be above half of the heartbeat", "modules/budget/main.tf", "var.visibility_timeout <= local.half_heartbeat", "var.visibility_timeout <= var.heartbeat_timeout", BUDGET),
    ("five function time-outs are enough", "modules/budget/main.tf", "6 * var.function_timeout <= var.visibility_timeout", "5 * var.function_timeout <= var.visibility_timeout", BUDGET),
    ("a sweep may take as long as it likes", "modules/budget/main.tf", "var.sweep_period + var.function_timeout <= local.half_heartbeat", "var.sweep_period <= local.half_heartbeat", BUDGET),
    ("a pass has all of the function's time", "modules/budget/main.tf", "pass = var.function_timeout - local.kept_for_handing_back", "pass = var.function_timeout", BUDGET),
    ("a hook waits for ever", "modules/budget/main.tf", "min(172800, 100 * var.heartbeat_timeout)", "172800", BUDGET),
    ("a message may vanish before it is dead", "modules/budget/main.tf", "max(var.max_departure, var.max_receive_count * var.visibility_timeout) <= var.message_retention", "var.max_departure <= var.message_retention", BUDGET),
    ("the confirmations take no time", "modules/budget/main.tf", "confirmations = 10 + 2 * 7", "confirmations = 0", BUDGET),
    ("the budget is computed and not looked at", "main.tf", "length(module.budget[each.key].broken) == 0", "0 <= length(module.budget[each.key].broken)", CONDITIONS),
    ("one heartbeat stands for all groups", "main.tf", "heartbeat_timeout     = each.value.heartbeat_timeout\n  function_timeout", "heartbeat_timeout     = 900\n  function_timeout", CONDITIONS),
    ("the sweep's minutes are taken for seconds", "main.tf", "sweep_period          = 60 * var.sweep_period", "sweep_period          = var.sweep_period", CONDITIONS),
    ("a pattern may have any length", "main.tf", "length(each.value.json) <= 2048", "length(each.value.json) <= 20480", CONDITIONS),
    ("a target group of another Region passes", "variables.tf", 'startswith(arn, "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account}:")', 'startswith(arn, "arn:")', VALIDATION),
    ("a token passes as a setting", "variables.tf", '["NOMAD_TOKEN", "CONSUL_HTTP_TOKEN"]', '["NOMAD_TOKENS", "CONSUL_HTTP_TOKENS"]', VALIDATION),
    ("a zip in S3 needs no version", "variables.tf", "try(var.lambda_package.s3_object_version, null) != null || try(var.lambda_package.source_code_hash, null) != null", "true", VALIDATION),
    ("the log may be at warn", "variables.tf", 'contains(["info", "debug", "trace"], var.log_level)', 'contains(["warn", "info", "debug", "trace"], var.log_level)', VALIDATION),
    ("the rule takes every hook", "main.tf", "            LifecycleHookName    = local.hook_names\n", "", WIRING),
    ("the rule takes launches too", "main.tf", '["autoscaling:EC2_INSTANCE_TERMINATING"]\n          }', '["autoscaling:EC2_INSTANCE_TERMINATING", "autoscaling:EC2_INSTANCE_LAUNCHING"]\n          }', WIRING),
    ("spot interruptions are filtered by group", "main.tf", 'detail-type = ["EC2 Spot Instance Interruption Warning"]\n          account     = [local.account]\n          region      = [local.region]\n          detail      = {}', 'detail-type = ["EC2 Spot Instance Interruption Warning"]\n          account     = [local.account]\n          region      = [local.region]\n          detail      = { AutoScalingGroupName = local.group_names }', WIRING),
    ("an undelivered event is dropped", "main.tf", "  dead_letter_config {\n    arn = aws_sqs_queue.dead_letters[0].arn\n  }\n\n", "", WIRING),
    ("a failed message fails its batch", "main.tf", '["ReportBatchItemFailures"]', "[]", WIRING),
    ("the hook is created in a group that brings its own", "main.tf", "    } if group.create_hook\n  ]...)", "    } if group.name != null\n  ]...)", WIRING),
    ("one minute in the plural, which EventBridge refuses", "main.tf", '"rate(1 minute)"', '"rate(1 minutes)"', WIRING),
    ("any group may be touched", "main.tf", 'DECAMP_GROUPS             = join(",", local.group_words)', 'DECAMP_GROUPS             = ""', WIRING),
    ("a replacement whose event nobody hears", "main.tf", 'var.events.scheduled_change || contains(["scheduled", "both"], var.replace)', "var.events.scheduled_change", WIRING),
    ("a scheduled change brings the rebalance recommendations", "main.tf", 'contains(["rebalance", "both"], var.replace)', 'var.replace != "never"', WIRING),
    ("reserved concurrency below the mapping's", "main.tf", "  timeout           = var.function_timeout\n", "  timeout           = var.function_timeout\n  reserved_concurrent_executions = 1\n", WIRING),
    ("no sweep is no alarm", "monitoring.tf", 'treat_missing_data        = "missing"', 'treat_missing_data        = "notBreaching"', WIRING),
    ("an alarm that a long departure sets off", "monitoring.tf", "max(var.departure.max + var.visibility_timeout, ", "max(var.visibility_timeout, ", WIRING),
    ("any account's rule may send", "iam.tf", '{ ArnEquals = { "aws:SourceArn" = [for rule in values(aws_cloudwatch_event_rule.this) : rule.arn] } }', '{ ArnLike = { "aws:SourceArn" = ["arn:aws:events:*:*:rule/*"] } }', IAM),
    ("messages may travel in the clear", "iam.tf", '"aws:SecureTransport" = "false"', '"aws:SecureTransport" = "true"', IAM),
    ("a lifecycle action of any group", "main.tf", "autoScalingGroupName/${word}", "autoScalingGroupName/*", IAM),
    ("an instance's health without being asked to", "iam.tf", 'var.replace == "never" ? [] : ["autoscaling:SetInstanceHealth"]', '["autoscaling:SetInstanceHealth"]', IAM),
    ("a refresh without being asked to", "iam.tf", 'var.service.refresh ? ["autoscaling:StartInstanceRefresh"] : []', '["autoscaling:StartInstanceRefresh"]', IAM),
    ("the load balancers' counts without being asked to", "iam.tf", 'var.service.look_back ? ["*"] : []', '["*"]', IAM),
    ("a target of any group", "iam.tf", ": local.target_groups\n", ': ["*"]\n', IAM),
    ("a key is used without a service", "iam.tf", '      Condition = { StringEquals = { "kms:ViaService" = ["ssm.', '      Condition = { StringEquals = { "kms:Via" = ["ssm.', IAM),
    ("heartbeats are not allowed", "iam.tf", ', "autoscaling:RecordLifecycleActionHeartbeat"', "", "rendered"),
    ("traffic sources are not allowed", "iam.tf", '        "autoscaling:DescribeTrafficSources",\n', "", "rendered"),
    ("messages may be sent, which nobody does", "iam.tf", '["sqs:ChangeMessageVisibility"]', '["sqs:ChangeMessageVisibility", "sqs:SendMessage"]', "rendered"),
    ("a metric that is not emitted", "monitoring.tf", '"HeartbeatsRejected"', '"HeartbeatRejected"', "rendered"),
    ("an outcome by a dimension that there is not", "monitoring.tf", "{ Asg = each.value.name, Outcome = metric_query.value }", "{ AutoScalingGroup = each.value.name, Outcome = metric_query.value }", "rendered"),
    ("the function is not told what to replace", "main.tf", "      DECAMP_REPLACE            = var.replace\n", "", WIRING),
    ("a layer without its version", "variables.tf", ":layer:[A-Za-z0-9_-]+:[0-9]+$", ":layer:[A-Za-z0-9_-]+(:[0-9]+)?$", VALIDATION),
    ("the hook that a group was made with follows the inputs", "main.tf", "  lifecycle {\n    ignore_changes = [input]\n  }\n", "", CHANGES),
    ("target groups are in a hook that cannot be changed", "main.tf", "group.create_hook && 0 < length(group.target_group_arns)", "0 < length(group.target_group_arns)", WIRING),
    ("the group follows its initial hook", "examples/complete/main.tf", "    ignore_changes = [initial_lifecycle_hook]\n", "", CHANGES),
    ("a former hook is deleted", "main.tf", "distinct(concat([local.hook_name], var.former_hook_names)) : ", "[local.hook_name] : ", CHANGES),
    ("a group is known by its own name alone", "examples/prefix/main.tf", '      name_prefix       = "${local.name}-"\n', '      name = local.name\n      create_hook = false\n', "rendered"),
    ("a prefix is taken for a name", "main.tf", "{ prefix = prefix }", "prefix", "rendered"),
    ("a former hook is not the function's", "main.tf", 'DECAMP_HOOKS              = join(",", local.hook_names)', "DECAMP_HOOKS              = local.hook_name", WIRING),
    ("an alarm that calls somebody at the first install", "monitoring.tf", 'treat_missing_data        = "missing"', 'treat_missing_data        = "breaching"', "rendered"),
    ("an alarm that does not call when the data ends", "monitoring.tf", "  insufficient_data_actions = var.alarm_actions\n", "", "rendered"),
    ("a role's policy of any size", "iam.tf", "length(local.role_policy) <= 10240", "length(local.role_policy) <= 102400", CONDITIONS),
    ("a service's policy of any size", "outputs.tf", "length(local.service_policy) <= 10240", "length(local.service_policy) <= 102400", CONDITIONS),
    ("an environment of any size", "main.tf", "/ 4 * 3 <= 4096", "/ 4 * 3 <= 40960", CONDITIONS),
    ("a secret without its end", "variables.tf", ":secret:.+-[A-Za-z0-9]{6}$", ":secret:.+$", VALIDATION),
    ("the function may not read the CA certificate", "iam.tf", "values(local.ca_parameters)[*].name, ", "", IAM),
    ("the function may not read its document", "iam.tf", "[for name in [local.document_parameter] : name if local.create_function && local.has_document]", "[]", IAM),
    ("Consul is given Nomad's client key", "main.tf", "tostring(try(connection[argument].arn, connection[argument]))", 'tostring(try(argument == "client_key_secret" ? var.nomad[argument].arn : connection[argument].arn, connection[argument]))', WIRING),
    ("a changed document is no changed environment", "main.tf", ":${coalesce(local.document_version, 1)}", "", WIRING),
    ("the environment overrides the document", "main.tf", "if !contains(local.in_document, name) }, var.settings)", "}, var.settings)", WIRING),
    ("a private key is taken for a certificate", "variables.tf", '(can(regex("-----BEGIN CERTIFICATE-----", var.nomad.ca_certificate)) && ', "(", VALIDATION),
    ("an alias for a key", "variables.tf", ":key/[0-9a-z-]+$\", secret.kms_key_arn)) if", ":.+$\", secret.kms_key_arn)) if", VALIDATION),
    ("a Region for some", "main.tf", "resource \"aws_sqs_queue\" \"this\" {\n  count = var.create ? 1 : 0\n\n  region                     = var.region\n", "resource \"aws_sqs_queue\" \"this\" {\n  count = var.create ? 1 : 0\n\n", WIRING),
    ("the interfaces outlive the right to delete them", "main.tf", "  # Lambda deletes them with the function's role, which needs its policy until then.\n  depends_on = [aws_iam_role_policy.this]\n", "", "order"),
    ("the mapping is switched off", "main.tf", "enabled                 = true", "enabled                 = false", WIRING),
    ("an alarm that a scheduled change sets off", "monitoring.tf", 'contains(["scheduled", "both"], var.replace) ? var.message_retention - 21600 : 0', "0", "rendered"),
    ("a rule is switched off", "main.tf", "  event_pattern = each.value.json\n", '  event_pattern = each.value.json\n  state         = "DISABLED"\n', "rendered"),
    ("the sweep is switched off", "main.tf", "  description         = \"Makes decamp", "  state               = \"DISABLED\"\n  description         = \"Makes decamp", "rendered"),
    ("EventBridge may do anything to the function", "main.tf", 'action         = "lambda:InvokeFunction"', 'action         = "lambda:*"', WIRING),
    ("a rule of any account invokes the function", "main.tf", "  source_account = local.account\n", "", WIRING),
    ("the key of tokens is used for messages", "iam.tf", '"sqs.${local.region}.${local.dns_suffix}", "lambda.', '"ssm.${local.region}.${local.dns_suffix}", "lambda.', IAM),
    ("the keys are swapped", "iam.tf", "Resource  = local.token_keys", "Resource  = [for arn in [var.kms_key_arn] : arn if arn != null]", IAM),
    ("an alarm at its threshold", "monitoring.tf", 'comparison_operator = "GreaterThanThreshold"\n  threshold           = each.value.above', 'comparison_operator = "GreaterThanOrEqualToThreshold"\n  threshold           = each.value.above', "rendered"),
    ("an alarm below its threshold", "monitoring.tf", 'comparison_operator = "GreaterThanThreshold"\n  threshold           = each.value.above', 'comparison_operator = "LessThanThreshold"\n  threshold           = each.value.above', "rendered"),
    ("outcomes below nothing", "monitoring.tf", 'comparison_operator = "GreaterThanThreshold"\n  threshold           = 0', 'comparison_operator = "LessThanThreshold"\n  threshold           = 0', "rendered"),
    ("the age of messages is added up", "monitoring.tf", 'statistic   = "Maximum"\n      above       = coalesce', 'statistic   = "Sum"\n      above       = coalesce', "rendered"),
    ("the least of the dead letters", "monitoring.tf", 'statistic   = "Maximum"\n      above       = 0', 'statistic   = "Minimum"\n      above       = 0', "rendered"),
    ("sweeps above nothing", "monitoring.tf", 'comparison_operator = "LessThanThreshold"', 'comparison_operator = "GreaterThanThreshold"', "rendered"),
    ("missing data is an alarm", "monitoring.tf", 'treat_missing_data  = "notBreaching"', 'treat_missing_data  = "breaching"', "rendered"),
    ("an alarm that nobody hears", "monitoring.tf", "  alarm_actions       = var.alarm_actions\n", "", WIRING),
    ("the way out leads everywhere", "main.tf", "cidr_ipv4                    = each.value.cidr_ipv4", 'cidr_ipv4                    = "0.0.0.0/0"', WIRING),
    ("the way out has every port", "main.tf", "from_port                    = each.value.port", "from_port                    = 0", WIRING),
    ("layers are dropped", "main.tf", "layers            = var.layers", "layers            = []", WIRING),
    ("the zip's sum is dropped", "main.tf", "local.package.path == null ? local.package.source_code_hash : ", "local.package.path == null ? null : ", WIRING),
    ("the zip's version is dropped", "main.tf", "s3_object_version = local.package.s3_object_version", "s3_object_version = null", WIRING),
    ("Consul is given Nomad's authority", "main.tf", "tostring(try(connection[argument].arn, connection[argument]))", 'tostring(try(argument == "ca_certificate_path" ? var.nomad[argument] : connection[argument].arn, connection[argument]))', WIRING),
    ("Consul is given Nomad's token", "main.tf", "tostring(try(connection[argument].arn, connection[argument]))", 'tostring(try(argument == "token_secret" ? var.nomad[argument].arn : connection[argument].arn, connection[argument]))', "rendered"),
    ("an event is delivered once or never", "main.tf", "maximum_retry_attempts       = 185", "maximum_retry_attempts       = 0", WIRING),
    ("any queue may leave dead letters", "main.tf", '    redrivePermission = "byQueue"\n    sourceQueueArns   = [aws_sqs_queue.this[0].arn]', '    redrivePermission = "allowAll"', "rendered"),
    ("dead letters of another queue", "main.tf", "sourceQueueArns   = [aws_sqs_queue.this[0].arn]", "sourceQueueArns   = [aws_sqs_queue.dead_letters[0].arn]", "rendered"),
    ("the queue has no tags", "main.tf", "  kms_master_key_id         = var.kms_key_arn\n  tags                      = var.tags\n", "  kms_master_key_id         = var.kms_key_arn\n", "rendered"),
    ("an alarm has no tags", "monitoring.tf", "  ok_actions                = var.alarm_actions\n  tags                      = var.tags", "  ok_actions                = var.alarm_actions", "rendered"),
    ("the role has no tags", "iam.tf", "  tags                 = var.tags\n", "", "rendered"),
    ("the boundary is dropped", "iam.tf", "  permissions_boundary = var.permissions_boundary_arn\n", "", IAM),
    ("anybody takes the role", "iam.tf", 'Principal = { Service = "lambda.amazonaws.com" }', 'Principal = { AWS = "*" }', IAM),
    ("a dashboard of another Region", "monitoring.tf", "  count = var.create && var.create_dashboard ? 1 : 0\n\n  region         = var.region\n", "  count = var.create && var.create_dashboard ? 1 : 0\n\n", "rendered"),
    ("a setting that is none", "main.tf", "DECAMP_MAX_DEPARTURE      =", "DECAMP_MAXIMUM_DEPARTURE  =", "rendered"),
    ("a sweep that the program does not know", "main.tf", 'jsonencode({ decamp = "sweep" })', 'jsonencode({ action = "sweep" })', "rendered"),
    ("dead letters come back to the queue", "main.tf", "deadLetterTargetArn = aws_sqs_queue.dead_letters[0].arn", "deadLetterTargetArn = \"arn:aws:sqs:${local.region}:${local.account}:${var.name}\"", "rendered"),
    ("the service may not confirm a topic", "iam.tf", '["sns:ConfirmSubscription"]', '["sns:Subscribe"]', "rendered"),
    ("the service gets what the event source mapping needs", "iam.tf", 'Action   = ["sqs:DeleteMessage", "sqs:ReceiveMessage"]', 'Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]', "rendered"),
    ("the service touches any group", "iam.tf", "Action = actions, Resource = local.group_arns } if", 'Action = actions, Resource = ["*"] } if', IAM),
    ("a topic of anybody's", "iam.tf", "Resource = var.service.topic_arns", 'Resource = ["*"]', "rendered"),
    ("a secret of the service of another account", "variables.tf", 'try(join(":", slice(split(":", secret.arn), 3, 5)), "") == "${local.region}:${local.account}"', "true", VALIDATION),
    ("a group of no cluster passes", "variables.tf", "length(var.clusters) == 0 || jsonencode(sort(flatten(values(var.clusters)[*].groups)))", "true || jsonencode(sort(flatten(values(var.clusters)[*].groups)))", VALIDATION),
    ("an address stands beside the clusters", "main.tf", "0 < length(var.clusters) ? {} : merge({ DECAMP_CONSUL", "100 < length(var.clusters) ? {} : merge({ DECAMP_CONSUL", WIRING),
    ("a cluster's table has no Nomad", "main.tf", '["${name}/nomad", "${name}/consul"]', '["${name}/consul"]', WIRING),
    ("a cluster without Consul is asked for one", "main.tf", '["DECAMP_CONSUL = false"] : []', '[] : []', WIRING),
    ("a cluster's table has the labels of its groups", "main.tf", "local.words_by_label[label] if", "label if", WIRING),
    ("the secrets of clusters may not be read", "iam.tf", "reverse(sort(keys(local.connections)))", 'setintersection(keys(local.connections), ["nomad", "consul"])', IAM),
    ("a cluster's authority is another's parameter", "main.tf", '"ssm:/${var.name}/ca/${key}"', '"ssm:/${var.name}/ca/${basename(key)}"', WIRING),
    ("the denial names another function", "iam.tf", ":function:${var.name}", ":function:${var.name}-lambda", "rendered"),
]


def changed(scratch, file, old, new):
    """Writes the fault into the file. Returns the path and the original text."""
    path = scratch.module / file
    text = path.read_text()
    if text.count(old) < 1:
        raise SystemExit(f"{file} has no {old!r}: the mutant must be brought up to date")
    path.write_text(text.replace(old, new, 1))
    return path, text


def notices(scratch, layer):
    """The layer's failure, or None if it does not notice the fault."""
    try:
        if layer not in ("rendered", "changes", "order"):
            scratch.terraform("test", f"-filter=tests/{layer}.tftest.hcl")
            return None
        rendered = Path(scratch.folder.name) / "rendered"
        rendered.mkdir(exist_ok=True)
        for example in check.EXAMPLES:
            for stale in (scratch.module / "examples" / example).glob("terraform.tfstate*"):
                stale.unlink()
            (rendered / f"{example}.json").write_text(json.dumps(scratch.rendered(example)))
        if layer == "changes":
            changes.check(scratch, check.EXAMPLES)
            return None
        if layer == "order":
            check.ordered(scratch)
            return None
        where = {"DECAMP_RENDERED": str(rendered), "DECAMP_MODULE": str(scratch.module), "PYTHONPATH": str(HERE)}
        scratch.run(sys.executable, str(HERE / "test_alarms.py"), **where)
        scratch.run(sys.executable, str(HERE / "test_rendered.py"), **where)
        return None
    except Failed as why:
        return str(why)


def main(arguments):
    """Runs every mutant, or those whose name contains an argument or whose layer is one."""
    if not have_standin():
        print("skipped: there is no stand-in for the provider beside the repository")
        return 0
    missed = []
    chosen = [mutant for mutant in MUTANTS if not arguments or any(word in mutant[0] or word == mutant[4] for word in arguments)]
    with Scratch() as scratch:
        scratch.init()
        # A layer that fails without a fault would seem to notice every fault.
        for layer in sorted({mutant[4] for mutant in chosen}):
            failure = notices(scratch, layer)
            if failure:
                sys.exit(f"{layer} fails without any fault:\n{failure}")
        for name, file, old, new, layer in chosen:
            began = time.monotonic()
            path, text = changed(scratch, file, old, new)
            failure = notices(scratch, layer)
            path.write_text(text)
            print(f"{'noticed' if failure else 'MISSED '} by {layer:10} {time.monotonic() - began:4.0f} s  {file}: {name}", flush=True)
            for line in (failure or "").splitlines():
                if re.search(r'run ".*fail$|^(FAIL|ERROR): |^Error: (?!Test assertion|Missing expected)', line):
                    print(f"    {line.strip()}", flush=True)
            if not failure:
                missed.append(name)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    subprocess.run(["terraform", "version"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sys.exit(main(sys.argv[1:]))
