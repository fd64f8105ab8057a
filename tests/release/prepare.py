"""Makes the tree that is tagged say which version it is: `just prepare VERSION`, then a commit, a tag and `just release VERSION`.

It sets the version of every crate, gives what is unreleased in the changelogs that version and today's day, builds the function's zips,
and writes their sums into infra/release.json, so that the module downloads those zips and no others.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "infra"))

import package  # noqa: E402
import release  # noqa: E402

CHANGELOGS = ["CHANGELOG.md", "infra/CHANGELOG.md"]
COMPARED = "https://github.com/decamp/decamp/compare"


def numbered(manifest, version):
    """Cargo's manifest with another version of the workspace."""
    text, count = re.subn(r'(?m)^version = "[^"]+"', f'version = "{version}"', manifest, count=1)
    if count != 1:
        sys.exit("Cargo.toml has no version")
    return text


def closed(changelog, version, day):
    """A changelog whose unreleased section became a version's. One that has the version already stays."""
    if re.search(rf"^## \[?{re.escape(version)}\b", changelog, re.M):
        return changelog
    text, count = re.subn(r"(?m)^## (\[?)Unreleased(\]?)\n", rf"## \1Unreleased\2\n\n## \g<1>{version}\2 - {day}\n", changelog, count=1)
    if count != 1:
        sys.exit("a changelog has no section Unreleased")
    # The references at the end: what has changed since, and where the version is.
    link = f"[Unreleased]: {COMPARED}/v{version}...main\n[{version}]: https://github.com/decamp/decamp/releases/tag/v{version}\n"
    return re.sub(r"(?m)^\[Unreleased\]: .*\n", link, text, count=1)


def main(arguments):
    """Writes all of it for one version."""
    if len(arguments) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", arguments[0]):
        sys.exit("just prepare X.Y.Z")
    version = arguments[0]
    manifest = ROOT / "Cargo.toml"
    manifest.write_text(numbered(manifest.read_text(), version))
    subprocess.run(["cargo", "update", "--workspace", "--offline", "--quiet"], cwd=ROOT, check=True)
    for name in CHANGELOGS:
        place = ROOT / name
        place.write_text(closed(place.read_text(), version, time.strftime("%Y-%m-%d", time.gmtime())))
    package.main([])
    release.main([])
    print(f"now read the changelogs, commit, tag v{version}, and run `just release {version}`")


if __name__ == "__main__":
    main(sys.argv[1:])
