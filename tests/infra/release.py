"""Writes infra/release.json, the module's record of its own release, from the zips in a folder (by default target/package of `just package`).

The zips are the same wherever they are built, so the commit that is tagged can contain this file. A release has them at
URL/vVERSION/decamp-lambda-ARCHITECTURE.zip.
"""

import base64
import hashlib
import json
import sys
import tomllib
from pathlib import Path

from package import OUT, ROOT, TARGETS

PLACE = ROOT / "infra" / "release.json"


def sums(folder):
    """The SHA-256 of each architecture's zip, in hexadecimal and in base64, as Lambda needs it."""
    zips = {}
    for architecture in TARGETS:
        zipped = folder / f"decamp-lambda-{architecture}.zip"
        if not zipped.is_file():
            sys.exit(f"{zipped} does not exist: run `just package` first")
        digest = hashlib.sha256(zipped.read_bytes())
        zips[architecture] = {"sha256": digest.hexdigest(), "base64": base64.b64encode(digest.digest()).decode()}
    return zips


def main(arguments):
    """Writes the file for the version in Cargo.toml, before the tagged commit."""
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    known = {"version": package["version"], "url": f"{package['repository']}/releases/download", "zips": sums(Path(arguments[0]) if arguments else OUT)}
    PLACE.write_text(json.dumps(known, indent=2) + "\n")
    print(f"{PLACE.relative_to(ROOT)}: {known['version']}")


if __name__ == "__main__":
    main(sys.argv[1:])
