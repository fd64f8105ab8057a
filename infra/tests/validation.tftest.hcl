# Every validation fires, one change at a time from inputs that pass.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  autoscaling_groups = { workers = { name = "workers" } }
  lambda_package     = { s3_bucket = "artifacts", s3_key = "decamp.zip", s3_object_version = "v1" }
  nomad              = { addresses = ["https://nomad.example.com:4646"] }
}

run "the_least_inputs_pass" {
  command = plan
}

run "a_name_with_a_space" {
  command = plan

  variables {
    name = "de camp"
  }

  expect_failures = [var.name]
}

run "a_name_that_is_too_long" {
  command = plan

  variables {
    name = "d123456789012345678901234567890123456789x"
  }

  expect_failures = [var.name]
}

run "no_groups" {
  command = plan

  variables {
    create             = true
    autoscaling_groups = {}
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_group_without_a_name" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "" } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_group_by_its_arn" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:x:autoScalingGroupName/workers" } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_group_with_a_star" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "work*" } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_prefix_with_a_question_mark" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name_prefix = "work?" } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_group_with_a_name_and_a_prefix_and_no_hook" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers-1", name_prefix = "workers-" } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_hook_in_a_group_that_is_known_by_its_prefix_alone" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name_prefix = "workers-", create_hook = true } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_prefix_that_covers_another_entry" {
  command = plan

  variables {
    autoscaling_groups = { one = { name_prefix = "workers-" }, two = { name = "workers-b" } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_former_hook_with_a_space" {
  command = plan

  variables {
    former_hook_names = ["de camp"]
  }

  expect_failures = [var.former_hook_names]
}

run "one_group_twice" {
  command = plan

  variables {
    autoscaling_groups = { one = { name = "workers" }, two = { name = "workers" } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_heartbeat_below_what_aws_takes" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", heartbeat_timeout = 29 } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_heartbeat_above_what_aws_takes" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", heartbeat_timeout = 7201 } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_heartbeat_that_is_no_whole_number" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", heartbeat_timeout = 900.5 } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_default_result_in_small_letters" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", default_result = "continue" } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_target_group_by_its_name" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", target_group_arns = ["web"] } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_load_balancer_as_a_target_group" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", target_group_arns = ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/0123456789abcdef"] } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_target_group_of_another_region" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", target_group_arns = ["arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123456789abcdef"] } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_target_group_of_another_account" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", target_group_arns = ["arn:aws:elasticloadbalancing:eu-west-1:999999999999:targetgroup/web/0123456789abcdef"] } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "more_target_groups_than_metadata_holds" {
  command = plan

  variables {
    autoscaling_groups = { workers = { name = "workers", target_group_arns = [for n in range(60) : "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"] } }
  }

  expect_failures = [var.autoscaling_groups]
}

run "a_hook_name_with_a_space" {
  command = plan

  variables {
    hook_name = "my hook"
  }

  expect_failures = [var.hook_name]
}

run "no_package" {
  command = plan

  variables {
    lambda_package = null
  }

  expect_failures = [var.lambda_package]
}

run "two_packages" {
  command = plan

  variables {
    lambda_package = { path = "versions.tf", s3_bucket = "artifacts", s3_key = "decamp.zip", s3_object_version = "v1" }
  }

  expect_failures = [var.lambda_package]
}

run "an_empty_package" {
  command = plan

  variables {
    lambda_package = {}
  }

  expect_failures = [var.lambda_package]
}

run "a_bucket_without_a_key" {
  command = plan

  variables {
    lambda_package = { s3_bucket = "artifacts", s3_object_version = "v1" }
  }

  expect_failures = [var.lambda_package]
}

run "a_zip_in_s3_whose_updates_nobody_sees" {
  command = plan

  variables {
    lambda_package = { s3_bucket = "artifacts", s3_key = "decamp.zip" }
  }

  expect_failures = [var.lambda_package]
}

run "a_path_without_a_file" {
  command = plan

  variables {
    lambda_package = { path = "no-such-file.zip" }
  }

  expect_failures = [var.lambda_package]
}

run "another_architecture" {
  command = plan

  variables {
    architecture = "riscv"
  }

  expect_failures = [var.architecture]
}

run "too_little_memory" {
  command = plan

  variables {
    memory_size = 64
  }

  expect_failures = [var.memory_size]
}

run "a_layer_by_its_name" {
  command = plan

  variables {
    layers = ["nomad-ca"]
  }

  expect_failures = [var.layers]
}

