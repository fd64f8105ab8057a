"""What a change of an input replaces or deletes: never a group, and only the hooks in this file.

Each example is applied on the stand-in, which knows what the provider replaces (provider.py). Then each change is planned. A change that a
second one follows is applied too.
"""

import contextlib
import sys

from standin import Failed, Scratch, have_standin

HOOK = "module.decamp.aws_autoscaling_lifecycle_hook.this"
# Every documented way to change a call of the module, as text that is replaced in the example's main.tf.
ATTRIBUTES = '  name = "decamp"\n'
MINIMAL = '    workers = { name = "workers" }\n'


def more(line):
    """A further argument of the module in an example that begins as minimal does."""
    return [('  source = "../.."\n', f'  source = "../.."\n\n  {line}\n')]


# Name and edits of changes to any example. None of them replaces or deletes anything.
HARMLESS = [
    ("observe", more('mode = "observe"')),
    ("another time-out of the function", more("function_timeout = 50")),
    ("another size", more("memory_size = 512")),
    ("a layer", more('layers = ["arn:aws:lambda:eu-west-1:123456789012:layer:authority:1"]')),
    ("a setting", more('settings = { DECAMP_GUARD_ALB = "15s" }')),
    ("a longer retention", more("log_retention_in_days = 90")),
    ("a key", more('kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"')),
    ("a boundary", more('permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"')),
    ("other alarms", more('alarms = { minutes_without_sweeps = 30, outcomes = ["forced"] }')),
    ("a former hook", more('former_hook_names = ["leave"]')),
]
ZIP = ("another zip", [("var.package.version", '"4tM5lruKmdqYspUEUnKsnTqYe4eJcsIZ"')])

# The example, what is changed, the edits of its main.tf, and everything that they replace or delete.
CHANGES = [(example, what, edits, set()) for example in ("minimal", "prefix") for what, edits in HARMLESS]
CHANGES += [(example, *ZIP, set()) for example in ("minimal", "complete", "prefix")]
CHANGES += [
    ("complete", "a third target group", [("aws_lb_target_group.named.arn]", 'aws_lb_target_group.named.arn, "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/third/0123456789abcdef"]')], set()),
    ("complete", "a target group less", [(", aws_lb_target_group.named.arn]", "]")], set()),
    ("complete", "another heartbeat", [("heartbeat_timeout = 900", "heartbeat_timeout = 1200")], set()),
    ("complete", "another default result", [('default_result    = "ABANDON"', 'default_result    = "CONTINUE"')], set()),
    ("complete", "another name of the module", [(ATTRIBUTES, '  name = "drain"\n')], set()),
    ("complete", "another name of the hook", [(ATTRIBUTES, ATTRIBUTES + '  hook_name = "leave"\n')], set()),
    ("complete", "another label and another heartbeat", [('    web = {\n      name = var.name', '    fleet = {\n      name = var.name'), ('hooks["web"]', 'hooks["fleet"]'), ("heartbeat_timeout = 900", "heartbeat_timeout = 1200")], {
        'module.decamp.aws_cloudwatch_metric_alarm.outcomes["web"]', 'module.decamp.terraform_data.budget["web"]', 'module.decamp.terraform_data.initial_lifecycle_hook["web"]'}),
    ("complete", "other tags", [('{ cluster = var.name }', '{ cluster = var.name, team = "platform" }')], set()),
    ("complete", "another image", [("image_id               = var.ami_id", 'image_id               = "ami-0123456789abcdef1"')], set()),
    ("complete", "no alarms", [(ATTRIBUTES, ATTRIBUTES + "  create_alarms = false\n")], None),
    ("prefix", "a target group more", [("[aws_lb_target_group.this.arn]", '[aws_lb_target_group.this.arn, "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/second/0123456789abcdef"]')], set()),
    ("prefix", "another heartbeat", [('      name_prefix       = "${local.name}-"\n', '      name_prefix       = "${local.name}-"\n      heartbeat_timeout = 1200\n')], set()),
    ("prefix", "another default result", [('      name_prefix       = "${local.name}-"\n', '      name_prefix       = "${local.name}-"\n      default_result = "ABANDON"\n')], set()),
    ("prefix", "another name of the module", more('name = "drain"'), set()),
    ("prefix", "another image", [("var.ami_id", '"ami-0123456789abcdef1"')], set()),
    ("minimal", "a target group", [(MINIMAL, '    workers = { name = "workers", target_group_arns = ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"] }\n')], set()),
    ("minimal", "another heartbeat", [(MINIMAL, '    workers = { name = "workers", heartbeat_timeout = 1200 }\n')], set()),
    ("minimal", "another default result", [(MINIMAL, '    workers = { name = "workers", default_result = "ABANDON" }\n')], set()),
    ("minimal", "a second group", [(MINIMAL, MINIMAL + '    edge = { name = "edge" }\n')], set()),
    ("minimal", "several clusters", [
        ('  nomad = {\n    addresses = ["https://nomad.example.com:4646"]\n  }\n', '  clusters = {\n    blue = { groups = ["workers"], nomad = { addresses = ["https://nomad.example.com:4646"] } }\n  }\n'),
    ], set()),
    # An instance that waits in the deleted hook is released. The README says what to do first.
    ("minimal", "another name of the hook", more('hook_name = "leave"'), {f'{HOOK}["workers/decamp"]'}),
    ("minimal", "another group under the same label", [(MINIMAL, '    workers = { name = "others" }\n')], {f'{HOOK}["workers/decamp"]'}),
    ("minimal", "no hook", [(MINIMAL, '    workers = { name = "workers", create_hook = false }\n')], {f'{HOOK}["workers/decamp"]'}),
    ("minimal", "another label, which is moved", [
        (MINIMAL, '    fleet = { name = "workers" }\n'),
        ('provider "aws" {', f'moved {{\n  from = {HOOK}["workers/decamp"]\n  to   = {HOOK}["fleet/decamp"]\n}}\n\nprovider "aws" {{'),
    ], {'module.decamp.aws_cloudwatch_metric_alarm.outcomes["workers"]', 'module.decamp.terraform_data.budget["workers"]'}),
    ("minimal", "another label", [(MINIMAL, '    fleet = { name = "workers" }\n')], {
        f'{HOOK}["workers/decamp"]', 'module.decamp.aws_cloudwatch_metric_alarm.outcomes["workers"]', 'module.decamp.terraform_data.budget["workers"]'}),
    ("service", "another heartbeat", [('name = "workers", ', 'name = "workers", heartbeat_timeout = 1200, ')], set()),
    ("service", "no target groups", [("target_group_arns = var.target_group_arns", "target_group_arns = []")], set()),
    ("service", "nothing is replaced any more", [('replace = "both"', 'replace = "never"')], None),
]


