terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 6.66 is known to have instance_lifecycle_policy, which keeps an abandoned instance; 6.25 is known not to.
      version = ">= 6.66"
    }
  }
}
