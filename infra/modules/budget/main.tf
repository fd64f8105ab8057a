# The numbers of a departure that must fit one another. The program has the same arithmetic (crates/core/src/lambda_budget.rs). The cases of
# tests/budget.json test both. This module creates nothing.

locals {
  # The time that a pass of the function reserves to hand its message back.
  kept_for_handing_back = 5
  # A pass looks before it waits for a guard, and takes the next step after it.
  looks_around_a_guard = 10
  # The limit of SQS.
  most_receives = 1000
  # With a shorter heartbeat time-out a pass would be shorter than a look may take.
  shortest_heartbeat = 180
  # The looks and the completion after the last stop, and twice the delay with which Nomad fires deadlines.
  confirmations = 10 + 2 * 7

  half_heartbeat = var.heartbeat_timeout / 2
  # The time in which a pass may look and act. The seconds for handing back come on top, and do not count.
  pass = var.function_timeout - local.kept_for_handing_back
  # Auto Scaling ends a lifecycle action after 100 heartbeat time-outs, or after two days.
  hook_ends = min(172800, 100 * var.heartbeat_timeout)
  needed    = var.deregistration_delay + var.longest_stop + local.confirmations + var.reserve
  # The least function time-out that is longer than the guard.
  outlasts = var.guard + local.looks_around_a_guard + local.kept_for_handing_back
  receives = ceil(var.max_departure / max(1, local.pass))

  rules = {
    heartbeat_too_short = {
      holds    = local.shortest_heartbeat <= var.heartbeat_timeout
      sentence = "heartbeat_timeout of ${var.group}, ${var.heartbeat_timeout} s, is below ${local.shortest_heartbeat} s, the least that a pass needs: set it to 900."
    }
    function_too_short = {
      holds    = local.kept_for_handing_back < var.function_timeout
      sentence = "function_timeout, ${var.function_timeout} s, leaves no time besides the ${local.kept_for_handing_back} s for handing a message back: set it to 60."
    }
    pass_below_guard = {
      holds    = var.guard == 0 || var.guard + local.looks_around_a_guard <= local.pass
      sentence = "function_timeout, ${var.function_timeout} s, does not outlast the guard of ${var.group}, ${var.guard} s. Nomad before 1.5 cannot store when the guard began, so each pass waits for it anew, and no departure would get past its load balancers. Set function_timeout to ${local.outlasts}, visibility_timeout to ${6 * local.outlasts}, heartbeat_timeout to ${12 * local.outlasts} and message_retention to ${6 * local.outlasts * var.max_receive_count}. Or run Nomad 1.5 and set departure.guard to 0."
    }
    visibility_below_function = {
      holds    = 6 * var.function_timeout <= var.visibility_timeout
      sentence = "visibility_timeout, ${var.visibility_timeout} s, is below 6 x function_timeout (${var.function_timeout} s): set visibility_timeout to ${6 * var.function_timeout}, or function_timeout to ${floor(var.visibility_timeout / 6)}."
    }
    visibility_above_heartbeat = {
      holds    = var.visibility_timeout <= local.half_heartbeat
      sentence = "visibility_timeout, ${var.visibility_timeout} s, is above half of heartbeat_timeout of ${var.group} (${var.heartbeat_timeout} s), so that the message of a crashed pass would come back after the hook has ended: set heartbeat_timeout to ${2 * var.visibility_timeout}, or visibility_timeout to ${floor(local.half_heartbeat)}."
    }
    sweep_above_heartbeat = {
      holds    = var.sweep_period + var.function_timeout <= local.half_heartbeat
      sentence = "sweep_period (${var.sweep_period} s) and function_timeout (${var.function_timeout} s) together are above half of heartbeat_timeout of ${var.group} (${var.heartbeat_timeout} s), so that a sweep would find a lost event too late: set heartbeat_timeout to ${2 * (var.sweep_period + var.function_timeout)}, or sweep more often."
    }
    receives_above_limit = {
      holds    = var.max_receive_count <= local.most_receives
      sentence = "max_receive_count, ${var.max_receive_count}, is above ${local.most_receives}, the limit of SQS: set it to ${local.most_receives} or less, and max_departure (${var.max_departure} s) to a time that this allows."
    }
    receives_too_few = {
      holds    = var.max_departure <= var.max_receive_count * local.pass
      sentence = "max_receive_count, ${var.max_receive_count}, times a pass of ${local.pass} s is below max_departure, ${var.max_departure} s, so that a long departure would become a dead letter: ${local.receives <= local.most_receives ? "set max_receive_count to ${local.receives}" : "set max_departure to ${local.most_receives * max(1, local.pass)} or function_timeout higher"}."
    }
    retention_too_short = {
      holds    = max(var.max_departure, var.max_receive_count * var.visibility_timeout) <= var.message_retention
      sentence = "message_retention, ${var.message_retention} s, is below max_departure (${var.max_departure} s) or max_receive_count x visibility_timeout (${var.max_receive_count * var.visibility_timeout} s), so that a message would vanish instead of becoming a dead letter: set message_retention to ${max(var.max_departure, var.max_receive_count * var.visibility_timeout)}."
    }
    dead_letters_too_short = {
      holds    = var.message_retention < var.dead_letter_retention
      sentence = "dead_letter_retention, ${var.dead_letter_retention} s, is not above message_retention, ${var.message_retention} s, and both count from when the message was sent: set dead_letter_retention to 1209600."
    }
    departure_above_hook = {
      holds    = var.max_departure <= local.hook_ends
      sentence = "max_departure, ${var.max_departure} s, is above the ${local.hook_ends} s after which Auto Scaling ends a hook with a heartbeat_timeout of ${var.heartbeat_timeout} s (${var.group}): set max_departure to ${local.hook_ends}, or heartbeat_timeout higher."
    }
    departure_too_short = {
      holds    = local.needed <= min(var.max_departure, local.hook_ends)
      sentence = "max_departure, ${var.max_departure} s, is below the ${local.needed} s that deregistration_delay (${var.deregistration_delay} s), longest_stop (${var.longest_stop} s), the confirmations and the reserve of ${var.group} take: set max_departure to ${local.needed}."
    }
  }
}
