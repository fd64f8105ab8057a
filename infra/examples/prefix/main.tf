# A group from a module that names it by a prefix and replaces it by a new one before the old one goes, as terraform-aws-modules/autoscaling/aws
# does unless it is told otherwise. decamp knows it by the prefix, so that the old group's last instances are still drained.

provider "aws" {
  region = "eu-west-1"
}

locals {
  # With use_name_prefix the groups are named NAME-SOMETHING.
  name = "web"
}

module "decamp" {
  # Elsewhere: source = "github.com/decamp/decamp//infra?ref=v0.1.0"
  source = "../.."

  autoscaling_groups = {
    # Not `name = module.autoscaling.autoscaling_group_name`: the group takes its hook from here, and Terraform refuses the circle.
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
  # In earnest: source = "terraform-aws-modules/autoscaling/aws", version = "~> 9.0". The folder has the same inputs, as far as they are used here.
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

  # What the module gives here never changes: a change would replace the group.
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

# In front of the nodes' ingress. The group does not know it; decamp does.
resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378:What speaks TLS behind the load balancer is not this example's to say.
  name                 = "web-1"
  vpc_id               = var.vpc_id
  port                 = 8080
  protocol             = "HTTP"
  deregistration_delay = 30

  health_check {
    path = "/ping"
  }
}
