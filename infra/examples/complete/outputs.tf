output "decamp" {
  description = "Everything that the module tells."
  value       = module.decamp
}
