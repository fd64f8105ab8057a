# Every precondition fires: numbers that disagree, and a pattern over the quota.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  autoscaling_groups = { workers = { name = "workers" } }
  lambda_package     = { s3_bucket = "artifacts", s3_key = "decamp.zip", s3_object_version = "v1" }
  nomad              = { addresses = ["https://nomad.example.com:4646"] }
}

run "a_heartbeat_that_the_function_does_not_fit_into" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", heartbeat_timeout = 300 } }
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "one_group_of_two_with_a_heartbeat_that_is_too_short" {
  command = plan

  variables {
    autoscaling_groups = {
      workers = { name = "workers" }
      edge    = { name = "edge", heartbeat_timeout = 180 }
    }
  }

  expect_failures = [terraform_data.budget["edge"]]
}

run "a_function_that_the_visibility_does_not_fit" {
  command = plan

  variables {
    function_timeout = 90
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "a_visibility_that_the_heartbeat_does_not_fit" {
  command = plan

  variables {
    visibility_timeout = 500
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "a_sweep_that_comes_too_late" {
  command = plan

  variables {
    sweep_period = 10
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "too_few_receives" {
  command = plan

  variables {
    max_receive_count = 100
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "more_receives_than_sqs_takes" {
  command = plan

  variables {
    max_receive_count = 1001
    message_retention = 604800
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "messages_that_vanish" {
  command = plan

  variables {
    message_retention = 86400
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "dead_letters_that_vanish" {
  command = plan

  variables {
    dead_letter_retention = 86400
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "a_departure_longer_than_the_hook" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", heartbeat_timeout = 720 } }
    departure          = { max = 100000 }
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "a_deregistration_delay_that_the_departure_does_not_fit" {
  command = plan

  variables {
    departure = { max = 600, deregistration_delay = 600 }
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "a_guard_that_no_pass_outlasts" {
  command = plan

  variables {
    departure = { guard = 120 }
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "a_reserve_that_the_departure_does_not_fit" {
  command = plan

  variables {
    departure = { max = 600, reserve = 590 }
  }

  expect_failures = [terraform_data.budget["workers"]]
}

run "a_pattern_over_the_quota" {
  command = plan

  variables {
    autoscaling_groups = { for n in range(50) : "group-${n}" => { name = "a-group-with-a-name-of-forty-characters-${n}" } }
  }

  expect_failures = [aws_cloudwatch_event_rule.this["lifecycle"]]
}

run "a_pattern_within_the_quota" {
  command = plan

  variables {
    autoscaling_groups = { for n in range(30) : "group-${n}" => { name = "a-group-with-a-name-of-forty-characters-${n}" } }
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.this["lifecycle"].event_pattern) <= 2048
    error_message = "The pattern fits."
  }
}

run "thirty_groups_of_long_names_fit_into_a_role" {
  command = plan

  variables {
    autoscaling_groups = { for n in range(30) : "group-${n}" => { name = "a-group-with-a-name-of-forty-characters-${n}" } }
    replace            = "both"
  }

  assert {
    condition     = length(aws_iam_role_policy.this[0].policy) <= 10240
    error_message = "They fit."
  }
}

run "target_groups_over_the_quota_of_a_role" {
  command = plan

  variables {
    autoscaling_groups = { for n in range(8) : "group-${n}" => { name = "group-${n}", target_group_arns = [for m in range(15) : "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/a-target-group-${n}-${m}/0123456789abcdef"] } }
  }

  expect_failures = [aws_iam_role_policy.this[0]]
}

run "target_groups_over_the_quota_of_the_services_role" {
  command = plan

  variables {
    create_function    = false
    autoscaling_groups = { for n in range(8) : "group-${n}" => { name = "group-${n}", target_group_arns = [for m in range(15) : "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/a-target-group-${n}-${m}/0123456789abcdef"] } }
  }

  expect_failures = [output.service_policy_json]
}

run "target_groups_over_the_quota_of_the_environment" {
  command = plan

  variables {
    autoscaling_groups = { for n in range(2) : "group-${n}" => { name = "group-${n}", create_hook = false, target_group_arns = [for m in range(20) : "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/a-target-group-${n}-${m}/0123456789abcdef"] } }
  }

  expect_failures = [aws_lambda_function.this[0]]
}

run "the_same_target_groups_in_a_document" {
  command = plan

  variables {
    config             = {}
    autoscaling_groups = { for n in range(2) : "group-${n}" => { name = "group-${n}", create_hook = false, target_group_arns = [for m in range(20) : "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/a-target-group-${n}-${m}/0123456789abcdef"] } }
  }

  assert {
    condition     = aws_ssm_parameter.settings[0].tier == "Advanced"
    error_message = "A parameter of the standard tier takes 4096 characters."
  }
}

run "target_groups_over_the_quota_of_a_document" {
  command = plan

  variables {
    config             = { for n in range(90) : "NOMAD_OF_LENGTH_${join("", [for m in range(90) : "A"])}${substr("ABCDEFGHIJKLMNOPQRSTUVWXYZ", n % 26, 1)}${substr("ABCDEFGHIJKLMNOPQRSTUVWXYZ", floor(n / 26), 1)}" => "x" }
    scan_target_groups = true
  }

  expect_failures = [aws_ssm_parameter.settings[0]]
}

run "the_same_target_groups_in_hooks" {
  command = plan

  variables {
    autoscaling_groups = { for n in range(2) : "group-${n}" => { name = "group-${n}", target_group_arns = [for m in range(20) : "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/a-target-group-${n}-${m}/0123456789abcdef"] } }
  }

  assert {
    condition     = length(jsonencode(aws_lambda_function.this[0].environment[0].variables)) < 1000
    error_message = "The environment has room."
  }
}

run "groups_that_share_a_prefix_fit_into_a_pattern" {
  command = plan

  variables {
    autoscaling_groups = { all = { name_prefix = "a-group-with-a-name-of-forty-characters-" } }
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.this["lifecycle"].event_pattern) < 400
    error_message = "However many they are."
  }
}
