"""Makes all files of a release into target/release-files: `just release VERSION [--twice] [--only PART]…`.

The parts are lambda, binaries, image, module and sbom. What is built has no time, user or path of this machine in it: two builds of one
commit are the same. `--twice` builds each again from nothing in another folder and compares. Before the tag, `just prepare VERSION` makes
the commit's files say which version they are.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "infra"))
sys.path.insert(0, str(ROOT / "tests" / "release"))

import image  # noqa: E402
import package  # noqa: E402
import sbom  # noqa: E402

OUT = ROOT / "target" / "release-files"
# Musl's C library is linked in: the binary needs nothing of the machine that it runs on.
TARGETS = {"x86_64": "x86_64-unknown-linux-musl", "aarch64": "aarch64-unknown-linux-musl"}
MACHINES = {"x86_64": 62, "aarch64": 183}
PARTS = ["lambda", "binaries", "image", "module", "sbom"]
SHELLS = {"bash": "decamp.bash", "zsh": "_decamp", "fish": "decamp.fish"}


def git(*words):
    """What git says."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def commit():
    """From which commit: its name, its day, and its second."""
    return git("rev-parse", "--short=12", "HEAD"), git("log", "-1", "--format=%cs"), int(git("log", "-1", "--format=%ct"))


def numbered():
    """The version in Cargo.toml."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def refusals(version):
    """Why this tree cannot be that version."""
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", version):
        yield f"{version} is no version: write X.Y.Z"
    if git("status", "--porcelain"):
        yield "the tree has changes: commit them first"
    if numbered() != version:
        yield f"Cargo.toml has the version {numbered()}: run `just prepare {version}`"
    if notes(version) is None:
        yield f"CHANGELOG.md has no section ## [{version}]: what was unreleased becomes that section"
    known = json.loads((ROOT / "infra" / "release.json").read_text())["version"]
    if known != version:
        yield f"infra/release.json is of {known or 'no release'}: the module would download other zips"


def notes(version):
    """What the changelog says of a version."""
    text = (ROOT / "CHANGELOG.md").read_text()
    found = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|^\[|\Z)", text, re.M | re.S)
    return found and found[1].strip() + "\n"


def tracked(folder):
    """The files of a folder that are in git, by their path inside it."""
    names = git("ls-files", "-z", folder).split("\0")
    return {name.removeprefix(f"{folder}/"): (ROOT / name).read_bytes() for name in filter(None, names)}


def packed(files, top, modified):
    """An archive of files under one folder: sorted, of nobody, of one time. `files` has texts by path; those in bin/ may be run."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mtime = len(files[name]), modified
            entry.mode = 0o755 if files[name].startswith(b"\x7fELF") else 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return gzip.compress(plain.getvalue(), compresslevel=9, mtime=0)


def build(architectures, folder, root=ROOT):
    """Builds the command for these architectures, which one compiler can build for. Together they need what runs at the build only once."""
    targets = {architecture: TARGETS[architecture] for architecture in architectures}
    name, day, _ = commit()
    package.compiled("decamp", "dist", list(targets.values()), folder, root, DECAMP_COMMIT=name, DECAMP_COMMIT_DATE=day)
    return {architecture: folder / target / "dist" / "decamp" for architecture, target in targets.items()}


def wants_a_loader(text):
    """Whether an ELF file has a segment that names a loader (PT_INTERP, 3), as all have that want libraries of the machine."""
    start, size, count = int.from_bytes(text[32:40], "little"), *struct.unpack_from("<HH", text, 54)
    return any(int.from_bytes(text[at : at + 4], "little") == 3 for at in range(start, start + size * count, size))


def faults(architecture, binary):
    """What would keep it from running elsewhere, or tell where it was built."""
    text = binary.read_bytes()
    if text[:6] != b"\x7fELF\x02\x01" or int.from_bytes(text[18:20], "little") != MACHINES[architecture]:
        yield f"it is no executable for {architecture}"
    if wants_a_loader(text):
        yield "it is not static: it names a loader"
    for folder in {str(ROOT), str(Path.home())}:
        if folder.encode() + b"/" in text:
            yield f"it names {folder}"


def words(binary):
    """Completions and man pages, written by a binary that runs here."""
    said = {}
    for shell, name in SHELLS.items():
        script = subprocess.run([binary, "completions", shell], capture_output=True, check=True).stdout
        said[f"completions/{name}"] = script
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([binary, "man", place], check=True, stdout=subprocess.DEVNULL)
        said |= {f"man/{page.name}": page.read_bytes() for page in Path(place).iterdir()}
    return said


