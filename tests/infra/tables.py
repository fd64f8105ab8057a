"""Writes the tables of inputs and outputs into the READMEs of the module and its examples; `--check` names the stale ones."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
KINDS = {"object(": "object", "map(object(": "map of objects", "list(object(": "list of objects"}


def blocks(kind, text):
    """The name, description and attributes of every block of a kind, in the layout of `terraform fmt`."""
    for match in re.finditer(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.M | re.S):
        attributes = dict(re.findall(r"^  (\w+) *= (.*)$", match[2], re.M))
        description = attributes.get("description", "").strip('"').replace('\\"', '"')
        yield match[1], description, attributes


def read(folder):
    """A folder's configuration as one text."""
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")))


def inputs(text):
    """The table of inputs."""
    rows = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for name, description, attributes in blocks("variable", text):
        kind = attributes.get("type", "").rstrip("{")
        default = f"`{attributes['default']}`" if "default" in attributes else "**required**"
        if default == "`{`":
            default = "an example"
        rows.append(f"| `{name}` | {KINDS.get(kind, kind)} | {default} | {description} |")
    return rows


def outputs(text):
    """The table of outputs."""
    rows = ["| name | meaning |", "|---|---|"]
    return rows + [f"| `{name}` | {description} |" for name, description, _ in blocks("output", text)]


def written(readme, text):
    """A README with current tables. An empty table becomes "None."."""
    for heading, rows in (("Inputs", inputs(text)), ("Outputs", outputs(text))):
        body = "\n".join(rows) if len(rows) > 2 else "None."
        table = re.compile(rf"(^## {heading}\n\n)(?:\|.*\n)+|(^## {heading}\n\n)None\.\n", re.M)
        if not table.search(readme):
            sys.exit(f"a README has no table under ## {heading}")
        readme = table.sub(lambda found, body=body: (found[1] or found[2]) + body + "\n", readme)
    return readme


def main(check):
    """Writes or checks every README with such tables."""
    folders = [INFRA, *sorted(path.parent for path in INFRA.glob("examples/*/main.tf"))]
    stale = []
    for folder in folders:
        place = folder / "README.md"
        readme = place.read_text()
        new = written(readme, read(folder))
        if new != readme:
            stale.append(str(place.relative_to(ROOT)))
            if not check:
                place.write_text(new)
    if check and stale:
        sys.exit(f"stale tables in {', '.join(stale)}: python3 tests/infra/tables.py writes them")
    print(f"{len(folders)} READMEs, {len(stale)} {'stale' if check else 'written'}")


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
