output "function_arn" {
  description = "The function's ARN."
  value       = try(aws_lambda_function.this[0].arn, null)
}

output "function_name" {
  description = "The function's name."
  value       = try(aws_lambda_function.this[0].function_name, null)
}

output "role_arn" {
  description = "The ARN of the function's role."
  value       = local.create_function ? local.role_arn : null
}

output "role_name" {
  description = "The name of the function's role, to attach further policies to. Null with role_arn."
  value       = try(aws_iam_role.this[0].name, null)
}

output "role_policy_json" {
  description = "The policy that the function's role needs, for a role of your own (role_arn)."
  value       = local.create_function ? local.role_policy : null
}

output "service_policy_json" {
  description = "The policy that `decamp serve` needs on this queue, for a role of your own."
  value       = var.create ? local.service_policy : null

  precondition {
    condition     = var.create_function || length(local.service_policy) <= 10240
    error_message = "The policy of the service has ${length(local.service_policy)} characters, and IAM takes 10240 in a role's own policies: use a name_prefix that several groups share, set scan_target_groups = true, or call the module twice, each with some of the ${length(local.groups)} groups, under two names."
  }
}

output "queue_arn" {
  description = "The queue's ARN."
  value       = try(aws_sqs_queue.this[0].arn, null)
}

output "queue_url" {
  description = "The queue's URL."
  value       = try(aws_sqs_queue.this[0].url, null)
}

output "dead_letter_queue_arn" {
  description = "The dead-letter queue's ARN."
  value       = try(aws_sqs_queue.dead_letters[0].arn, null)
}

output "dead_letter_queue_url" {
  description = "The dead-letter queue's URL."
  value       = try(aws_sqs_queue.dead_letters[0].url, null)
}

output "event_rule_arns" {
  description = "The ARNs of the rules that send events to the queue, by what they match."
  value       = { for name, rule in aws_cloudwatch_event_rule.this : name => rule.arn }
}

output "security_group_id" {
  description = "The security group that the module created for the function. Allow it in the security groups of Nomad and Consul."
  value       = try(aws_security_group.this[0].id, null)
}

output "lifecycle_hook_names" {
  description = "The names of the hooks that the module created, by the group's label."
  value       = { for label, group in local.groups : label => aws_autoscaling_lifecycle_hook.this["${label}/${local.hook_name}"].name if group.create_hook }
}

output "initial_lifecycle_hooks" {
  description = "The values for the initial_lifecycle_hook of each group with create_hook = false, by its label. Such a hook exists before the first instance and until the last one. The values stay those of the first apply, because Terraform replaces a group whose initial_lifecycle_hook changes."
  value       = local.own_hooks

  # A group with this hook is created after the path to the function and destroyed before it, so that its last instances are drained.
  depends_on = [
    aws_cloudwatch_event_target.this,
    aws_cloudwatch_event_target.sweep,
    aws_lambda_event_source_mapping.this,
    aws_lambda_permission.sweep,
    terraform_data.budget,
  ]
}

output "put_lifecycle_hook_commands" {
  description = "The command that sets the current inputs on the hook of each group with create_hook = false, by its label. Run it after a change of heartbeat_timeout or default_result."
  value = {
    for label, hook in local.own_hooks : label => join(" ", [
      "aws autoscaling put-lifecycle-hook --region ${local.region}",
      "--auto-scaling-group-name '${coalesce(local.groups[label].name, "NAME")}' --lifecycle-hook-name ${hook.name}",
      "--lifecycle-transition ${hook.lifecycle_transition}",
      "--heartbeat-timeout ${local.groups[label].heartbeat_timeout} --default-result ${local.groups[label].default_result}",
    ])
  }
}

output "check_command" {
  description = "The command that makes the function check whether it reaches everything that a departure needs, and prints the report. It changes nothing."
  value = local.create_function ? join(" ", [
    "aws lambda invoke --region ${local.region} --function-name ${aws_lambda_function.this[0].function_name}",
    "--cli-binary-format raw-in-base64-out --payload '{\"decamp\":\"check\"}' --cli-read-timeout ${var.function_timeout + 10}",
    "decamp-check.json && cat decamp-check.json",
  ]) : null
}

output "log_group_name" {
  description = "The function's log group."
  value       = try(aws_cloudwatch_log_group.this[0].name, null)
}

output "alarm_arns" {
  description = "The ARNs of the alarms, by what they watch."
  value = merge(
    { for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.arn },
    { for alarm in aws_cloudwatch_metric_alarm.no_sweep : "no-sweep" => alarm.arn },
    { for label, alarm in aws_cloudwatch_metric_alarm.outcomes : "outcomes-${label}" => alarm.arn },
    { for alarm in aws_cloudwatch_metric_alarm.outcomes_by_prefix : "outcomes-by-prefix" => alarm.arn },
  )
}

output "dashboard_name" {
  description = "The dashboard's name."
  value       = try(aws_cloudwatch_dashboard.this[0].dashboard_name, null)
}
