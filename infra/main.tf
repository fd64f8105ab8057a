# Auto Scaling's events reach the function through a rule and a queue. A schedule starts the sweep, which finds instances whose event was lost.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account    = data.aws_caller_identity.current.account_id
  dns_suffix = data.aws_partition.current.dns_suffix
  partition  = data.aws_partition.current.partition
  region     = coalesce(var.region, data.aws_region.current.region)

  create_function = var.create && var.create_function
  hook_name       = coalesce(var.hook_name, var.name)
  groups = {
    for label, group in var.autoscaling_groups : label => merge(group, {
      create_hook = group.create_hook == null ? group.name_prefix == null : group.create_hook
    }) if var.create
  }
  # A group with a name_prefix may be replaced by another with the same prefix. decamp drains both meanwhile.
  group_names    = sort([for group in values(local.groups) : group.name if group.name_prefix == null])
  group_prefixes = sort([for group in values(local.groups) : group.name_prefix if group.name_prefix != null])
  group_words    = concat(local.group_names, [for prefix in local.group_prefixes : "${prefix}*"])
  words_by_label = { for label, group in local.groups : label => group.name_prefix == null ? group.name : "${group.name_prefix}*" }
  # The star in the middle stands for the group's UUID, which is not known before the group exists.
  group_arns    = [for word in local.group_words : "arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${word}"]
  target_groups = distinct(flatten(values(local.groups)[*].target_group_arns))
  package       = coalesce(var.lambda_package, { path = null, s3_bucket = null, s3_key = null, s3_object_version = null, source_code_hash = null })

  hooks = {
    for label, group in local.groups : label => {
      name                 = local.hook_name
      default_result       = group.default_result
      heartbeat_timeout    = group.heartbeat_timeout
      lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
      # The function reads a group's target groups from its hook. A hook that the group brings itself names none, because it cannot be
      # changed. Its target groups are in DECAMP_TARGET_GROUPS.
      notification_metadata = group.create_hook && 0 < length(group.target_group_arns) ? jsonencode({ target_groups = group.target_group_arns }) : null
    }
  }
  # The keys are label and name, so that a hook with a new name is created before the one with the old name is deleted.
  created_hooks = merge([
    for label, group in local.groups : {
      for name in distinct(concat([local.hook_name], var.former_hook_names)) : "${label}/${name}" => merge(local.hooks[label], { name = name, group = group.name })
    } if group.create_hook
  ]...)
  # The hooks that groups bring themselves, as they were when each group was created.
  own_hooks         = { for label, hook in terraform_data.initial_lifecycle_hook : label => hook.input }
  hook_names        = distinct(concat([local.hook_name], var.former_hook_names, sort(distinct([for hook in values(local.own_hooks) : hook.name]))))
  own_target_groups = distinct(flatten([for group in values(local.groups) : group.target_group_arns if !group.create_hook]))

  # Only lifecycle events name their group. A filter by group would match no other event, so the function asks Auto Scaling for the group.
  patterns = {
    for name, pattern in {
      lifecycle = {
        wanted      = true
        description = "Instances of decamp's groups that wait in its hook."
        pattern = {
          source      = ["aws.autoscaling"]
          detail-type = ["EC2 Instance-terminate Lifecycle Action"]
          account     = [local.account]
          region      = [local.region]
          detail = {
            AutoScalingGroupName = concat(local.group_names, [for prefix in local.group_prefixes : { prefix = prefix }])
            LifecycleHookName    = local.hook_names
            LifecycleTransition  = ["autoscaling:EC2_INSTANCE_TERMINATING"]
          }
        }
      }
      spot-interruption = {
        wanted      = var.events.spot_interruption
        description = "Spot instances that EC2 will interrupt in two minutes."
        pattern = {
          source      = ["aws.ec2"]
          detail-type = ["EC2 Spot Instance Interruption Warning"]
          account     = [local.account]
          region      = [local.region]
          detail      = {}
        }
      }
      rebalance = {
        wanted      = var.events.rebalance || contains(["rebalance", "both"], var.replace)
        description = "Spot instances that EC2 may interrupt."
        pattern = {
          source      = ["aws.ec2"]
          detail-type = ["EC2 Instance Rebalance Recommendation"]
          account     = [local.account]
          region      = [local.region]
          detail      = {}
        }
      }
      scheduled-change = {
        wanted      = var.events.scheduled_change || contains(["scheduled", "both"], var.replace)
        description = "Instances that AWS plans to retire or restart."
        pattern = {
          source      = ["aws.health"]
          detail-type = ["AWS Health Event"]
          account     = [local.account]
          region      = [local.region]
          detail = {
            service           = ["EC2"]
            eventTypeCategory = ["scheduledChange"]
          }
        }
      }
    } : name => { description = pattern.description, json = jsonencode({ for key, value in pattern.pattern : key => value if value != {} }) } if pattern.wanted && var.create
  }

  queues = { for key, queue in { queue = aws_sqs_queue.this, dead_letters = aws_sqs_queue.dead_letters } : key => queue[0] if var.create }

  # The connections to each Nomad and Consul. The keys are `nomad` and `consul`, or "blue/nomad" and "blue/consul" for a cluster called blue.
  connections = merge(
    { for system, connection in { nomad = var.nomad, consul = var.consul } : system => connection if connection != null },
    merge([
      for name, cluster in var.clusters : {
        for system, connection in { nomad = cluster.nomad, consul = cluster.consul } : "${name}/${system}" => connection if connection != null
      }
    ]...)
  )
  variable_names = {
    nomad = {
      addresses                 = "NOMAD_ADDR"
      ca_certificate_path       = "NOMAD_CACERT"
      ca_certificate_secret     = "NOMAD_CACERT_SECRET"
      client_certificate_secret = "NOMAD_CLIENT_CERT_SECRET"
      client_key_secret         = "NOMAD_CLIENT_KEY_SECRET"
      region                    = "NOMAD_REGION"
      tls_server_name           = "NOMAD_TLS_SERVER_NAME"
      token_secret              = "NOMAD_TOKEN_SECRET"
    }
    consul = {
      addresses                 = "CONSUL_HTTP_ADDR"
      ca_certificate_path       = "CONSUL_CACERT"
      ca_certificate_secret     = "CONSUL_CACERT_SECRET"
      client_certificate_secret = "CONSUL_CLIENT_CERT_SECRET"
      client_key_secret         = "CONSUL_CLIENT_KEY_SECRET"
      datacenter                = "CONSUL_DATACENTER"
      tls_server_name           = "CONSUL_TLS_SERVER_NAME"
      token_secret              = "CONSUL_HTTP_TOKEN_SECRET"
    }
  }
  # The variables of each connection. A CA certificate that is given as text is stored in a parameter.
  connected = {
    for key, connection in local.connections : key => {
      for argument, name in local.variable_names[basename(key)] : name => (
        argument == "addresses" ? join(",", connection.addresses) :
        argument == "ca_certificate_secret" && connection.ca_certificate != null ? "ssm:/${var.name}/ca/${key}" :
        tostring(try(connection[argument].arn, connection[argument]))
      ) if connection[argument] != null || (argument == "ca_certificate_secret" && connection.ca_certificate != null)
    }
  }

  environment = merge(
    {
      DECAMP_MODE               = var.mode
      DECAMP_SWEEP              = "${60 * var.sweep_period}s"
      DECAMP_GROUPS             = join(",", local.group_words)
      DECAMP_ACCOUNTS           = local.account
      DECAMP_REGIONS            = local.region
      DECAMP_HOOKS              = join(",", local.hook_names)
      DECAMP_SCAN               = tostring(var.scan_target_groups)
      DECAMP_MAX_DEPARTURE      = "${var.departure.max}s"
      DECAMP_RESERVE            = "${var.departure.reserve}s"
      DECAMP_ON_TIMEOUT         = var.departure.on_timeout
      DECAMP_NEVER_FORCE        = tostring(var.departure.never_force)
      DECAMP_IGNORE_SYSTEM_JOBS = tostring(var.departure.ignore_system_jobs)
      DECAMP_REPLACE            = var.replace
      DECAMP_REPLACE_AHEAD      = "${var.replace_ahead}s"
      DECAMP_QUEUE_KEEPS        = "${var.message_retention}s"
    },
    length(local.own_target_groups) == 0 ? {} : { DECAMP_TARGET_GROUPS = join(",", local.own_target_groups) },
    # With several clusters, the document has a table for each.
    0 < length(var.clusters) ? {} : merge({ DECAMP_CONSUL = tostring(var.consul != null), NOMAD_ADDR = "" }, values(local.connected)...),
  )
}

