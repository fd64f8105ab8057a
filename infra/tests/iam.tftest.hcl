# What the role and the queues allow, statement by statement. Applied to mocks: the policies hold ARNs.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  autoscaling_groups = { workers = { name = "workers" } }
  lambda_package     = { s3_bucket = "artifacts", s3_key = "decamp.zip", s3_object_version = "v1" }
  nomad              = { addresses = ["https://nomad.example.com:4646"] }
}

run "the_least_role_has_no_statement_that_needs_an_input" {
  command = apply

  assert {
    condition     = join(",", [for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement.Sid]) == "Lifecycle,Describe,Messages,Logs,Queue"
    error_message = "The statements are others: ${aws_iam_role_policy.this[0].policy}"
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement.Sid == "Describe" || !contains(statement.Resource, "*")])
    error_message = "Only Describe has no narrower resource."
  }
}

run "the_whole_role_is_bound_to_what_it_was_given" {
  command = apply

  variables {
    autoscaling_groups = {
      workers = { name = "workers", target_group_arns = ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"] }
      edge    = { name = "edge nodes", target_group_arns = ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef", "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/edge/0123456789abcdef"] }
    }
    nomad       = { addresses = ["https://nomad:4646"], token_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-AbCdEf", kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef" } }
    consul      = { addresses = ["https://consul:8501"], token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul" } }
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-89ab-cdef-0123-456789abcdef"
    vpc_config  = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  assert {
    condition     = join(",", [for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement.Sid]) == "Lifecycle,Describe,Deregister,Messages,Parameters,Secrets,DecryptTokens,DecryptOwn,Logs,Queue,NetworkInterfaces,DenyOwnNetworkInterfaces"
    error_message = "The statements are others: ${aws_iam_role_policy.this[0].policy}"
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement.Sid => join(" ", statement.Resource) if !contains(["Logs", "Queue", "Messages"], statement.Sid) } == {
      Lifecycle                = "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*:autoScalingGroupName/edge nodes arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*:autoScalingGroupName/workers"
      Describe                 = "*"
      Deregister               = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/edge/0123456789abcdef"
      Parameters               = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul"
      Secrets                  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-AbCdEf"
      DecryptTokens            = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
      DecryptOwn               = "arn:aws:kms:eu-west-1:123456789012:key/11111111-89ab-cdef-0123-456789abcdef"
      NetworkInterfaces        = "*"
      DenyOwnNetworkInterfaces = "*"
    }
    error_message = "A resource is another: ${aws_iam_role_policy.this[0].policy}"
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement.Sid => join(" ", statement.Condition.StringEquals["kms:ViaService"]) if startswith(statement.Sid, "Decrypt") } == {
      DecryptTokens = "ssm.eu-west-1.amazonaws.com secretsmanager.eu-west-1.amazonaws.com"
      DecryptOwn    = "sqs.eu-west-1.amazonaws.com lambda.eu-west-1.amazonaws.com"
    }
    error_message = "A key is used through a service, never alone."
  }

  assert {
    condition     = aws_sqs_queue.this[0].kms_master_key_id == var.kms_key_arn && aws_cloudwatch_log_group.this[0].kms_key_id == var.kms_key_arn && aws_lambda_function.this[0].kms_key_arn == var.kms_key_arn
    error_message = "The key is used where it is said to be."
  }
}

run "only_who_replaces_may_set_an_instances_health_and_only_in_these_groups" {
  command = apply

  variables {
    replace = "rebalance"
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement if contains(statement.Action, "autoscaling:SetInstanceHealth")] == jsondecode(jsonencode([{ Sid = "Lifecycle", Effect = "Allow", Action = ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat", "autoscaling:SetInstanceHealth"], Resource = ["arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*:autoScalingGroupName/workers"] }]))
    error_message = "One statement, of this group: ${aws_iam_role_policy.this[0].policy}"
  }

  assert {
    condition     = strcontains(output.service_policy_json, "autoscaling:SetInstanceHealth")
    error_message = "The service may do what the function may."
  }
}

run "only_a_scan_may_deregister_from_any_target_group" {
  command = apply

  variables {
    scan_target_groups = true
  }

  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : join(" ", statement.Resource) if statement.Sid == "Deregister"]) == "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/*/*"
    error_message = "Any of this account and Region."
  }

  assert {
    condition     = aws_lambda_function.this[0].environment[0].variables["DECAMP_SCAN"] == "true"
    error_message = "And the function is told."
  }
}

run "the_queues_take_messages_of_these_rules_only_and_never_in_the_clear" {
  command = apply

  assert {
    condition = alltrue([for policy in aws_sqs_queue_policy.this : alltrue([
      jsondecode(policy.policy).Statement[0].Condition.ArnEquals["aws:SourceArn"][0] == aws_cloudwatch_event_rule.this["lifecycle"].arn,
      jsondecode(policy.policy).Statement[0].Principal.Service == "events.amazonaws.com",
      jsondecode(policy.policy).Statement[0].Action == "sqs:SendMessage",
      jsondecode(policy.policy).Statement[1].Effect == "Deny",
      jsondecode(policy.policy).Statement[1].Condition.Bool["aws:SecureTransport"] == "false",
    ])])
    error_message = "Without the rules' ARNs any account's rule could send."
  }

  assert {
    condition     = length(aws_sqs_queue_policy.this) == 2
    error_message = "Both queues have a policy."
  }
}

run "the_service_gets_a_policy_without_the_functions_parts" {
  command = apply

  variables {
    create_function = false
  }

  assert {
    condition     = join(",", [for statement in jsondecode(output.service_policy_json).Statement : statement.Sid]) == "Lifecycle,Describe,Messages,Queue"
    error_message = "The statements are others: ${output.service_policy_json}"
  }

  assert {
    condition     = !strcontains(output.service_policy_json, "InstanceRefresh") && !strcontains(output.service_policy_json, "SetInstanceHealth") && !strcontains(output.service_policy_json, "cloudwatch:")
    error_message = "It begins and replaces nothing without being asked to: ${output.service_policy_json}"
  }
}

run "the_service_is_allowed_the_topics_and_secrets_that_it_is_given" {
  command = apply

  variables {
    create_function = false
    service = {
      topic_arns = ["arn:aws:sns:eu-west-1:123456789012:terminations"]
      refresh    = true
      look_back  = true
      secrets = [
        { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/decamp/api-key" },
        { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:decamp/webhooks-AbCdEf", kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef" },
      ]
    }
  }

  assert {
    condition     = join(",", [for statement in jsondecode(output.service_policy_json).Statement : statement.Sid]) == "Lifecycle,Describe,Messages,Queue,Refreshes,LookBack,Topics,ServiceParameters,ServiceSecrets,DecryptServiceSecrets"
    error_message = "The statements are others: ${output.service_policy_json}"
  }

  assert {
    condition = { for statement in jsondecode(output.service_policy_json).Statement : statement.Sid => statement.Resource if contains(["Lifecycle", "Topics", "ServiceParameters", "ServiceSecrets", "DecryptServiceSecrets"], statement.Sid) } == {
      Lifecycle             = ["arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*:autoScalingGroupName/workers"]
      Topics                = ["arn:aws:sns:eu-west-1:123456789012:terminations"]
      ServiceParameters     = ["arn:aws:ssm:eu-west-1:123456789012:parameter/decamp/api-key"]
      ServiceSecrets        = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:decamp/webhooks-AbCdEf"]
      DecryptServiceSecrets = ["arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"]
    }
    error_message = "Each statement is bound to what was named: ${output.service_policy_json}"
  }

  assert {
    condition     = jsondecode(output.service_policy_json).Statement[0].Action == ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat", "autoscaling:StartInstanceRefresh"]
    error_message = "It may begin a refresh, and the instances' health is none of its business."
  }
}

run "the_role_takes_a_boundary_and_a_path" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
    role_path                = "/platform/"
  }

  assert {
    condition     = aws_iam_role.this[0].permissions_boundary == "arn:aws:iam::123456789012:policy/boundary" && aws_iam_role.this[0].path == "/platform/" && aws_iam_role.this[0].name == "decamp-eu-west-1"
    error_message = "As given; the name has the Region, for roles have none."
  }
}

