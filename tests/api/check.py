"""The service against its own OpenAPI document, by schemathesis; `just api` runs it. Where that is not installed it says so, and fails in CI."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "decamp"
# Long enough to be accepted, and known to nobody else.
TOKEN = "admin-token-of-the-api-check"
KEY = "events-key-of-the-api-check"
SECONDS_EACH = 25

WEBHOOK = """
[webhooks.deploy]
scheme = "standard"
action = "look"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""

# What can be made to order from the document is not yet an event, a signed message, or a departure that exists. That a stream has
# no end is told by the document in words alone.
RUNS = {
    "admin": ["--exclude-tag", "webhooks", "--exclude-path", "/v1/stream", "--exclude-checks", "positive_data_acceptance"],
    "webhooks": ["--include-tag", "webhooks", "--exclude-checks", "positive_data_acceptance,negative_data_rejection"],
}
OPENS = {"admin": f"Authorization: Bearer {TOKEN}", "webhooks": f"x-api-key: {KEY}"}


def sandbox():
    """A pretend cluster, the variables that point to it, and one of its instances."""
    process = subprocess.Popen([BINARY, "sandbox", "--acls", "--delay", "2"], stdout=subprocess.PIPE, text=True)
    variables = {}
    for line in process.stdout:
        if not line.startswith("export "):
            return process, variables, line.split()[-1]
        name, value = line.removeprefix("export ").strip().split("=", 1)
        variables[name] = value
    raise SystemExit("the sandbox ended")


def service(variables, folder):
    """A replica before it, and where it listens."""
    config = Path(folder) / "settings.toml"
    config.write_text(WEBHOOK, encoding="utf-8")
    settings = {
        "DECAMP_WEBHOOKS_LISTEN": "127.0.0.1:0",
        "DECAMP_ADMIN_LISTEN": "127.0.0.1:0",
        "DECAMP_ADMIN_TOKEN": TOKEN,
        "DECAMP_EVENTS_KEY": KEY,
        "DECAMP_SOURCE_RATE": "100000",
        "DECAMP_GUARD_ALB": "10m",
        "DECAMP_LOG": "error",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    log = open(Path(folder) / "log", "w+", encoding="utf-8")
    command = [BINARY, "serve", "--config", config]
    process = subprocess.Popen(command, env={**variables, **settings}, stdout=subprocess.PIPE, stderr=log, text=True)
    said = process.stdout.readline().strip()
    webhooks, admin = said.removeprefix("webhooks on ").split(", admin on ")
    return process, {"webhooks": f"http://{webhooks}", "admin": f"http://{admin}"}, log


def ready(address):
    """Waits until it takes work: what it answers before that is no failure of its document."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("it never becomes ready")


def depart(variables, instance, address):
    """Has one instance leave, so that there is something to show: by its guard it takes longer than this check."""
    endpoint = f"{variables['AWS_ENDPOINT_URL']}/sandbox/terminate?instance={instance}&wait=30"
    with urllib.request.urlopen(urllib.request.Request(endpoint, method="POST"), timeout=20) as answer:
        event = answer.read()
    request = urllib.request.Request(f"{address}/v1/events", data=event, headers={"x-api-key": KEY}, method="POST")
    with urllib.request.urlopen(request, timeout=5) as answer:
        if answer.status != 202:
            raise SystemExit(f"the event was answered with {answer.status}")


def fetch(address, folder):
    """The document, as it is served."""
    request = urllib.request.Request(f"{address}/v1/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
    document = Path(folder) / "openapi.json"
    with urllib.request.urlopen(request, timeout=5) as answer:
        document.write_bytes(answer.read())
    return document


def run(listener, address, document, more):
    """One listener."""
    print(f"== {listener} ==", flush=True)
    command = ["schemathesis", "run", document, "--url", address, "--checks", "all", *RUNS[listener], "-H", OPENS[listener]]
    command += ["--phases", "examples,coverage,fuzzing", "--max-time", str(SECONDS_EACH), "--request-timeout", "10"]
    command += ["--seed", "1", "--continue-on-failure", "--warnings", "off", "--no-color", *more]
    # In the folder of the document, because it leaves files where it runs.
    return subprocess.run([str(word) for word in command], cwd=document.parent, check=False).returncode


def main():
    """Both listeners, one after the other."""
    if not shutil.which("schemathesis"):
        print("api: skipped, schemathesis is not installed")
        return 1 if os.environ.get("CI") else 0
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        cluster, variables, instance = sandbox()
        replica = None
        try:
            replica, addresses, log = service(variables, folder)
            ready(addresses["admin"])
            depart(variables, instance, addresses["webhooks"])
            document = fetch(addresses["admin"], folder)
            for listener, address in addresses.items():
                failed |= run(listener, address, document, sys.argv[1:])
            if replica.poll() is not None:
                print(f"the service ended: {replica.returncode}")
                failed = 1
            log.seek(0)
            if "panicked" in log.read():
                print("the service panicked")
                failed = 1
        finally:
            for process in filter(None, (replica, cluster)):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=20)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