locals {
  # CA certificates that are given as text, each in a parameter. They are public, so the parameters are not encrypted.
  ca_parameters = {
    for key, connection in local.connections : key => { name = "/${var.name}/ca/${key}", text = connection.ca_certificate }
    if connection.ca_certificate != null && local.create_function
  }

  # The settings document has the settings of `config` and the lists that grow with the groups.
  has_document       = var.config != null || 0 < length(var.clusters)
  in_document        = !local.has_document ? [] : ["DECAMP_GROUPS", "DECAMP_HOOKS", "DECAMP_TARGET_GROUPS"]
  document_parameter = "/${var.name}/settings"
  document = join("", concat(
    [for name, value in merge({ for name, value in local.environment : name => value if contains(local.in_document, name) }, var.config) : "${name} = ${jsonencode(value)}\n"],
    [
      for name, cluster in var.clusters : join("\n", concat(
        ["", "[clusters.${name}]", "groups = ${jsonencode(sort([for label in cluster.groups : local.words_by_label[label] if contains(keys(local.groups), label)]))}"],
        cluster.consul == null ? ["DECAMP_CONSUL = false"] : [],
        flatten([for key in ["${name}/nomad", "${name}/consul"] : [for setting, value in try(local.connected[key], {}) : "${setting} = ${jsonencode(value)}"]]),
        [""],
      ))
    ],
  ))

  # The environment names the version, so that a changed document changes the environment and Lambda restarts the function.
  document_version = one(aws_ssm_parameter.settings[*].version)
  rest             = merge({ for name, value in local.environment : name => value if !contains(local.in_document, name) }, var.settings)
  variables        = merge(local.rest, !local.has_document ? {} : { DECAMP_CONFIG = "ssm:${local.document_parameter}:${coalesce(local.document_version, 1)}" })
  # For the check of the quota at plan time, when the version is not known. It has at most seven digits.
  measured = merge(local.rest, !local.has_document ? {} : { DECAMP_CONFIG = "ssm:${local.document_parameter}:0000000" })
}