run "a_layer_without_its_version" {
  command = plan

  variables {
    layers = ["arn:aws:lambda:eu-west-1:123456789012:layer:nomad-ca"]
  }

  expect_failures = [var.layers]
}

run "a_layer_of_another_region" {
  command = plan

  variables {
    layers = ["arn:aws:lambda:us-east-1:123456789012:layer:nomad-ca:1"]
  }

  expect_failures = [var.layers]
}

run "no_nomad" {
  command = plan

  variables {
    nomad = null
  }

  expect_failures = [var.nomad]
}

run "nomad_without_an_address" {
  command = plan

  variables {
    nomad = { addresses = [] }
  }

  expect_failures = [var.nomad]
}

run "a_nomad_address_without_a_scheme" {
  command = plan

  variables {
    nomad = { addresses = ["nomad.example.com:4646"] }
  }

  expect_failures = [var.nomad]
}

run "a_nomad_address_with_a_password" {
  command = plan

  variables {
    nomad = { addresses = ["https://me:secret@nomad.example.com:4646"] }
  }

  expect_failures = [var.nomad]
}

run "a_nomad_token_instead_of_its_arn" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad.example.com:4646"], token_secret = { arn = "8f3c0000-0000-0000-0000-000000000000" } }
  }

  expect_failures = [var.nomad]
}

run "a_nomad_token_in_a_document" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad.example.com:4646"], token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:document/nomad" } }
  }

  expect_failures = [var.nomad]
}

run "a_nomad_token_of_another_region" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad.example.com:4646"], token_secret = { arn = "arn:aws:ssm:us-east-1:123456789012:parameter/nomad" } }
  }

  expect_failures = [var.nomad]
}

run "a_nomad_token_of_another_account" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad.example.com:4646"], token_secret = { arn = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:nomad-AbCdEf" } }
  }

  expect_failures = [var.nomad]
}

run "consul_without_an_address" {
  command = plan

  variables {
    consul = { addresses = [] }
  }

  expect_failures = [var.consul]
}

run "a_consul_address_without_a_scheme" {
  command = plan

  variables {
    consul = { addresses = ["consul.example.com:8501"] }
  }

  expect_failures = [var.consul]
}

run "a_consul_token_instead_of_its_arn" {
  command = plan

  variables {
    consul = { addresses = ["https://consul.example.com:8501"], token_secret = { arn = "token" } }
  }

  expect_failures = [var.consul]
}

