# What is created for which inputs, and how it is joined.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  autoscaling_groups = {
    workers = { name = "workers" }
    edge    = { name = "edge", heartbeat_timeout = 1800, default_result = "ABANDON", create_hook = false, target_group_arns = ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/edge/0123456789abcdef"] }
  }
  lambda_package = { s3_bucket = "artifacts", s3_key = "decamp.zip", s3_object_version = "v1" }
  nomad          = { addresses = ["https://one:4646", "https://two:4646"], region = "eu", tls_server_name = "server.eu.nomad", ca_certificate_path = "/opt/nomad-ca.pem" }
}

run "the_lifecycle_rule_takes_these_groups_this_hook_and_this_transition" {
  command = plan

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["lifecycle"].event_pattern) == jsondecode(jsonencode({
      source      = ["aws.autoscaling"]
      detail-type = ["EC2 Instance-terminate Lifecycle Action"]
      account     = ["123456789012"]
      region      = ["eu-west-1"]
      detail = {
        AutoScalingGroupName = ["edge", "workers"]
        LifecycleHookName    = ["decamp"]
        LifecycleTransition  = ["autoscaling:EC2_INSTANCE_TERMINATING"]
      }
    }))
    error_message = "The pattern is another: ${aws_cloudwatch_event_rule.this["lifecycle"].event_pattern}"
  }

  assert {
    condition     = join(",", keys(aws_cloudwatch_event_rule.this)) == "lifecycle"
    error_message = "No other rule unless asked for."
  }
}

run "each_event_that_is_asked_for_has_a_rule_and_none_filters_by_what_the_event_does_not_have" {
  command = plan

  variables {
    events = { spot_interruption = true, rebalance = true, scheduled_change = true }
  }

  assert {
    condition     = join(",", keys(aws_cloudwatch_event_rule.this)) == "lifecycle,rebalance,scheduled-change,spot-interruption"
    error_message = "Four rules."
  }

  assert {
    condition     = alltrue([for name, rule in aws_cloudwatch_event_rule.this : name == "lifecycle" || !strcontains(rule.event_pattern, "AutoScalingGroupName")])
    error_message = "These events carry no group: such a rule matches nothing."
  }

  assert {
    condition     = length(aws_cloudwatch_event_target.this) == 4
    error_message = "Each rule has a target."
  }
}

run "a_replacement_brings_the_rule_of_its_event_and_no_other" {
  command = plan

  variables {
    replace = "scheduled"
  }

  assert {
    condition     = join(",", keys(aws_cloudwatch_event_rule.this)) == "lifecycle,scheduled-change" && aws_lambda_function.this[0].environment[0].variables["DECAMP_REPLACE"] == "scheduled"
    error_message = "What nobody tells of cannot be replaced, and a rebalance recommendation was not asked for."
  }
}

run "both_replacements_bring_both_rules" {
  command = plan

  variables {
    replace = "both"
  }

  assert {
    condition     = join(",", keys(aws_cloudwatch_event_rule.this)) == "lifecycle,rebalance,scheduled-change" && length(aws_cloudwatch_event_target.this) == 3
    error_message = "Two rules beside that of the hook, each with a target."
  }
}

run "an_undelivered_event_is_a_dead_letter" {
  command = apply

  assert {
    condition     = alltrue([for target in aws_cloudwatch_event_target.this : length(target.dead_letter_config) == 1])
    error_message = "Without it EventBridge drops the event."
  }

  assert {
    condition     = alltrue([for target in aws_cloudwatch_event_target.this : target.retry_policy[0].maximum_retry_attempts == 185 && target.retry_policy[0].maximum_event_age_in_seconds == 3600])
    error_message = "EventBridge tries for an hour."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.this[0].redrive_policy).maxReceiveCount == 500
    error_message = "The queue has dead letters after max_receive_count."
  }

  assert {
    condition     = aws_sqs_queue.this[0].visibility_timeout_seconds == 360 && aws_sqs_queue.this[0].message_retention_seconds == 345600 && aws_sqs_queue.dead_letters[0].message_retention_seconds == 1209600
    error_message = "The queues' times are the inputs'."
  }

  assert {
    condition     = aws_sqs_queue.this[0].sqs_managed_sse_enabled && aws_sqs_queue.dead_letters[0].sqs_managed_sse_enabled
    error_message = "Both queues are encrypted."
  }
}

