terraform {
  # 1.9 is the first version in which the validation of one input may refer to another.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}