resource "aws_ssm_parameter" "ca" {
  # checkov:skip=CKV2_AWS_34:A CA certificate is public.
  # checkov:skip=CKV_AWS_337:A CA certificate is public.
  for_each = local.ca_parameters

  region         = var.region
  name           = each.value.name
  description    = "The CA certificate with which decamp verifies the certificate of ${each.key}."
  type           = "String"
  tier           = 4096 < length(each.value.text) ? "Advanced" : "Standard"
  insecure_value = each.value.text
  tags           = var.tags
}

resource "aws_ssm_parameter" "settings" {
  # checkov:skip=CKV2_AWS_34:The inputs refuse tokens here, so nothing in it is secret.
  # checkov:skip=CKV_AWS_337:The inputs refuse tokens here, so nothing in it is secret.
  count = local.create_function && local.has_document ? 1 : 0

  region         = var.region
  name           = local.document_parameter
  description    = "decamp's settings, in TOML."
  type           = "String"
  tier           = 4096 < length(local.document) ? "Advanced" : "Standard"
  insecure_value = local.document
  tags           = var.tags

  lifecycle {
    precondition {
      condition     = length(local.document) <= 8192
      error_message = "The document of settings has ${length(local.document)} characters, and a parameter takes 8192: use a name_prefix that several groups share, set scan_target_groups = true, or call the module twice."
    }
  }
}

