variable "group" {
  description = "The label of the group, for the messages."
  type        = string
  nullable    = false
}

variable "heartbeat_timeout" {
  description = "Seconds after which the hook ends without a heartbeat."
  type        = number
  nullable    = false
}

variable "function_timeout" {
  description = "Seconds after which Lambda ends one pass."
  type        = number
  nullable    = false
}

variable "visibility_timeout" {
  description = "Seconds for which the queue hides a message that was received."
  type        = number
  nullable    = false
}

variable "sweep_period" {
  description = "Seconds between two sweeps."
  type        = number
  nullable    = false
}

variable "max_receive_count" {
  description = "How often a message is received before it counts as a dead letter."
  type        = number
  nullable    = false
}

variable "message_retention" {
  description = "Seconds that the queue keeps a message."
  type        = number
  nullable    = false
}

variable "dead_letter_retention" {
  description = "Seconds that the dead-letter queue keeps a message, counted from when it was first sent."
  type        = number
  nullable    = false
}

variable "max_departure" {
  description = "Seconds that a departure may take."
  type        = number
  nullable    = false
}

variable "reserve" {
  description = "Seconds before the end that are reserved for the last call."
  type        = number
  nullable    = false
}

variable "deregistration_delay" {
  description = "The longest deregistration delay of the group's target groups, in seconds."
  type        = number
  nullable    = false
}

variable "longest_stop" {
  description = "Seconds that the slowest allocation may take to stop."
  type        = number
  nullable    = false
}

variable "guard" {
  description = "Seconds of the longest guard that each pass waits for by itself, because nothing stores its beginning for the next pass. 0: none."
  type        = number
  nullable    = false
}
