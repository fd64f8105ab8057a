"""Tests that the module downloads the zip of its own release: from a local folder, by a file URL."""

import hashlib
import json
import shutil
import sys
import zipfile

import release
from package import TARGETS
from standin import Failed, Scratch, have_standin

EXAMPLE = "examples/minimal"
FUNCTION = "module.decamp.aws_lambda_function.this[0]"
NAMED = "  lambda_package = {\n    s3_bucket         = var.package.bucket\n    s3_key            = var.package.key\n    s3_object_version = var.package.version\n  }\n\n"


def released(at, version, content):
    """Makes a release of this version and writes the module's record of it."""
    folder = at.module.parent / "released" / f"v{version}"
    folder.mkdir(parents=True)
    for architecture in TARGETS:
        with zipfile.ZipFile(folder / f"decamp-lambda-{architecture}.zip", "w") as archive:
            archive.writestr("bootstrap", f"{content} {architecture}")
    known = {"version": version, "url": f"file://{folder.parent}", "zips": release.sums(folder)}
    (at.module / "release.json").write_text(json.dumps(known))
    return folder, known


def applied(at, codes=(0,)):
    """Applies the example. Returns the function's values, or None if the apply failed."""
    at.terraform("apply", "-input=false", "-auto-approve", folder=EXAMPLE, codes=codes)
    state = json.loads(at.run("terraform", "show", "-json", folder=EXAMPLE))
    for child in state.get("values", {}).get("root_module", {}).get("child_modules", []):
        for resource in child.get("resources", []):
            if resource["address"] == FUNCTION:
                return resource["values"]
    return None


def check(at):
    """The module downloads the zip, refuses another one, upgrades in place, and needs no zip while nothing changes."""
    main = at.module / EXAMPLE / "main.tf"
    text = main.read_text()
    if NAMED not in text:
        raise Failed("the minimal example names its zip in another way")
    main.write_text(text.replace(NAMED, ""))
    (at.module / "release.json").write_text(json.dumps({"version": None, "url": "https://example.com", "zips": {}}))
    at.init(EXAMPLE)
    refused = at.terraform("plan", "-input=false", "-json", folder=EXAMPLE, codes=(1,))
    if "belongs to no release whose zip could be downloaded" not in refused:
        raise Failed("before the first release a call without lambda_package must be refused with an explanation")

    folder, known = released(at, "0.1.0", "one")
    (folder / "decamp-lambda-arm64.zip").write_bytes(b"another")
    if applied(at, codes=(1,)) is not None:
        raise Failed("a zip with another sum was deployed")
    shutil.rmtree(folder)
    folder, known = released(at, "0.1.0", "one")
    function = applied(at)
    zipped = at.module / EXAMPLE / function["filename"]
    if function["source_code_hash"] != known["zips"]["arm64"]["base64"] or hashlib.sha256(zipped.read_bytes()).hexdigest() != known["zips"]["arm64"]["sha256"]:
        raise Failed("the function does not have the zip of the release")

    shutil.rmtree(zipped.parent)
    if at.planned(EXAMPLE):
        raise Failed("a machine without the zip would change something")
    _, known = released(at, "0.2.0", "two")
    changes = at.planned(EXAMPLE)
    if changes != {(FUNCTION, "update"), ("module.decamp.terraform_data.package[0]", "replace")}:
        raise Failed(f"an upgrade changes more than the zip: {sorted(changes)}")
    if applied(at)["source_code_hash"] != known["zips"]["arm64"]["base64"]:
        raise Failed("the upgrade did not deploy the new zip")
    at.terraform("destroy", "-input=false", "-auto-approve", folder=EXAMPLE)


def main():
    """Runs only this check."""
    if not have_standin():
        print("skipped: there is no stand-in for the provider beside the repository")
        return 0
    with Scratch() as at:
        check(at)
    print("the zip of a release is downloaded, checked by its sum, and upgraded in place")
    return 0


if __name__ == "__main__":
    sys.exit(main())
