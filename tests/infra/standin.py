"""Runs `terraform` on a scratch copy of the module, with the stand-in for the AWS provider if it is beside the repository, else with the real one."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The stand-in with replacements (provider.py), and the folder of the plain one.
PROVIDER = Path(__file__).resolve().with_name("provider.py")
STANDIN = Path(os.environ.get("TERRAFORM_OFFLINE", ROOT.parent / "shared" / "terraform-offline"))


def have_standin():
    """Whether the stand-in exists."""
    return (STANDIN / "schema_provider.py").is_file()


class Failed(Exception):
    """A failed step, with its output."""


class Scratch:
    """A copy of `infra/` in a temporary folder, and an environment in which terraform finds its provider."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="decamp-infra-")
        home = Path(self.folder.name)
        self.module = home / "infra"
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
        shutil.copytree(ROOT / "infra", self.module, ignore=ignored)
        self.env = dict(os.environ, CHECKPOINT_DISABLE="1", TF_IN_AUTOMATION="1")
        self.provider = None
        if have_standin():
            self.env.update(self._mirror(home))
            self.env.update(self._started())

    def _mirror(self, home):
        derived = json.loads((STANDIN / "schema.json").read_text())["x_derived_from"]
        self.version = derived["provider_version"]
        place = home / "mirror" / "registry.terraform.io" / "hashicorp" / "aws" / self.version / "linux_amd64"
        place.mkdir(parents=True)
        provider = place / f"terraform-provider-aws_v{self.version}_x5"
        provider.write_text(f"#!/bin/sh\nexec env TERRAFORM_OFFLINE='{STANDIN}' '{sys.executable}' '{PROVIDER}'\n")
        provider.chmod(0o755)
        settings = home / "terraform.rc"
        settings.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{home}/mirror"\n  }}\n}}\n')
        return {"TF_CLI_CONFIG_FILE": str(settings)}

    def _started(self):
        """Starts one stand-in for all runs of terraform, which would otherwise start several for each command."""
        command = [sys.executable, str(PROVIDER), "--reattach"]
        self.provider = subprocess.Popen(command, env=dict(self.env, TERRAFORM_OFFLINE=str(STANDIN)), stdout=subprocess.PIPE, text=True)
        return {"TF_REATTACH_PROVIDERS": self.provider.stdout.readline().strip()}

    def lowest(self):
        """The schemas of the lowest versions of the provider that the module supports, as variables to set."""
        for schema in sorted(STANDIN.glob("schema-min-*.json")):
            yield schema.stem.removeprefix("schema-min-"), {
                "SCHEMA_PROVIDER_JSON": str(schema),
                "SCHEMA_PROVIDER_RULES": os.devnull + "/none",
                # Not the running stand-in, which has the newest schema.
                "TF_REATTACH_PROVIDERS": "",
            }

    def run(self, *command, folder="", codes=(0,), **more):
        """Runs a command in a folder of the copy. Returns its output."""
        ran = subprocess.run(
            command, cwd=self.module / folder, env=dict(self.env, **more), capture_output=True, text=True, check=False
        )
        if ran.returncode not in codes:
            raise Failed(f"{' '.join(command)} in infra/{folder} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def terraform(self, *arguments, **more):
        """Runs terraform."""
        first, *rest = arguments
        return self.run("terraform", first, "-no-color", *rest, **more)

    def init(self, folder="", **more):
        """Runs `terraform init` in a folder."""
        self.terraform("init", "-backend=false", "-input=false", folder=folder, **more)

    def rendered(self, example):
        """Applies an example and returns its state. A second plan must be empty."""
        folder = f"examples/{example}"
        self.init(folder)
        self.terraform("plan", "-input=false", "-out=plan.bin", folder=folder)
        self.terraform("apply", "-input=false", "plan.bin", folder=folder)
        self.terraform("plan", "-input=false", "-detailed-exitcode", folder=folder)
        return json.loads(self.run("terraform", "show", "-json", folder=folder))

    def planned(self, folder, *options):
        """The changes of a plan, as (address, action): create, update, replace, delete."""
        printed = self.terraform("plan", "-input=false", "-refresh=false", "-json", *options, folder=folder)
        messages = [json.loads(line) for line in printed.splitlines()]
        changes = [message["change"] for message in messages if message["type"] == "planned_change"]
        return {(change["resource"]["addr"], change["action"]) for change in changes}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.provider:
            self.provider.terminate()
            self.provider.wait()
            self.provider.stdout.close()
        self.folder.cleanup()
