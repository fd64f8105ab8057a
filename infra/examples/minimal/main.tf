# The smallest call of the module: one existing group, the address of Nomad, and the zip.

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

provider "aws" {
  region = "eu-west-1"
}

module "decamp" {
  # In your own configuration: source = "github.com/decamp/decamp//infra?ref=v0.1.0"
  source = "../.."

  autoscaling_groups = {
    workers = { name = "workers" }
  }

  lambda_package = {
    s3_bucket         = var.package.bucket
    s3_key            = var.package.key
    s3_object_version = var.package.version
  }

  nomad = {
    addresses = ["https://nomad.example.com:4646"]
  }
}