@contextlib.contextmanager
def edited(path, edits):
    """The file with the edits, until the context ends."""
    text = new = path.read_text()
    for old, by in edits:
        if old not in new:
            raise Failed(f"{path.name} of the example has no {old!r}: bring the change up to date")
        new = new.replace(old, by)
    path.write_text(new)
    try:
        yield
    finally:
        path.write_text(text)


def removals(changes):
    """The addresses that a plan replaces or deletes."""
    return {address for address, action in changes if action in ("replace", "delete")}


def groups(addresses):
    """The addresses of groups."""
    return {address for address in addresses if "aws_autoscaling_group." in address}


def expect(name, found, expected):
    """Fails unless exactly the expected addresses are replaced or deleted. Without an expectation, fails if a group or a hook is."""
    if groups(found):
        raise Failed(f"{name}: a group is replaced: {sorted(found)}")
    if expected is None:
        found, expected = {address for address in found if "lifecycle_hook" in address}, set()
    if found != expected:
        raise Failed(f"{name}: replaced or deleted {sorted(found)}, not {sorted(expected)}")


def one_by_one(at, example):
    """Plans each change of one example."""
    folder = f"examples/{example}"
    for of, what, edits, expected in CHANGES:
        if of == example:
            with edited(at.module / folder / "main.tf", edits):
                expect(f"{example}, {what}", removals(at.planned(folder)), expected)


def renamed(at):
    """A hook is renamed in two applies: the first deletes no hook, the second only the old one."""
    folder, main = "examples/minimal", at.module / "examples" / "minimal" / "main.tf"
    with edited(main, more('hook_name = "leave"\n  former_hook_names = ["decamp"]')):
        expect("a hook with a new name beside the old one", removals(at.planned(folder)), set())
        at.terraform("apply", "-input=false", "-auto-approve", folder=folder)
    with edited(main, more('hook_name = "leave"')):
        expect("the old hook, after all instances have left it", removals(at.planned(folder)), {f'{HOOK}["workers/decamp"]'})
        at.terraform("apply", "-input=false", "-auto-approve", folder=folder)


def removed(at):
    """decamp is removed in two applies: first the hook, and the rest when no instance waits any more."""
    folder, main = "examples/minimal", at.module / "examples" / "minimal" / "main.tf"
    kept = 'hook_name = "leave"'
    with edited(main, more(kept) + [(MINIMAL, '    workers = { name = "workers", create_hook = false }\n')]):
        expect("the hook alone", removals(at.planned(folder)), {f'{HOOK}["workers/leave"]'})
        at.terraform("apply", "-input=false", "-auto-approve", folder=folder)
        at.terraform("destroy", "-input=false", "-auto-approve", folder=folder)


def succeeded(at):
    """A group with a prefix is replaced: nothing of decamp changes meanwhile, so that it drains the old group's instances."""
    folder, group = "examples/prefix", "module.autoscaling.aws_autoscaling_group.this"
    changes = at.planned(folder, f"-replace={group}", "-out=plan.bin")
    if changes != {(group, "replace")}:
        raise Failed(f"the replacement of a group changes more than the group: {sorted(changes)}")
    at.terraform("apply", "-input=false", "plan.bin", folder=folder)
    at.terraform("plan", "-input=false", "-detailed-exitcode", folder=folder)
    graph = at.run("terraform", "graph", "-type=plan-destroy", folder=folder)
    for part in ("aws_lambda_event_source_mapping.this", "aws_cloudwatch_event_target.this", "aws_cloudwatch_event_target.sweep"):
        if f'"[root] module.decamp.{part} (destroy)" -> "[root] {group} (destroy)"' not in graph:
            raise Failed(f"terraform destroy would remove {part} while the group's last instances wait for it")
    at.terraform("destroy", "-input=false", "-auto-approve", folder=folder)


def check(at, examples=("minimal", "prefix", "complete", "service")):
    """Checks every change of these examples, which are applied already. Returns the number of changes."""
    for example in examples:
        one_by_one(at, example)
    if "minimal" in examples:
        renamed(at)
        removed(at)
    if "prefix" in examples:
        succeeded(at)
    return sum(change[0] in examples for change in CHANGES)


def main(examples):
    """Applies the examples and checks their changes."""
    if not have_standin():
        print("skipped: there is no stand-in for the provider beside the repository")
        return 0
    examples = examples or ["minimal", "prefix", "complete", "service"]
    with Scratch() as at:
        for example in examples:
            at.rendered(example)
        print(f"{check(at, examples)} changes replace no group")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
