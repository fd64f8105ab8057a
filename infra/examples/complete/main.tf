# A whole cluster: load balancer, group, and decamp in a VPC. `terraform apply` with another ami_id replaces every instance.

provider "aws" {
  region = "eu-west-1"
}

module "decamp" {
  # Elsewhere: source = "github.com/decamp/decamp//infra?ref=v0.1.0"
  source = "../.."

  name = "decamp"

  autoscaling_groups = {
    web = {
      name = var.name
      # ABANDON, so that an instance whose hook ran out is kept (see instance_lifecycle_policy below).
      default_result    = "ABANDON"
      heartbeat_timeout = 900
      # The first is attached to the group, the second is not: decamp deregisters from it.
      target_group_arns = [aws_lb_target_group.attached.arn, aws_lb_target_group.named.arn]
      # The group brings the hook itself: it is there before the first instance and until the last one. The target groups are then in the
      # function's settings, where a change of them changes nothing of the group.
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

  # One of an older day may still be attached to the group.
  classic_load_balancers = ["old-web"]

  # What AWS means to take away leaves while it still runs.
  replace = "both"

  lambda_package = {
    s3_bucket         = var.package.bucket
    s3_key            = var.package.key
    s3_object_version = var.package.version
  }

  nomad = {
    # This name resolves in the VPC where a resolver rule forwards .consul: see the module's README.
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
  # New nodes take work, and are healthy in their target groups, before this is over.
  default_instance_warmup   = 120
  health_check_grace_period = 120
  target_group_arns         = [aws_lb_target_group.attached.arn]

  # The number, and not $Latest: a refresh towards $Latest cannot be rolled back, and starts for no change of Terraform's.
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

  # An instance that could not be emptied in time is kept, and billed, until somebody has looked at it.
  instance_lifecycle_policy {
    retention_triggers {
      terminate_hook_abandon = "retain"
    }
  }

  # For every replacement, whatever its cause: a new instance first, then the old one goes.
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

  # To Auto Scaling's API the hook can be changed; to Terraform a change of it replaces the group, and all of its instances. The command to change
  # it is in the output `put_lifecycle_hook_commands` of the module.
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
  # checkov:skip=CKV2_AWS_28:What a firewall lets through is not this example's to say.
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

# Longer than the longest request, or the load balancer cuts it; shorter than departure.deregistration_delay says, or equal.
resource "aws_lb_target_group" "attached" {
  name                 = "attached-1"
  vpc_id               = var.vpc_id
  port                 = 8080
  protocol             = "HTTP"
  deregistration_delay = 30

  # Twice 5 s: a new node serves soon, and a dead one is left soon.
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

# The tokens: Terraform knows where they are, and never what they are.

resource "aws_secretsmanager_secret" "nomad_token" {
  # checkov:skip=CKV2_AWS_57:Nomad's tokens are made by Nomad. Whoever rotates them writes the new one here; decamp reads it again when it is refused.
  name       = "${var.name}/decamp/nomad-token"
  kms_key_id = var.kms_key_arn
}

resource "aws_ssm_parameter" "consul_token" {
  name   = "/${var.name}/decamp/consul-token"
  type   = "SecureString"
  key_id = var.kms_key_arn
  # Written once and never stored; the token is put there by hand, or by whoever rotates it.
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
