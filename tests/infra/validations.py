"""Does every validation of an input fire by itself? A run of validation.tftest.hcl shows that one of its input's does, and not which."""

import json
import re

from standin import Failed

# `terraform fmt` keeps all of them in this form.
BASE = re.compile(r"^variables \{\n(.*?)^\}", re.M | re.S)
CHANGES = re.compile(r"^  variables \{\n(.*?)^  \}", re.M | re.S)
INPUT = re.compile(r'^variable "(\w+)"')
RULE = re.compile(r"This was checked by the validation rule at .*?variables\.tf:(\d+),")
# An input of the whole, which nobody knows while Terraform only validates: so all that is wrong with a run is told at once, when it plans.
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
    """What a block of variables sets, by name, each on a line."""
    lines = (line.strip().split("=", 1) for line in text.splitlines() if line.strip())
    return {name.strip(): value.strip() for name, value in lines}


def cases(text):
    """Each run that must fail, as a call of the module. Nothing is planned to be created, unless an input is missing: then that is the point."""
    base = arguments(BASE.search(text)[1])
    for run in text.split("\nrun ")[1:]:
        if "expect_failures" in run:
            changes = arguments(CHANGES.search(run)[1])
            changed = {"create": str("null" in changes.values()).lower(), **base, **changes}
            lines = [f"  {key} = var.planning ? ({value}) : null" for key, value in changed.items()]
            yield run.split('"')[1], "\n".join(['  source = "../infra"', *lines])


def fired(scratch):
    """For each run, the lines of the validations that refused it: a plan calls the module once for every run."""
    called = dict(cases((scratch.module / "tests" / "validation.tftest.hcl").read_text()))
    refused = {name: set() for name in called}
    folder = scratch.module.parent / "runs"
    folder.mkdir(exist_ok=True)
    left = list(called)
    # What is empty is known at once, and refused before the others are planned: they are planned again without it.
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
    """Fails with every validation that no run makes fire alone. Answers how many there are."""
    known = rules((scratch.module / "variables.tf").read_text())
    alone = {next(iter(lines)) for lines in fired(scratch).values() if len(lines) == 1}
    silent = [f"variables.tf:{line}: a validation of {name}" for line, name in known.items() if line not in alone]
    if silent:
        raise Failed("no run of tests/validation.tftest.hcl makes these fire by themselves:\n" + "\n".join(silent))
    return len(known)
