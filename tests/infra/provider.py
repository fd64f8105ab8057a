"""Extends the stand-in for the AWS provider with the changes that make the real one replace a resource.

The list is from the provider's source (internal/service/autoscaling/group.go and lifecycle_hook.go). Nothing else is replaced here:
for other resources the stand-in updates in place where the real provider may replace.
"""

import os
import sys
import time

sys.path.insert(0, os.environ["TERRAFORM_OFFLINE"])
import schema_provider as standin  # noqa: E402

# Attributes and blocks whose change replaces the resource (ForceNew).
REPLACES = {
    # Any field of initial_lifecycle_hook, and its presence.
    "aws_autoscaling_group": ("initial_lifecycle_hook", "name", "name_prefix", "region"),
    # The real provider puts the hook into the other group in place, and leaves the one in the old group. A provider that replaced it
    # would delete it there first. The stricter of the two is assumed.
    "aws_autoscaling_lifecycle_hook": ("autoscaling_group_name", "name", "region"),
}


def changed(before, after):
    """Whether an attribute differs. An unknown value does. The order of blocks in a set does not matter."""
    if isinstance(before, list) and isinstance(after, list):
        return sorted(map(repr, before)) != sorted(map(repr, after))
    return before != after


class Provider(standin.Provider):
    """The stand-in, which plans replacements too."""

    def PlanResourceChange(self, req, ctx):
        answer = super().PlanResourceChange(req, ctx)
        before, after = standin.dec(req.prior_state), standin.dec(answer.planned_state)
        if before is not None and after is not None:
            for name in REPLACES.get(req.type_name, ()):
                if changed(before.get(name), after.get(name)):
                    answer.requires_replace.add().steps.add(attribute_name=name)
        return answer


def fake(kind, name, of, values, plain=standin.fake):
    """A generated value. The name of a group with only a prefix begins with the prefix."""
    prefix = values.get("name_prefix")
    if kind == "aws_autoscaling_group" and name == "name" and isinstance(prefix, str) and prefix:
        return f"{prefix}{time.time_ns()}"
    return plain(kind, name, of, values)


standin.fake = fake
standin.Provider = Provider

if __name__ == "__main__":
    standin.main()