run "the_function_gets_one_message_and_answers_for_each" {
  command = plan

  assert {
    condition     = aws_lambda_event_source_mapping.this[0].batch_size == 1 && join(",", aws_lambda_event_source_mapping.this[0].function_response_types) == "ReportBatchItemFailures"
    error_message = "One message at a time, reported alone."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this[0].enabled
    error_message = "The mapping is on."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this[0].scaling_config[0].maximum_concurrency == 20 && aws_lambda_function.this[0].reserved_concurrent_executions == null
    error_message = "The mapping limits, the function does not."
  }

  assert {
    condition     = aws_lambda_function.this[0].runtime == "provided.al2023" && aws_lambda_function.this[0].handler == "bootstrap" && join(",", aws_lambda_function.this[0].architectures) == "arm64" && aws_lambda_function.this[0].timeout == 60
    error_message = "The function is what the zip is for."
  }

  assert {
    condition     = aws_lambda_function.this[0].logging_config[0].log_format == "JSON" && aws_lambda_function.this[0].logging_config[0].application_log_level == "INFO"
    error_message = "The log has levels."
  }
}

run "the_function_is_told_what_is_ours" {
  command = plan

  assert {
    condition = aws_lambda_function.this[0].environment[0].variables == tomap({
      DECAMP_MODE               = "act"
      DECAMP_SWEEP              = "60s"
      DECAMP_GROUPS             = "edge,workers"
      DECAMP_ACCOUNTS           = "123456789012"
      DECAMP_REGIONS            = "eu-west-1"
      DECAMP_HOOKS              = "decamp"
      DECAMP_SCAN               = "false"
      DECAMP_MAX_DEPARTURE      = "7200s"
      DECAMP_RESERVE            = "30s"
      DECAMP_ON_TIMEOUT         = "continue"
      DECAMP_NEVER_FORCE        = "false"
      DECAMP_IGNORE_SYSTEM_JOBS = "false"
      DECAMP_REPLACE            = "never"
      DECAMP_REPLACE_AHEAD      = "86400s"
      DECAMP_QUEUE_KEEPS        = "345600s"
      DECAMP_CONSUL             = "false"
      DECAMP_TARGET_GROUPS      = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/edge/0123456789abcdef"
      NOMAD_ADDR                = "https://one:4646,https://two:4646"
      NOMAD_REGION              = "eu"
      NOMAD_TLS_SERVER_NAME     = "server.eu.nomad"
      NOMAD_CACERT              = "/opt/nomad-ca.pem"
    })
    error_message = "The environment is another: ${jsonencode(aws_lambda_function.this[0].environment[0].variables)}"
  }
}

run "further_settings_and_consul_are_passed_on" {
  command = plan

  variables {
    settings       = { DECAMP_GUARD_ALB = "15s" }
    consul         = { addresses = ["https://consul:8501"], datacenter = "dc1", ca_certificate_path = "/opt/consul-ca.pem", tls_server_name = "server.dc1.consul" }
    layers         = ["arn:aws:lambda:eu-west-1:123456789012:layer:authority:1"]
    lambda_package = { s3_bucket = "artifacts", s3_key = "decamp.zip", source_code_hash = "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=", s3_object_version = "v2" }
  }

  assert {
    condition     = aws_lambda_function.this[0].environment[0].variables["CONSUL_CACERT"] == "/opt/consul-ca.pem" && aws_lambda_function.this[0].environment[0].variables["NOMAD_CACERT"] == "/opt/nomad-ca.pem" && aws_lambda_function.this[0].environment[0].variables["CONSUL_TLS_SERVER_NAME"] == "server.dc1.consul"
    error_message = "Each has its own authority."
  }

  assert {
    condition     = join(",", aws_lambda_function.this[0].layers) == "arn:aws:lambda:eu-west-1:123456789012:layer:authority:1" && aws_lambda_function.this[0].source_code_hash == "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=" && aws_lambda_function.this[0].s3_object_version == "v2"
    error_message = "The function has its layers, and its zip by its sum and version."
  }

  assert {
    condition     = aws_lambda_function.this[0].environment[0].variables["DECAMP_GUARD_ALB"] == "15s" && aws_lambda_function.this[0].environment[0].variables["CONSUL_HTTP_ADDR"] == "https://consul:8501" && aws_lambda_function.this[0].environment[0].variables["DECAMP_CONSUL"] == "true" && aws_lambda_function.this[0].environment[0].variables["CONSUL_DATACENTER"] == "dc1"
    error_message = "They are in the environment."
  }
}