run "a_consul_token_in_a_document" {
  command = plan

  variables {
    consul = { addresses = ["https://consul.example.com:8501"], token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:document/consul" } }
  }

  expect_failures = [var.consul]
}

run "a_consul_token_of_another_region" {
  command = plan

  variables {
    consul = { addresses = ["https://consul.example.com:8501"], token_secret = { arn = "arn:aws:ssm:us-east-1:123456789012:parameter/consul" } }
  }

  expect_failures = [var.consul]
}

run "a_consul_token_of_another_account" {
  command = plan

  variables {
    consul = { addresses = ["https://consul.example.com:8501"], token_secret = { arn = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:consul-AbCdEf" } }
  }

  expect_failures = [var.consul]
}

run "another_mode" {
  command = plan

  variables {
    mode = "dry-run"
  }

  expect_failures = [var.mode]
}

run "a_departure_above_two_days" {
  command = plan

  variables {
    departure = { max = 172801 }
  }

  expect_failures = [var.departure]
}

run "a_reserve_that_leaves_nothing" {
  command = plan

  variables {
    departure = { reserve = 7200 }
  }

  expect_failures = [var.departure]
}

run "a_reserve_as_short_as_a_call" {
  command = plan

  variables {
    departure = { reserve = 5 }
  }

  expect_failures = [var.departure]
}

run "another_end" {
  command = plan

  variables {
    departure = { on_timeout = "retain" }
  }

  expect_failures = [var.departure]
}

run "a_deregistration_delay_above_an_hour" {
  command = plan

  variables {
    departure = { deregistration_delay = 3601 }
  }

  expect_failures = [var.departure]
}

run "a_negative_stop" {
  command = plan

  variables {
    departure = { longest_stop = -1 }
  }

  expect_failures = [var.departure]
}

run "half_a_second" {
  command = plan

  variables {
    departure = { longest_stop = 0.5 }
  }

  expect_failures = [var.departure]
}

run "a_setting_that_is_not_decamps" {
  command = plan

  variables {
    settings = { RUST_LOG = "debug" }
  }

  expect_failures = [var.settings]
}

run "a_token_in_the_settings" {
  command = plan

  variables {
    settings = { NOMAD_TOKEN = "8f3c" }
  }

  expect_failures = [var.settings]
}

run "a_setting_that_is_an_input" {
  command = plan

  variables {
    settings = { DECAMP_GROUPS = "others" }
  }

  expect_failures = [var.settings]
}

run "a_function_above_a_quarter_of_an_hour" {
  command = plan

  variables {
    function_timeout = 901
  }

  expect_failures = [var.function_timeout]
}

run "a_visibility_above_what_sqs_takes" {
  command = plan

  variables {
    visibility_timeout = 43201
  }

  expect_failures = [var.visibility_timeout]
}

run "a_sweep_every_half_minute" {
  command = plan

  variables {
    sweep_period = 0.5
  }

  expect_failures = [var.sweep_period]
}

run "four_receives" {
  command = plan

  variables {
    max_receive_count = 4
  }

  expect_failures = [var.max_receive_count]
}

run "a_retention_above_what_sqs_takes" {
  command = plan

  variables {
    message_retention = 1209601
  }

  expect_failures = [var.message_retention]
}

run "a_retention_of_dead_letters_above_what_sqs_takes" {
  command = plan

  variables {
    dead_letter_retention = 1209601
  }

  expect_failures = [var.dead_letter_retention]
}

run "a_batch_of_eleven" {
  command = plan

  variables {
    batch_size = 11
  }

  expect_failures = [var.batch_size]
}

run "a_concurrency_of_one" {
  command = plan

  variables {
    maximum_concurrency = 1
  }

  expect_failures = [var.maximum_concurrency]
}

run "a_replacement_for_another_cause" {
  command = plan

  variables {
    replace = "always"
  }

  expect_failures = [var.replace]
}

run "a_replacement_after_the_change" {
  command = plan

  variables {
    replace_ahead = -1
  }

  expect_failures = [var.replace_ahead]
}

run "a_vpc_without_subnets" {
  command = plan

  variables {
    vpc_config = { subnet_ids = [], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  expect_failures = [var.vpc_config]
}

run "a_vpc_without_a_way_out" {
  command = plan

  variables {
    vpc_config = { subnet_ids = ["subnet-0123456789abcdef0"], vpc_id = "vpc-0123456789abcdef0" }
  }

  expect_failures = [var.vpc_config]
}

run "a_port_that_is_none" {
  command = plan

  variables {
    vpc_config = { subnet_ids = ["subnet-0123456789abcdef0"], vpc_id = "vpc-0123456789abcdef0", egress = { all = { port = 0, cidr_ipv4 = "10.0.0.0/8" } } }
  }

  expect_failures = [var.vpc_config]
}

run "a_way_out_to_two_places" {
  command = plan

  variables {
    vpc_config = { subnet_ids = ["subnet-0123456789abcdef0"], vpc_id = "vpc-0123456789abcdef0", egress = { nomad = { port = 4646, cidr_ipv4 = "10.0.0.0/8", prefix_list_id = "pl-1" } } }
  }

  expect_failures = [var.vpc_config]
}

run "a_key_by_its_alias" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:alias/decamp"
  }

  expect_failures = [var.kms_key_arn]
}

run "a_key_of_another_region" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
  }

  expect_failures = [var.kms_key_arn]
}

run "a_log_level_that_silences_the_metrics" {
  command = plan

  variables {
    log_level = "warn"
  }

  expect_failures = [var.log_level]
}

run "a_log_retention_that_cloudwatch_does_not_take" {
  command = plan

  variables {
    log_retention_in_days = 31
  }

  expect_failures = [var.log_retention_in_days]
}

run "an_alarm_action_that_is_no_arn" {
  command = plan

  variables {
    alarm_actions = ["on-call@example.com"]
  }

  expect_failures = [var.alarm_actions]
}

run "an_alarm_action_with_a_slip_in_its_arn" {
  command = plan

  variables {
    alarm_actions = ["arm:aws:sns:eu-west-1:123456789012:on-call"]
  }

  expect_failures = [var.alarm_actions]
}

run "an_alarm_action_of_another_region" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:us-east-1:123456789012:on-call"]
  }

  expect_failures = [var.alarm_actions]
}

run "an_age_of_nothing" {
  command = plan

  variables {
    alarms = { message_age = 0 }
  }

  expect_failures = [var.alarms]
}

run "an_alarm_between_two_sweeps" {
  command = plan

  variables {
    alarms = { minutes_without_sweeps = 12 }
  }

  expect_failures = [var.alarms]
}

