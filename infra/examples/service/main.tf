# `decamp serve` on the cluster that it looks after, without Lambda. The module creates the queue, the rules, the hooks and their alarms. One task
# of one Nomad job assumes the role with its workload identity. The nodes' instance profile needs no rights for it.

variable "name" {
  description = "The name of the resources."
  type        = string
  default     = "decamp"
}

variable "oidc" {
  description = "The OIDC provider in IAM for Nomad, created once for each cluster from the servers' oidc_issuer, and that issuer without https://."
  type = object({
    provider_arn = string
    issuer       = string
  })
  default = {
    provider_arn = "arn:aws:iam::123456789012:oidc-provider/nomad.example.com"
    issuer       = "nomad.example.com"
  }
}

variable "task" {
  description = "The task that may assume the role, as its workload identity names it, and the audience and name of that identity."
  type = object({
    region    = optional(string, "global")
    namespace = optional(string, "default")
    job       = optional(string, "decamp")
    group     = optional(string, "decamp")
    task      = optional(string, "decamp")
    identity  = optional(string, "aws")
    audience  = optional(string, "sts.amazonaws.com")
  })
  default = {}
}

variable "target_group_arns" {
  description = "All target groups that hold instances of the group."
  type        = list(string)
  default     = ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"]
}

variable "topic_arns" {
  description = "SNS topics that notify the service."
  type        = list(string)
  default     = ["arn:aws:sns:eu-west-1:123456789012:terminations"]
}

variable "nomad_token_arn" {
  description = "The parameter that holds Nomad's token."
  type        = string
  default     = "arn:aws:ssm:eu-west-1:123456789012:parameter/decamp/nomad-token"
}

variable "webhook_secret_arn" {
  description = "The secret with which webhooks are signed."
  type        = string
  default     = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:decamp/webhooks-AbCdEf"
}

variable "kms_key_arn" {
  description = "The KMS key of that secret, if it is not AWS's own."
  type        = string
  default     = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
}

provider "aws" {
  region = "eu-west-1"
}

module "decamp" {
  # In your own configuration: source = "github.com/decamp/decamp//infra?ref=v0.1.0"
  source = "../.."

  name            = var.name
  create_function = false

  autoscaling_groups = {
    workers = { name = "workers", target_group_arns = var.target_group_arns }
  }
  classic_load_balancers = ["web"]

  # Instances that AWS plans to retire or interrupt are replaced while they still run.
  replace = "both"

  # The module needs these only for the role's policy. The service's own settings name them too.
  nomad   = { addresses = ["https://nomad.service.consul:4646"], token_secret = { arn = var.nomad_token_arn } }
  service = { topic_arns = var.topic_arns, refresh = true, look_back = true, secrets = [{ arn = var.webhook_secret_arn, kms_key_arn = var.kms_key_arn }] }
}

resource "aws_iam_role" "service" {
  name        = "${var.name}-service"
  description = "The permissions of decamp as a Nomad job."

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Nomad"
      Effect    = "Allow"
      Principal = { Federated = var.oidc.provider_arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${var.oidc.issuer}:aud" = var.task.audience
          # Without this condition every job of the cluster could assume the role.
          "${var.oidc.issuer}:sub" = join(":", [var.task.region, var.task.namespace, var.task.job, var.task.group, var.task.task, var.task.identity])
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "service" {
  name   = "decamp"
  role   = aws_iam_role.service.id
  policy = module.decamp.service_policy_json
}
