"""What the measuring scripts share: running the program through its command line, tables, and the texts to measure on.

Only tools/compare_*.py and bench/*.py import it. All texts are the project's own."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

# Openings that are to be continued greedily: prose, lists, dialogue, code, sums, other languages.
PROMPTS = [
    "The lighthouse keeper climbed the stairs for the last time, because",
    "Three things to check before you buy a used bicycle:\n1.",
    "Question: Why does bread go stale faster in the fridge?\nAnswer:",
    "def count_vowels(text):\n    \"\"\"Number of vowels in text.\"\"\"\n",
    "Dear neighbour,\n\nthank you for watering the plants while we were away.",
    "To make a good vegetable soup, first",
    "In 1969, two people walked on the Moon. Since then,",
    "for (int i = 0; i < n; i++) {\n    if (a[i] > best)",
    "Monday: 12 visitors\nTuesday: 15 visitors\nWednesday: 18 visitors\nThursday:",
    "Teacher: What did you notice about the two leaves?\nPupil:",
    "A haiku about the first frost:\n",
    "Summary: The council voted to close the bridge for repairs until May.\n\nWhat it means for cyclists:",
    "Le chat dort sur le toit, et",
    "Der Zug hat heute Verspätung, weil",
    "El mercado abre a las ocho y",
    "<p>Our shop is open from Monday to Friday.</p>\n<ul>\n  <li>",
    "SELECT name, price FROM products WHERE",
    "My grandmother kept a notebook of recipes. On the first page she had written",
    "The difference between weather and climate is that",
    "{\"name\": \"Ada\", \"age\": 36, \"city\": \"London\", \"interests\": [",
]

# Prose with numbers, names, a quotation, a list and a formula; the scripts compare its first 300 tokens.
TEXT = """The small harbour of Kelby wakes before the sun does. At a quarter past four the first boats leave, their \
lamps moving
slowly past the grey wall, and by half past five the baker has lit both ovens. Nobody in the town thinks of this as \
hard work; it is
simply the order of things, as it was for their parents.

Last spring the council asked every household one question: should the old ice house become a museum, a workshop or a \
row of flats?
Of 412 answers, 198 wanted the workshop, 131 the museum and 83 the flats. "We have enough places to look at," said \
Ruth Amsel, who
repairs nets, "and too few where you can learn to make something." The mayor counted the votes twice, then wrote the \
result on the
board outside the post office, in chalk, where the rain would take it by the weekend.

What happened next surprised the engineers. The walls of the ice house are more than a metre thick: two layers of \
brick with sawdust
between them. In August, when the street outside reached 34 degrees, the room stayed at 17 without any machine at all. \
They had planned
to install three cooling units for 26,000 euros. Instead they bought:

- four long benches of oak,
- a second-hand lathe,
- lamps that do not flicker,
- and a kettle.

One of the students wrote a program that reads the thermometer every ten minutes. Its heart is a single line, average \
= total / count,
and she is rather proud that it has not failed once. If you visit, ask her to show you the curve for the night of the \
storm. It hardly
moves, and that, she says, is the whole point of a good wall. The children of the town come on Saturdays, when the \
lathe is covered, and
build boats from whatever is left over; the best of them float."""


def default_model():
    """The file that `pgenrm` takes without --model."""
    given = os.environ.get("PGENRM_MODEL")
    if given and pathlib.Path(given).exists():
        return pathlib.Path(given)
    home = os.environ.get("PGENRM_HOME")
    if not home:
        home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pgenrm"
    return pathlib.Path(home) / MODEL_FILE


def add_common(parser):
    """Options that every script has."""
    parser.add_argument("--pgenrm", default=str(ROOT / "build" / "pgenrm"), metavar="PROGRAM",
                        help="the program to measure (default: build/pgenrm)")
    parser.add_argument("-m", "--model", default=None, help="GGUF file (default: the default model)")
    parser.add_argument("-t", "--threads", type=int, default=2, help="threads of the program (default: 2)")


class Run:
    """One finished call of the program: status, outputs, wall clock in seconds, peak memory in MiB."""

    def __init__(self, argv, accept):
        self.argv = argv
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            child = subprocess.Popen(argv, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            self.wall = time.monotonic() - start
            child.returncode = self.rc = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            self.stdout, self.stderr = out.read().decode("utf-8", "strict"), err.read().decode("utf-8", "replace")
        self.peak_mib = usage.ru_maxrss / 1024
        self.cpu = usage.ru_utime + usage.ru_stime
        if self.rc not in accept:
            sys.exit(f"{' '.join(argv)[:300]}\nended with status {self.rc}, expected "
                     f"{' or '.join(map(str, accept))}:\n{self.stderr.strip()[:2000]}")

    def values(self):
        """The JSON values on standard output, one per line."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.strip()]