run "a_group_that_brings_its_hook_gets_none_and_is_told_which" {
  command = plan

  assert {
    condition     = join(",", keys(aws_autoscaling_lifecycle_hook.this)) == "workers/decamp"
    error_message = "One hook, for the group that has none of its own."
  }

  assert {
    condition     = aws_autoscaling_lifecycle_hook.this["workers/decamp"].lifecycle_transition == "autoscaling:EC2_INSTANCE_TERMINATING" && aws_autoscaling_lifecycle_hook.this["workers/decamp"].heartbeat_timeout == 900 && aws_autoscaling_lifecycle_hook.this["workers/decamp"].default_result == "CONTINUE"
    error_message = "It waits on termination."
  }

  assert {
    condition     = output.initial_lifecycle_hooks["edge"].name == "decamp" && output.initial_lifecycle_hooks["edge"].default_result == "ABANDON" && output.initial_lifecycle_hooks["edge"].heartbeat_timeout == 1800 && output.initial_lifecycle_hooks["edge"].notification_metadata == null
    error_message = "The other one is told."
  }

  assert {
    condition     = output.put_lifecycle_hook_commands["edge"] == "aws autoscaling put-lifecycle-hook --region eu-west-1 --auto-scaling-group-name 'edge' --lifecycle-hook-name decamp --lifecycle-transition autoscaling:EC2_INSTANCE_TERMINATING --heartbeat-timeout 1800 --default-result ABANDON"
    error_message = "A command changes it: ${output.put_lifecycle_hook_commands["edge"]}"
  }
}

run "target_groups_are_in_a_hook_that_can_be_changed_and_else_in_the_settings" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", target_group_arns = ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"] } }
  }

  assert {
    condition     = jsondecode(aws_autoscaling_lifecycle_hook.this["workers/decamp"].notification_metadata).target_groups[0] == "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"
    error_message = "The module's own hook names them."
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.this[0].environment[0].variables), "DECAMP_TARGET_GROUPS")
    error_message = "Once is enough."
  }
}

