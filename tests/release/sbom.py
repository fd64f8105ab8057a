"""A CycloneDX bill of materials from Cargo's own metadata: what a binary links, with sums and licences."""

import json
import re
import subprocess
import tomllib
import uuid


def metadata(root):
    """What Cargo knows of the workspace, for Linux."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout)


def chosen(root, package):
    """Names and versions of what one package links, by its own features: metadata joins those of the whole workspace."""
    command = ["cargo", "tree", "--locked", "-p", package, "-e", "normal", "--target", "x86_64-unknown-linux-gnu"]
    command += ["--prefix", "none", "--no-dedupe", "--format", "{p}"]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return {tuple(line.split()[:2]) for line in said.splitlines() if line}


def linked(known, package, wanted):
    """The packages that one links: its normal dependencies, and theirs."""
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    names = {entry["id"]: entry for entry in known["packages"]}
    start = next(entry["id"] for entry in known["packages"] if entry["name"] == package and entry["source"] is None)
    found, todo = {}, [start]
    while todo:
        this = todo.pop()
        if this in found:
            continue
        on = sorted(
            dependency["pkg"]
            for dependency in nodes[this]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
            and (names[dependency["pkg"]]["name"], f"v{names[dependency['pkg']]['version']}") in wanted
        )
        found[this] = on
        todo += on
    return start, {this: (names[this], on) for this, on in found.items()}


def purl(entry):
    """A package's address, as Package URL has it."""
    return f"pkg:cargo/{entry['name']}@{entry['version']}"


def component(entry, sums, kind="library"):
    """One package."""
    about = {"type": kind, "bom-ref": purl(entry), "name": entry["name"], "version": entry["version"], "purl": purl(entry)}
    if entry["description"]:
        about["description"] = re.sub(r"\s+", " ", entry["description"]).strip()
    if entry["license"]:
        # Cargo's older form separates alternatives by a slash.
        about["licenses"] = [{"expression": " OR ".join(part.strip() for part in entry["license"].split("/"))}]
    if digest := sums.get((entry["name"], entry["version"])):
        about["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if entry["repository"]:
        about["externalReferences"] = [{"type": "vcs", "url": entry["repository"]}]
    return about


def bill(root, package, version, commit, time):
    """The document for one package of the workspace; the same for the same commit."""
    lock = tomllib.loads((root / "Cargo.lock").read_text())
    sums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}
    start, found = linked(metadata(root), package, chosen(root, package))
    others = sorted((entry for this, (entry, _) in found.items() if this != start), key=purl)
    names = {this: purl(entry) for this, (entry, _) in found.items()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{package} {version} {commit}')}",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": component(found[start][0], sums, "application"),
            "properties": [{"name": "decamp:commit", "value": commit}],
        },
        "components": [component(entry, sums) for entry in others],
        "dependencies": sorted(
            ({"ref": names[this], "dependsOn": sorted(names[other] for other in on)} for this, (_, on) in found.items()),
            key=lambda row: row["ref"],
        ),
    }