class Program:
    def __init__(self, args, dtype=None):
        self.path = args.pgenrm
        if not os.access(self.path, os.X_OK):
            sys.exit(f"{self.path}: no program there; run `make build` first or name one with --pgenrm")
        self.common = ["-m", str(args.model)] if args.model else []
        self.common += ["-t", str(args.threads)] + (["--dtype", dtype] if dtype else [])

    def run(self, command, *words, accept=(0,), threads=None):
        """A later -t replaces an earlier one, so `threads` wins over the common option."""
        more = ["-t", str(threads)] if threads else []
        return Run([self.path, command, *self.common, *more, *map(str, words)], accept)

    def generate(self, folder, prompt, *words, threads=None):
        """`generate --json` with the prompt taken byte for byte from a file."""
        file = pathlib.Path(folder) / "prompt.txt"
        file.write_bytes(prompt.encode())
        return self.run("generate", "--json", "-q", "--prompt-file", file, *words, threads=threads).values()[0]

    def greedy(self, folder, prompt, n):
        return self.generate(folder, prompt, "--raw", "--temperature", 0, "--max-tokens", n)

    def logprobs(self, folder, text):
        """ids and log-probabilities (None for the first) of a text."""
        file = pathlib.Path(folder) / "text.txt"
        file.write_bytes(text.encode())
        value = self.run("perplexity", "--json", "-q", "--per-token", file).values()[0]
        return value["tokens"], value["logprobs"]


def write_f32_copy(source, target):
    """The same GGUF with every tensor dequantised; everything else as it is. Needs gguf."""
    import gguf
    import numpy as np
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind, sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY
                             else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ids_of(value):
    """`tokenize --json` prints an array, or an object that holds it."""
    return value["tokens"] if isinstance(value, dict) else value


class Table:
    """Aligned rows: what, measured, bound, verdict. A row without a bound is reported only."""

    def __init__(self):
        self.rows, self.failed = [], 0

    def add(self, what, measured, bound="", holds=None):
        """holds: None where nothing is bounded. A comparison with NaN is False and fails."""
        if holds is not None and not holds:
            self.failed += 1
        self.rows.append((what, str(measured), bound, "" if holds is None else "ok" if holds else "FAILED"))

    def show(self):
        head = ("what", "measured", "bound", "")
        width = [max(len(r[i]) for r in self.rows + [head]) for i in range(4)]
        for row in [head] + self.rows:
            print("  ".join(cell.ljust(width[i]) for i, cell in enumerate(row)).rstrip())
        print(f"\n{self.failed} of {sum(bool(r[3]) for r in self.rows)} bounds FAILED" if self.failed
              else f"\nall {sum(bool(r[3]) for r in self.rows)} bounds hold")
        return 1 if self.failed else 0


def differences(a, b):
    """Largest and mean absolute difference of two lists of equal length."""
    if len(a) != len(b) or not a:
        sys.exit(f"{len(a)} values against {len(b)}: nothing to compare")
    d = [abs(x - y) for x, y in zip(a, b)]
    return (max(d) if all(x == x for x in d) else float("nan")), statistics.fmean(d)


def machine():
    """One line on the machine that the numbers come from."""
    names = [line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{names[0] if names else 'unknown CPU'}, {os.cpu_count()} cores, {memory:.0f} GiB, load "
            f"{os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M %z')}")
