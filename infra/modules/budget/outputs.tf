output "broken" {
  description = "The rules that do not hold, each with a message that names the two numbers and the values to set."
  value       = { for name, rule in local.rules : name => rule.sentence if !rule.holds }
}