run "a_group_by_prefix_is_heard_allowed_and_told_by_its_prefix" {
  command = apply

  variables {
    autoscaling_groups = {
      workers = { name = "workers" }
      web     = { name_prefix = "web-", target_group_arns = ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"] }
    }
    replace = "rebalance"
    service = { refresh = true }
  }

  assert {
    condition     = jsonencode(jsondecode(aws_cloudwatch_event_rule.this["lifecycle"].event_pattern).detail.AutoScalingGroupName) == "[\"workers\",{\"prefix\":\"web-\"}]"
    error_message = "The rule takes every group with the prefix: ${aws_cloudwatch_event_rule.this["lifecycle"].event_pattern}"
  }

  assert {
    condition     = aws_lambda_function.this[0].environment[0].variables["DECAMP_GROUPS"] == "workers,web-*" && strcontains(aws_lambda_function.this[0].environment[0].variables["DECAMP_TARGET_GROUPS"], "targetgroup/web/")
    error_message = "The function is told the prefix."
  }

  assert {
    condition     = join(",", distinct([for statement in jsondecode(output.service_policy_json).Statement : join(" ", [for arn in statement.Resource : split("/", arn)[1]]) if strcontains(join(" ", statement.Resource), "autoScalingGroupName")])) == "workers web-*"
    error_message = "Whoever may touch one may touch its successor: ${output.service_policy_json}"
  }

  assert {
    condition     = join(",", keys(aws_autoscaling_lifecycle_hook.this)) == "workers/decamp" && join(",", keys(output.initial_lifecycle_hooks)) == "web" && strcontains(output.put_lifecycle_hook_commands["web"], "'NAME'")
    error_message = "Its hook is its own."
  }

  assert {
    condition     = join(",", keys(aws_cloudwatch_metric_alarm.outcomes)) == "workers" && endswith(one([for query in aws_cloudwatch_metric_alarm.outcomes_by_prefix[0].metric_query : query.expression]), "FROM SCHEMA(decamp, Asg, Outcome) WHERE Outcome != 'departed' AND Outcome != 'gone' AND Outcome != 'already-past' AND Outcome != 'not-leaving' AND Outcome != 'not-ours' AND Outcome != 'interrupted' AND Outcome != 'refused' AND Outcome != 'overtaken'")
    error_message = "Its outcomes are watched by a query: ${jsonencode(aws_cloudwatch_metric_alarm.outcomes_by_prefix[0].metric_query)}"
  }
}

run "a_group_with_a_name_and_a_prefix_gets_a_hook_and_its_predecessor_is_still_heard" {
  command = plan

  variables {
    autoscaling_groups = { web = { name = "web-2026", name_prefix = "web-", create_hook = true } }
  }

  assert {
    condition     = aws_autoscaling_lifecycle_hook.this["web/decamp"].autoscaling_group_name == "web-2026" && aws_lambda_function.this[0].environment[0].variables["DECAMP_GROUPS"] == "web-*"
    error_message = "The hook is in the group, the rest goes by the prefix."
  }
}

run "a_former_hook_is_kept_heard_and_ours" {
  command = plan

  variables {
    hook_name         = "leave"
    former_hook_names = ["decamp"]
  }

  assert {
    condition     = join(",", keys(aws_autoscaling_lifecycle_hook.this)) == "workers/decamp,workers/leave" && output.lifecycle_hook_names["workers"] == "leave"
    error_message = "Both are in the group."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this["lifecycle"].event_pattern).detail.LifecycleHookName == ["leave", "decamp"] && aws_lambda_function.this[0].environment[0].variables["DECAMP_HOOKS"] == "leave,decamp"
    error_message = "Both are heard, and the function takes both for its own."
  }
}

run "the_sweep_goes_to_the_function_itself_every_minute" {
  command = apply

  assert {
    condition     = aws_cloudwatch_event_rule.sweep[0].schedule_expression == "rate(1 minute)" && aws_cloudwatch_event_target.sweep[0].input == "{\"decamp\":\"sweep\"}"
    error_message = "A sweep a minute."
  }

  assert {
    condition     = aws_cloudwatch_event_target.sweep[0].arn == aws_lambda_function.this[0].arn && aws_lambda_permission.sweep[0].source_arn == aws_cloudwatch_event_rule.sweep[0].arn && aws_lambda_permission.sweep[0].principal == "events.amazonaws.com"
    error_message = "EventBridge may invoke it, for this rule."
  }

  assert {
    condition     = aws_lambda_permission.sweep[0].action == "lambda:InvokeFunction" && aws_lambda_permission.sweep[0].source_account == "123456789012"
    error_message = "And do nothing else to it, and only from this account."
  }

  assert {
    condition     = aws_lambda_function_event_invoke_config.sweep[0].maximum_retry_attempts == 0
    error_message = "A sweep that failed is not tried again: the next one comes."
  }
}

run "a_rarer_sweep_is_in_the_plural" {
  command = plan

  variables {
    sweep_period = 5
  }

  assert {
    condition     = aws_cloudwatch_event_rule.sweep[0].schedule_expression == "rate(5 minutes)"
    error_message = "EventBridge wants the plural above one."
  }
}

