# The module called with each combination of inputs that makes other resources or other arguments: one plan has all of them, and
# tests/infra/snapshots.py compares it with what was reviewed.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

locals {
  s3        = { s3_bucket = "artifacts", s3_key = "decamp.zip", s3_object_version = "v1" }
  nomad     = { addresses = ["https://nomad.example.com:4646"] }
  key       = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
  other_key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-89ab-cdef-0123-456789abcdef"
  web       = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"
  edge      = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/edge/0123456789abcdef"
  topic     = "arn:aws:sns:eu-west-1:123456789012:on-call"
}

module "least" {
  source = "../.."

  autoscaling_groups = { workers = { name = "workers" } }
  lambda_package     = local.s3
  nomad              = local.nomad
}

module "own_key" {
  source = "../.."

  name                     = "own-key"
  autoscaling_groups       = { workers = { name = "workers", target_group_arns = [local.web] } }
  lambda_package           = { s3_bucket = "artifacts", s3_key = "decamp.zip", source_code_hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
  nomad                    = { addresses = ["https://nomad:4646"], region = "eu", token_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-AbCdEf", kms_key_arn = local.other_key } }
  kms_key_arn              = local.key
  alarm_actions            = [local.topic]
  alarms                   = { message_age = 1000, minutes_without_sweeps = 30, outcomes = ["forced", "expired"] }
  permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  role_path                = "/decamp/"
  tags                     = { team = "platform" }
}

module "layers_and_a_path" {
  source = "../.."

  name               = "layers"
  region             = "eu-west-1"
  autoscaling_groups = { workers = { name = "workers", default_result = "ABANDON", heartbeat_timeout = 1200 } }
  lambda_package     = { path = "${path.module}/main.tf" }
  architecture       = "x86_64"
  memory_size        = 512
  layers             = ["arn:aws:lambda:eu-west-1:123456789012:layer:authority:1"]
  nomad              = { addresses = ["https://one:4646", "https://two:4646"], ca_certificate_path = "/opt/nomad.pem", tls_server_name = "server.global.nomad" }
  consul             = { addresses = ["https://consul:8501"], ca_certificate_path = "/opt/consul.pem", tls_server_name = "server.eu.consul", datacenter = "eu" }
  settings           = { DECAMP_GUARD_ALB = "15s" }
  former_hook_names  = ["leave"]
  role_statements    = [{ sid = "More", actions = ["s3:GetObject"], resources = ["arn:aws:s3:::bucket/*"] }]
}

module "certificates" {
  source = "../.."

  name               = "certificates"
  autoscaling_groups = { workers = { name = "workers" } }
  lambda_package     = local.s3
  nomad = {
    addresses                 = ["https://nomad:4646"]
    ca_certificate            = "-----BEGIN CERTIFICATE-----\nNOMAD\n-----END CERTIFICATE-----"
    client_certificate_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/nomad-client" }
    client_key_secret         = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-key-AbCdEf", kms_key_arn = local.key }
  }
  consul = {
    addresses             = ["https://consul:8501"]
    token_secret          = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/consul", kms_key_arn = local.other_key }
    ca_certificate_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:consul-ca-AbCdEf" }
  }
  tags = { team = "platform" }
}

module "document" {
  source = "../.."

  name               = "document"
  autoscaling_groups = { workers = { name = "workers", create_hook = false, target_group_arns = [local.web] } }
  lambda_package     = local.s3
  nomad              = local.nomad
  config             = { DECAMP_GUARD_NLB = "150s" }
  tags               = { team = "platform" }
}

module "clusters" {
  source = "../.."

  name = "clusters"
  autoscaling_groups = {
    shop    = { name_prefix = "shop-", target_group_arns = [local.edge] }
    workers = { name = "workers", target_group_arns = [local.web] }
  }
  lambda_package = local.s3
  clusters = {
    blue = {
      groups = ["workers"]
      nomad  = { addresses = ["https://blue:4646"], token_secret = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:blue-AbCdEf", kms_key_arn = local.other_key } }
      consul = { addresses = ["https://blue:8501"], token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/blue-consul" } }
    }
    green = {
      groups = ["shop"]
      nomad  = { addresses = ["https://green:4646"], ca_certificate = "-----BEGIN CERTIFICATE-----\nGREEN\n-----END CERTIFICATE-----" }
    }
  }
  tags = { team = "platform" }
}

module "dual_stack" {
  source = "../.."

  name               = "dual-stack"
  autoscaling_groups = { workers = { name = "workers" } }
  lambda_package     = local.s3
  nomad              = local.nomad
  vpc_config = {
    subnet_ids = ["subnet-0123456789abcdef0"]
    vpc_id     = "vpc-0123456789abcdef0"
    ipv6       = true
    egress = {
      aws    = { port = 443, cidr_ipv4 = "0.0.0.0/0" }
      aws6   = { port = 443, cidr_ipv6 = "::/0", description = "AWS, by IPv6" }
      nomad  = { port = 4646, referenced_security_group_id = "sg-0123456789abcdef1" }
      consul = { port = 8501, prefix_list_id = "pl-0123456789abcdef0" }
    }
  }
  tags = { team = "platform" }
}

module "security_group_and_role_of_yours" {
  source = "../.."

  name               = "yours"
  autoscaling_groups = { workers = { name = "workers" } }
  lambda_package     = local.s3
  nomad              = local.nomad
  role_arn           = "arn:aws:iam::123456789012:role/decamp"
  vpc_config         = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
  create_alarms      = false
  create_dashboard   = false
  scan_target_groups = true
}

module "service" {
  source = "../.."

  name               = "service"
  create_function    = false
  autoscaling_groups = { workers = { name = "workers", target_group_arns = [local.web] } }
  nomad              = { addresses = ["https://nomad:4646"], token_secret = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/nomad" } }
  replace            = "both"
  service            = { topic_arns = ["arn:aws:sns:eu-west-1:123456789012:terminations"], refresh = true, secrets = [{ arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:webhooks-AbCdEf", kms_key_arn = local.key }] }
}

module "two_prefixes" {
  source = "../.."

  name = "prefixes"
  autoscaling_groups = {
    web  = { name_prefix = "web-", target_group_arns = [local.web] }
    edge = { name_prefix = "edge-", heartbeat_timeout = 1800, target_group_arns = [local.edge] }
    old  = { name = "old" }
  }
  lambda_package        = local.s3
  nomad                 = local.nomad
  mode                  = "observe"
  events                = { spot_interruption = true, rebalance = true, scheduled_change = true }
  replace               = "scheduled"
  replace_ahead         = 3600
  sweep_period          = 2
  function_timeout      = 50
  visibility_timeout    = 400
  max_receive_count     = 600
  message_retention     = 400000
  dead_letter_retention = 1000000
  batch_size            = 2
  maximum_concurrency   = 10
  log_level             = "debug"
  log_retention_in_days = 90
  departure             = { max = 7000, reserve = 40, on_timeout = "abandon", never_force = true, ignore_system_jobs = true, deregistration_delay = 200, longest_stop = 100 }
}

output "of" {
  description = "What each of them tells."
  value = {
    least      = module.least
    document   = module.document
    service    = module.service
    prefixes   = module.two_prefixes
    yours      = module.security_group_and_role_of_yours
    dual_stack = module.dual_stack
  }
}
