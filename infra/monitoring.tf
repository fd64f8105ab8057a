# Alarms, each with a link to its section in the runbook, and a dashboard.

locals {
  # The names of the program's metrics (crates/core/src/metrics.rs).
  namespace = "decamp"
  metrics = {
    departures          = "Departures"
    departure_seconds   = "DepartureSeconds"
    seconds_above_floor = "SecondsAboveFloor"
    steps               = "Steps"
    handed_back         = "HandedBack"
    heartbeats_rejected = "HeartbeatsRejected"
    events_rejected     = "EventsRejected"
    denied              = "Denied"
    warnings            = "InstanceWarnings"
    sweeps              = "Sweeps"
    waiting             = "InstancesWaiting"
    retained            = "InstancesRetained"
    hard_stops          = "HardStops"
    compared            = "Compared"
    not_foreseen        = "NotForeseen"
  }

  # The outcomes of a departure.
  outcomes = ["departed", "forced", "unconfirmed", "data-left", "timed-out", "retained", "agent-dead", "no-node", "gone", "expired", "already-past", "not-leaving", "not-ours", "interrupted", "refused", "overtaken"]

  # SQS leaves messages that were received more than three times out of this metric, so a departure's message counts only for its first three
  # passes. Two messages may wait longer: one at the end of a long queue, and the event of a scheduled change, which is hidden for hours at a time.
  oldest_message = max(var.departure.max + var.visibility_timeout, contains(["scheduled", "both"], var.replace) ? var.message_retention - 21600 : 0)

  calm_outcomes = [for outcome in local.outcomes : outcome if !contains(var.alarms.outcomes, outcome)]
  create_alarms = var.create && var.create_alarms

  # The page with a section for each alarm (crates/core/src/runbook.rs has the same address).
  runbook = "https://github.com/decamp/decamp/blob/main/docs/alarms.md#"

  queue_alarms = {
    dead-letters = {
      description = "A message became a dead letter: an event could not be delivered, or a departure was begun max_receive_count times. Read it in the dead-letter queue. The sweep continues with its instance."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = "${var.name}-dead-letters" }
      statistic   = "Maximum"
      above       = 0
    }
    message-age = {
      description = "A message that was received at most three times is older than any message should be: nothing processes it. Look at the function's errors and throttles."
      namespace   = "AWS/SQS"
      metric      = "ApproximateAgeOfOldestMessage"
      dimensions  = { QueueName = var.name }
      statistic   = "Maximum"
      above       = coalesce(var.alarms.message_age, local.oldest_message)
    }
  }

  rule_alarms = {
    for name in keys(local.patterns) : "undelivered-${name}" => {
      description = "EventBridge could not deliver an event of the rule ${var.name}-${name} to the queue. Look at the queue's policy, and at its key's."
      namespace   = "AWS/Events"
      metric      = "FailedInvocations"
      dimensions  = { RuleName = "${var.name}-${name}" }
      statistic   = "Sum"
      above       = 0
    }
  }

  function_alarms = { for name, alarm in {
    errors = {
      description = "The function failed or ran out of time, which it does not do in normal operation. Its log says why. Messages come back after visibility_timeout."
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      dimensions  = { FunctionName = var.name }
      statistic   = "Sum"
      above       = 0
    }
    throttles = {
      description = "The function was throttled: the account's concurrency is used up. Departures wait meanwhile."
      namespace   = "AWS/Lambda"
      metric      = "Throttles"
      dimensions  = { FunctionName = var.name }
      statistic   = "Sum"
      above       = 0
    }
    heartbeats-rejected = {
      description = "Auto Scaling refused a heartbeat: the hook had ended, or the role may not send heartbeats. Look for the group's name in the log."
      namespace   = local.namespace
      metric      = local.metrics.heartbeats_rejected
      dimensions  = {}
      statistic   = "Sum"
      above       = 0
    }
    denied = {
      description = "AWS, Nomad or Consul denies a call that a departure needs. Waiting does not help: somebody has to change a policy or a token. The dimension Kind and the log, at level ERROR, name the call."
      namespace   = local.namespace
      metric      = local.metrics.denied
      dimensions  = {}
      statistic   = "Sum"
      above       = 0
    }
    events-rejected = {
      description = "The function received a message that it can never act on. The log names it, at level ERROR."
      namespace   = local.namespace
      metric      = local.metrics.events_rejected
      dimensions  = {}
      statistic   = "Sum"
      above       = 0
    }
    not-foreseen = {
      description = "A departure showed a loss that no finding had foreseen. This is a defect of decamp. The dimension Kind and the log, at level WARN, name the finding that was missing."
      namespace   = local.namespace
      metric      = local.metrics.not_foreseen
      dimensions  = {}
      statistic   = "Sum"
      above       = 0
    }
    retained = {
      description = "Abandoned instances are kept, and billed, until somebody terminates them (terminate-instance-in-auto-scaling-group)."
      namespace   = local.namespace
      metric      = local.metrics.retained
      dimensions  = {}
      statistic   = "Maximum"
      above       = 0
    }
  } : name => alarm if local.create_function }

  alarms = { for name, alarm in merge(local.queue_alarms, local.rule_alarms, local.function_alarms) : name => alarm if local.create_alarms }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  region              = var.region
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.description} What to do: ${local.runbook}${startswith(each.key, "undelivered-") ? "undelivered" : each.key}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "no_sweep" {
  count = local.create_alarms && local.create_function ? 1 : 0

  region              = var.region
  alarm_name          = "${var.name}-no-sweep"
  alarm_description   = "No sweep saw all groups for ${var.alarms.minutes_without_sweeps} minutes: decamp is not running, or cannot see Auto Scaling. Nothing finds lost events, and hooks end by their default result. What to do: ${local.runbook}no-sweep"
  namespace           = local.namespace
  metric_name         = local.metrics.sweeps
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 300
  evaluation_periods  = var.alarms.minutes_without_sweeps / 5
  # Without a sweep there is no data, and the alarm's state becomes INSUFFICIENT_DATA, which notifies too. A new alarm begins in that state, and
  # CloudWatch notifies only of changes. So the alarm is silent while the module is installed.
  treat_missing_data        = "missing"
  alarm_actions             = var.alarm_actions
  insufficient_data_actions = var.alarm_actions
  ok_actions                = var.alarm_actions
  tags                      = var.tags
}