run "a_function_in_a_vpc_gets_a_security_group_that_only_leads_out" {
  command = plan

  variables {
    vpc_config = { subnet_ids = ["subnet-0123456789abcdef0"], vpc_id = "vpc-0123456789abcdef0", egress = { nomad = { port = 4646, cidr_ipv4 = "10.0.0.0/8" } } }
  }

  assert {
    condition     = length(aws_security_group.this) == 1 && aws_vpc_security_group_egress_rule.this["nomad"].from_port == 4646 && aws_vpc_security_group_egress_rule.this["nomad"].to_port == 4646
    error_message = "A group of its own."
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.this["nomad"].cidr_ipv4 == "10.0.0.0/8" && aws_vpc_security_group_egress_rule.this["nomad"].ip_protocol == "tcp" && length(aws_vpc_security_group_egress_rule.this) == 1
    error_message = "It leads to Nomad and nowhere else."
  }
}

run "a_function_in_a_vpc_takes_groups_of_yours" {
  command = plan

  variables {
    vpc_config = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  assert {
    condition     = length(aws_security_group.this) == 0 && join(",", aws_lambda_function.this[0].vpc_config[0].security_group_ids) == "sg-0123456789abcdef0"
    error_message = "No group of its own."
  }
}

run "without_a_function_the_queue_the_rules_the_hooks_and_their_alarms_stay" {
  command = plan

  variables {
    create_function = false
    lambda_package  = null
    nomad           = null
  }

  assert {
    condition     = length(aws_sqs_queue.this) == 1 && length(aws_cloudwatch_event_target.this) == 1 && length(aws_autoscaling_lifecycle_hook.this) == 1
    error_message = "These stay."
  }

  assert {
    condition     = length(aws_lambda_function.this) + length(aws_iam_role.this) + length(aws_lambda_event_source_mapping.this) + length(aws_cloudwatch_event_rule.sweep) + length(aws_cloudwatch_log_group.this) == 0
    error_message = "These are the function's."
  }

  assert {
    condition     = join(",", keys(aws_cloudwatch_metric_alarm.this)) == "dead-letters,message-age,undelivered-lifecycle" && length(aws_cloudwatch_metric_alarm.no_sweep) + length(aws_cloudwatch_metric_alarm.outcomes) == 0
    error_message = "The queue's alarms stay, the function's go."
  }
}

run "nothing_is_created_where_nothing_is_wanted" {
  command = plan

  variables {
    create         = false
    lambda_package = null
    nomad          = null
  }

  assert {
    condition     = length(aws_sqs_queue.this) + length(aws_sqs_queue.dead_letters) + length(aws_cloudwatch_event_rule.this) + length(aws_lambda_function.this) + length(aws_autoscaling_lifecycle_hook.this) + length(aws_iam_role.this) + length(aws_cloudwatch_metric_alarm.this) + length(aws_cloudwatch_dashboard.this) + length(aws_sqs_queue_policy.this) == 0
    error_message = "Nothing."
  }

  assert {
    condition     = output.function_arn == null && output.queue_url == null && length(output.initial_lifecycle_hooks) == 0 && output.service_policy_json == null
    error_message = "Outputs of nothing are null."
  }
}

run "alarms_notify_and_forgive_missing_data_unless_it_is_the_point" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:eu-west-1:123456789012:on-call"]
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : join(",", alarm.alarm_actions) == "arn:aws:sns:eu-west-1:123456789012:on-call" && alarm.treat_missing_data == "notBreaching"])
    error_message = "Each notifies."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.no_sweep[0].treat_missing_data == "missing" && join(",", aws_cloudwatch_metric_alarm.no_sweep[0].insufficient_data_actions) == "arn:aws:sns:eu-west-1:123456789012:on-call" && aws_cloudwatch_metric_alarm.no_sweep[0].evaluation_periods == 3 && aws_cloudwatch_metric_alarm.no_sweep[0].period == 300
    error_message = "A quarter of an hour without data is the alarm."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.outcomes) == 2 && length(aws_cloudwatch_metric_alarm.outcomes["workers"].metric_query) == 9
    error_message = "Each group's outcomes are watched."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["message-age"].threshold == 7560
    error_message = "A departure's own message is as old as the departure."
  }
}

