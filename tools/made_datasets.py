#!/usr/bin/env python3
"""made_datasets.py FOLDER: small files in the published shape of each form of preference data that pgenrm reads
(docs/users.md),
     with made-up texts. tests/golden/datasets was written by it; tests/user/test_published.c says what becomes of
each row. Every file has rows that are as they should be, and rows that teach nothing: ties, equal texts,
     empty texts, nulls."""
import gzip
import json
import os
import sys

ASKED = ["How should I store fresh basil?", "What is a good first houseplant?", "How long does rice keep?",
         "Why does bread go stale?", "Which knot holds a hammock?", "How do I clean a cast-iron pan?"]
GOOD = ["Stand the stems in a glass of water.", "A pothos: it forgives almost everything.", "Four days in the fridge.",
        "Its starch takes up order again.", "A bowline at either end.", "Warm water, salt, and dry it at once."]
BAD = ["Basil is a herb.", "Plants are green.", "Rice is a grain.", "Bread is old food.", "Knots vary.",
     "Use a dishwasher."]


def user(text):
    return {"role": "user", "content": text}


def model(text):
    return {"role": "assistant", "content": text}


def trl_explicit():
    rows = [{"user_id": "u%d" % (i % 2), "prompt": ASKED[i], "chosen": GOOD[i], "rejected": BAD[i],
             "split": ["train", "Validation", "TEST", None][i % 4]} for i in range(4)]
    rows.append({"user_id": "u0", "prompt": [user(ASKED[4])], "chosen": [model(GOOD[4])], "rejected": [model(BAD[4])]})
    rows.append({"user_id": "u0", "prompt": [user(ASKED[5])], "chosen": [user(ASKED[5]), model(GOOD[5])],
                 "rejected": [user(ASKED[5]), model(BAD[5])]})  # the prompt again at their beginning
    rows.append({"user_id": "u0", "prompt": ASKED[0], "chosen": GOOD[1], "rejected": GOOD[1]})
    rows.append({"user_id": "u0", "prompt": ASKED[0], "chosen": "", "rejected": BAD[0]})
    rows.append({"user_id": "u0", "prompt": ASKED[0], "chosen": GOOD[0], "rejected": None})
    rows.append({"user_id": "u0", "prompt": " ", "chosen": GOOD[0], "rejected": BAD[0]})
    return rows


def trl_implicit():
    first = [user(ASKED[0]), model(GOOD[0]), user("And dried?")]
    parts = [{"type": "text", "text": "In a "}, {"type": "text", "text": "dark jar."}]
    return [{"chosen": first + [{"role": "assistant", "content": parts}], "rejected": first + [model("Somewhere.")]},
            {"chosen": [user(ASKED[1]), model(GOOD[1])], "rejected": [user(ASKED[1]), model(BAD[1])]},
            {"chosen": [user(ASKED[1]), model(GOOD[1])], "rejected": [user(ASKED[2]), model(BAD[1])]}]  # two questions


def said(*texts):
    return "".join("\n\n%s: %s" % (("Human", "Assistant")[i % 2], text) for i, text in enumerate(texts))


def hh_rlhf():
    return [{"chosen": said(ASKED[0], GOOD[0]), "rejected": said(ASKED[0], BAD[0])},
            {"chosen": said(ASKED[1], GOOD[1], "And light?", "Little."), "rejected": said(ASKED[1], GOOD[1],
                 "And light?", "Yes.")},
            {"chosen": said(ASKED[2], GOOD[2], "Cooked?", "Yes."), "rejected": said(ASKED[2], BAD[2], "Cooked?",
                 "Hm.")},
            {"chosen": said(ASKED[3], GOOD[3]), "rejected": said(ASKED[3], "")},
            {"chosen": said(ASKED[3], GOOD[3]), "rejected": said(ASKED[3], GOOD[3])}]


def ultrafeedback_binarized():
    def row(i, chosen, rejected):
        sides = [user(ASKED[i]), model(GOOD[i])], [user(ASKED[i]), model(BAD[i])]
        return {"prompt": ASKED[i], "prompt_id": "p%d" % i, "chosen": sides[0], "rejected": sides[1],
             "messages": sides[0],
                "score_chosen": chosen, "score_rejected": rejected}
    return [row(0, 8.5, 4.0), row(1, 9.0, 8.0), row(2, 7.0, 7.0)]


