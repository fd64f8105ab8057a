"""The resources of an applied example and the program's own tables, as plain data for the tests."""

import json
import os
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The folder of the applied examples. `just infra` writes them there.
RENDERED = Path(os.environ.get("DECAMP_RENDERED", ROOT / "target" / "infra"))


def resources(example):
    """Every resource of the module in an applied example, by address."""

    def walk(module):
        for resource in module.get("resources", []):
            yield resource["address"], resource["values"]
        for child in module.get("child_modules", []):
            yield from walk(child)

    state = json.loads((RENDERED / f"{example}.json").read_text())
    return dict(walk(state["values"]["root_module"]))


class Example:
    """An applied example."""

    def __init__(self, name):
        self.all = resources(name)

    def one(self, address):
        """The values of one resource of the module, by its address in it."""
        return self.all[f"module.decamp.{address}"]

    def each(self, kind):
        """The values of all resources of a type in the module."""
        return [values for address, values in self.all.items() if address.startswith(f"module.decamp.{kind}.")]

    def statements(self):
        """The statements of the function's role."""
        return json.loads(self.one("aws_iam_role_policy.this[0]")["policy"])["Statement"]

    def environment(self):
        """The function's environment."""
        return self.one("aws_lambda_function.this[0]")["environment"][0]["variables"]


@cache
def program():
    """The program's own tables: calls, metrics, settings (examples/tables.rs)."""
    # Built for the whole workspace, as tests are: the features of one package alone differ, and everything would be built again.
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--example", "tables"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    tables = subprocess.run([target / "debug" / "examples" / "tables"], capture_output=True, text=True, check=True)
    return json.loads(tables.stdout)
