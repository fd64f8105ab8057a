variable "vpc_id" {
  description = "The ID of the VPC."
  type        = string
  default     = "vpc-0123456789abcdef0"
}

variable "subnet_ids" {
  description = "Private subnets in two zones."
  type        = list(string)
  default     = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
}

variable "ami_id" {
  description = "The AMI of the Nomad clients. A new one starts an instance refresh."
  type        = string
  default     = "ami-0123456789abcdef0"
}

variable "package" {
  description = "The location of the Lambda's zip in S3."
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
