# Roles and policies. Policies are plain JSON, so that the tests can read them.

locals {
  # Composed from the name, because a reference to the function's own ARN would be a cycle.
  function_arn = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}"

  # Composed as well, so that the whole policy and its size are known at plan time.
  queue_arns     = [for name in [var.name] : "arn:${local.partition}:sqs:${local.region}:${local.account}:${name}" if var.create]
  log_group_arns = [for name in [var.name] : "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${name}" if local.create_function]

  create_role = local.create_function && var.role_arn == null
  role_arn    = var.role_arn == null ? one(aws_iam_role.this[*].arn) : var.role_arn

  # Tokens, certificates and keys that the program reads from AWS itself.
  kept = flatten([
    for key in reverse(sort(keys(local.connections))) : [
      for kind in ["token_secret", "ca_certificate_secret", "client_certificate_secret", "client_key_secret"] : local.connections[key][kind] if local.connections[key][kind] != null
    ]
  ])
  # The module's own parameters, by their names, which are known at plan time.
  own_parameters = concat(values(local.ca_parameters)[*].name, [for name in [local.document_parameter] : name if local.create_function && local.has_document])
  parameters = distinct(concat(
    [for secret in local.kept : secret.arn if split(":", secret.arn)[2] == "ssm"],
    [for name in local.own_parameters : "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${name}"],
  ))
  secrets    = distinct([for secret in local.kept : secret.arn if split(":", secret.arn)[2] == "secretsmanager"])
  token_keys = distinct([for secret in local.kept : secret.kms_key_arn if secret.kms_key_arn != null])

  # The writes to groups, in one statement, because the groups' ARNs are most of the policy.
  group_actions = concat(
    ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"],
    # decamp only sets the instance's health. Auto Scaling then terminates it through the hook.
    var.replace == "never" ? [] : ["autoscaling:SetInstanceHealth"],
  )
  # A webhook or a notification of HCP Terraform may start a refresh. A person cancels it with their own credentials.
  service_group_actions = concat(local.group_actions, var.service.refresh ? ["autoscaling:StartInstanceRefresh"] : [])

  lifecycle_statements         = [for actions in [local.group_actions] : { Sid = "Lifecycle", Effect = "Allow", Action = actions, Resource = local.group_arns } if 0 < length(local.group_arns)]
  service_lifecycle_statements = [for actions in [local.service_group_actions] : { Sid = "Lifecycle", Effect = "Allow", Action = actions, Resource = local.group_arns } if 0 < length(local.group_arns)]

  # Further calls of the program, in the function and in the service.
  program_statements = [for statement in [
    {
      Sid    = "Describe"
      Effect = "Allow"
      Action = [
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeLifecycleHooks",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:DescribeTrafficSources",
        "elasticloadbalancing:DescribeInstanceHealth",
        "elasticloadbalancing:DescribeLoadBalancerAttributes",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
      ]
      # AWS supports no narrower resource for these actions.
      Resource = ["*"]
    },
    {
      Sid      = "Deregister"
      Effect   = "Allow"
      Action   = ["elasticloadbalancing:DeregisterTargets"]
      Resource = var.scan_target_groups ? ["arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account}:targetgroup/*/*"] : local.target_groups
    },
    {
      Sid      = "DeregisterClassic"
      Effect   = "Allow"
      Action   = ["elasticloadbalancing:DeregisterInstancesFromLoadBalancer"]
      Resource = [for name in var.classic_load_balancers : "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account}:loadbalancer/${name}"]
    },
    {
      Sid      = "Messages"
      Effect   = "Allow"
      Action   = ["sqs:ChangeMessageVisibility"]
      Resource = local.queue_arns
    },
    {
      Sid      = "Parameters"
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = local.parameters
    },
    {
      Sid      = "Secrets"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = local.secrets
    },
  ] : statement if 0 < length(statement.Resource)]

  # Decryption of secrets and messages. These statements are separate because they have a condition.
  key_statements = [for statement in [
    {
      Sid       = "DecryptTokens"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = local.token_keys
      Condition = { StringEquals = { "kms:ViaService" = ["ssm.${local.region}.${local.dns_suffix}", "secretsmanager.${local.region}.${local.dns_suffix}"] } }
    },
    {
      Sid       = "DecryptOwn"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = [for arn in [var.kms_key_arn] : arn if arn != null]
      Condition = { StringEquals = { "kms:ViaService" = ["sqs.${local.region}.${local.dns_suffix}", "lambda.${local.region}.${local.dns_suffix}"] } }
    },
  ] : statement if 0 < length(statement.Resource)]

  # Calls that Lambda itself makes with the role.
  platform_statements = [for statement in [
    {
      Sid      = "Logs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = [for arn in local.log_group_arns : "${arn}:*"]
    },
    {
      Sid      = "Queue"
      Effect   = "Allow"
      Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
      Resource = local.queue_arns
    },
  ] : statement if 0 < length(statement.Resource)]

  network_actions = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
  ]

  network_statements = [for statement in [
    {
      Sid      = "NetworkInterfaces"
      Effect   = "Allow"
      Action   = local.network_actions
      Resource = ["*"]
    },
  ] : statement if var.vpc_config != null]

  # Lambda may manage network interfaces. The function's code may not.
  network_denials = [for statement in [
    {
      Sid       = "DenyOwnNetworkInterfaces"
      Effect    = "Deny"
      Action    = local.network_actions
      Resource  = ["*"]
      Condition = { ArnEquals = { "lambda:SourceFunctionArn" = local.function_arn } }
    },
  ] : statement if var.vpc_config != null]

  # What only the service needs: it receives messages itself, and has more secrets.
  service_secrets = distinct([for secret in var.service.secrets : secret.arn])
  service_statements = [for statement in [
    {
      Sid      = "Queue"
      Effect   = "Allow"
      Action   = ["sqs:DeleteMessage", "sqs:ReceiveMessage"]
      Resource = local.queue_arns
    },
    {
      Sid      = "Refreshes"
      Effect   = "Allow"
      Action   = ["autoscaling:DescribeInstanceRefreshes"]
      Resource = var.service.refresh ? ["*"] : []
    },
    {
      # With DECAMP_LOOK_BACK. AWS supports no narrower resource for it.
      Sid      = "LookBack"
      Effect   = "Allow"
      Action   = ["cloudwatch:GetMetricData"]
      Resource = var.service.look_back ? ["*"] : []
    },
    {
      Sid      = "Topics"
      Effect   = "Allow"
      Action   = ["sns:ConfirmSubscription"]
      Resource = var.service.topic_arns
    },
    {
      Sid      = "ServiceParameters"
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = [for arn in local.service_secrets : arn if split(":", arn)[2] == "ssm"]
    },
    {
      Sid      = "ServiceSecrets"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = [for arn in local.service_secrets : arn if split(":", arn)[2] == "secretsmanager"]
    },
  ] : statement if 0 < length(statement.Resource)]

  # The keys of the service's secrets, as in key_statements.
  service_key_statements = [for statement in [
    {
      Sid       = "DecryptServiceSecrets"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = distinct([for secret in var.service.secrets : secret.kms_key_arn if secret.kms_key_arn != null])
      Condition = { StringEquals = { "kms:ViaService" = ["ssm.${local.region}.${local.dns_suffix}", "secretsmanager.${local.region}.${local.dns_suffix}"] } }
    },
  ] : statement if 0 < length(statement.Resource)]

  # The statements of role_statements, in their order.
  further_statements = [for statement in var.role_statements : { Sid = statement.sid, Effect = statement.effect, Action = statement.actions, Resource = statement.resources }]

  role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.lifecycle_statements, local.program_statements, local.key_statements, local.platform_statements, local.network_statements, local.network_denials, local.further_statements)
  })
  service_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.service_lifecycle_statements, local.program_statements, local.key_statements, local.service_statements, local.service_key_statements)
  })

  queue_policies = {
    for key, queue in local.queues : key => jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Sid       = "Rules"
          Effect    = "Allow"
          Principal = { Service = "events.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = queue.arn
          # Without this condition a rule of any account could send.
          Condition = { ArnEquals = { "aws:SourceArn" = [for rule in values(aws_cloudwatch_event_rule.this) : rule.arn] } }
        },
        {
          Sid       = "DenyPlain"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = queue.arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ]
    })
  }
}

resource "aws_iam_role" "this" {
  count = local.create_role ? 1 : 0

  # Roles are global, so their names contain the Region.
  name                 = "${var.name}-${local.region}"
  path                 = var.role_path
  description          = "The permissions of decamp's function."
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Lambda"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  count = local.create_role ? 1 : 0

  name = "decamp"
  role = aws_iam_role.this[0].id

  policy = local.role_policy

  lifecycle {
    precondition {
      condition     = length(local.role_policy) <= 10240
      error_message = "The policy of the function's role has ${length(local.role_policy)} characters, and IAM takes 10240 in a role's own policies: use a name_prefix that several groups share (there are ${length(local.groups)}), set scan_target_groups = true (there are ${length(local.target_groups)} target groups), or call the module twice, each with some of the groups, under two names."
    }
  }
}
