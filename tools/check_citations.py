#!/usr/bin/env python3
"""Proves that what the repository cites is in the repository: every page (*.md) that code, build files and Markdown
cite, the section title behind it ('docs/method.md, "Prototypes"'), every relative link of a Markdown file with its
anchor, and every source file that README, CONTRIBUTING and docs/ name by its path."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["bench", "clients", "cmd", "docs", "examples", "include", "models", "python", "src", "tests", "tools"]
CODE = {".c", ".h", ".S", ".py", ".sh", ".frame", ".txt", ".cmake", ".in", ".inc"}
LOG = ROOT / "bench/LOG.md"  # tells of earlier days: the files that it names may have moved since

URL = re.compile(r"\b[a-z]+://\S+")
CITED = re.compile(r'(?<![\w./-])((?:[\w.-]+/)*[\w-]+\.md)\b(?:, "([^"\n]+)")?')
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
LINK_BELOW = re.compile(r"^\[[^\]]+\]:\s+(\S+)")
SOURCE = re.compile(r"(?<![\w./-])((?:%s)/[a-z0-9_./-]*[a-z0-9_]\.(?:c|h|py|sh|frame|json|jsonl|svg|txt))\b" % "|".join(
    FOLDERS))


def repository_files():
    """Every text file of ours: top level, then the folders above. Not what a build has left there."""
    found = [p for p in ROOT.iterdir() if p.is_file() and (p.suffix in CODE | {".md"} or p.name == "Makefile")]
    for folder in FOLDERS:
        found += [p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix in CODE | {".md"}]
    return sorted(p for p in found if "__pycache__" not in p.parts and not p.name.startswith("build"))


def without_fences(lines):
    """(line number, line) of a Markdown file outside of code fences."""
    fenced = False
    for n, line in enumerate(lines, 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield n, line


def titles(path):
    """Texts of the headings of a Markdown file, without marks."""
    for _, line in without_fences(path.read_text().splitlines()):
        hit = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if hit:
            yield re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", hit[1]).replace("`", "")


def anchors(path):
    """What a browser's # may name: headings in small letters, spaces as hyphens, other marks left out; a second one
    gets -1."""
    seen = {}
    for title in titles(path):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        yield slug if slug not in seen else f"{slug}-{seen[slug]}"
        seen[slug] = seen.get(slug, 0) + 1


def check_cited(path, n, line, wrong):
    """Plain names are looked for at the top, in Markdown also beside the file that names them."""
    for name, title in CITED.findall(URL.sub("", line)):
        if name.endswith("/README.md") and path.suffix != ".md":
            continue  # the card of a model's folder
        places = [ROOT / name] + ([path.parent / name] if path.suffix == ".md" else [])
        there = next((p for p in places if p.is_file()), None)
        if not there:
            wrong.append(f"{path.relative_to(ROOT)}:{n}: cites {name}, expected a file of the repository, from its top")
        elif title and title not in titles(there):
            wrong.append(f'{path.relative_to(ROOT)}:{n}: cites {name}, "{title}": no heading there is called so')


def check_link(path, n, target, wrong):
    if re.match(r"[a-z]+:", target):
        return
    name, _, anchor = target.partition("#")
    there = path.parent / name if name else path
    if not there.exists():
        wrong.append(f"{path.relative_to(ROOT)}:{n}: links to {target}, expected a file or folder of the repository")
    elif anchor and (there.suffix != ".md" or anchor not in anchors(there)):
        wrong.append(f"{path.relative_to(ROOT)}:{n}: links to {target}: no heading there makes #{anchor}")


def check_markdown(path, lines, wrong):
    for n, line in without_fences(lines):
        plain = re.sub(r"`[^`]*`", "", line)
        for target in LINK.findall(plain) + LINK_BELOW.findall(plain):
            check_link(path, n, target, wrong)
        for name in SOURCE.findall(URL.sub("", line)) if path != LOG else []:
            if not (ROOT / name).is_file():
                wrong.append(f"{path.relative_to(ROOT)}:{n}: names {name}, expected a file of the repository")


def main():
    wrong, files = [], repository_files()
    for path in files:
        lines = path.read_text(errors="replace").splitlines()
        for n, line in enumerate(lines, 1):
            check_cited(path, n, line, wrong)
        if path.suffix == ".md":
            check_markdown(path, lines, wrong)
    print("\n".join(wrong) if wrong else f"citations: {len(files)} files, every page, section, link and path is there")
    return 1 if wrong or not files else 0


sys.exit(main())
