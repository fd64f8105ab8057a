"""Checks the policies of the applied examples with parliament, a second linter beside policy_sentry with other rules."""

import json
import sys
import unittest

from rendered import Example

try:
    from parliament import analyze_policy_string
except ImportError:
    analyze_policy_string = None

EXAMPLES = ("minimal", "complete", "prefix", "service")
# Accepted findings of parliament: the issue, a part of its text, and the reason.
ACCEPTED = [
    ("RESOURCE_STAR", "", "AWS has no narrower resource for these; test_rendered checks which statements have a star"),
    # AWS's own documentation of Lambda in a VPC has this statement; the key is set on every call that a function's code makes.
    ("UNKNOWN_CONDITION_FOR_ACTION", "lambda:SourceFunctionArn", "a key of Lambda's, not of EC2's"),
]


def explained(finding):
    """Whether a finding is accepted."""
    return any(finding.issue == word and part in f"{finding.detail} {finding.title}" for word, part, _ in ACCEPTED)


def policies():
    """Every policy of a role, with its example and address."""
    for name in EXAMPLES:
        for address, values in Example(name).all.items():
            if "aws_iam_role_policy." in address:
                yield f"{name}: {address}", values["policy"]


@unittest.skipIf(analyze_policy_string is None, "skipped: parliament is not installed")
class Policies(unittest.TestCase):
    """Every finding is explained."""

    def test_there_are_policies(self):
        self.assertLess(3, len(list(policies())))

    def test_parliament_finds_nothing(self):
        for where, policy in policies():
            with self.subTest(where):
                found = analyze_policy_string(policy, include_community_auditors=True).findings
                left = [f"{one.issue}: {one.detail} {one.location}" for one in found if not explained(one)]
                self.assertEqual(left, [])

    def test_parliament_notices_a_wrong_resource(self):
        _, policy = next(policies())
        changed = json.loads(policy)
        changed["Statement"][0]["Resource"] = ["arn:aws:s3:::bucket"]
        found = {one.issue for one in analyze_policy_string(json.dumps(changed)).findings}
        self.assertIn("RESOURCE_MISMATCH", found)


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=1).result.wasSuccessful())
