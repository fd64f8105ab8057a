# decamp for the Auto Scaling group @ASG@. The module and the zip must have the same version.

variable "subnet_ids" {
  description = "Subnets that reach Nomad, Consul and AWS."
  type        = list(string)
}

variable "security_group_ids" {
  description = "Security groups of the function. Nomad and Consul must accept connections from them."
  type        = list(string)
}

data "aws_secretsmanager_secret" "nomad" {
  name = "decamp/nomad-token"
}
@consul 
@consul data "aws_secretsmanager_secret" "consul" {
@consul   name = "decamp/consul-token"
@consul }

module "decamp" {
  source = "github.com/decamp/decamp//infra?ref=v@VERSION@"

  autoscaling_groups = {
    # The label stays the same when the group is renamed.
    main = {
      name              = "@ASG@"
@targets       target_group_arns = [@TARGET_GROUPS@]
@has-hook       # The group already has the hook.
@has-hook       create_hook = false
    }
  }

  lambda_package = { path = "decamp-lambda-arm64.zip" }
  mode           = "observe"

  nomad = {
    addresses    = [@NOMAD@]
    token_secret = { arn = data.aws_secretsmanager_secret.nomad.arn }
  }
@consul 
@consul   consul = {
@consul     addresses    = [@CONSUL@]
@consul     token_secret = { arn = data.aws_secretsmanager_secret.consul.arn }
@consul   }

  vpc_config = {
    subnet_ids         = var.subnet_ids
    security_group_ids = var.security_group_ids
  }
}
