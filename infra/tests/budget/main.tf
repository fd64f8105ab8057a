# Every case of ../budget.json through the module's arithmetic. The program's is fed with the same file (tests/infra.rs).

locals {
  usual = {
    heartbeat_timeout     = 900
    function_timeout      = 60
    visibility_timeout    = 360
    sweep_period          = 60
    max_receive_count     = 500
    message_retention     = 345600
    dead_letter_retention = 1209600
    max_departure         = 7200
    reserve               = 30
    deregistration_delay  = 300
    longest_stop          = 120
    guard                 = 0
  }

  cases = { for case in jsondecode(file("${path.module}/../budget.json")) : case.name => merge(local.usual, case.change) }
}

module "budget" {
  source   = "../../modules/budget"
  for_each = local.cases

  group                 = "workers"
  heartbeat_timeout     = each.value.heartbeat_timeout
  function_timeout      = each.value.function_timeout
  visibility_timeout    = each.value.visibility_timeout
  sweep_period          = each.value.sweep_period
  max_receive_count     = each.value.max_receive_count
  message_retention     = each.value.message_retention
  dead_letter_retention = each.value.dead_letter_retention
  max_departure         = each.value.max_departure
  reserve               = each.value.reserve
  deregistration_delay  = each.value.deregistration_delay
  longest_stop          = each.value.longest_stop
  guard                 = each.value.guard
}

output "wrong" {
  description = "The cases whose broken rules are others than expected, with those."
  value = {
    for case in jsondecode(file("${path.module}/../budget.json")) : case.name => keys(module.budget[case.name].broken)
    if join(",", keys(module.budget[case.name].broken)) != join(",", sort(case.broken))
  }
}

output "sentences" {
  description = "Every sentence that any case gives."
  value       = flatten([for case in keys(local.cases) : values(module.budget[case].broken)])
}
