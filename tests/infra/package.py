"""Builds the Lambda function's zips, which contain no time and no path of this machine: `just package`. `--twice` compares two builds."""

import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import unwind_tables

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "package"
# The C library of Amazon Linux 2023, which provided.al2023 runs on.
GLIBC = "2.34"
TARGETS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
# The most that a zip may have: a cold start begins with its download.
MOST_BYTES = 3_000_000
# The processor in the header of a Linux executable (e_machine).
MACHINES = {"arm64": 183, "x86_64": 62}
# A compiler for arm64, and with .ci/rust-musl for musl, for machines where rustup has no such target.
OTHER_COMPILER = ROOT / "target" / "tools" / "rust-arm64" / "rustc"


def compiler(target):
    """A compiler that can build for a target: the usual one, or the other one."""
    for known in ["rustc", *([str(OTHER_COMPILER)] if OTHER_COMPILER.is_file() else [])]:
        question = [known, "--print", "target-libdir", "--target", target]
        if Path(subprocess.run(question, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()).is_dir():
            return known
    sys.exit(f"no compiler for {target} here: rustup target add {target}")


def compiled(package, profile, targets, folder, root, suffix="", **more):
    """Builds a package into a target folder of its own, for targets that one compiler can build for. `suffix` follows the name of each
    target, and `more` are further variables.
    """
    cargo_home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    # Without the paths of this machine, the binary is the same wherever it is built.
    remapped = {str(root): "/decamp", cargo_home: "/cargo"}
    flags = [f"--remap-path-prefix={old}={new}" for old, new in remapped.items()]
    c_flags = " ".join(f"-ffile-prefix-map={old}={new}" for old, new in remapped.items())
    env = dict(
        os.environ,
        RUSTC=compiler(targets[0]),
        CARGO_ENCODED_RUSTFLAGS="\x1f".join(flags),
        CARGO_TARGET_DIR=str(folder),
        CARGO_INCREMENTAL="0",
        SOURCE_DATE_EPOCH="0",
        **more,
    )
    env |= {f"CFLAGS_{target.replace('-', '_')}": c_flags for target in targets}
    env.pop("RUSTFLAGS", None)
    command = ["cargo", "zigbuild", "--locked", "--profile", profile, "-p", package]
    command += [word for target in targets for word in ("--target", f"{target}{suffix}")]
    subprocess.run(command, cwd=root, env=env, check=True)


def build(architectures, folder, root=ROOT):
    """Builds the function for these architectures, which one compiler can build for."""
    targets = {architecture: TARGETS[architecture] for architecture in architectures}
    compiled("decamp-lambda", "lambda", list(targets.values()), folder, root, f".{GLIBC}")
    made = {}
    for architecture, target in targets.items():
        made[architecture] = small = folder / target / "bootstrap"
        small.write_bytes(unwind_tables.emptied((folder / target / "lambda" / "bootstrap").read_bytes()))
        small.chmod(0o755)
    return made


def again(builder, architectures):
    """What a builder builds from nothing in another folder."""
    with tempfile.TemporaryDirectory(prefix="decamp-again-") as place:
        root = Path(place, "sources")
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        return {architecture: path.read_bytes() for architecture, path in builder(architectures, Path(place, "target"), root).items()}


def side_by_side(builder, folder, groups, twice):
    """Builds the architectures of each group in one go, in a target folder of its own below `folder`, because Cargo locks one. Returns the
    binaries.

    With `twice`, each is also built again from nothing and must be the same. As many builds run at a time as there are processors: some
    steps of a build use one.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        first = [pool.submit(builder, group, folder / group[0]) for group in groups]
        second = [pool.submit(again, builder, group) for group in groups if twice]
        built = {architecture: path for build in first for architecture, path in build.result().items()}
        repeated = {architecture: binary for build in second for architecture, binary in build.result().items()}
    differ = [architecture for architecture, binary in repeated.items() if binary != built[architecture].read_bytes()]
    if differ:
        sys.exit(f"two builds of one commit differ: {', '.join(f'{built[each].name} for {each}' for each in differ)}")
    return built


def faults(architecture, binary):
    """Reasons why Lambda could not run the binary, and paths of this machine in it."""
    text = binary.read_bytes()
    if text[:6] != b"\x7fELF\x02\x01" or int.from_bytes(text[18:20], "little") != MACHINES[architecture]:
        yield f"it is not an executable for {architecture}"
    wanted = {int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", text)}
    newest = int(GLIBC.split(".")[1])
    if not wanted or newest < max(wanted):
        yield f"it needs a C library of version {sorted(wanted)}, and Amazon Linux 2023 has {GLIBC}"
    for folder in {str(ROOT), str(Path.home()), os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))}:
        if folder.encode() + b"/" in text:
            yield f"it contains the path {folder}"


def zipped(binary):
    """A zip with only the binary, without a time and with a fixed mode."""
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(entry, binary.read_bytes(), compresslevel=9)
    return content.getvalue()


def zips(architectures, twice):
    """The zip for each architecture, whose binary Lambda can run. The binaries stay in OUT, where the tests look for them."""
    if shutil.which("cargo-zigbuild") is None:
        sys.exit("cargo-zigbuild is not installed: pip install cargo-zigbuild ziglang")
    OUT.mkdir(parents=True, exist_ok=True)
    made = {}
    for architecture, binary in side_by_side(build, OUT / "build", [[each] for each in architectures], twice).items():
        if found := list(faults(architecture, binary)):
            sys.exit(f"{binary}: " + "; ".join(found))
        (OUT / architecture).mkdir(exist_ok=True)
        # A process that reads the file meanwhile gets the old or the new one, never a part.
        shutil.copy(binary, OUT / architecture / "new")
        os.replace(OUT / architecture / "new", OUT / architecture / "bootstrap")
        made[architecture] = zipped(binary)
        if MOST_BYTES < len(made[architecture]):
            sys.exit(f"the zip for {architecture} has {len(made[architecture])} bytes, and {MOST_BYTES} is the most")
    return made


def main(arguments):
    """Builds the named zips, or all. With --twice, each is built again from nothing in another folder and must be the same."""
    twice = "--twice" in arguments
    wanted = [word for word in arguments if not word.startswith("-")] or list(TARGETS)
    began = time.monotonic()
    for architecture, content in zips(wanted, twice).items():
        name = f"decamp-lambda-{architecture}.zip"
        (OUT / name).write_bytes(content)
        known = base64.b64encode(hashlib.sha256(content).digest()).decode()
        print(f"{name}: {len(content) / 1e6:.2f} MB, source_code_hash {known}{', the same in two builds' if twice else ''}")
    print(f"built in {time.monotonic() - began:.0f} s")
    made = sorted(OUT.glob("decamp-lambda-*.zip"))
    (OUT / "SHA256SUMS").write_text("".join(f"{hashlib.sha256(place.read_bytes()).hexdigest()}  {place.name}\n" for place in made))


if __name__ == "__main__":
    main(sys.argv[1:])
