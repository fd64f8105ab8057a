output "broken" {
  description = "The rules that do not hold, each with the sentence that names the two numbers and what to set."
  value       = { for name, rule in local.rules : name => rule.sentence if !rule.holds }
}
