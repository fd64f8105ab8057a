terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 6.66 has instance_lifecycle_policy, which keeps an abandoned instance; 6.25 does not. The versions between were not looked at.
      version = ">= 6.66"
    }
  }
}