locals {
  # The version and the sums of the module's own release. They are null before the first release.
  release = jsondecode(file("${path.module}/release.json"))
  # The zip is downloaded if the inputs name none.
  downloads   = local.create_function && var.lambda_package == null && local.release.version != null
  release_sum = try(local.release.zips[var.architecture], { sha256 = null, base64 = null })
  release_zip = "${path.root}/.terraform/decamp/decamp-lambda-${var.architecture}-${coalesce(local.release.version, "none")}.zip"
}

# Downloads the release's zip when the function needs another, and checks its sum. An apply that changes nothing needs no zip.
resource "terraform_data" "package" {
  count = local.downloads ? 1 : 0

  triggers_replace = { version = local.release.version, architecture = var.architecture, sha256 = local.release_sum.sha256 }

  provisioner "local-exec" {
    command = "mkdir -p \"$(dirname \"$ZIP\")\" && curl --fail --silent --show-error --location --retry 3 --output \"$ZIP\" \"$URL\" && echo \"$SUM  $ZIP\" | (sha256sum --check --status - || shasum --algorithm 256 --check --status -) || { rm -f \"$ZIP\"; echo \"$URL could not be downloaded, or its checksum differs from the release\" >&2; exit 1; }"
    environment = {
      ZIP = local.release_zip
      URL = "${local.release.url}/v${coalesce(local.release.version, "none")}/decamp-lambda-${var.architecture}.zip"
      SUM = local.release_sum.sha256
    }
  }
}

# The numbers that must fit one another, for each group. See modules/budget.
module "budget" {
  source   = "./modules/budget"
  for_each = local.groups

  group                 = each.key
  heartbeat_timeout     = each.value.heartbeat_timeout
  function_timeout      = var.function_timeout
  visibility_timeout    = var.visibility_timeout
  sweep_period          = 60 * var.sweep_period
  max_receive_count     = var.max_receive_count
  message_retention     = var.message_retention
  dead_letter_retention = var.dead_letter_retention
  max_departure         = var.departure.max
  reserve               = var.departure.reserve
  deregistration_delay  = var.departure.deregistration_delay
  longest_stop          = var.departure.longest_stop
  guard                 = var.departure.guard
}

# Creates no resource of AWS. Its precondition makes a plan fail whose numbers do not fit.
resource "terraform_data" "budget" {
  for_each = local.groups

  lifecycle {
    precondition {
      condition     = length(module.budget[each.key].broken) == 0
      error_message = "The time budget does not fit:\n${join("\n", values(module.budget[each.key].broken))}"
    }
  }
}

resource "aws_sqs_queue" "this" {
  count = var.create ? 1 : 0

  region                     = var.region
  name                       = var.name
  visibility_timeout_seconds = var.visibility_timeout
  message_retention_seconds  = var.message_retention
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  tags                       = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters[0].arn
    maxReceiveCount     = var.max_receive_count
  })
}

resource "aws_sqs_queue" "dead_letters" {
  count = var.create ? 1 : 0

  region                    = var.region
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = var.dead_letter_retention
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  count = var.create ? 1 : 0

  region    = var.region
  queue_url = aws_sqs_queue.dead_letters[0].url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this[0].arn]
  })
}

