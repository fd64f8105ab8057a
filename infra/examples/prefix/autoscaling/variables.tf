variable "name" {
  description = "The name of the group, or its prefix."
  type        = string
}

variable "use_name_prefix" {
  description = "Whether the name is a prefix."
  type        = bool
}

variable "min_size" {
  description = "The minimum number of instances."
  type        = number
}

variable "max_size" {
  description = "The maximum number of instances."
  type        = number
}

variable "desired_capacity" {
  description = "The initial number of instances."
  type        = number
}

variable "vpc_zone_identifier" {
  description = "The subnets."
  type        = list(string)
}

variable "health_check_type" {
  description = "EC2 or ELB."
  type        = string
}

variable "image_id" {
  description = "The ID of the AMI."
  type        = string
}

variable "instance_type" {
  description = "The instance type."
  type        = string
}

variable "delete_timeout" {
  description = "How long Terraform waits for the last instances when it deletes the group."
  type        = string
}

variable "initial_lifecycle_hooks" {
  description = "The hooks that the group is created with."
  type = list(object({
    name                 = string
    default_result       = optional(string)
    heartbeat_timeout    = optional(number)
    lifecycle_transition = string
  }))
}

variable "instance_refresh" {
  description = "How instances are replaced."
  type = object({
    strategy = string
    preferences = object({
      min_healthy_percentage = number
      max_healthy_percentage = number
    })
  })
}
