"""Generates faults for every argument of every resource: left out, flipped, another number, another word, another reference. Each must change a
snapshot (snapshots.py), or be refused by Terraform. `--all` tries all of them; else 200 are chosen by their hash.

Faults of different arguments are planned together. A fault is noticed if its own argument of its own resource differs in any combination.
"""

import hashlib
import json
import re
import sys
import time

import snapshots
from standin import ROOT, Failed, Scratch, have_standin

FILES = ("main.tf", "iam.tf", "monitoring.tf")
# Read once at the start, because a run takes a while and the files may change meanwhile.
TEXTS = {file: (ROOT / "infra" / file).read_text() for file in FILES}
SAMPLE = 200
# Arguments of Terraform itself, which other layers check: wiring and conditions (count, for_each, preconditions), changes (ignore_changes).
META = ("count", "for_each", "lifecycle", "provisioner")
WORDS = {
    "tcp": "udp", "JSON": "Text", "INFO": "WARN", "String": "StringList", "Standard": "Advanced", "Advanced": "Standard", "missing": "breaching", "notBreaching": "breaching",
    "breaching": "missing", "GreaterThanThreshold": "LessThanThreshold", "LessThanThreshold": "GreaterThanThreshold", "GreaterThanOrEqualToThreshold": "GreaterThanThreshold",
    "Sum": "Maximum", "Maximum": "Sum", "byQueue": "allowAll", "provided.al2023": "provided.al2", "Allow": "Deny", "Deny": "Allow",
}
# Faults that no snapshot shows, and the check that notices them.
EXPLAINED = {
    "main.tf: aws_sqs_queue_redrive_allow_policy.dead_letters: redrive_allow_policy: redrivePermission in line 7 left out": "the text has the queue's ARN, so no plan knows it; "
    "the applied examples do (test_rendered, as for the fault 'any queue may leave dead letters')",
}
REFERENCE = re.compile(r"\b(?:var|local|each\.value|aws_\w+\.\w+(?:\[[^\]]*\])?)(?:\.\w+)+")


class Fault:
    """One fault: its place, and the lines that replace the original ones."""

    def __init__(self, file, first, last, address, argument, what, lines):
        self.file, self.first, self.last, self.address, self.argument, self.what, self.lines = file, first, last, address, argument, what, lines

    @property
    def name(self):
        """A name that does not depend on other faults."""
        return f"{self.file}: {self.address}: {self.argument}: {self.what}"

    def seen_in(self, wrong):
        """Whether one of the differences is in this argument."""
        own = re.compile(rf"^/[^/]+/{re.escape(self.address)}(\[[^/]*\])?/(arguments/)?{self.argument}\b|^/[^/]+/{re.escape(self.address)}(\[[^/]*\])?: ")
        return any(own.search(line) for line in wrong)


def balanced(text):
    """Whether every bracket is closed."""
    return all(text.count(one) <= text.count(other) for one, other in ("()", "[]", "{}"))


def others(value, pool):
    """Other values, with a name for each."""
    if value in ("true", "false"):
        yield "flipped", "false" if value == "true" else "true"
    elif re.fullmatch(r"\d+", value):
        yield "another number", str(int(value) + 1)
    elif word := re.fullmatch(r'"([^"$]*)"', value):
        yield "another word", f'"{WORDS.get(word[1], word[1] + "-other")}"'
    else:
        for found in REFERENCE.finditer(value):
            kind = found[0].split(".")[0]
            same = [one for one in pool if one.split(".")[0] == kind and one != found[0]]
            if same:
                other = same[int(hashlib.sha256(found[0].encode()).hexdigest(), 16) % len(same)]
                yield f"{other} for {found[0]}", value[: found.start()] + other + value[found.end() :]
        for constant in re.finditer(r"\b\d+\b|\btrue\b|\bfalse\b", value):
            if value[: constant.start()].endswith(("[", ".")):
                continue
            instead = {"true": "false", "false": "true"}.get(constant[0]) or str(int(constant[0]) + 1)
            yield f"{instead} for {constant[0]} at {constant.start()}", value[: constant.start()] + instead + value[constant.end() :]