resource "aws_sqs_queue_policy" "this" {
  for_each = local.queues

  region    = var.region
  queue_url = each.value.url
  policy    = local.queue_policies[each.key]
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.patterns

  region        = var.region
  name          = "${var.name}-${each.key}"
  description   = each.value.description
  event_pattern = each.value.json
  tags          = var.tags

  lifecycle {
    precondition {
      condition     = length(each.value.json) <= 2048
      error_message = "The pattern of the rule ${each.key} has ${length(each.value.json)} characters, and EventBridge's quota is 2048: use a name_prefix that several groups share, or call the module twice, each with some of the ${length(local.groups)} groups, under two names."
    }
  }
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.patterns

  region    = var.region
  rule      = aws_cloudwatch_event_rule.this[each.key].name
  target_id = "queue"
  arn       = aws_sqs_queue.this[0].arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters[0].arn
  }

  # An event that arrives before the queue accepts it would become a dead letter.
  depends_on = [aws_sqs_queue_policy.this]
}

# The schedule invokes the function directly. In the queue a sweep would wait behind the departures whose hooks it keeps alive.
resource "aws_cloudwatch_event_rule" "sweep" {
  count = local.create_function ? 1 : 0

  region              = var.region
  name                = "${var.name}-sweep"
  description         = "Makes decamp look at every waiting instance, whether or not its event arrived."
  schedule_expression = var.sweep_period == 1 ? "rate(1 minute)" : "rate(${var.sweep_period} minutes)"
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "sweep" {
  count = local.create_function ? 1 : 0

  region    = var.region
  rule      = aws_cloudwatch_event_rule.sweep[0].name
  target_id = "function"
  arn       = aws_lambda_function.this[0].arn
  input     = jsonencode({ decamp = "sweep" })

  # The schedule starts the next sweep anyway.
  retry_policy {
    maximum_event_age_in_seconds = 60
    maximum_retry_attempts       = 0
  }
}

resource "aws_lambda_permission" "sweep" {
  count = local.create_function ? 1 : 0

  region         = var.region
  statement_id   = "Sweep"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this[0].function_name
  principal      = "events.amazonaws.com"
  source_arn     = aws_cloudwatch_event_rule.sweep[0].arn
  source_account = local.account
}

resource "aws_lambda_function_event_invoke_config" "sweep" {
  count = local.create_function ? 1 : 0

  region                       = var.region
  function_name                = aws_lambda_function.this[0].function_name
  maximum_event_age_in_seconds = 60
  maximum_retry_attempts       = 0
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338:The retention of the log is an input.
  count = local.create_function ? 1 : 0

  region            = var.region
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_in_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_50:The function writes no traces. Its log has a line for each decision.
  # checkov:skip=CKV_AWS_115:A limit below the mapping's maximum_concurrency throttles, and throttled receives turn messages into dead letters.
  # checkov:skip=CKV_AWS_116:The queue has a dead-letter queue, and the next sweep replaces one that failed.
  # checkov:skip=CKV_AWS_272:Code signing is a decision of the account. source_code_hash pins this zip.
  count = local.create_function ? 1 : 0

  region            = var.region
  function_name     = var.name
  description       = "Drains instances that Auto Scaling terminates from Nomad and their load balancers."
  role              = local.role_arn
  runtime           = "provided.al2023"
  handler           = "bootstrap"
  architectures     = [var.architecture]
  memory_size       = var.memory_size
  timeout           = var.function_timeout
  layers            = var.layers
  kms_key_arn       = var.kms_key_arn
  filename          = local.downloads ? local.release_zip : local.package.path
  s3_bucket         = local.package.s3_bucket
  s3_key            = local.package.s3_key
  s3_object_version = local.package.s3_object_version
  source_code_hash  = local.downloads ? local.release_sum.base64 : local.package.path == null ? local.package.source_code_hash : filebase64sha256(local.package.path)
  tags              = var.tags

  environment {
    variables = local.variables
  }

  logging_config {
    log_format            = "JSON"
    log_group             = aws_cloudwatch_log_group.this[0].name
    application_log_level = upper(var.log_level)
    system_log_level      = "INFO"
  }

  dynamic "vpc_config" {
    for_each = var.vpc_config == null ? [] : [var.vpc_config]

    content {
      subnet_ids                  = vpc_config.value.subnet_ids
      ipv6_allowed_for_dual_stack = vpc_config.value.ipv6
      security_group_ids          = local.create_security_group ? aws_security_group.this[*].id : vpc_config.value.security_group_ids
    }
  }

  lifecycle {
    precondition {
      # Lambda measures the variables as JSON, in bytes. base64 has four characters for three bytes.
      condition     = length(base64encode(jsonencode(local.measured))) / 4 * 3 <= 4096
      error_message = "The function's environment has about ${floor(length(base64encode(jsonencode(local.measured))) / 4 * 3)} bytes, and Lambda takes 4096: use a name_prefix that several groups share, set config = {} (the lists that grow are then in a parameter), let the module create hooks (their target_group_arns are then in the hooks), set scan_target_groups = true, or call the module twice."
    }
  }

  # The function would fail if it were invoked before its role has its policy, or before the parameters that its environment names exist.
  depends_on = [aws_iam_role_policy.this, aws_ssm_parameter.ca, terraform_data.package]
}

resource "aws_lambda_event_source_mapping" "this" {
  count = local.create_function ? 1 : 0

  region                  = var.region
  event_source_arn        = aws_sqs_queue.this[0].arn
  function_name           = aws_lambda_function.this[0].arn
  enabled                 = true
  batch_size              = var.batch_size
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  # The function has no reserved concurrency. If that were lower, throttled receives would turn messages into dead letters.
  scaling_config {
    maximum_concurrency = var.maximum_concurrency
  }
}

# The hook of a group that brings its own, as it was when its label was added to autoscaling_groups. Terraform replaces a group, with all of
# its instances, when its initial_lifecycle_hook changes. So the outputs never change these values.
resource "terraform_data" "initial_lifecycle_hook" {
  for_each = { for label, group in local.groups : label => local.hooks[label] if !group.create_hook }

  input = each.value

  lifecycle {
    ignore_changes = [input]
  }
}

resource "aws_autoscaling_lifecycle_hook" "this" {
  for_each = local.created_hooks

  region                 = var.region
  name                   = each.value.name
  autoscaling_group_name = each.value.group
  default_result         = each.value.default_result
  heartbeat_timeout      = each.value.heartbeat_timeout
  lifecycle_transition   = each.value.lifecycle_transition
  notification_metadata  = each.value.notification_metadata

  # A hook without a function that receives its events holds each termination for its whole time-out. So it is created last and deleted first.
  depends_on = [
    aws_cloudwatch_event_target.this,
    aws_cloudwatch_event_target.sweep,
    aws_lambda_event_source_mapping.this,
    aws_lambda_permission.sweep,
    terraform_data.budget,
  ]
}

locals {
  create_security_group = local.create_function && var.vpc_config != null && length(try(var.vpc_config.security_group_ids, [])) == 0
}

resource "aws_security_group" "this" {
  # checkov:skip=CKV2_AWS_5:The function uses it, through a conditional that checkov does not follow.
  count = local.create_security_group ? 1 : 0

  region      = var.region
  name        = var.name
  description = "decamp: egress to AWS, Nomad and Consul, no ingress."
  vpc_id      = var.vpc_config.vpc_id
  tags        = merge(var.tags, { Name = var.name })

  # Lambda's network interfaces use it for up to an hour after the function is deleted.
  timeouts {
    delete = "90m"
  }

  # Lambda deletes them with the function's role, which needs its policy until then.
  depends_on = [aws_iam_role_policy.this]
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.create_security_group ? var.vpc_config.egress : {}

  region                       = var.region
  security_group_id            = aws_security_group.this[0].id
  description                  = coalesce(each.value.description, each.key)
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = each.value.cidr_ipv4
  cidr_ipv6                    = each.value.cidr_ipv6
  prefix_list_id               = each.value.prefix_list_id
  referenced_security_group_id = each.value.referenced_security_group_id
  tags                         = var.tags
}
