#!/usr/bin/env python3
"""check_openai.py [ADDRESS]: asks a running `pgenrm serve` (default http://127.0.0.1:8300) with PyPI's unmodified
`openai` client: models, chat with n = 8, log-probabilities, streaming, a JSON schema, parse() into a pydantic class,
errors, completions, and embeddings where the server has an embedder (--embeddings). Prints a line per check; exit
status 1 if one fails.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install openai
    pgenrm serve --embeddings default & /tmp/venv/bin/python tools/check_openai.py
"""
import json
import math
import sys

import openai
import pydantic

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8300"
client = openai.OpenAI(base_url=ADDRESS + "/v1", api_key="none", max_retries=0)
ASK = [{"role": "system", "content": "You answer in one short sentence."},
       {"role": "user", "content": "What is the capital of France?"}]
failed = 0


def check(name, fine, shown=""):
    global failed
    failed += not fine
    print(f"{'ok  ' if fine else 'FAIL'} {name}: {shown}")


class Verdict(pydantic.BaseModel):
    better: str
    score: int = pydantic.Field(ge=1, le=10)
    reasons: list[str] = pydantic.Field(min_length=1, max_length=2)


def strict(answer):
    """The client builds its objects without checks: every required field is checked here, by its own types."""
    type(answer).model_validate(json.loads(answer.model_dump_json(warnings="error")), strict=False)
    return answer


def main():
    model = client.models.list().data[0].id
    check("models", bool(model), model)

    chat = strict(client.chat.completions.create(model=model, messages=ASK, n=8, max_tokens=24, seed=1))
    texts = [c.message.content for c in chat.choices]
    check("chat n=8", len(texts) == 8 and len(set(texts)) > 1, f"{len(set(texts))} different, {chat.usage}")
    again = client.chat.completions.create(model=model, messages=ASK, n=8, max_tokens=24, seed=1)
    check("the same seed", texts == [c.message.content for c in again.choices],
          f"cached_tokens {again.usage.prompt_tokens_details.cached_tokens}")

    greedy = strict(client.chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=16,
                                                   logprobs=True, top_logprobs=5))
    tokens = greedy.choices[0].logprobs.content
    fine = all(len(t.top_logprobs) == 5 and t.top_logprobs[0].token == t.token
               and sum(math.exp(x.logprob) for x in t.top_logprobs) <= 1.0001 for t in tokens)
    check("logprobs", fine, [(t.token, round(t.logprob, 3)) for t in tokens[:4]])
    text = greedy.choices[0].message.content
    check("the text of the tokens", b"".join(bytes(t.bytes) for t in tokens).decode() == text, text)

    pieces, usage = {}, None
    for part in client.chat.completions.create(model=model, messages=ASK, n=2, max_tokens=24, seed=1, stream=True,
                                               stream_options={"include_usage": True}):
        strict(part)
        usage = part.usage or usage
        for c in part.choices:
            pieces[c.index] = pieces.get(c.index, "") + (c.delta.content or "")
    check("stream", [pieces[0], pieces[1]] == texts[:2] and usage is not None, usage)

    schema = {"name": "verdict", "strict": True, "schema": {
        "type": "object", "additionalProperties": False, "required": ["better", "score"],
        "properties": {"better": {"enum": ["A", "B"]}, "score": {"type": "integer", "minimum": 1, "maximum": 10}}}}
    made = client.chat.completions.create(model=model, messages=ASK, n=4, max_tokens=64,
                                          response_format={"type": "json_schema", "json_schema": schema})
    values = [json.loads(c.message.content) for c in made.choices]
    check("json_schema", all(v["better"] in "AB" and 1 <= v["score"] <= 10 for v in values), values)

    parsed = client.chat.completions.parse(model=model, messages=ASK, max_tokens=200, response_format=Verdict)
    check("parse", isinstance(parsed.choices[0].message.parsed, Verdict), parsed.choices[0].message.parsed)

    for name, call, kind in (
            ("unknown model", {"model": "no"}, openai.NotFoundError),
            ("wrong n", {"model": model, "n": 0}, openai.BadRequestError)):
        try:
            client.chat.completions.create(messages=ASK, **call)
            check(name, False, "no error")
        except kind as e:
            check(name, True, e.body["message"])

    text = strict(client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, logprobs=2))
    check("completions", len(text.choices[0].logprobs.tokens) > 0, repr(text.choices[0].text))

    try:
        vectors = [client.embeddings.create(model="any", input=["a cat", "a dog"], encoding_format=f)
                   for f in ("float", "base64")]
        raw = client.embeddings.create(model="any", input=["a cat", "a dog"])  # base64 unless the client is told
        values = [v.data[1].embedding for v in (vectors[0], raw)]
        near = max(abs(a - b) for a, b in zip(*values))
        small = client.embeddings.create(model="any", input="a cat", dimensions=8)
        check("embeddings", near < 1e-6 and len(small.data[0].embedding) == 8, f"{len(values[0])} values, {near:.1e}")
    except openai.APIStatusError as e:
        check("embeddings", e.status_code == 501, f"left out: {e.body['message']}")
    return 1 if failed else 0


sys.exit(main())