run "everything_is_in_the_region_that_is_named" {
  command = plan

  variables {
    region             = "eu-central-1"
    vpc_config         = { subnet_ids = ["subnet-0123456789abcdef0"], vpc_id = "vpc-0123456789abcdef0", ipv6 = true, egress = { nomad = { port = 4646, cidr_ipv6 = "fd00::/8" } } }
    autoscaling_groups = { workers = { name = "workers" } }
  }

  assert {
    condition     = aws_sqs_queue.this[0].region == "eu-central-1" && aws_lambda_function.this[0].region == "eu-central-1" && aws_autoscaling_lifecycle_hook.this["workers/decamp"].region == "eu-central-1" && aws_iam_role.this[0].name == "decamp-eu-central-1"
    error_message = "And not in that of the provider."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this["lifecycle"].event_pattern).region == ["eu-central-1"] && aws_lambda_function.this[0].environment[0].variables["DECAMP_REGIONS"] == "eu-central-1" && strcontains(aws_iam_role_policy.this[0].policy, "arn:aws:autoscaling:eu-central-1:") && !strcontains(aws_iam_role_policy.this[0].policy, "eu-west-1")
    error_message = "What is composed knows it."
  }

  assert {
    condition     = aws_lambda_function.this[0].vpc_config[0].ipv6_allowed_for_dual_stack
    error_message = "IPv6 is allowed where it is asked for."
  }
}

run "certificates_are_where_the_function_finds_them" {
  command = plan

  variables {
    nomad = {
      addresses                 = ["https://nomad:4646"]
      ca_certificate            = "-----BEGIN CERTIFICATE-----\nnomad\n-----END CERTIFICATE-----"
      client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/nomad-client" }
      client_key_secret         = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-key-AbCdEf" }
    }
    consul = {
      addresses                 = ["https://consul:8501"]
      ca_certificate_secret     = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul-ca" }
      client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul-client" }
      client_key_secret         = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul-key" }
    }
  }

  assert {
    condition = { for name, value in aws_lambda_function.this[0].environment[0].variables : name => value if can(regex("_(CACERT|CLIENT)", name)) } == {
      NOMAD_CACERT_SECRET       = "ssm:/decamp/ca/nomad"
      NOMAD_CLIENT_CERT_SECRET  = "arn:aws:ssm:eu-west-1:123456789012:parameter/nomad-client"
      NOMAD_CLIENT_KEY_SECRET   = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-key-AbCdEf"
      CONSUL_CACERT_SECRET      = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul-ca"
      CONSUL_CLIENT_CERT_SECRET = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul-client"
      CONSUL_CLIENT_KEY_SECRET  = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul-key"
    }
    error_message = "The environment is another: ${jsonencode(aws_lambda_function.this[0].environment[0].variables)}"
  }

  assert {
    condition = { for system, parameter in aws_ssm_parameter.ca : system => [parameter.name, parameter.type, parameter.tier, parameter.insecure_value] } == {
      nomad = ["/decamp/ca/nomad", "String", "Standard", "-----BEGIN CERTIFICATE-----\nnomad\n-----END CERTIFICATE-----"]
    }
    error_message = "The text is in a parameter, and only the text."
  }
}

run "what_grows_is_in_the_document_where_there_is_one" {
  command = apply

  variables {
    config = { DECAMP_GUARD_ALB = "15s", CONSUL_NAMESPACE = "a \"b\"" }
  }

  assert {
    condition     = aws_ssm_parameter.settings[0].insecure_value == "CONSUL_NAMESPACE = \"a \\\"b\\\"\"\nDECAMP_GROUPS = \"edge,workers\"\nDECAMP_GUARD_ALB = \"15s\"\nDECAMP_HOOKS = \"decamp\"\nDECAMP_TARGET_GROUPS = \"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/edge/0123456789abcdef\"\n"
    error_message = "The document is another: ${aws_ssm_parameter.settings[0].insecure_value}"
  }

  assert {
    condition     = aws_lambda_function.this[0].environment[0].variables["DECAMP_CONFIG"] == "ssm:/decamp/settings:${aws_ssm_parameter.settings[0].version}"
    error_message = "A changed document must be a changed environment."
  }

  assert {
    condition     = length(setintersection(keys(aws_lambda_function.this[0].environment[0].variables), ["DECAMP_GROUPS", "DECAMP_HOOKS", "DECAMP_TARGET_GROUPS"])) == 0
    error_message = "What the document holds is not in the environment, which would override it."
  }
}

