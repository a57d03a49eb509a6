"""rewards.py - the rewards of `train cre` and `train hncl` on text chains of the full frame, as functions for trainers
on clusters: TRL, verl, OpenRLHF. Python's standard library; `Expectation` takes torch and a model, too (docs/large.md).

Rows come from `pgenrm train psi|cre|hncl --frame full ... --write DIR`. A row's `label` is a JSON object (or its text):
    chosen    the place of the response that the user chose, from 0
    n         how many responses the prompt shows
    truth     [[text, weight], ...] what this user wants of answers, which the prompt does not say

TRL        GRPOTrainer(..., reward_funcs=[rewards.parse, rewards.outcome, rewards.coverage], args: reward_weights)
verl       custom_reward_function.path=rewards.py custom_reward_function.name=compute_score
OpenRLHF   --reward.remote_url rewards.py

A chain is read strictly: the form that the prompt asks for, nothing else, since training is what teaches it. (Judging
reads more: src/judge/chain_full.c.)"""

import json
import math
import os
import re
import urllib.request

ALPHA = float(os.environ.get("PGENRM_ALPHA", 0.5))  # weight of the coverage; 0 in hncl
BETA = float(os.environ.get("PGENRM_BETA", 1.0))  # weight of the outcome
TAU = float(os.environ.get("PGENRM_TAU", 1.0))  # margins are divided by it
OUTCOME = os.environ.get("PGENRM_OUTCOME", "sigmoid")  # sigmoid, brier or binary
MALFORMED = float(os.environ.get("PGENRM_MALFORMED", -0.1))  # reward of a chain that does not parse
JUDGE = os.environ.get("PGENRM_JUDGE_URL")  # OpenAI-compatible, http://HOST:PORT/v1: who says what is covered

START, END = "<JSON_START>", "<JSON_END>"
CRITERION = re.compile(r"^\s*\d+\.\s*(?P<name>[^(:\n]{1,80}?)\s*\((?P<weight>\d+(?:\.\d+)?)\s*%\)\s*:?\s*(?P<why>.*)$")
SCORES = re.compile(r"^\s*-\s*(?P<name>[^:\n]{1,80}?)\s*:\s*(?P<scores>Response 1\b.*)$")
SCORE = re.compile(r"Response (\d+):\s*(\d+(?:\.\d+)?)")


