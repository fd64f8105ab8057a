"""The container image: an OCI archive for both architectures, made by buildah without a registry, and a walk through it by podman.

`image.py walk ARCHIVE ARCHITECTURE` starts a sandbox and the service from the image, sends the service an event, and sees a departure end.
An architecture that is not this machine's is run by qemu-aarch64-static or qemu-x86_64-static.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What containers call an architecture.
NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
KEY = "the-key-of-this-walk"
# From the request to terminate until the service says how the departure ended; an emulated processor is slow.
PATIENCE = 300


def authorities():
    """The certificate authorities, from the package whose version and sum requirements.txt has."""
    try:
        import certifi
    except ImportError:
        sys.exit("certifi is not installed: pip install -r tests/release/requirements.txt")
    wanted = re.search(r"^certifi==(\S+)", (ROOT / "tests" / "release" / "requirements.txt").read_text(), re.M)[1]
    if (found := metadata.version("certifi")) != wanted:
        sys.exit(f"certifi is {found}, and the image has that of {wanted}: pip install -r tests/release/requirements.txt")
    return Path(certifi.where()).read_bytes()


def storage(place):
    """Settings with which buildah and podman keep everything in one folder, and need no file system of their own."""
    return dict(os.environ, STORAGE_DRIVER="vfs", BUILDAH_ISOLATION="chroot"), ["--root", f"{place}/root", "--runroot", f"{place}/run"]


def build(binaries, version, commit, second):
    """The archive, from a binary for each architecture. The same binaries make the same bytes."""
    if shutil.which("buildah") is None:
        sys.exit("buildah is not installed: apt-get install buildah")
    with tempfile.TemporaryDirectory(prefix="decamp-image-", ignore_cleanup_errors=True) as place:
        context, layout = Path(place, "context"), Path(place, "layout")
        for architecture, binary in binaries.items():
            (context / NAMES[architecture]).mkdir(parents=True)
            shutil.copy(binary, context / NAMES[architecture] / "decamp")
            (context / NAMES[architecture] / "decamp").chmod(0o755)
        (context / "ca-certificates.crt").write_bytes(authorities())
        (context / "ca-certificates.crt").chmod(0o644)
        env, kept = storage(place)
        labels = {"title": "decamp", "version": version, "revision": commit, "source": "https://github.com/decamp/decamp", "licenses": "Apache-2.0"}
        for architecture in binaries:
            command = ["buildah", *kept, "build", "--quiet", "--identity-label=false", "--timestamp", str(second), "--platform", f"linux/{NAMES[architecture]}"]
            command += [word for name, value in labels.items() for word in ("--label", f"org.opencontainers.image.{name}={value}")]
            command += ["--manifest", "decamp", "--file", str(ROOT / "infra" / "serve" / "Containerfile"), str(context)]
            subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
        push = ["buildah", *kept, "manifest", "push", "--quiet", "--all", "decamp", f"oci:{layout}:{version}"]
        subprocess.run(push, env=env, check=True, stdout=subprocess.DEVNULL)
        return archived(layout, second)


def archived(layout, second):
    """A folder in OCI's layout as one file: sorted, of nobody, of one time."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(layout.rglob("*")):
            if path.is_file():
                entry = tarfile.TarInfo(path.relative_to(layout).as_posix())
                entry.size, entry.mtime, entry.mode = path.stat().st_size, second, 0o644
                archive.addfile(entry, io.BytesIO(path.read_bytes()))
    return plain.getvalue()


