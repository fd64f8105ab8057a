output "decamp" {
  description = "All outputs of the module."
  value       = module.decamp
}

output "autoscaling_group_name" {
  description = "The name of the current group."
  value       = module.autoscaling.autoscaling_group_name
}