run "an_outcome_that_is_none" {
  command = plan

  variables {
    alarms = { outcomes = ["lost"] }
  }

  expect_failures = [var.alarms]
}

run "a_boundary_that_is_no_policy" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:role/x"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "a_path_without_slashes" {
  command = plan

  variables {
    role_path = "decamp"
  }

  expect_failures = [var.role_path]
}

run "a_topic_that_is_none_is_refused" {
  command = plan

  variables {
    service = { topic_arns = ["arn:aws:sqs:eu-west-1:123456789012:terminations"] }
  }

  expect_failures = [var.service]
}

run "a_secret_of_the_service_that_is_no_arn_is_refused" {
  command = plan

  variables {
    service = { secrets = [{ arn = "arn:aws:ssm:eu-west-1:123456789012:document/decamp" }] }
  }

  expect_failures = [var.service]
}

run "a_secret_of_the_service_of_another_account_is_refused" {
  command = plan

  variables {
    service = { secrets = [{ arn = "arn:aws:ssm:eu-west-1:999999999999:parameter/decamp" }] }
  }

  expect_failures = [var.service]
}

run "a_secret_of_nomad_without_its_suffix" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad:4646"], token_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad/token" } }
  }

  expect_failures = [var.nomad]
}

run "a_secret_of_nomad_with_an_alias_for_a_key" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad:4646"], token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/nomad", kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:alias/decamp" } }
  }

  expect_failures = [var.nomad]
}

run "a_secret_of_consul_without_its_suffix" {
  command = plan

  variables {
    consul = { addresses = ["https://consul:8501"], token_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:consul/token" } }
  }

  expect_failures = [var.consul]
}

run "a_secret_of_consul_with_an_alias_for_a_key" {
  command = plan

  variables {
    consul = { addresses = ["https://consul:8501"], token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul", kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:alias/decamp" } }
  }

  expect_failures = [var.consul]
}

run "a_secret_of_the_service_without_its_suffix" {
  command = plan

  variables {
    service = { secrets = [{ arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:decamp/token" }] }
  }

  expect_failures = [var.service]
}

run "a_secret_of_the_service_with_an_alias_for_a_key" {
  command = plan

  variables {
    service = { secrets = [{ arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/decamp", kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:alias/decamp" }] }
  }

  expect_failures = [var.service]
}

run "a_way_out_of_a_group_of_yours" {
  command = plan

  variables {
    vpc_config = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"], egress = { nomad = { port = 4646, cidr_ipv4 = "10.0.0.0/8" } } }
  }

  expect_failures = [var.vpc_config]
}

run "a_way_out_by_ipv6_that_the_function_has_not" {
  command = plan

  variables {
    vpc_config = { subnet_ids = ["subnet-0123456789abcdef0"], vpc_id = "vpc-0123456789abcdef0", egress = { nomad = { port = 4646, cidr_ipv6 = "fd00::/8" } } }
  }

  expect_failures = [var.vpc_config]
}

run "an_alarm_over_more_than_a_day" {
  command = plan

  variables {
    alarms = { minutes_without_sweeps = 1445 }
  }

  expect_failures = [var.alarms]
}

run "a_region_in_words" {
  command = plan

  variables {
    region = "Ireland"
  }

  expect_failures = [var.region]
}

run "a_role_by_its_name" {
  command = plan

  variables {
    role_arn = "decamp"
  }

  expect_failures = [var.role_arn]
}

run "a_role_of_yours_with_a_boundary_of_ours" {
  command = plan

  variables {
    role_arn                 = "arn:aws:iam::123456789012:role/decamp"
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  }

  expect_failures = [var.role_arn]
}

run "a_statement_with_a_space_in_its_name" {
  command = plan

  variables {
    role_statements = [{ sid = "To trace", actions = ["xray:PutTraceSegments"], resources = ["*"] }]
  }

  expect_failures = [var.role_statements]
}

run "no_groups_where_nothing_is_created" {
  command = plan

  variables {
    create             = false
    autoscaling_groups = {}
  }
}

run "two_ca_certificates_for_nomad" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad.example.com:4646"], ca_certificate = "-----BEGIN CERTIFICATE-----", ca_certificate_path = "/opt/ca.pem" }
  }

  expect_failures = [var.nomad]
}

run "a_ca_certificate_of_nomad_that_is_a_path" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad.example.com:4646"], ca_certificate = "/opt/ca.pem" }
  }

  expect_failures = [var.nomad]
}

run "a_client_certificate_of_nomad_without_its_key" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad.example.com:4646"], client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/c" } }
  }

  expect_failures = [var.nomad]
}

