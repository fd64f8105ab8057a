"""Checks the links and anchors of every page, and builds the book where mdbook is installed: `python3 tests/docs/links.py [--book]`."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BOOK = ROOT / "target" / "book"
# Links that leave docs/ are of the repository: in the built book they lead to the forge.
FORGE = "https://github.com/decamp/decamp/blob/main/"
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s]+)\)")
FENCE = re.compile(r"^\s*(```|~~~)")


def pages():
    """Every page of the repository that people read."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout
    return sorted(ROOT / name for name in filter(None, tracked.split("\0")) if (ROOT / name).is_file())


def prose(text):
    """The lines outside of fenced code, with their numbers."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def slug(heading):
    """The anchor that forges and mdBook make of a heading."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    heading = heading.strip().lower()
    return re.sub(r"\s", "-", "".join(c for c in heading if c.isalnum() or c in " -_"))


def anchors(text):
    """The anchors of a page, those that are there twice included."""
    return [slug(line.lstrip("#")) for _, line in prose(text) if re.match(r"#{1,6} ", line)]


def faults():
    """Every link that leads nowhere, every anchor that is ambiguous, every page that the book leaves out."""
    texts = {page: page.read_text() for page in pages()}
    for page, text in texts.items():
        name = page.relative_to(ROOT)
        found = anchors(text)
        if DOCS in page.parents and page.parent.name != "adr":
            for anchor in sorted({anchor for anchor in found if found.count(anchor) > 1}):
                yield f"{name}: the anchor #{anchor} is there more than once"
        for number, line in prose(text):
            for _, target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                to = (page.parent / path).resolve() if path else page
                if not to.exists():
                    yield f"{name}:{number}: {target} leads nowhere"
                elif anchor and to.suffix == ".md" and anchor not in anchors(texts.get(to) or to.read_text()):
                    yield f"{name}:{number}: {target} names an anchor that is not there"
    listed = {(DOCS / target.partition("#")[0]).resolve() for _, target in LINK.findall((DOCS / "SUMMARY.md").read_text())}
    for page in texts:
        # Single records and generated pages are reached from their own index.
        inside = DOCS in page.parents and page.parent.name not in ("adr", "reference")
        if inside and page.name != "SUMMARY.md" and page not in listed:
            yield f"{page.relative_to(ROOT)}: docs/SUMMARY.md does not list it"


def faults_elsewhere():
    """Every address of a page in what is no page: alerts, the module, the program. One that ends with # is put together at run time."""
    kinds = ["*.rs", "*.tf", "*.hcl", "*.yaml", "*.yml", "*.json", "*.toml", "*.py"]
    tracked = subprocess.run(["git", "ls-files", "-z", *kinds], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if not (ROOT / name).is_file():
            continue
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            for path, anchor in re.findall(re.escape(FORGE) + r"([\w./-]+\.md)(?:#([\w-]+))?", line):
                to = ROOT / path
                if not to.is_file():
                    yield f"{name}:{number}: {path} is no page"
                elif anchor and anchor not in anchors(to.read_text()):
                    yield f"{name}:{number}: {path} has no section #{anchor}"


def build():
    """The book, with links out of docs/ rewritten to the forge; in target/book."""
    stage = ROOT / "target" / "book-source"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(DOCS, stage)
    summary = (stage / "SUMMARY.md").read_text()
    extra = [page for folder in ("reference", "adr") for page in sorted((stage / folder).glob("*.md")) if page.name != "README.md"]
    for folder in ("reference", "adr"):
        entry = next(line for line in summary.splitlines() if f"({folder}/README.md)" in line)
        more = [f"  - [{page.read_text().splitlines()[0].lstrip('# ')}]({folder}/{page.name})" for page in extra if page.parent.name == folder]
        summary = summary.replace(entry, "\n".join([entry, *more]))
    (stage / "SUMMARY.md").write_text(summary)
    for page in set(stage.rglob("*.md")) - {stage / "SUMMARY.md"}:
        def rewritten(match, page=page):
            path, hash_, anchor = match[2].partition("#")
            to = (DOCS / page.relative_to(stage).parent / path).resolve()
            if re.match(r"[a-z]+:", match[2]) or not path:
                return match[0]
            if to == DOCS or DOCS in to.parents:
                # mdBook writes a README as index.html, but does not rewrite every link to it.
                return f"{match[1]}({re.sub(r'README[.]md$', 'index.md', path)}{hash_}{anchor})"
            return f"{match[1]}({FORGE}{to.relative_to(ROOT)}{hash_}{anchor})"

        page.write_text(LINK.sub(rewritten, page.read_text()))
    env = dict(os.environ, MDBOOK_BOOK__SRC=str(stage.relative_to(ROOT)))
    subprocess.run(["mdbook", "build"], cwd=ROOT, env=env, check=True)


class Written(HTMLParser):
    """The links and the anchors of a page of the built book."""

    def __init__(self, page):
        super().__init__()
        self.names, self.links = set(), set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        """Called by the parser."""
        of = dict(attributes)
        self.names.add(of.get("id"))
        self.links |= {of[name] for name in ("href", "src") if of.get(name)}


def faults_of_the_book():
    """Every broken link of the built book."""
    # The links of the printed book, the error page and the table of contents are relative to another place.
    written = {page: Written(page) for page in sorted(BOOK.rglob("*.html")) if page.name not in ("print.html", "404.html", "toc.html")}
    for page, it in written.items():
        for link in sorted(it.links):
            path, _, anchor = link.partition("#")
            to = (page.parent / unquote(path)).resolve() if path else page
            if re.match(r"[a-z]+:", link) or (to.exists() and (not anchor or to not in written or unquote(anchor) in written[to].names)):
                continue
            yield f"{page.relative_to(ROOT)}: {link} leads nowhere"


def main(arguments):
    """Fails with every fault at once."""
    found = [*faults(), *faults_elsewhere()]
    if found:
        sys.exit("\n".join(found))
    print(f"links: {len(pages())} pages, every link and anchor leads somewhere")
    if "--book" in arguments:
        if shutil.which("mdbook"):
            build()
            found = list(faults_of_the_book())
            if found:
                sys.exit("\n".join(found))
            print("book: built, without broken links")
        else:
            print("book: skipped, mdbook is not installed")


if __name__ == "__main__":
    main(sys.argv[1:])