class Container:
    """A container that runs until this is left. What it prints is kept."""

    def __init__(self, place, image, architecture, arguments, variables):
        self.log = Path(place, f"{arguments[0]}.log")
        self.name = f"decamp-{arguments[0]}-{os.getpid()}"
        self.env, kept = storage(place)
        runtime = ["--runtime", "runc"] if shutil.which("runc") else []
        # Limits that a machine without the right to raise them grants too.
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        command = ["podman", *kept, *runtime, "run", "--rm", "--name", self.name, "--network", "host", "--read-only", "--cap-drop", "all", *limits]
        command += [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        if architecture != os.uname().machine:
            emulator = shutil.which(f"qemu-{architecture}-static")
            if emulator is None:
                sys.exit(f"qemu-{architecture}-static is not installed: apt-get install qemu-user-static")
            command += ["--volume", f"{emulator}:/emulator:ro", "--entrypoint", "/emulator"]
            arguments = ["/usr/local/bin/decamp", *arguments]
        self.stopping = ["podman", *kept, *runtime, "stop", "--time", "15", self.name]
        self.child = subprocess.Popen([*command, image, *arguments], env=self.env, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)

    def printed(self):
        """All that it has printed."""
        return self.log.read_text(errors="replace")

    def says(self, pattern):
        """Waits until it prints something; answers the match."""
        return until(lambda: re.search(pattern, self.printed(), re.M), self, f"it does not say {pattern}")

    def stop(self):
        """Stops it as an orchestrator does; answers its exit code."""
        # One that has ended by itself cannot be stopped, and has its exit code.
        subprocess.run(self.stopping, env=self.env, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self.child.wait(timeout=30)


def until(asked, container, otherwise):
    """Asks until there is an answer, as long as the container runs."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and container.child.poll() is None:
        if answer := asked():
            return answer
        time.sleep(0.1)
    sys.exit(f"{otherwise}:\n{container.printed()}")


def call(url, body=None, **headers):
    """A request; answers its status and what it says."""
    request = urllib.request.Request(url, data=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, json.loads(answer.read())


def loaded(place, archive, architecture):
    """The image of one architecture, in a store of its own; answers its name and what it is configured with."""
    env, kept = storage(place)
    pull = ["podman", *kept, "pull", "--quiet", "--arch", NAMES[architecture], f"oci-archive:{archive}"]
    name = subprocess.run(pull, env=env, check=True, capture_output=True, text=True).stdout.strip()
    about = subprocess.run(["podman", *kept, "image", "inspect", name], env=env, check=True, capture_output=True, text=True).stdout
    return name, json.loads(about)[0]


def walk(archive, architecture):
    """An event to the service in its container, and the end of a departure."""
    def folder():
        return tempfile.TemporaryDirectory(prefix="decamp-walk-", ignore_cleanup_errors=True)

    with folder() as place, folder() as other:
        here, _ = loaded(place, archive, os.uname().machine)
        image, about = loaded(other, archive, architecture)
        if about["Architecture"] != NAMES[architecture] or about["Config"]["User"] != "65532:65532":
            sys.exit(f"the image is for {about['Architecture']} and runs as {about['Config'].get('User')}")
        running = []
        try:
            sandbox = Container(place, here, os.uname().machine, ["sandbox", "--delay", "3"], {})
            running.append(sandbox)
            first = sandbox.says(r"^# the instances of the group \S+: (\S+)")[1]
            variables = dict(re.findall(r"^export (\w+)=(.*)$", sandbox.printed(), re.M))
            listening = {"DECAMP_WEBHOOKS_LISTEN": "127.0.0.1:0", "DECAMP_ADMIN_LISTEN": "127.0.0.1:0", "DECAMP_EVENTS_KEY": KEY}
            quick = {"DECAMP_GUARD_ALB": "2s", "DECAMP_LONGEST_REQUEST": "1s", "AWS_EC2_METADATA_DISABLED": "true"}
            service = Container(other, image, architecture, ["serve"], variables | listening | quick)
            running.append(service)
            webhooks, admin = service.says(r"^webhooks on (\S+), admin on (\S+)$").groups()
            endpoint = variables["AWS_ENDPOINT_URL"]
            call(f"{endpoint}/sandbox/terminate?instance={first}", b"")
            # The instance leaves its attached target groups first, then its hook begins.
            event = until(lambda: call(f"{endpoint}/sandbox/events")[1], sandbox, "no hook begins")[0]
            status, said = call(f"http://{webhooks}/v1/events", json.dumps(event).encode(), x_api_key=KEY, content_type="application/json")
            if status != 202:
                sys.exit(f"the event was answered {status}: {said}")
            past = until(lambda: call(f"http://{admin}/v1/departures")[1]["past"], service, "no departure ends")
            if (past[0]["instance"], past[0]["outcome"]["word"]) != (first, "departed"):
                sys.exit(f"{first} did not depart: {past[0]['outcome']}")
            code = service.stop()
            running.remove(service)
            if code != 0:
                sys.exit(f"told to stop, it ended with {code}:\n{service.printed()}")
            print(f"{architecture}: {first} departed by the image, as user 65532 without capabilities; told to stop, it ended with 0")
        finally:
            for container in running:
                container.stop()


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] != "walk" or sys.argv[3] not in NAMES:
        sys.exit(__doc__)
    print(hashlib.sha256(Path(sys.argv[2]).read_bytes()).hexdigest())
    walk(Path(sys.argv[2]), sys.argv[3])