def checked(twice):
    """The command for each architecture, built where the last build was left, and without faults."""
    compilers = {architecture: package.compiler(target) for architecture, target in TARGETS.items()}
    groups = [[each for each in TARGETS if compilers[each] == compiler] for compiler in dict.fromkeys(compilers.values())]
    built = package.side_by_side(build, ROOT / "target" / "release-build", groups, twice)
    for architecture, binary in built.items():
        if found := list(faults(architecture, binary)):
            sys.exit(f"{binary}: " + "; ".join(found))
    return built


def pointed(page, version):
    """A page whose links lead to the forge: an archive has no other pages."""
    return re.sub(r"\]\((?![a-z]+:|#)", f"](https://github.com/decamp/decamp/blob/v{version}/", page.decode()).encode()


def binaries(twice, version):
    """The command for each architecture, with what belongs to it."""
    built = checked(twice)
    here = words(built[os.uname().machine])
    beside = {name: pointed((ROOT / name).read_bytes(), version) for name in ("README.md", "CHANGELOG.md")}
    beside["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    for architecture, binary in built.items():
        files = {"decamp": binary.read_bytes(), **beside, **here}
        yield f"decamp-{architecture}-linux.tar.gz", packed(files, f"decamp-{architecture}-linux", commit()[2])


def lambdas(twice, _version):
    """The zips of the function, whose sums the module knows."""
    known = json.loads((ROOT / "infra" / "release.json").read_text())["zips"]
    for architecture, content in package.zips(list(package.TARGETS), twice).items():
        digest, wanted = hashlib.sha256(content).hexdigest(), known.get(architecture, {}).get("sha256")
        if digest != wanted:
            sys.exit(f"the zip for {architecture} has the sum {digest}, and infra/release.json {wanted}: the module would refuse it")
        yield f"decamp-lambda-{architecture}.zip", content


def images(twice, version):
    """The container image for both architectures, through which a departure is walked before it is handed out."""
    built = checked(False)
    name, _, second = commit()
    archive = image.build(built, version, name, second)
    if twice and image.build(built, version, name, second) != archive:
        sys.exit("the image: two builds from the same binaries differ")
    with tempfile.TemporaryDirectory() as place:
        Path(place, "image.tar").write_bytes(archive)
        for architecture in TARGETS:
            image.walk(Path(place, "image.tar"), architecture)
    yield "decamp-image.tar", archive


def modules(_twice, version):
    """The Terraform module: as it stands in the repository, and as the tree of a registry's repository of its own."""
    files = tracked("infra") | {"LICENSE": (ROOT / "LICENSE").read_bytes()}
    yield "decamp-terraform.tar.gz", packed(files, f"decamp-terraform-{version}", commit()[2])
    # A registry reads the module at the root of a repository named terraform-aws-decamp, its submodules and its examples. The tests need
    # the rest of this repository.
    kept = {name: text for name, text in files.items() if not name.startswith("tests/")}
    yield "terraform-aws-decamp.tar.gz", packed(kept, f"terraform-aws-decamp-{version}", commit()[2])


def bills(_twice, version):
    """What the binaries link."""
    name, _, second = commit()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    for of in ("decamp", "decamp-lambda"):
        text = json.dumps(sbom.bill(ROOT, of, version, name, stamp), indent=1) + "\n"
        yield f"{of}.cdx.json", text.encode()


MAKERS = {"lambda": lambdas, "binaries": binaries, "image": images, "module": modules, "sbom": bills}


def main(arguments):
    """Makes what is asked for, or all; and the sums of all that is there."""
    if arguments == ["image"]:
        OUT.mkdir(parents=True, exist_ok=True)
        for name, content in images(False, numbered()):
            (OUT / name).write_bytes(content)
            print(f"{(OUT / name).relative_to(ROOT)}: {len(content) / 1e6:.2f} MB")
        return
    twice = "--twice" in arguments
    only = [arguments[place + 1] for place, word in enumerate(arguments[:-1]) if word == "--only"]
    version = next((word for word in arguments if word[:1].isdigit()), None)
    if version is None or not set(only) <= set(PARTS):
        sys.exit(f"just release VERSION [--twice] [--only {'|'.join(PARTS)}]…")
    found = list(refusals(version))
    if found:
        sys.exit("\n".join(found))
    if not only:
        shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True, exist_ok=True)
    for part in only or PARTS:
        began = time.monotonic()
        for name, content in MAKERS[part](twice, version):
            (OUT / name).write_bytes(content)
            print(f"{name}: {len(content) / 1e6:.2f} MB, {time.monotonic() - began:.0f} s")
    (OUT / "NOTES.md").write_text(notes(version))
    made = sorted(place for place in OUT.iterdir() if place.name not in ("SHA256SUMS", "NOTES.md"))
    (OUT / "SHA256SUMS").write_text("".join(f"{hashlib.sha256(place.read_bytes()).hexdigest()}  {place.name}\n" for place in made))
    print(f"{len(made)} files and SHA256SUMS in {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