def faults_of(file, text):
    """Every fault of a file."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith('resource "')]
    for start in starts:
        end = next(number for number in range(start, len(lines)) if lines[number] == "}")
        kind, name = re.match(r'resource "(\w+)" "(\w+)"', lines[start]).groups()
        block = "\n".join(lines[start:end])
        pool = sorted({found[0] for found in REFERENCE.finditer(block)})
        top = None
        for number in range(start + 1, end):
            line = lines[number]
            own = re.match(r'  (?:dynamic ")?(\w+)', line)
            if own:
                top = own[1]
            match = re.match(r'(\s+)("?[\w:.-]+"?)(\s+= )(.+)$', line)
            if top in META or not match or line.strip().startswith("#"):
                continue
            indent, argument, equals, value = match.groups()
            if indent != "  " and argument in META:
                continue
            last = number
            while not balanced("\n".join(lines[number : last + 1])):
                last += 1
            where = f"{argument} in line {number - start}"
            yield Fault(file, number, last, f"{kind}.{name}", top, f"{where} left out", [])
            if last == number:
                tail = "," if value.endswith(",") else ""
                for what, other in others(value.rstrip(","), pool):
                    yield Fault(file, number, last, f"{kind}.{name}", top, f"{where}: {what}", [f"{indent}{argument}{equals}{other}{tail}"])


def picked(faults, alone, most):
    """A batch with at most four faults of a resource, each of another argument, and one of a resource whose error had no certain cause."""
    batch = []
    for fault in faults:
        of_it = [other for other in batch if other.address == fault.address]
        limit = 1 if any(one.name in alone for one in [fault, *of_it]) else 4
        if len(batch) < most and len(of_it) < limit and all(other.argument != fault.argument for other in of_it):
            batch.append(fault)
    return batch


def put(at, batch):
    """Writes the files with these faults. Returns the fault of each changed line."""
    fault_at = {}
    for file in FILES:
        lines = TEXTS[file].splitlines()
        for fault in sorted((one for one in batch if one.file == file), key=lambda one: -one.first):
            lines[fault.first : fault.last + 1] = [*fault.lines, *[""] * (fault.last + 1 - fault.first - len(fault.lines))]
            fault_at.update({(file, line): fault for line in range(fault.first + 1, fault.last + 2)})
        (at.module / file).write_text("\n".join(lines) + "\n")
    return fault_at


def resource_at(file, line):
    """The resource around a line."""
    for before in reversed(TEXTS[file].splitlines()[:line]):
        match = re.match(r'resource "(\w+)" "(\w+)"', before)
        if match:
            return f"{match[1]}.{match[2]}"
    return None


def planned(at, batch):
    """Plans these faults. Returns the faults whose own line Terraform refuses, and the resources of all errors."""
    fault_at = put(at, batch)
    command = ("plan", "-input=false", "-refresh=false", "-lock=false", "-json", "-out=plan.bin")
    printed = at.terraform(*command, folder=snapshots.FOLDER, codes=(0, 1))
    problems = [json.loads(line).get("diagnostic", {}) for line in printed.splitlines() if line.startswith("{")]
    refused, places = set(), []
    for problem in problems:
        if problem.get("severity") == "error":
            place = problem.get("range", {})
            file, line = place.get("filename", "").split("/")[-1], place.get("start", {}).get("line", 0)
            fault = fault_at.get((file, line))
            places.append(resource_at(file, line) if file in FILES else None)
            refused.update([fault.name] if fault else [])
    return refused, places


def noticed(at, faults, expected, report):
    """What notices each fault: terraform, snapshots, or nothing."""
    pending, alone, result, most = list(faults), set(), {}, len(faults)
    while pending:
        batch = picked(pending, alone, most)
        refused, places = planned(at, batch)
        doubts = len(alone)
        for address in places:
            of_it = [fault.name for fault in batch if fault.address == address and fault.name not in refused]
            if len(of_it) == 1 and not any(fault.address == address and fault.name in refused for fault in batch):
                refused.update(of_it)
            else:
                alone.update(of_it)
        if places and len(batch) == 1:
            refused.add(batch[0].name)
        elif places and not refused and len(alone) == doubts:
            # No error has a certain cause: plan fewer faults at a time.
            most = max(1, len(batch) // 2)
        result.update(dict.fromkeys(refused, "terraform"))
        if not places:
            shown = json.loads(at.run("terraform", "show", "-json", "plan.bin", folder=snapshots.FOLDER))
            wrong = list(snapshots.differences(snapshots.rendered(shown), expected))
            result.update({fault.name: "snapshots" if fault.seen_in(wrong) else None for fault in batch})
            most = len(faults)
        pending = [fault for fault in pending if fault.name not in result]
        report(len(batch), len(places), len(result))
    return result


def main(arguments):
    """Plans the faults and counts the noticed ones. Fails if fewer than 95 in 100 are noticed, or if a missed one is not explained."""
    if not have_standin():
        print("skipped: there is no stand-in for the provider beside the repository")
        return 0
    faults = [fault for file in FILES for fault in faults_of(file, TEXTS[file])]
    known = len(faults)
    if "--all" not in arguments:
        faults = sorted(faults, key=lambda fault: hashlib.sha256(fault.name.encode()).hexdigest())[:SAMPLE]
    expected, began = snapshots.reviewed(), time.monotonic()
    with Scratch() as at:
        at.init(snapshots.FOLDER)
        wrong = list(snapshots.differences(snapshots.planned(at), expected))
        if wrong:
            raise Failed(f"the snapshots differ without any fault: {wrong[:3]}")

        def report(size, errors, done):
            print(f"{size} together, {errors} errors; {done} of {len(faults)}, {time.monotonic() - began:.0f} s", flush=True)

        result = noticed(at, faults, expected, report)
    missed = sorted(name for name, by in result.items() if by is None)
    by = {layer: sum(one == layer for one in result.values()) for layer in ("snapshots", "terraform")}
    print(f"{known} faults exist, {len(result)} tried: {by['snapshots']} noticed by snapshots, {by['terraform']} refused by Terraform, {len(missed)} missed")
    for name in missed:
        print(f"  {name}: {EXPLAINED.get(name, 'NOT EXPLAINED')}")
    unexplained = [name for name in missed if name not in EXPLAINED]
    return 1 if unexplained or len(result) * 0.05 < len(missed) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