run "a_ca_certificate_of_nomad_in_another_region" {
  command = plan

  variables {
    nomad = { addresses = ["https://nomad.example.com:4646"], ca_certificate_secret = { arn = "arn:aws:ssm:us-east-1:123456789012:parameter/c" } }
  }

  expect_failures = [var.nomad]
}

run "two_ca_certificates_for_consul" {
  command = plan

  variables {
    consul = { addresses = ["https://consul.example.com:4646"], ca_certificate = "-----BEGIN CERTIFICATE-----", ca_certificate_path = "/opt/ca.pem" }
  }

  expect_failures = [var.consul]
}

run "a_ca_certificate_of_consul_that_is_a_path" {
  command = plan

  variables {
    consul = { addresses = ["https://consul.example.com:4646"], ca_certificate = "/opt/ca.pem" }
  }

  expect_failures = [var.consul]
}

run "a_client_certificate_of_consul_without_its_key" {
  command = plan

  variables {
    consul = { addresses = ["https://consul.example.com:4646"], client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/c" } }
  }

  expect_failures = [var.consul]
}

run "a_ca_certificate_of_consul_in_another_region" {
  command = plan

  variables {
    consul = { addresses = ["https://consul.example.com:4646"], ca_certificate_secret = { arn = "arn:aws:ssm:us-east-1:123456789012:parameter/c" } }
  }

  expect_failures = [var.consul]
}

run "a_name_in_the_document_that_is_none" {
  command = plan

  variables {
    config = { RUST_LOG = "debug" }
  }

  expect_failures = [var.config]
}

run "a_token_in_the_document" {
  command = plan

  variables {
    config = { NOMAD_TOKEN = "secret" }
  }

  expect_failures = [var.config]
}

run "a_setting_in_the_document_that_an_input_sets" {
  command = plan

  variables {
    config = { DECAMP_RESERVE = "45s" }
  }

  expect_failures = [var.config]
}

run "a_group_of_no_cluster" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = [], nomad = { addresses = ["https://nomad:4646"] } } }
  }

  expect_failures = [var.clusters]
}

run "a_group_of_two_clusters" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"] } }, green = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"] } } }
  }

  expect_failures = [var.clusters]
}

run "a_cluster_with_a_dot" {
  command = plan

  variables {
    nomad    = null
    clusters = { "blue.one" = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"] } } }
  }

  expect_failures = [var.clusters]
}

run "a_cluster_without_an_address" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = [] } } }
  }

  expect_failures = [var.clusters]
}

run "a_cluster_s_consul_without_a_scheme" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"] }, consul = { addresses = ["consul:8500"] } } }
  }

  expect_failures = [var.clusters]
}

run "a_cluster_s_token_instead_of_its_arn" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"], token_secret = { arn = "8f3c0000-0000-0000-0000-000000000000" } } } }
  }

  expect_failures = [var.clusters]
}

run "a_cluster_s_secret_without_its_end" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"], token_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:blue" } } } }
  }

  expect_failures = [var.clusters]
}

run "a_cluster_s_secret_of_another_region" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"], token_secret = { arn = "arn:aws:ssm:us-east-1:123456789012:parameter/blue" } } } }
  }

  expect_failures = [var.clusters]
}

run "a_cluster_s_alias_for_a_key" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"], token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/blue", kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:alias/decamp" } } } }
  }

  expect_failures = [var.clusters]
}

run "two_ca_certificates_for_a_cluster" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"], ca_certificate = "-----BEGIN CERTIFICATE-----", ca_certificate_path = "/opt/ca.pem" } } }
  }

  expect_failures = [var.clusters]
}

run "a_private_key_for_a_cluster_s_ca_certificate" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"], ca_certificate = "-----BEGIN CERTIFICATE----- PRIVATE KEY" } } }
  }

  expect_failures = [var.clusters]
}

run "a_client_certificate_of_a_cluster_without_its_key" {
  command = plan

  variables {
    nomad    = null
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"], client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/c" } } } }
  }

  expect_failures = [var.clusters]
}

run "nomad_beside_clusters" {
  command = plan

  variables {
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"] } } }
  }

  expect_failures = [var.nomad]
}

run "consul_beside_clusters" {
  command = plan

  variables {
    nomad    = null
    consul   = { addresses = ["https://consul:8501"] }
    clusters = { blue = { groups = ["workers"], nomad = { addresses = ["https://nomad:4646"] } } }
  }

  expect_failures = [var.consul]
}