# The sum of the outcomes of one group. An alarm cannot use SEARCH.
resource "aws_cloudwatch_metric_alarm" "outcomes" {
  for_each = { for label, group in local.groups : label => group if local.create_alarms && local.create_function && group.name_prefix == null }

  region              = var.region
  alarm_name          = "${var.name}-outcomes-${each.key}"
  alarm_description   = "A departure of ${each.value.name} ended with an outcome that needs attention (${join(", ", var.alarms.outcomes)}). Search the log for \"outcome\". What to do: ${local.runbook}outcomes"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "all"
    expression  = "SUM(METRICS())"
    label       = "departures"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = toset(var.alarms.outcomes)

    content {
      id          = "m_${replace(metric_query.value, "-", "_")}"
      return_data = false

      metric {
        namespace   = local.namespace
        metric_name = local.metrics.departures
        dimensions  = { Asg = each.value.name, Outcome = metric_query.value }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}

# The names of groups with a prefix are not known, and an alarm cannot use SEARCH. A query adds up the departures of all groups, except those
# with an outcome that needs no attention.
resource "aws_cloudwatch_metric_alarm" "outcomes_by_prefix" {
  count = local.create_alarms && local.create_function && 0 < length(local.group_prefixes) ? 1 : 0

  region              = var.region
  alarm_name          = "${var.name}-outcomes-by-prefix"
  alarm_description   = "A departure of some group ended with an outcome that needs attention (${join(", ", var.alarms.outcomes)}). Search the log for \"outcome\". What to do: ${local.runbook}outcomes"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "all"
    expression  = "SELECT SUM(${local.metrics.departures}) FROM SCHEMA(${local.namespace}, Asg, Outcome) WHERE ${join(" AND ", [for outcome in local.calm_outcomes : "Outcome != '${outcome}'"])}"
    label       = "departures"
    period      = 60
    return_data = true
  }
}

locals {
  # The widgets of the dashboard: a title, and metrics as [namespace, name, dimension, value…, options].
  queue_widgets = [
    {
      title = "Messages: waiting, in progress, dead"
      metrics = [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.name, { stat = "Maximum", label = "waiting" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", var.name, { stat = "Maximum", label = "in progress" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${var.name}-dead-letters", { stat = "Maximum", label = "dead", color = "#d62728" }],
      ]
    },
    {
      title = "Age of the oldest message, in seconds"
      metrics = [
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", var.name, { stat = "Maximum", label = "age" }],
      ]
    },
  ]

  function_widgets = [for widget in [
    {
      title = "Departures that ended, by group and outcome"
      metrics = [
        [{ expression = "SEARCH('{${local.namespace},Asg,Outcome} MetricName=\"${local.metrics.departures}\"', 'Sum', 60)", label = "", id = "ended" }],
      ]
    },
    {
      title = "Instances waiting in a hook, and retained ones"
      metrics = [
        [local.namespace, local.metrics.waiting, { stat = "Maximum", label = "waiting" }],
        [local.namespace, local.metrics.retained, { stat = "Maximum", label = "retained", color = "#d62728" }],
      ]
    },
    {
      title = "Seconds a departure took"
      metrics = [
        [local.namespace, local.metrics.departure_seconds, { stat = "p50", label = "p50" }],
        [local.namespace, local.metrics.departure_seconds, { stat = "p99", label = "p99" }],
        [local.namespace, local.metrics.seconds_above_floor, { stat = "p99", label = "p99 above the floor" }],
      ]
    },
    {
      title = "Failures"
      metrics = [
        [local.namespace, local.metrics.heartbeats_rejected, { stat = "Sum", label = "heartbeats refused" }],
        [local.namespace, local.metrics.events_rejected, { stat = "Sum", label = "events refused" }],
        [local.namespace, local.metrics.denied, { stat = "Sum", label = "calls denied" }],
        [local.namespace, local.metrics.warnings, { stat = "Sum", label = "warnings of EC2" }],
        [local.namespace, local.metrics.hard_stops, { stat = "Sum", label = "tasks that were killed" }],
        [local.namespace, local.metrics.not_foreseen, { stat = "Sum", label = "losses not foreseen" }],
        ["AWS/Lambda", "Errors", "FunctionName", var.name, { stat = "Sum", label = "errors" }],
        ["AWS/Lambda", "Throttles", "FunctionName", var.name, { stat = "Sum", label = "throttles" }],
      ]
    },
    {
      title = "Findings, compared with what was seen"
      metrics = [
        [{ expression = "SEARCH('{${local.namespace},Asg,Kind} MetricName=\"${local.metrics.compared}\"', 'Sum', 60)", label = "", id = "compared" }],
      ]
    },
    {
      title = "Work: sweeps, writes, passes handed back"
      metrics = [
        [local.namespace, local.metrics.sweeps, { stat = "Sum", label = "sweeps" }],
        [local.namespace, local.metrics.steps, { stat = "Sum", label = "writes" }],
        [local.namespace, local.metrics.handed_back, { stat = "Sum", label = "handed back" }],
      ]
    },
    {
      title = "Concurrent executions, and the longest pass in milliseconds"
      metrics = [
        ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", var.name, { stat = "Maximum", label = "concurrent" }],
        ["AWS/Lambda", "Duration", "FunctionName", var.name, { stat = "Maximum", label = "longest", yAxis = "right" }],
      ]
    },
  ] : widget if local.create_function]

  widgets = concat(local.function_widgets, local.queue_widgets)
}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.create && var.create_dashboard ? 1 : 0

  region         = var.region
  dashboard_name = "${var.name}-${local.region}"

  dashboard_body = jsonencode({
    widgets = concat(
      [for place, widget in local.widgets : {
        type   = "metric"
        x      = place % 2 * 12
        y      = floor(place / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = local.region
          view    = "timeSeries"
          period  = 60
          stat    = "Sum"
          metrics = widget.metrics
        }
      }],
      [for group in aws_cloudwatch_log_group.this : {
        type   = "log"
        x      = 0
        y      = ceil(length(local.widgets) / 2) * 6
        width  = 24
        height = 8
        properties = {
          title  = "Latest decisions"
          region = local.region
          view   = "table"
          query  = "SOURCE '${group.name}' | fields @timestamp, level, `instance.id`, `asg.name`, message | filter ispresent(level) | sort @timestamp desc | limit 50"
        }
      }],
    )
  })
}