run "a_role_of_yours_is_taken_as_it_is" {
  command = plan

  variables {
    role_arn = "arn:aws:iam::123456789012:role/platform/decamp"
  }

  assert {
    condition     = length(aws_iam_role.this) + length(aws_iam_role_policy.this) == 0 && aws_lambda_function.this[0].role == "arn:aws:iam::123456789012:role/platform/decamp" && output.role_arn == aws_lambda_function.this[0].role
    error_message = "No role is created."
  }

  assert {
    condition     = join(",", [for statement in jsondecode(output.role_policy_json).Statement : statement.Sid]) == "Lifecycle,Describe,Messages,Logs,Queue"
    error_message = "It is told what it needs: ${output.role_policy_json}"
  }
}

run "the_role_takes_further_statements" {
  command = plan

  variables {
    role_statements = [{ sid = "Trace", actions = ["xray:PutTraceSegments"], resources = ["*"] }]
  }

  assert {
    condition     = jsonencode(element(jsondecode(aws_iam_role_policy.this[0].policy).Statement, 5)) == jsonencode({ Action = ["xray:PutTraceSegments"], Effect = "Allow", Resource = ["*"], Sid = "Trace" })
    error_message = "They come last: ${aws_iam_role_policy.this[0].policy}"
  }
}

run "only_lambda_takes_the_role" {
  command = plan

  assert {
    condition     = jsondecode(aws_iam_role.this[0].assume_role_policy).Statement == jsondecode(jsonencode([{ Sid = "Lambda", Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]))
    error_message = "Nobody else: ${aws_iam_role.this[0].assume_role_policy}"
  }
}

run "a_policy_is_known_before_anything_is_created" {
  command = plan

  assert {
    condition     = length(aws_iam_role_policy.this[0].policy) < 10240 && strcontains(aws_iam_role_policy.this[0].policy, ":sqs:eu-west-1:123456789012:decamp")
    error_message = "Else its size would be told in the middle of an apply."
  }
}

run "certificates_and_the_document_may_be_read" {
  command = plan

  variables {
    config = {}
    nomad = {
      addresses                 = ["https://nomad:4646"]
      ca_certificate            = "-----BEGIN CERTIFICATE-----"
      client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/nomad-client" }
      client_key_secret         = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-key-AbCdEf", kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef" }
    }
    consul = {
      addresses             = ["https://consul:8501"]
      ca_certificate_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:consul-ca-AbCdEf" }
    }
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement.Sid => join(" ", statement.Resource) if contains(["Parameters", "Secrets", "DecryptTokens"], statement.Sid) } == {
      Parameters    = "arn:aws:ssm:eu-west-1:123456789012:parameter/nomad-client arn:aws:ssm:eu-west-1:123456789012:parameter/decamp/ca/nomad arn:aws:ssm:eu-west-1:123456789012:parameter/decamp/settings"
      Secrets       = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-key-AbCdEf arn:aws:secretsmanager:eu-west-1:123456789012:secret:consul-ca-AbCdEf"
      DecryptTokens = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
    }
    error_message = "A resource is another: ${aws_iam_role_policy.this[0].policy}"
  }
}

