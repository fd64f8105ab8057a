output "decamp" {
  description = "All outputs of the module."
  value       = module.decamp
}