class Chain:
    """What a completion says: totals by place, criteria [(name, weight, why, scores)], persona text, or why it is none.

    declared   the totals of the object
    totals     weighted sums of the criteria's scores where each has a weight and all its scores, else `declared`
    spots      (begin, end) of each declared total in the text"""

    def __init__(self, text, n):
        self.text, self.n = text, n
        self.reason, self.declared, self.totals, self.criteria, self.spots = None, None, None, [], []
        at = text.rfind(START)
        end = text.find(END, at)
        self.persona = text[: max(at, 0)]
        if at < 0 or end < 0:
            self.reason = "no object between %s and %s" % (START, END)
            return
        body = text[at + len(START) : end]
        try:
            value = json.loads(body)
            declared = [float(value["better_response"]["response_%d" % (i + 1)]) for i in range(n)]
            rationale = str(value.get("rationale", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            self.reason = "the object does not read: %s" % e
            return
        if not all(math.isfinite(s) and 0 <= s <= 10 for s in declared):
            self.reason = "totals %s, expected 0 to 10" % declared
            return
        self.declared = declared
        self.find_spots(body, at + len(START))
        self.read_rubric(rationale)

    @property
    def parsed(self):
        return self.reason is None

    def find_spots(self, body, offset):
        begin = body.rfind('"better_response"')
        for i in range(self.n):
            m = re.compile(r'"response_%d"\s*:\s*"?(\d+(?:\.\d+)?)' % (i + 1)).search(body, begin)
            self.spots.append((offset + m.start(1), offset + m.end(1)) if m else None)

    def read_rubric(self, rationale):
        scores = {}
        for line in rationale.splitlines():
            m = CRITERION.match(line)
            if m:
                self.criteria.append([m["name"].strip(), float(m["weight"]), m["why"].strip(), None])
            m = SCORES.match(line)
            if m:
                found = {int(k): float(v) for k, v in SCORE.findall(m["scores"])}
                if all(i + 1 in found for i in range(self.n)):
                    scores[m["name"].strip().lower()] = [found[i + 1] for i in range(self.n)]
        for c in self.criteria:
            c[3] = scores.get(c[0].lower())
        total = sum(c[1] for c in self.criteria)
        self.totals = self.declared
        if total > 0 and all(c[3] for c in self.criteria):
            self.totals = [sum(c[1] * c[3][i] for c in self.criteria) / total for i in range(self.n)]

    def margin(self, chosen, totals=None):
        """The chosen response's total less the best other one's."""
        t = totals or self.totals
        return t[chosen] - max(s for i, s in enumerate(t) if i != chosen)


# ---- rewards of one chain ----


def outcome_of(margin, kind=None, tau=None):
    kind, x = kind or OUTCOME, margin / (tau or TAU)
    if kind == "binary":
        return 1.0 if x > 0 else 0.0 if x < 0 else 0.5
    s = 1 / (1 + math.exp(-x)) if x > -500 else 0.0
    return 1 - (1 - s) ** 2 if kind == "brier" else s


def coverage_of(chain, truth):
    """The weighted mean over what the user wants of the share of its words that the chain's criteria or persona have
    (words of four letters and more, by their first five). 0 where nothing is known."""
    said = " ".join([chain.persona] + ["%s %s" % (c[0], c[2]) for c in chain.criteria]).lower()
    have = total = 0.0
    for text, weight in truth:
        words = [w for w in re.findall(r"[a-z]+", text.lower()) if len(w) >= 4]
        if not words or weight <= 0:
            continue
        total += weight
        have += weight * sum(w[:5] in said for w in words) / len(words)
    return have / total if total > 0 else 0.0


def coverage_by_judge(chain, truth, url):
    """The same by a model behind an OpenAI-compatible server: one digit over 9."""
    wants = "\n".join("- %s" % text for text, _ in truth)
    has = "\n".join("- %s: %s" % (c[0], c[2]) for c in chain.criteria)
    question = (
        "What a user wants of answers:\n%s\n\nWhat a judge holds to be this user's criteria:\n%s\n\nHow much of what "
        "the user wants does the judge's list cover? 0 is nothing, 9 is all of it. Answer with one digit."
        % (wants, has)
    )
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": 16, "temperature": 0}
    if os.environ.get("PGENRM_JUDGE_MODEL"):
        body["model"] = os.environ["PGENRM_JUDGE_MODEL"]
    headers = {"Content-Type": "application/json"}
    if os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["OPENAI_API_KEY"]
    request = urllib.request.Request(url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        text = json.load(answer)["choices"][0]["message"]["content"]
    digit = re.search(r"\d", text)
    return int(digit[0]) / 9 if digit else 0.0


def label_of(label):
    v = json.loads(label) if isinstance(label, str) else label
    return v["chosen"], v.get("n", 2), [(t[0], float(t[1])) for t in v.get("truth", [])]


def reward_of(text, label):
    """All of one chain: {"score": R, "parsed", "outcome", "coverage"}."""
    chosen, n, truth = label_of(label)
    chain = Chain(text, n)
    if not chain.parsed:
        return {"score": MALFORMED, "parsed": 0.0, "outcome": 0.0, "coverage": 0.0}
    outcome, coverage = outcome_of(chain.margin(chosen)), 0.0
    if ALPHA:
        coverage = coverage_by_judge(chain, truth, JUDGE) if JUDGE else coverage_of(chain, truth)
    return {"score": ALPHA * coverage + BETA * outcome, "parsed": 1.0, "outcome": outcome, "coverage": coverage}


# ---- TRL: reward functions, one column each (weights: reward_weights) ----


def text_of(completion):
    return completion if isinstance(completion, str) else completion[-1]["content"]


def parse(completions, label, **_):
    """0 where the chain parses, MALFORMED where it does not."""
    return [0.0 if Chain(text_of(c), label_of(l)[1]).parsed else MALFORMED for c, l in zip(completions, label)]


def outcome(completions, label, **_):
    out = []
    for c, l in zip(completions, label):
        chosen, n, _truth = label_of(l)
        chain = Chain(text_of(c), n)
        out.append(outcome_of(chain.margin(chosen)) if chain.parsed else 0.0)
    return out


def coverage(completions, label, **_):
    out = []
    for c, l in zip(completions, label):
        _chosen, n, truth = label_of(l)
        chain = Chain(text_of(c), n)
        by = coverage_by_judge(chain, truth, JUDGE) if JUDGE and chain.parsed else None
        out.append((coverage_of(chain, truth) if by is None else by) if chain.parsed else 0.0)
    return out


class Expectation:
    """The outcome by expected totals: the model's own distribution over 1 to 10 at the first token of each total, its
    mean in place of what was drawn. A TRL reward function; needs torch, a causal model and its (fast) tokenizer. In the
    trainer pass its own model: Expectation(trainer.model, tokenizer)."""

    __name__ = "expectation"

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.numbers = []
        for k in range(1, 11):
            ids = tokenizer(str(k), add_special_tokens=False)["input_ids"]
            self.numbers.append(ids[-1] if len(ids) == 1 else None)

    def expected(self, prompt, text, chain):
        """Totals by place; None where a number of the chain is not at a token of its own."""
        import torch

        enc = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        head = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        spots = [next((i for i, (b, _) in enumerate(enc["offset_mapping"]) if b == s[0]), None) if s else None
                 for s in chain.spots]
        if any(i is None or not head and i == 0 for i in spots):
            return None
        ids = torch.tensor([head + enc["input_ids"]], device=self.model.device)
        known = [(k + 1, t) for k, t in enumerate(self.numbers) if t is not None]
        with torch.no_grad():
            logits = self.model(ids).logits[0].float()
        out = []
        for i in spots:
            p = torch.softmax(logits[len(head) + i - 1][[t for _, t in known]], -1)
            out.append(float(sum(k * q for (k, _), q in zip(known, p.tolist()))))
        return out

    def __call__(self, prompts, completions, label, **_):
        out = []
        for prompt, c, l in zip(prompts, completions, label):
            chosen, n, _truth = label_of(l)
            chain = Chain(text_of(c), n)
            if not chain.parsed:
                out.append(0.0)
                continue
            if not isinstance(prompt, str):
                prompt = self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            totals = self.expected(prompt, text_of(c), chain)
            out.append(outcome_of(chain.margin(chosen, totals)))
        return out


# ---- verl ----


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    return reward_of(solution_str, ground_truth)


# ---- OpenRLHF ----


def reward_func(queries, prompts, labels, **_):
    import torch

    each = [reward_of(q[len(p) :] if q.startswith(p) else q, l) for q, p, l in zip(queries, prompts, labels)]
    scores = torch.tensor([r["score"] for r in each])
    extra = {k: torch.tensor([r[k] for r in each]) for k in ("parsed", "outcome", "coverage")}
    return {"rewards": scores, "scores": scores, "extra_logs": extra}