def ultrafeedback():
    def done(text, score, i):
        return {"model": "m%d" % i, "principle": "helpfulness", "custom_system_prompt": "Be kind.", "critique": "",
             "response": text,
                "annotations": {"helpfulness": {"Rating": "5"}}, "fine-grained_score": 4.0, "overall_score": score}
    def row(i, scores):
        texts = [GOOD[i], BAD[i], GOOD[i] + " Mostly.", "It depends."]
        return {"source": "made", "instruction": ASKED[i], "models": ["m%d" % k for k in range(4)],
                "completions": [done(t, s, k) for k, (t, s) in enumerate(zip(texts, scores))],
                "correct_answers": [], "incorrect_answers": []}
    return [row(0, [8.0, 2.0, 6.0, 2.0]), row(1, [9.0, 3.0, None, float("nan")])]


def rewardbench():
    return [{"id": i, "prompt": ASKED[i], "chosen": GOOD[i], "chosen_model": "human", "rejected": BAD[i],
         "rejected_model": "m",
             "subset": ["alpacaeval-easy", "xstest-should-respond"][i % 2]} for i in range(3)]


def rewardbench2():
    def row(i, chosen, rejected):
        return {"id": "r%d" % i, "prompt": ASKED[i], "chosen": chosen, "rejected": rejected, "num_correct": len(chosen),
                "num_incorrect": len(rejected), "total_completions": len(chosen) + len(rejected), "models": ["m"],
                "subset": ["Factuality", "Ties"][i % 2], "additional_metadata": None}
    return [row(0, [GOOD[0]], [BAD[0], "Hm.", "In a drawer."]), row(1, [GOOD[1], "An aloe."], [BAD[1], "A tree.", ""])]


def chatbot_arena():
    def row(i, winner, judge, a=None, b=None, turn=1):
        return {"question_id": "q%d" % i, "model_a": "m1", "model_b": "m2", "winner": winner, "judge": judge,
                "conversation_a": a or [user(ASKED[i]), model(GOOD[i])], "conversation_b": b or [user(ASKED[i]),
                model(BAD[i])],
                "turn": turn, "anony": True, "language": "English", "tstamp": 1.5,
                "openai_moderation": {"flagged": False},
                "toxic_chat_tag": {"roberta-large": {"flagged": False}}}
    more = [user(ASKED[4]), model(GOOD[4]), user("On a pole?"), model("A clove hitch.")]
    other = [user(ASKED[4]), model(BAD[4]), user("On a pole?"), model("Tape.")]
    return [row(0, "model_a", "arena_user_1"), row(1, "model_b", "arena_user_2"), row(2, "tie", "arena_user_1"),
            row(3, "tie (bothbad)", "arena_user_1"), row(4, "model_a", "arena_user_2", more, other, 2),
            row(5, "model_a", 7, [user(ASKED[5]), model(GOOD[5])], [user(ASKED[5]), model(GOOD[5])])]


def helpsteer3():
    def row(i, preference):
        return {"domain": "general", "language": "english", "context": [user(ASKED[i])], "response1": GOOD[i],
             "response2": BAD[i],
                "overall_preference": preference,
                "individual_preference": [{"score": preference, "reasoning": "", "feedback1": "", "feedback2": ""}]}
    return [row(0, -3), row(1, 1), row(2, 0), row(3, None)]


def multipref():
    def vote(who, pref):
        return {"evaluator": who, "overall_pref": pref, "overall_confidence": "fairly-confident", "helpful_pref": pref,
                "helpful_checked_reasons": ["clear"], "truthful_pref": "Tie", "harmless_pref": "Tie",
                "time_spent": 60, "timestamp": 1}
    def row(i, normal, expert):
        return {"comparison_id": "c%d" % i, "prompt_id": "p%d" % i, "text": ASKED[i], "model_a": "m1", "model_b": "m2",
                "completion_a": GOOD[i], "completion_b": BAD[i], "source": "made", "category": "Open QA",
                "subject_study": None,
                "highest_level_degree": None, "normal_worker_annotations": normal, "expert_worker_annotations": expert}
    return [row(0, [vote("w1", "A-is-clearly-better"), vote("w2", "B-is-slightly-better")],
                [vote("x1", "Tie"), vote("x2", "A-is-slightly-better")]),
            row(1, [vote("w1", "B-is-clearly-better"), vote("w3", None)], [])]


