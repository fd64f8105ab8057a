output "decamp" {
  description = "Everything that the module tells."
  value       = module.decamp
}

output "autoscaling_group_name" {
  description = "The present group."
  value       = module.autoscaling.autoscaling_group_name
}
