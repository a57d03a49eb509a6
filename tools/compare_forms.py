#!/usr/bin/env python3
"""compare_forms.py ADDRESS ADDRESS [--model NAME NAME] [--kind generate|embed] [--dump DIR]: asks two servers the same
and prints, request by request, which members of the answers only one of them has, or has of another type, with the
status of both. Values are not compared. Meant for a vLLM on the one side and `pgenrm serve` on the other.

    vllm serve FOLDER --port 8701 & pgenrm serve -m FOLDER --lora none --listen 127.0.0.1:8702 &
    tools/compare_forms.py http://127.0.0.1:8701 http://127.0.0.1:8702
"""
import argparse
import json
import pathlib
import urllib.error
import urllib.request

HELLO = [{"role": "user", "content": "Say hello."}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
SHORT = {"max_tokens": 2, "temperature": 0}
GENERATE = [
    ("GET", "/v1/models", None),
    ("GET", "/health", None),
    ("POST", "/tokenize", {"prompt": "Once upon"}),
    ("POST", "/tokenize", {"prompt": "Grüße 你", "return_token_strs": True}),
    ("POST", "/tokenize", {"messages": HELLO}),
    ("POST", "/tokenize", {"messages": HELLO, "add_generation_prompt": False}),
    ("POST", "/detokenize", {"tokens": [40, 41]}),
    ("POST", "/v1/completions", {"prompt": "Once", **SHORT}),
    ("POST", "/v1/completions", {"prompt": "Once", "logprobs": 2, **SHORT}),
    ("POST", "/v1/completions", {"prompt": "Once", "logprobs": 2, "echo": True, **SHORT}),
    ("POST", "/v1/completions", {"prompt": [40, 41], "logprobs": 1, "logprob_token_ids": [7, 8, 9],
                                 "return_tokens_as_token_ids": True, **SHORT}),
    ("POST", "/v1/completions", {"prompt": ["Once", "Twice"], "return_token_ids": True, **SHORT}),
    ("POST", "/v1/completions", {"prompt": "Once", "stream": True, "return_token_ids": True,
                                 "stream_options": {"include_usage": True}, **SHORT}),
    ("POST", "/v1/completions", {"prompt": "one two three four", "max_tokens": 8, "temperature": 0,
                                 "stop": ["zq", " "]}),
    ("POST", "/v1/chat/completions", {"messages": HELLO, "n": 2, "max_tokens": 2}),
    ("POST", "/v1/chat/completions", {"messages": HELLO, "logprobs": True, "top_logprobs": 2, **SHORT}),
    ("POST", "/v1/chat/completions", {"messages": HELLO, "return_token_ids": True, **SHORT}),
    ("POST", "/v1/chat/completions", {"messages": HELLO, "stream": True, "logprobs": True,
                                      "stream_options": {"include_usage": True}, **SHORT}),
    ("POST", "/v1/chat/completions", {"messages": HELLO, "max_tokens": 9, "response_format": {
        "type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}),
    ("POST", "/v1/chat/completions", {"messages": HELLO, "max_tokens": 4,
                                      "structured_outputs": {"choice": ["yes", "no"]}}),
    ("POST", "/generative_scoring", {"query": "Is it so?", "items": [" Yes", " No"], "label_token_ids": [40, 41]}),
    ("POST", "/generative_scoring", {"query": "Is it so?", "items": [" Yes"], "label_token_ids": [40],
                                     "apply_softmax": False}),
    ("POST", "/v1/completions", {"prompt": "Once", "model": "nobody"}),
    ("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 1000000}),
    ("POST", "/v1/completions", {"prompt": "Once", "logprobs": 21}),
    ("POST", "/v1/completions", {"prompt": "Once", "temperature": -1}),
    ("POST", "/v1/completions", {"prompt": "Once", "n": 0}),
    ("POST", "/v1/completions", {"prompt": "Once", "logprob_token_ids": [1]}),
    ("POST", "/v1/completions", {"prompt": [99999999]}),
    ("POST", "/v1/chat/completions", {"messages": []}),
    ("POST", "/v1/chat/completions", {"messages": HELLO, "top_logprobs": 2}),
    ("POST", "/v1/chat/completions", {"messages": HELLO, "structured_outputs": {"grammar": "root ::= "}}),
    ("POST", "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/nowhere"}),
    ("POST", "/v1/unload_lora_adapter", {"lora_name": "nobody"}),
    ("POST", "/v1/nothing", {}),
]
TEXTS = ["a cat", "a dog"]
EMBED = [
    ("POST", "/v1/embeddings", {"input": "a cat"}),
    ("POST", "/v1/embeddings", {"input": TEXTS, "encoding_format": "base64"}),
    ("POST", "/v1/embeddings", {"input": TEXTS, "dimensions": 7}),
    ("POST", "/pooling", {"input": TEXTS}),
    ("POST", "/pooling", {"input": TEXTS, "encoding_format": "base64"}),
    ("POST", "/score", {"text_1": "a cat", "text_2": TEXTS}),
    ("POST", "/score", {"queries": TEXTS, "documents": TEXTS}),
    ("POST", "/score", {"text_1": TEXTS, "text_2": ["a", "b", "c"]}),
    ("POST", "/v1/score", {"data_1": "a cat", "data_2": "a dog"}),
    ("POST", "/rerank", {"query": "a cat", "documents": TEXTS}),
    ("POST", "/v2/rerank", {"query": "a cat", "documents": TEXTS, "top_n": 1}),
    ("POST", "/rerank", {"query": "a cat", "documents": []}),
    ("POST", "/v1/embeddings", {"input": "a " * 3000}),
    ("POST", "/v1/embeddings", {"input": "a " * 3000, "truncate_prompt_tokens": 16}),
    ("POST", "/v1/embeddings", {"input": [2, 3, 4]}),
]


def ask(base, method, path, body):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=900) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def values(text):
    """The objects of an answer: one, or those of a stream."""
    events = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    try:
        return [json.loads(e) for e in events] if events else [json.loads(text)]
    except ValueError:
        return [text]


def forms(v, path, out):
    kind = {bool: "bool", int: "int", float: "number", str: "text", type(None): "null"}.get(type(v), "")
    if isinstance(v, dict):
        out.add((path or ".", "object"))
        for key, x in v.items():
            forms(x, f"{path}.{'*' if path.endswith(('top_logprobs[]', 'prompt_logprobs[]')) else key}", out)
    elif isinstance(v, list):
        out.add((path or ".", "list"))
        for x in v:
            forms(x, path + "[]", out)
    else:
        out.add((path or ".", kind))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("address", nargs=2)
    p.add_argument("--model", nargs=2)
    p.add_argument("--kind", choices=["generate", "embed"], default="generate")
    p.add_argument("--dump", type=pathlib.Path)
    args = p.parse_args()
    for n, (method, path, body) in enumerate(GENERATE if args.kind == "generate" else EMBED):
        print(f"{method} {path} {json.dumps(body)[:150] if body else ''}", flush=True)
        found = []
        for k, base in enumerate(args.address):
            named = body if not (args.model and body and "model" not in body) else {**body, "model": args.model[k]}
            status, text = ask(base, method, path, named)
            found.append((status, set().union(*(forms(v, "", set()) for v in values(text)))))
            if args.dump:
                args.dump.mkdir(exist_ok=True)
                (args.dump / f"{args.kind}-{n:02}-{k}.json").write_text(f"{status}\n{text}\n")
        (a, one), (b, other) = found
        print(f"    status {a}" if a == b else f"    status {a} and {b}")
        for who, some in (("first", one - other), ("second", other - one)):
            if some:
                print(f"    only the {who}: " + ", ".join(f"{x} {kind}" for x, kind in sorted(some)), flush=True)


if __name__ == "__main__":
    main()
