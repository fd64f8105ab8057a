# A whole cluster: load balancer, group, and decamp in a VPC. `terraform apply` with another ami_id replaces every instance.

provider "aws" {
  region = "eu-west-1"
}

module "decamp" {
  # In your own configuration: source = "github.com/decamp/decamp//infra?ref=v0.1.0"
  source = "../.."

  name = "decamp"

  autoscaling_groups = {
    web = {
      name = var.name
      # ABANDON, so that an instance whose hook ran out is kept (see instance_lifecycle_policy below).
      default_result    = "ABANDON"
      heartbeat_timeout = 900
      # The first is attached to the group. decamp deregisters from the second, which is not.
      target_group_arns = [aws_lb_target_group.attached.arn, aws_lb_target_group.named.arn]
      # The group brings the hook itself, so that the hook exists before the first instance and until the last one. The target groups are then
      # in the function's settings, where a change of them does not change the group.
      create_hook = false
    }
  }

  departure = {
    max                  = 7200
    on_timeout           = "abandon"
    deregistration_delay = 30
    longest_stop         = 90
  }

  events = {
    spot_interruption = true
    rebalance         = true
    scheduled_change  = true
  }

  # An older load balancer that may still be attached to the group.
  classic_load_balancers = ["old-web"]

  # Instances that AWS plans to retire or interrupt are replaced while they still run.
  replace = "both"

  lambda_package = {
    s3_bucket         = var.package.bucket
    s3_key            = var.package.key
    s3_object_version = var.package.version
  }

  nomad = {
    # This name resolves in the VPC only if a resolver rule forwards .consul: see the module's README.
    addresses      = ["https://nomad.service.consul:4646"]
    token_secret   = { arn = aws_secretsmanager_secret.nomad_token.arn, kms_key_arn = var.kms_key_arn }
    ca_certificate = var.ca_certificate
  }

  consul = {
    addresses      = ["https://consul.service.consul:8501"]
    token_secret   = { arn = aws_ssm_parameter.consul_token.arn, kms_key_arn = var.kms_key_arn }
    ca_certificate = var.ca_certificate
  }

  vpc_config = {
    subnet_ids = var.subnet_ids
    vpc_id     = var.vpc_id
    egress = {
      aws    = { port = 443, cidr_ipv4 = "0.0.0.0/0", description = "AWS, by NAT or endpoints" }
      nomad  = { port = 4646, cidr_ipv4 = var.vpc_cidr, description = "Nomad" }
      consul = { port = 8501, cidr_ipv4 = var.vpc_cidr, description = "Consul" }
    }
  }

  alarm_actions = [aws_sns_topic.on_call.arn]

  tags = { cluster = var.name }
}

# The group.

resource "aws_launch_template" "this" {
  name_prefix            = "${var.name}-"
  image_id               = var.ami_id
  instance_type          = "m7g.large"
  vpc_security_group_ids = [aws_security_group.nodes.id]
  update_default_version = true

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size = 40
      volume_type = "gp3"
      encrypted   = "true"
    }
  }
}

