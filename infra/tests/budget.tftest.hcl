# The arithmetic of the time budget, by a table that the program is held to as well.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "every_case_breaks_the_rules_that_the_table_says" {
  command = plan

  module {
    source = "./tests/budget"
  }

  assert {
    condition     = length(output.wrong) == 0
    error_message = "Other rules are broken than expected: ${jsonencode(output.wrong)}"
  }

  assert {
    condition     = 20 < length(output.sentences)
    error_message = "The table is read."
  }

  # Two numbers and what to set.
  assert {
    condition     = alltrue([for sentence in output.sentences : 2 <= length(regexall("[0-9]+", sentence)) && (strcontains(sentence, ": set ") || strcontains(sentence, "set "))])
    error_message = "A sentence does not name two numbers and what to set."
  }
}