run "each_cluster_has_a_table_of_the_document" {
  command = apply

  variables {
    name = "fleet"
    autoscaling_groups = {
      edge    = { name = "edge" }
      workers = { name_prefix = "workers-" }
    }
    nomad  = null
    consul = null
    clusters = {
      blue = {
        groups = ["workers"]
        nomad  = { addresses = ["https://one:4646", "https://two:4646"], region = "eu", ca_certificate = "-----BEGIN CERTIFICATE-----\nblue\n-----END CERTIFICATE-----", token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/blue" } }
        consul = { addresses = ["https://consul:8501"], datacenter = "eu", tls_server_name = "server.eu.consul", ca_certificate_path = "/opt/blue.pem" }
      }
      green = {
        groups = ["edge"]
        nomad = {
          addresses                 = ["https://green:4646"]
          ca_certificate_secret     = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/green-ca" }
          client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/green-client" }
          client_key_secret         = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/green-key" }
        }
      }
    }
  }

  assert {
    condition = aws_ssm_parameter.settings[0].insecure_value == join("\n", [
      "DECAMP_GROUPS = \"edge,workers-*\"",
      "DECAMP_HOOKS = \"fleet\"",
      "",
      "[clusters.blue]",
      "groups = [\"workers-*\"]",
      "NOMAD_ADDR = \"https://one:4646,https://two:4646\"",
      "NOMAD_CACERT_SECRET = \"ssm:/fleet/ca/blue/nomad\"",
      "NOMAD_REGION = \"eu\"",
      "NOMAD_TOKEN_SECRET = \"arn:aws:ssm:eu-west-1:123456789012:parameter/blue\"",
      "CONSUL_CACERT = \"/opt/blue.pem\"",
      "CONSUL_DATACENTER = \"eu\"",
      "CONSUL_HTTP_ADDR = \"https://consul:8501\"",
      "CONSUL_TLS_SERVER_NAME = \"server.eu.consul\"",
      "",
      "[clusters.green]",
      "groups = [\"edge\"]",
      "DECAMP_CONSUL = false",
      "NOMAD_ADDR = \"https://green:4646\"",
      "NOMAD_CACERT_SECRET = \"arn:aws:ssm:eu-west-1:123456789012:parameter/green-ca\"",
      "NOMAD_CLIENT_CERT_SECRET = \"arn:aws:ssm:eu-west-1:123456789012:parameter/green-client\"",
      "NOMAD_CLIENT_KEY_SECRET = \"arn:aws:ssm:eu-west-1:123456789012:parameter/green-key\"",
      "",
    ])
    error_message = "The document is another: ${aws_ssm_parameter.settings[0].insecure_value}"
  }

  assert {
    condition     = length([for name in keys(aws_lambda_function.this[0].environment[0].variables) : name if can(regex("^(NOMAD|CONSUL)_|^DECAMP_CONSUL$", name))]) == 0
    error_message = "A setting of one cluster is in the environment: ${jsonencode(aws_lambda_function.this[0].environment[0].variables)}"
  }

  assert {
    condition     = { for key, parameter in aws_ssm_parameter.ca : key => parameter.name } == { "blue/nomad" = "/fleet/ca/blue/nomad" }
    error_message = "Each text is in a parameter of its cluster."
  }
}

run "without_a_document_everything_is_in_the_environment" {
  command = plan

  assert {
    condition     = length(aws_ssm_parameter.settings) == 0 && length(aws_ssm_parameter.ca) == 0 && !contains(keys(aws_lambda_function.this[0].environment[0].variables), "DECAMP_CONFIG")
    error_message = "Nothing is kept that nobody asked for."
  }

  assert {
    condition     = output.check_command == "aws lambda invoke --region eu-west-1 --function-name decamp --cli-binary-format raw-in-base64-out --payload '{\"decamp\":\"check\"}' --cli-read-timeout 70 decamp-check.json && cat decamp-check.json"
    error_message = "The command is another: ${output.check_command}"
  }
}
