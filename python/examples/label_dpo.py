"""label_dpo.py - a DPO set made by the judge: of each prompt the answer that this user would like best against the one
he would like least.

    python python/examples/label_dpo.py [OUT.jsonl]
"""
# %%
import json
import sys
import tempfile
from pathlib import Path

from pgenrm import Judge, Store, label

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
folder = Path(tempfile.mkdtemp(prefix="pgenrm-label-"))
out = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "pairs.jsonl"

# %% users with their choices, in a store
store = Store(folder / "users.db")
print(store.import_file(EXAMPLES / "users.jsonl"))
print([(u.id, u.pairs) for u in store.users()])

# %% prompts with several answers, here those that four writers gave; each is asked for two users
with open(EXAMPLES / "responses.jsonl", encoding="utf-8") as f:
    prompts = [json.loads(line) for line in f]
requests = [{"id": f"{user.id}-{i}", "user": {"id": user.id, "history": [p.to_dict() for p in
                                                                        store.user(user.id).history]},
             "query": p["prompt"], "responses": list(p["responses"].values())}
            for user in store.users()[:2] for i, p in enumerate(prompts[:4])]
asked = folder / "requests.jsonl"
asked.write_text("".join(json.dumps(r) + "\n" for r in requests), encoding="utf-8")

# %% the best against the worst, where they are half a point apart; a run that was interrupted goes on with resume=True
with Judge() as judge:
    told = label(judge, asked, out, form="dpo", margin=0.5, ind=8, seed=1)
print(told)

# %% rows as trl's DPOTrainer, or `pgenrm train dpo`, reads them
with open(out, encoding="utf-8") as f:
    for line in f:
        row = json.loads(line)
        print(f"{row['user_id']}: {row['score_chosen']:.2f} against {row['score_rejected']:.2f}")
        print("   +", row["chosen"][-1]["content"][:90].replace("\n", " "))
        print("   -", row["rejected"][-1]["content"][:90].replace("\n", " "))
print(out)
