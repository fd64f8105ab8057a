"""Rehearses the default plan on consecutive seeds, and checks every run against the limits below.

    python3 tests/rehearsal/seeds.py [--first 1] [--many 20] [--binary target/release/decamp] [-- OPTIONS OF decamp rehearse]

For each seed: terminate-at-once fails at least 50 requests and drain-only at least 5, so that the plan is a real test. decamp fails none.
All three together take at most 180 s. As medians over the seeds: during the refresh the p99 of short requests is at most 1.2 times its
value before the refresh, plus 5 ms. A departure is at most 2 s above its floor.
Prints a line for each seed. The exit code is 1 if a limit is exceeded.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

LEAST = {"terminate-at-once": 50, "drain-only": 5}
LONGEST = 180
FLOOR = 2.0


def rehearse(binary, seed, options):
    """Runs one rehearsal. Returns the run of each driver, the exit code, and the seconds that it took."""
    began = time.monotonic()
    done = subprocess.run([binary, "rehearse", "--seed", str(seed), "--json", *options], stdout=subprocess.PIPE, text=True)
    runs = {run["driver"]: run for run in map(json.loads, done.stdout.splitlines()) if "driver" in run}
    return runs, done.returncode, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description="The default plan on consecutive seeds.")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--many", type=int, default=20)
    parser.add_argument("--binary", default="target/release/decamp")
    parser.add_argument("options", nargs="*")
    given = parser.parse_args()
    broken, ratios, above, requests = [], [], [], 0
    for seed in range(given.first, given.first + given.many):
        runs, code, took = rehearse(given.binary, seed, given.options)
        cells = [f"seed {seed}: {took:.0f} s"]
        for driver, run in runs.items():
            account = run["account"]
            cells.append(f"{driver} {account['failed']} of {account['requests']}")
            if account["failed"] < LEAST.get(driver, 0):
                broken.append(f"seed {seed}: {driver} failed only {account['failed']}")
        ours = runs.get("decamp")
        if ours is None or code != 0:
            broken.append(f"seed {seed}: exit code {code}")
        if ours is not None:
            account = ours["account"]
            requests += account["requests"]
            calm, during = account["calm"]["p99"], account["short"]["p99"]
            ratios.append(during - (1.2 * calm + 5))
            floors = [strip["above_floor"] for strip in ours["strips"] if strip["above_floor"] is not None]
            above += floors
            cells.append(f"short p99 {calm:.0f} -> {during:.0f} ms, above the floor {statistics.median(floors):.1f} s, left {account['late_p99']:.1f} ms late")
            if ours["bottleneck"]:
                cells.append(ours["bottleneck"])
        if not given.options and LONGEST < took:
            broken.append(f"seed {seed}: it took {took:.0f} s")
        print("; ".join(cells), flush=True)
    if ratios and 0 < statistics.median(ratios):
        broken.append(f"short requests were slower than they may be, by {statistics.median(ratios):.1f} ms (median)")
    if above and FLOOR < statistics.median(above):
        broken.append(f"departures were {statistics.median(above):.1f} s above the floor (median)")
    print(f"{given.many} seeds, {requests} requests under decamp; above the floor, median of {len(above)}: {statistics.median(above or [0]):.2f} s")
    for limit in broken:
        print(f"exceeded: {limit}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
