#!/usr/bin/env python3
"""Measures one greedy continuation of a long prompt by a large model: time to load, prompt and tokens per second,
memory.

    tools/random_llama.py /tmp/llama8b && bench/large.py -m /tmp/llama8b

While the program runs, its resident memory is read every 50 ms: its own (anonymous) and the part that is pages of
mapped files, which the system may take back at any time. One call per --dtype; the model's file may or may not lie in
the page cache, so the time to load has both beside it (--cold asks the system to drop the file first)."""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import measure  # noqa: E402


def memory_now(pid):
    """Resident bytes: anonymous, of files; (0, 0) once the process is gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    value = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("Rss")}
    return value.get("RssAnon", 0), value.get("RssFile", 0)


def drop_from_page_cache(model):
    for path in pathlib.Path(model).iterdir() if os.path.isdir(model) else [pathlib.Path(model)]:
        with open(path, "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def prompt_of(program, n_token):
    """Words of the measuring text, as many as make up at most n_token tokens with what the tokenizer puts before
    them."""
    words = (measure.TEXT + "\n").split(" ") * (1 + n_token // 200)
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        ids = measure.ids_of(program.run("tokenize", "--json", "--bos", "--", " ".join(words[:middle])).values()[0])
        low, high = (middle, high) if len(ids) <= n_token else (low, middle - 1)
    return " ".join(words[:low])


def watch(argv):
    """Runs to the end. -> result, wall clock, processor time, most of: anonymous, files, both together"""
    start, most, before = time.monotonic(), [0, 0, 0], resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, stdout=out, stdin=subprocess.DEVNULL)
        while child.poll() is None:
            own, files = memory_now(child.pid)
            most = [max(a, b) for a, b in zip(most, (own, files, own + files))]
            time.sleep(0.05)
        if child.returncode:
            sys.exit(f"{' '.join(argv)[:300]}\nended with status {child.returncode}")
        wall, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        out.seek(0)
        return json.load(out), wall, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime, most


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--dtype", default="exact,bf16,int8", help="comma-separated (default: exact,bf16,int8)")
    p.add_argument("--prompt-tokens", type=int, default=512, help="at most (default: 512)")
    p.add_argument("--tokens", type=int, default=16, help="to write (default: 16)")
    p.add_argument("--cold", action="store_true", help="drop the model's files from the page cache before each call")
    args = p.parse_args()

    print(measure.machine())
    prompt = prompt_of(measure.Program(args), args.prompt_tokens)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "prompt.txt"
        file.write_text(prompt)
        for dtype in args.dtype.split(","):
            if args.cold:
                drop_from_page_cache(args.model)
            program = measure.Program(args, dtype)
            value, wall, cpu, (own, files, both) = watch(
                [program.path, "generate", *program.common, "--json", "-q", "--raw", "--prompt-file", str(file),
                 "--temperature", "0",
                 "--ignore-eos", "--max-tokens", str(args.tokens)])
            timing, n, ids = value["timing"], len(value["prompt_tokens"]), value["samples"][0]["tokens"]
            print(f"\n--dtype {dtype}: {wall:.1f} s in all, {cpu:.1f} s of processors")
            print(f"  load       {timing['load_s']:7.1f} s")
            print(f"  prompt     {timing['prefill_s']:7.1f} s  {n} tokens, {n / timing['prefill_s']:.1f} per second")
            print(f"  writing    {timing['decode_s']:7.1f} s  {len(ids)} tokens, "
                  f"{timing['decode_s'] / max(len(ids) - 1, 1):.2f} s each after the first")
            print(f"  memory     {both / 1e9:7.2f} GB at most; at most {own / 1e9:.2f} GB its own, {files / 1e9:.2f} "
                  f"GB of mapped files")
            print(f"  ids        {' '.join(map(str, ids))}", flush=True)


if __name__ == "__main__":
    main()
