# A group whose module names it by a prefix and creates a new group before it destroys the old one, as terraform-aws-modules/autoscaling/aws
# does by default. decamp matches groups by the prefix, so that it still drains the old group's last instances.

provider "aws" {
  region = "eu-west-1"
}

locals {
  # With use_name_prefix the groups are named NAME-SOMETHING.
  name = "web"
}

module "decamp" {
  # In your own configuration: source = "github.com/decamp/decamp//infra?ref=v0.1.0"
  source = "../.."

  autoscaling_groups = {
    # Do not write `name = module.autoscaling.autoscaling_group_name`: the group takes its hook from this module, and Terraform refuses cycles.
    web = {
      name_prefix       = "${local.name}-"
      target_group_arns = [aws_lb_target_group.this.arn]
    }
  }

  departure = {
    deregistration_delay = 30
  }

  lambda_package = {
    s3_bucket         = var.package.bucket
    s3_key            = var.package.key
    s3_object_version = var.package.version
  }

  nomad = {
    addresses = ["https://nomad.example.com:4646"]
  }
}

module "autoscaling" {
  # In your own configuration: source = "terraform-aws-modules/autoscaling/aws", version = "~> 9.0". The folder has those of its inputs that this example uses.
  source = "./autoscaling"

  name            = local.name
  use_name_prefix = true

  min_size            = 3
  max_size            = 6
  desired_capacity    = 3
  vpc_zone_identifier = var.subnet_ids
  health_check_type   = "ELB"

  image_id      = var.ami_id
  instance_type = "m7g.large"

  # The module never changes these values, because a change would replace the group.
  initial_lifecycle_hooks = [for hook in [module.decamp.initial_lifecycle_hooks["web"]] : {
    name                 = hook.name
    default_result       = hook.default_result
    heartbeat_timeout    = hook.heartbeat_timeout
    lifecycle_transition = hook.lifecycle_transition
  }]

  instance_refresh = {
    strategy = "Rolling"
    preferences = {
      min_healthy_percentage = 100
      max_healthy_percentage = 134
    }
  }

  # Terraform waits for the departures of the last instances.
  delete_timeout = "3h"
}

# The target group of the nodes' ingress. It is not attached to the group; decamp deregisters from it.
resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378:TLS behind the load balancer is out of this example's scope.
  name                 = "web-1"
  vpc_id               = var.vpc_id
  port                 = 8080
  protocol             = "HTTP"
  deregistration_delay = 30

  health_check {
    path = "/ping"
  }
}
