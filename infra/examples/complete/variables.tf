variable "name" {
  description = "The name of the cluster and of its Auto Scaling group."
  type        = string
  default     = "web"
}

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

variable "public_subnet_ids" {
  description = "Public subnets for the load balancer."
  type        = list(string)
  default     = ["subnet-0123456789abcdef2", "subnet-0123456789abcdef3"]
}

variable "vpc_cidr" {
  description = "The CIDR block of the VPC."
  type        = string
  default     = "10.0.0.0/16"
}

variable "certificate_arn" {
  description = "The load balancer's certificate."
  type        = string
  default     = "arn:aws:acm:eu-west-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
}

variable "kms_key_arn" {
  description = "The KMS key of the tokens and of the topic. Its policy must allow cloudwatch.amazonaws.com to use it."
  type        = string
  default     = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
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

variable "ca_certificate" {
  description = "The certificate of the CA that signs Nomad's and Consul's certificates, as PEM text: file(\"ca.pem\")."
  type        = string
  default     = "-----BEGIN CERTIFICATE-----\nAN+EXAMPLE\n-----END CERTIFICATE-----"
}