def personalllm():
    models = {"gemma_2b": lambda i, k: k * 1.5 - i, "beaver_7b": lambda i, k: -float(k), "oasst_pythia_1b": lambda i,
         k: 2.0}
    rows = []
    for i in range(2):
        row = {"prompt": ASKED[i], "subset": "made", "prompt_id": i}
        for k, text in enumerate([GOOD[i], BAD[i], "It depends.", "Ask a neighbour."], 1):
            row["response_%d" % k] = text
            row["response_%d_model" % k] = "m%d" % k
            row.update({"response_%d_%s" % (k, m): f(i, k) for m, f in models.items()})
        rows.append(row)
    return rows


def shp():
    def row(i, label):
        return {"post_id": "t%d" % i, "domain": "askculinary_train", "upvote_ratio": 0.98, "history": ASKED[i],
             "c_root_id_A": "a%d" % i,
                "c_root_id_B": "b%d" % i, "created_at_utc_A": 1, "created_at_utc_B": 2, "score_A": 340 if label else 12,
                "score_B": 12 if label else 340, "human_ref_A": GOOD[i], "human_ref_B": BAD[i], "labels": label,
                "seconds_difference": 1.0, "score_ratio": 28.3}
    return [row(0, 1), row(1, 0)]


def nectar():
    def row(i, ranks):
        texts = [BAD[i], GOOD[i], "It depends.", "Ask a neighbour."]
        return {"prompt": "\n\nHuman: %s\n\nAssistant: " % ASKED[i], "turns": 1, "num_responses": 4,
             "source": ["made"], "good_natured": True,
                "answers": [{"answer": t, "model": "m%d" % k, "rank": r} for k, (t, r) in enumerate(zip(texts, ranks))]}
    return [row(0, [4.0, 1.0, 2.0, 3.0]), row(1, [2.0, 1.0, 2.0, 3.0])]


def prb():
    rows = [{"user_id": "user%d" % (i % 2), "conversation_id": "c%d" % i, "context": [user(ASKED[i])],
         "chosen": {"role": "model", "content": GOOD[i]},
             "rejected": {"role": "model", "content": BAD[i]}, "split": ["train", "val", "test"][i % 3],
             "chosen_score": [90, None, float("nan")][i % 3],
             "rejected_score": 10, "turns": 1, "type": "unguided", "flip": False, "agreement": float("nan"),
             "prediction_gemini/gemini-1.5-pro": "1"} for i in range(3)]
    rows.append(dict(rows[0], rejected={"role": "model", "content": GOOD[0]}))
    rows.append(dict(rows[0], rejected={"role": "model", "content": None}))
    return rows


def write(folder, name, rows, how="lines"):
    text = json.dumps(rows, indent=1) if how == "array" else "".join(json.dumps(r) + "\n" for r in rows)
    data = text.encode("utf-8")
    if how == "bom":
        data = b"\xef\xbb\xbf" + data
    if how == "gzip":
        data = gzip.compress(data, mtime=0)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    write(folder, "trl_explicit.jsonl", trl_explicit(), "bom")
    write(folder, "trl_implicit.json", trl_implicit(), "array")
    write(folder, "hh_rlhf.jsonl.gz", hh_rlhf(), "gzip")
    write(folder, "ultrafeedback_binarized.jsonl", ultrafeedback_binarized())
    write(folder, "ultrafeedback.jsonl", ultrafeedback())
    write(folder, "rewardbench.jsonl", rewardbench())
    write(folder, "rewardbench2.jsonl", rewardbench2())
    write(folder, "chatbot_arena.jsonl", chatbot_arena())
    write(folder, "helpsteer3.jsonl", helpsteer3())
    write(folder, "multipref.jsonl", multipref())
    write(folder, "personalllm.jsonl", personalllm())
    write(folder, "shp.jsonl", shp())
    write(folder, "nectar.jsonl", nectar())
    write(folder, "prb.jsonl", prb())


if __name__ == "__main__":
    main()
