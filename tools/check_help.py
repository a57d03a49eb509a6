#!/usr/bin/env python3
"""Proves that the documents and the program's --help name the same options: each option in a command line of README,
docs/ and the cards is one of that command, and each option of --help is explained or shown on a page.
    tools/check_help.py build/pgenrm"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", "docs/*.md", "*/README.md", "*/*/README.md"]
LINE = re.compile(r"(?<![\w/-])(?:build/|build-demo/)?pgenrm +([a-z]+)((?: +[^`|;&#)]*)?)")
OPTION = re.compile(r"(?<![\w-])(--[a-z][\w-]*|-[a-zA-Z])(?=[\s=,\]]|$)")
COMMANDS = re.compile(r"^  ([a-z]+)\b", re.M)
EVERYWHERE = {"--threads", "--quiet", "--help"}  # told by their short names, or by themselves


def help_of(program, words):
    done = subprocess.run([program, *words, "--help"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"pgenrm {' '.join(words)} --help: exit status {done.returncode}, expected 0")
    return done.stdout


def options_of(text):
    found = set()
    for short, name in re.findall(r"^ {2,6}(?:(-\w), )?(--[a-z][\w-]*)", text, re.M):
        found |= {name, short} - {""}
    return found


def commands_of(program, words):
    """Names below "Commands:" of a help text."""
    part = help_of(program, words).partition("\nCommands:\n")[2].partition("\n\n")[0]
    return COMMANDS.findall(part)


def all_options(program):
    """(command, sub-command or "") to its options; "" has those of all its sub-commands."""
    known = {}
    for command in commands_of(program, []):
        known[command, ""] = options_of(help_of(program, [command]))
        for sub in commands_of(program, [command]):
            own = options_of(help_of(program, [command, sub]))
            if command == "train" and sub in ("psi", "cre", "hncl"):
                own |= options_of(help_of(program, [command, sub, "--frame", "full"]))
            known[command, sub] = own
            known[command, ""] |= own
    return known


def check_page(path, known, said, wrong):
    for n, line in enumerate(path.read_text().replace("\\\n", " ").split("\n"), 1):
        said.update(re.findall(r"(?<![\w-])--[a-z][\w-]*", line))
        for command, rest in LINE.findall(line):
            if (command, "") not in known:
                continue
            first = rest.split()[0] if rest.split() else ""
            options = known.get((command, first)) or known[command, ""]
            for option in OPTION.findall(rest):
                if option not in options:
                    wrong.append(f"{path.relative_to(ROOT)}:{n}: pgenrm {command} has no option {option}")


def main():
    known, said, wrong = all_options(sys.argv[1]), set(), []
    pages = sorted({p for pattern in PAGES for p in ROOT.glob(pattern)
                    if not p.relative_to(ROOT).parts[0].startswith("build")})
    for path in pages:
        check_page(path, known, said, wrong)
    names = {o: key for key, options in sorted(known.items()) for o in options if o.startswith("--")}
    for option in sorted(set(names) - said - EVERYWHERE):
        command = " ".join(names[option]).strip()
        wrong.append(f"pgenrm {command} {option}: on no page, expected README or docs/ to name it")
    fine = f"options: {len(names)} of {len(known)} commands, the same on {len(pages)} pages"
    print("\n".join(wrong) if wrong else fine)
    return 1 if wrong or not names or not said else 0


sys.exit(main())
