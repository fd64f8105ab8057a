"""Does every validation of an input refuse some run alone? A run of validation.tftest.hcl shows only that some validation of the input does."""

import json
import re

from standin import Failed

# These patterns rely on the layout of `terraform fmt`.
BASE = re.compile(r"^variables \{\n(.*?)^\}", re.M | re.S)
CHANGES = re.compile(r"^  variables \{\n(.*?)^  \}", re.M | re.S)
INPUT = re.compile(r'^variable "(\w+)"')
RULE = re.compile(r"This was checked by the validation rule at .*?variables\.tf:(\d+),")
# `terraform validate` does not know an input of the root module. So each fault of a run is reported by the plan, and all of them at once.
PLANNING = 'variable "planning" {\n  default = true\n}\n'


def rules(text):
    """The line of every validation, with its input."""
    found, name = {}, None
    for number, line in enumerate(text.splitlines(), 1):
        begun = INPUT.match(line)
        name = begun[1] if begun else name
        if line == "  validation {":
            found[number] = name
    return found


def arguments(text):
    """The values of a block of variables by name. Each is on one line."""
    lines = (line.strip().split("=", 1) for line in text.splitlines() if line.strip())
    return {name.strip(): value.strip() for name, value in lines}


def cases(text):
    """Each run that must fail, as a call of the module. The plan creates nothing (`create = false`), unless the run is about a missing input."""
    base = arguments(BASE.search(text)[1])
    for run in text.split("\nrun ")[1:]:
        if "expect_failures" in run:
            changes = arguments(CHANGES.search(run)[1])
            changed = {"create": str("null" in changes.values()).lower(), **base, **changes}
            lines = [f"  {key} = var.planning ? ({value}) : null" for key, value in changed.items()]
            yield run.split('"')[1], "\n".join(['  source = "../infra"', *lines])


def fired(scratch):
    """The lines of the validations that refused each run. One plan calls the module once for every run."""
    called = dict(cases((scratch.module / "tests" / "validation.tftest.hcl").read_text()))
    refused = {name: set() for name in called}
    folder = scratch.module.parent / "runs"
    folder.mkdir(exist_ok=True)
    left = list(called)
    # An empty value is known at once and refused before the other runs are planned. Those are planned again without it.
    while left:
        text, place = PLANNING, {}
        for name in left:
            begins = text.count("\n")
            text += f'module "{name}" {{\n{called[name]}\n}}\n'
            place.update({line: name for line in range(begins + 1, text.count("\n") + 1)})
        (folder / "main.tf").write_text(text)
        scratch.init("../runs")
        printed = scratch.terraform("plan", "-json", "-input=false", folder="../runs", codes=(0, 1))
        new = set()
        for problem in (json.loads(line).get("diagnostic", {}) for line in printed.splitlines()):
            rule = RULE.search(problem.get("detail", ""))
            if rule:
                name = place[problem["range"]["start"]["line"]]
                refused[name].add(int(rule[1]))
                new.add(name)
        if not new:
            raise Failed("nothing refuses these runs of tests/validation.tftest.hcl: " + ", ".join(left))
        left = [name for name in left if name not in new]
    return refused


def check(scratch):
    """Fails with every validation that refuses no run alone. Returns the number of validations."""
    known = rules((scratch.module / "variables.tf").read_text())
    alone = {next(iter(lines)) for lines in fired(scratch).values() if len(lines) == 1}
    untested = [f"variables.tf:{line}: a validation of {name}" for line, name in known.items() if line not in alone]
    if untested:
        raise Failed("these validations refuse no run of tests/validation.tftest.hcl alone:\n" + "\n".join(untested))
    return len(known)
