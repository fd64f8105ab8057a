# Who may do what. Policies are plain JSON, so that the tests can read them.

locals {
  # Composed from the name: the function's own ARN would be a cycle.
  function_arn = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}"

  token_secrets = [for secret in [try(var.nomad.token_secret, null), try(var.consul.token_secret, null)] : secret if secret != null]
  parameters    = distinct([for secret in local.token_secrets : secret.arn if split(":", secret.arn)[2] == "ssm"])
  secrets       = distinct([for secret in local.token_secrets : secret.arn if split(":", secret.arn)[2] == "secretsmanager"])
  token_keys    = distinct([for secret in local.token_secrets : secret.kms_key_arn if secret.kms_key_arn != null])

  # What the program itself does, whoever runs it.
  program_statements = [for statement in [
    {
      Sid      = "Lifecycle"
      Effect   = "Allow"
      Action   = ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"]
      Resource = local.group_arns
    },
    {
      # Only the instance's health: that Auto Scaling then terminates it goes through the hook.
      Sid      = "Replace"
      Effect   = "Allow"
      Action   = ["autoscaling:SetInstanceHealth"]
      Resource = var.replace == "never" ? [] : local.group_arns
    },
    {
      Sid    = "Describe"
      Effect = "Allow"
      Action = [
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeLifecycleHooks",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:DescribeTrafficSources",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
      ]
      # AWS knows no narrower resource for any of these.
      Resource = ["*"]
    },
    {
      Sid      = "Deregister"
      Effect   = "Allow"
      Action   = ["elasticloadbalancing:DeregisterTargets"]
      Resource = var.scan_target_groups ? ["arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account}:targetgroup/*/*"] : local.target_groups
    },
    {
      Sid      = "Messages"
      Effect   = "Allow"
      Action   = ["sqs:ChangeMessageVisibility"]
      Resource = aws_sqs_queue.this[*].arn
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

  # What keeps a secret or a message readable; with a condition, so apart from the others.
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

  # What Lambda does in the role's name.
  platform_statements = [for statement in [
    {
      Sid      = "Logs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = [for arn in aws_cloudwatch_log_group.this[*].arn : "${arn}:*"]
    },
    {
      Sid      = "Queue"
      Effect   = "Allow"
      Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
      Resource = aws_sqs_queue.this[*].arn
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

  # Lambda may, its code may not.
  network_denials = [for statement in [
    {
      Sid       = "DenyOwnNetworkInterfaces"
      Effect    = "Deny"
      Action    = local.network_actions
      Resource  = ["*"]
      Condition = { ArnEquals = { "lambda:SourceFunctionArn" = local.function_arn } }
    },
  ] : statement if var.vpc_config != null]

  # What the service needs that no function does: it receives messages itself, and has more secrets.
  service_secrets = distinct([for secret in var.service.secrets : secret.arn])
  service_statements = [for statement in [
    {
      Sid      = "Queue"
      Effect   = "Allow"
      Action   = ["sqs:DeleteMessage", "sqs:ReceiveMessage"]
      Resource = aws_sqs_queue.this[*].arn
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

  # A key for the service's secrets, as key_statements has it for tokens.
  service_key_statements = [for statement in [
    {
      Sid       = "DecryptServiceSecrets"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = distinct([for secret in var.service.secrets : secret.kms_key_arn if secret.kms_key_arn != null])
      Condition = { StringEquals = { "kms:ViaService" = ["ssm.${local.region}.${local.dns_suffix}", "secretsmanager.${local.region}.${local.dns_suffix}"] } }
    },
  ] : statement if 0 < length(statement.Resource)]

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
          # Without this any account's rules could send.
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
  count = local.create_function ? 1 : 0

  # Roles are not of a Region, so their names carry it.
  name                 = "${var.name}-${local.region}"
  path                 = var.role_path
  description          = "What decamp may do."
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
  count = local.create_function ? 1 : 0

  name = "decamp"
  role = aws_iam_role.this[0].id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.program_statements, local.key_statements, local.platform_statements, local.network_statements, local.network_denials)
  })
}
