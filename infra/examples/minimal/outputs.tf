output "function_name" {
  description = "The function's name."
  value       = module.decamp.function_name
}
