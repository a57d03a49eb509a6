#!/usr/bin/env python3
"""Writes docs/chains.md: what the default judge says of ten test rows of ../shared/data that nobody selected.

    bench/ten_chains.py > docs/chains.md

The rows stand at equal distances in the test rows of PRISM and of the MT-bench votes, five each; the chosen response is
A in every other one. The texts of the data stay where they are: rows are named by their line, what a user chose by its
number."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import chains  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
SETS = {"prism": "PRISM", "mt_bench": "MT-bench votes"}
EACH = 5
NO_TASTE = "(no taste: the user's choices do not bear each other out, and so weigh nothing)"


def request_of(rows, line, place):
    row = rows[line]
    known = [r for r in rows if r["user_id"] == row["user_id"] and r["split"] == "train"
             and chains.may_be_history(r, row)]
    responses = [row["chosen"]["content"], row["rejected"]["content"]]
    if place == 1:
        responses.reverse()
    history = [{"context": r["context"], "chosen": r["chosen"]["content"], "rejected": r["rejected"]["content"]}
               for r in known]
    return {"id": f"line {line + 1}", "user": {"id": row["user_id"], "history": history}, "messages": row["context"],
            "responses": responses}


def chosen_rows(path):
    rows = chains.read_rows(path)
    test = [i for i, r in enumerate(rows) if r["split"] == "test"]
    return rows, [test[(2 * k + 1) * len(test) // (2 * EACH)] for k in range(EACH)]


def judge(program, request):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "request.json")
        file.write_text(json.dumps(request))
        done = subprocess.run([program, "score", file, "--json", "-q"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def lines_of(name, request, result, place):
    scores = [r["score"] for r in result["responses"]]
    best = "AB"[result["best"]] if result["best"] is not None else "neither"
    right = "right" if result["best"] == place else "wrong"
    yield f"## {SETS[name]}, {request['id']}"
    yield ""
    yield (f"{len(request['user']['history'])} pairs of the user are known, {result['history_shown']} shown. "
           f"Lengths: A {len(request['responses'][0])} bytes, B {len(request['responses'][1])}.")
    yield ""
    yield f"> {result['persona'] or NO_TASTE}"
    yield ""
    yield "| criterion | weight | A | B |"
    yield "|---|---|---|---|"
    for c in result["criteria"]:
        yield f"| {c['name']} | {c['weight']:.1f} % | {c['scores'][0]:.2f} | {c['scores'][1]:.2f} |"
    yield f"| **sum** | | **{scores[0]:.2f}** | **{scores[1]:.2f}** |"
    yield ""
    sure = result.get("confidence")
    how = f", with probability {sure:.2f}" if isinstance(sure, float) else ""
    yield f"The judge: {best}{how}. The user: {'AB'[place]}. **{right.capitalize()}.**"
    yield ""


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", default=str(ROOT / "build" / "pgenrm"))
    p.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    o = p.parse_args()
    out, n, right = [], 0, 0
    for name in SETS:
        rows, lines = chosen_rows(o.data / f"{name}.jsonl")
        for line in lines:
            place = n % 2
            request = request_of(rows, line, place)
            result = judge(o.program, request)
            out += lines_of(name, request, result, place)
            right += result["best"] == place
            n += 1
    print("# Ten verdicts, not selected\n")
    print(f"The default judge on ten test rows, those at equal distances in their files; written by "
          f"`bench/ten_chains.py`. {right} of {n} are right; what {n} rows say of a judge is nothing, what they say of "
          f"its reasons is below. The rows' texts are the data's and are not repeated here.\n")
    print("\n".join(out).rstrip())


if __name__ == "__main__":
    main()