resource "aws_autoscaling_group" "this" {
  name                = var.name
  min_size            = 3
  max_size            = 6
  desired_capacity    = 3
  vpc_zone_identifier = var.subnet_ids
  health_check_type   = "ELB"
  # New nodes accept work and are healthy in their target groups within this time.
  default_instance_warmup   = 120
  health_check_grace_period = 120
  target_group_arns         = [aws_lb_target_group.attached.arn]

  # Use the version's number, not $Latest. A refresh to $Latest cannot be rolled back, and Terraform does not start one for a new version.
  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  initial_lifecycle_hook {
    name                  = module.decamp.initial_lifecycle_hooks["web"].name
    default_result        = module.decamp.initial_lifecycle_hooks["web"].default_result
    heartbeat_timeout     = module.decamp.initial_lifecycle_hooks["web"].heartbeat_timeout
    lifecycle_transition  = module.decamp.initial_lifecycle_hooks["web"].lifecycle_transition
    notification_metadata = module.decamp.initial_lifecycle_hooks["web"].notification_metadata
  }

  # An instance that could not be drained in time is kept, and billed, until somebody terminates it.
  instance_lifecycle_policy {
    retention_triggers {
      terminate_hook_abandon = "retain"
    }
  }

  # Every replacement, whatever its cause, launches the new instance before the old one leaves.
  instance_maintenance_policy {
    min_healthy_percentage = 100
    max_healthy_percentage = 134
  }

  # Started by a new version of the launch template. Use either this or decamp's webhook for Terraform, never both.
  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 100
      max_healthy_percentage = 134
      auto_rollback          = true
      skip_matching          = true
    }
  }

  # Auto Scaling's API can change the hook, but in Terraform a change of it replaces the group, with all of its instances. The module's output
  # `put_lifecycle_hook_commands` has the command that changes it.
  lifecycle {
    ignore_changes = [initial_lifecycle_hook]
  }

  # Terraform waits for the departures of the last instances.
  timeouts {
    delete = "3h"
  }

  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = true
  }
}

resource "aws_security_group" "nodes" {
  name        = "${var.name}-nodes"
  description = "The Nomad clients."
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "nodes_from_balancer" {
  security_group_id            = aws_security_group.nodes.id
  description                  = "The ingress, from the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  referenced_security_group_id = aws_security_group.balancer.id
}

resource "aws_vpc_security_group_egress_rule" "nodes" {
  security_group_id = aws_security_group.nodes.id
  description       = "Images, AWS, Nomad and Consul"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

# The load balancer.

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "The load balancer."
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  security_group_id = aws_security_group.balancer.id
  description       = "HTTPS from anywhere"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "The ingress on the nodes"
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  referenced_security_group_id = aws_security_group.nodes.id
}

resource "aws_lb" "this" {
  # checkov:skip=CKV_AWS_91:An example has no bucket for access logs.
  # checkov:skip=CKV2_AWS_28:A web application firewall is out of this example's scope.
  name                       = var.name
  load_balancer_type         = "application"
  subnets                    = var.public_subnet_ids
  security_groups            = [aws_security_group.balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = true
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.attached.arn
  }
}

# The delay must be longer than the longest request, or the load balancer cuts it, and at most departure.deregistration_delay above.
resource "aws_lb_target_group" "attached" {
  name                 = "attached-1"
  vpc_id               = var.vpc_id
  port                 = 8080
  protocol             = "HTTP"
  deregistration_delay = 30

  # Two checks, 5 s apart: a new node serves soon, and a dead one soon gets no requests.
  health_check {
    path                = "/ping"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_target_group" "named" {
  name                 = "named-1"
  vpc_id               = var.vpc_id
  port                 = 8080
  protocol             = "HTTP"
  deregistration_delay = 30

  health_check {
    path                = "/ping"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# The tokens. Terraform knows their locations, not their values.

resource "aws_secretsmanager_secret" "nomad_token" {
  # checkov:skip=CKV2_AWS_57:Nomad creates its tokens. To rotate one, write the new token here. decamp reads it again when the old one is refused.
  name       = "${var.name}/decamp/nomad-token"
  kms_key_id = var.kms_key_arn
}

resource "aws_ssm_parameter" "consul_token" {
  name   = "/${var.name}/decamp/consul-token"
  type   = "SecureString"
  key_id = var.kms_key_arn
  # Terraform writes this value once and does not store it. Put the token there by hand, or by the tool that rotates it.
  value_wo         = "to be set"
  value_wo_version = 1

  lifecycle {
    ignore_changes = [value_wo_version]
  }
}

resource "aws_sns_topic" "on_call" {
  name              = "${var.name}-on-call"
  kms_master_key_id = var.kms_key_arn
}
