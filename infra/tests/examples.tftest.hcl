# The examples are alive: all plan without an account.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "the_whole_example_plans" {
  command = plan

  module {
    source = "./examples/complete"
  }
}

run "the_least_example_plans" {
  command = plan

  module {
    source = "./examples/minimal"
  }
}

run "the_service_plans" {
  command = plan

  module {
    source = "./examples/service"
  }

  assert {
    condition     = jsondecode(aws_iam_role.service.assume_role_policy).Statement[0].Condition.StringEquals["nomad.example.com:sub"] == "global:default:decamp:decamp:decamp:aws"
    error_message = "One task of one job may take the role."
  }
}
