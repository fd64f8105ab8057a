# The least there is to say: one group that exists already, where Nomad is, and the zip.

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

provider "aws" {
  region = "eu-west-1"
}

module "decamp" {
  # Elsewhere: source = "github.com/decamp/decamp//infra?ref=v0.1.0"
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
