#!/usr/bin/env python3
"""All tests of the workspace, their binaries beside each other: most of them wait far more than they compute.

`cargo test --workspace` runs the same tests one binary after another. Arguments go to every binary, such as a test's name.
TESTS_AT_ONCE is how many run at once, 4 if it is not set.
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import time

AT_ONCE = int(os.environ.get("TESTS_AT_ONCE", "4"))
# These take longest, so they begin first.
FIRST = ["rehearsal", "alterations", "serve", "cli_live", "wire", "bootstrap", "mutants"]
# How many tests of a binary run at once if most of them wait. The default is one for each processor.
THREADS = {"serve": 5}


def binaries():
    """Every test binary, with the folder that it runs in."""
    build = ["cargo", "test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]
    printed = subprocess.run(build, stdout=subprocess.PIPE, check=True).stdout
    for line in printed.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            yield message["target"]["name"], message["executable"], os.path.dirname(message["manifest_path"])


def run(name, path, folder):
    """What one binary prints, whether it passed, and how long it took."""
    began = time.monotonic()
    environment = os.environ | {"CARGO_MANIFEST_DIR": folder}
    if name in THREADS:
        environment.setdefault("RUST_TEST_THREADS", str(THREADS[name]))
    ran = subprocess.run([path, *sys.argv[1:]], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return name, path, ran.returncode == 0, ran.stdout, time.monotonic() - began


def place(test):
    return FIRST.index(test[0]) if test[0] in FIRST else len(FIRST)


def main():
    tests = sorted(binaries(), key=place)
    failed = []
    took = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, *test) for test in tests]):
            name, path, passed, printed, seconds = done.result()
            print(f"     Running {name} ({os.path.relpath(path)})\n{printed}", flush=True)
            took.append((seconds, name))
            if not passed:
                failed.append(name)
    print("   Doc-tests workspace", flush=True)
    if subprocess.run(["cargo", "test", "--workspace", "--doc", "--", *sys.argv[1:]]).returncode != 0:
        failed.append("documentation")
    print("the longest:", ", ".join(f"{name} {seconds:.0f} s" for seconds, name in sorted(took, reverse=True)[:6]))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
