"""Compares every argument of every resource, for each combination of inputs in infra/tests/combinations, with reviewed snapshots.

For a value that a plan does not know yet, the snapshot has the references of the argument. `--write` writes the snapshots; review the difference.
"""

import json
import re
import sys

from standin import ROOT, STANDIN, Failed, Scratch, have_standin

FOLDER = "tests/combinations"
PLACE = ROOT / "infra" / FOLDER / "snapshots"
UNKNOWN = "(known after apply)"


def unfolded(value):
    """A value with the JSON in its strings parsed, so that a difference is readable."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {name: unfolded(one) for name, one in value.items()}
    return [unfolded(one) for one in value] if isinstance(value, list) else value


def merged(known, unknown):
    """A plan's values, with a mark for those that are known only after the apply."""
    if unknown is True:
        return UNKNOWN
    if isinstance(unknown, dict):
        known = known or {}
        names = sorted(set(known) | {name for name, one in unknown.items() if one})
        return {name: merged(known.get(name), unknown.get(name)) for name in names}
    if isinstance(unknown, list) and isinstance(known, list):
        more = unknown + [None] * (len(known) - len(unknown))
        return [merged(one, other) for one, other in zip(known, more)]
    return known


def kept(values):
    """The values without empty and computed ones."""
    return {name: value for name, value in values.items() if value not in (None, [], {}, UNKNOWN)}


def references(expression):
    """The references of an expression, by the names of its arguments."""
    if isinstance(expression, list):
        return [references(one) for one in expression]
    if not isinstance(expression, dict):
        return expression
    if "references" in expression or "constant_value" in expression:
        return sorted(expression.get("references", [])) or expression.get("constant_value")
    return {name: references(one) for name, one in sorted(expression.items())}


def configured(module):
    """Every resource of the configuration, with the references of its arguments, its dependencies and its count."""
    for resource in module.get("resources", []):
        found = {"arguments": references(resource.get("expressions", {}))}
        for name in ("depends_on", "count_expression", "for_each_expression"):
            if name in resource:
                found[name] = sorted(resource[name]) if isinstance(resource[name], list) else references(resource[name])
        if "provisioners" in resource:
            found["provisioners"] = [references(one.get("expressions", {})) for one in resource["provisioners"]]
        yield resource["address"], found
    for name, output in module.get("outputs", {}).items():
        yield f"output.{name}", {"arguments": references(output.get("expression", {})), "depends_on": sorted(output.get("depends_on", []))}


def rendered(plan):
    """The snapshots in a plan: one for each combination, and one for the configuration."""
    snapshots = {}
    for change in plan["resource_changes"]:
        match = re.match(r"module\.(\w+)\.(.*)", change["address"])
        if match and change["mode"] == "managed":
            values = merged(change["change"]["after"], change["change"]["after_unknown"])
            snapshots.setdefault(match[1], {})[match[2]] = kept(unfolded(values))
    outputs = plan["planned_values"].get("outputs", {}).get("of", {}).get("value") or {}
    for name, values in outputs.items():
        snapshots.setdefault(f"outputs-{name}", {}).update(kept(unfolded(values)))
    calls = plan["configuration"]["root_module"]["module_calls"]
    snapshots["configuration"] = dict(configured(calls["least"]["module"]))
    return {name: json.loads(json.dumps(one, sort_keys=True)) for name, one in snapshots.items()}


def planned(at):
    """The snapshots of a copy of the module."""
    at.terraform("plan", "-input=false", "-refresh=false", "-lock=false", "-out=plan.bin", folder=FOLDER)
    return rendered(json.loads(at.run("terraform", "show", "-json", "plan.bin", folder=FOLDER)))


def reviewed():
    """The snapshots in the repository."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(PLACE.glob("*.json"))}


def differences(found, expected, at=""):
    """The differences of two snapshots."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in sorted(set(found) | set(expected)):
            yield from differences(found.get(name), expected.get(name), f"{at}/{name}")
    elif found != expected:
        yield f"{at}: {json.dumps(found)[:300]}, and not {json.dumps(expected)[:300]}"


def without_tags_or_region(configuration):
    """Resources without tags or a Region although the provider's schema has them."""
    (provider,) = json.loads((STANDIN / "schema.json").read_text())["provider_schemas"].values()
    for address, resource in configuration.items():
        schema = provider["resource_schemas"].get(address.split(".")[0])
        for name in ("tags", "region"):
            if schema and name in schema["block"]["attributes"] and name not in resource["arguments"]:
                yield f"{address} could have {name}, and has none"


def check(at):
    """Fails with the differences. Returns the number of resources."""
    at.init(FOLDER)
    found, expected = planned(at), reviewed()
    without = list(without_tags_or_region(found["configuration"]))
    if without:
        raise Failed("\n".join(without))
    wrong = list(differences(found, expected))
    if wrong:
        shown = "\n".join(wrong[:40])
        raise Failed(f"{len(wrong)} arguments differ from the reviewed snapshots; if they are right, `python3 tests/infra/snapshots.py --write`:\n{shown}")
    return sum(len(one) for name, one in found.items() if not name.startswith(("outputs-", "configuration")))


def main(arguments):
    """Compares the snapshots, or writes them."""
    if not have_standin():
        print("skipped: there is no stand-in for the provider beside the repository")
        return 0
    with Scratch() as at:
        if "--write" not in arguments:
            print(f"{check(at)} resources match the reviewed snapshots")
            return 0
        at.init(FOLDER)
        for name, snapshot in planned(at).items():
            (PLACE / f"{name}.json").write_text(json.dumps(snapshot, indent=1, sort_keys=True) + "\n")
            print(f"{name}: {len(snapshot)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
