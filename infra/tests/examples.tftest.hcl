# The examples are alive: both plan without an account.

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
