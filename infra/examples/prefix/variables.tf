variable "vpc_id" {
  description = "The VPC."
  type        = string
  default     = "vpc-0123456789abcdef0"
}

variable "subnet_ids" {
  description = "Private subnets in two zones."
  type        = list(string)
  default     = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
}

variable "ami_id" {
  description = "The image of the Nomad clients. A new one starts an instance refresh."
  type        = string
  default     = "ami-0123456789abcdef0"
}

variable "package" {
  description = "Where the zip is."
  type = object({
    bucket  = string
    key     = string
    version = string
  })
  default = {
    bucket  = "example-artifacts"
    key     = "decamp-lambda-arm64.zip"
    version = "3sL4kqtJlcpXroDTDmJrmSpXd3dIbrHY"
  }
}