run "what_each_cluster_keeps_may_be_read" {
  command = plan

  variables {
    autoscaling_groups = {
      edge    = { name = "edge" }
      workers = { name = "workers" }
    }
    nomad  = null
    consul = null
    clusters = {
      blue = {
        groups = ["workers"]
        nomad  = { addresses = ["https://nomad:4646"], ca_certificate = "-----BEGIN CERTIFICATE-----", token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/blue" } }
      }
      green = {
        groups = ["edge"]
        nomad = {
          addresses                 = ["https://nomad:4646"]
          client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/green-client" }
          client_key_secret         = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:green-key-AbCdEf", kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef" }
        }
        consul = { addresses = ["https://consul:8501"], ca_certificate_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:green-ca-AbCdEf" } }
      }
    }
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement.Sid => join(" ", sort(statement.Resource)) if contains(["Parameters", "Secrets", "DecryptTokens"], statement.Sid) } == {
      Parameters    = "arn:aws:ssm:eu-west-1:123456789012:parameter/blue arn:aws:ssm:eu-west-1:123456789012:parameter/decamp/ca/blue/nomad arn:aws:ssm:eu-west-1:123456789012:parameter/decamp/settings arn:aws:ssm:eu-west-1:123456789012:parameter/green-client"
      Secrets       = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:green-ca-AbCdEf arn:aws:secretsmanager:eu-west-1:123456789012:secret:green-key-AbCdEf"
      DecryptTokens = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
    }
    error_message = "A resource is another: ${aws_iam_role_policy.this[0].policy}"
  }
}
