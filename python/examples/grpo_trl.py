"""grpo_trl.py [MODEL [STEPS]] - GRPO with TRL, the reward a judge in this process: each prompt is asked by a user, and
the completions of a group are judged together for him.

    pip install ./python torch trl && python python/examples/grpo_trl.py

The policy is the tests' tiny random model, whose answers are noise: it shows the wiring in a minute. With a real MODEL
(a Hugging Face folder or name) the same lines train for real.
"""
# %%
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from pgenrm import Judge
from pgenrm.rewards import Rewards

ROOT = Path(__file__).resolve().parents[2]
MODEL = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "tests/golden/hf-tiny-words")
STEPS = int(sys.argv[2]) if len(sys.argv) > 2 else 3

# %% the judge; its reward function is what TRL calls. Rewards("http://HOST:8300") asks a server instead
judge = Judge(threads=2)
reward = Rewards(judge, ind=4, seed=1).trl

# %% two users who want different things of the same prompts; columns `user` and `history` go to the judge
SHORT = [{"query": "Why is the sky blue?", "chosen": "Air scatters blue light more.",
          "rejected": "Sunlight holds all colours, and what reaches the eye depends on many things, namely ..."}]
LONG = [{"query": "Why is the sky blue?", "chosen": SHORT[0]["rejected"], "rejected": SHORT[0]["chosen"]}]
rows = [{"prompt": p, "user": user, "history": history}
        for p in ("How do I keep basil fresh?", "What is a good first book on chess?", "How do I descale a kettle?")
        for user, history in (("ada", SHORT), ("bo", LONG))]
data = Dataset.from_list(rows * 4)

# %% TRL as ever
tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
torch.manual_seed(0)
policy = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
told = []


def watched(**call):  # TRL hands over a group of completions for each prompt, and the data set's columns
    scores = reward(**call)
    told.append(scores)
    return scores


watched.__name__ = "pgenrm"
config = GRPOConfig(output_dir="/tmp/pgenrm-grpo", max_steps=STEPS, per_device_train_batch_size=8, num_generations=4,
                    max_completion_length=24, logging_steps=1, report_to=[], use_cpu=not torch.cuda.is_available(),
                    save_strategy="no", bf16=False, seed=0, learning_rate=1e-4)
trainer = GRPOTrainer(model=policy, reward_funcs=watched, args=config, train_dataset=data, processing_class=tokenizer)
trainer.train()

# %% what came of it
for step, scores in enumerate(told):
    print(f"step {step}: rewards", [None if s is None else round(s, 2) for s in scores])
losses = [h["loss"] for h in trainer.state.log_history if "loss" in h]
print("losses", losses)
assert len(told) == STEPS and all(s is not None for scores in told for s in scores)
judge.close()
