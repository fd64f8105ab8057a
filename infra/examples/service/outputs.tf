output "role_arn" {
  description = "The value for the job's AWS_ROLE_ARN. Its AWS_WEB_IDENTITY_TOKEN_FILE is the file of the task's identity."
  value       = aws_iam_role.service.arn
}

output "queue_url" {
  description = "The queue from which the service receives events."
  value       = module.decamp.queue_url
}
