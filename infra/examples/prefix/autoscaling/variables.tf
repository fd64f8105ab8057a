variable "name" {
  description = "The name, or what it begins with."
  type        = string
}

variable "use_name_prefix" {
  description = "Whether the group's name is made from a prefix."
  type        = bool
}

variable "min_size" {
  description = "The least instances."
  type        = number
}

variable "max_size" {
  description = "The most instances."
  type        = number
}

variable "desired_capacity" {
  description = "The instances at first."
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
  description = "The image."
  type        = string
}

variable "instance_type" {
  description = "The type."
  type        = string
}

variable "delete_timeout" {
  description = "How long Terraform waits for the last instances."
  type        = string
}

variable "initial_lifecycle_hooks" {
  description = "The hooks that the group is made with."
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
