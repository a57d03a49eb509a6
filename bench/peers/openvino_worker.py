"""OpenVINO GenAI as a worker of target_job.py: reads jobs as JSON lines {"groups": [{"prompt": [ids], "n": chains}],
"tokens": N, "seed": S}, answers each with {"seconds", "tokens"}. Loads before the first job; only the job itself is
timed.

usage: openvino_worker.py FOLDER [key=value...]   properties of the pipeline, e.g. INFERENCE_PRECISION_HINT=bf16"""
import json
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai


def main():
    properties = dict(a.split("=", 1) for a in sys.argv[2:])
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 4  # GB
    scheduler.max_num_seqs = 64
    scheduler.max_num_batched_tokens = int(properties.pop("batched", "2048"))
    scheduler.enable_prefix_caching = True  # what several prompts of a job share is computed once
    threads = properties.pop("threads", "2")
    pipe = genai.ContinuousBatchingPipeline(sys.argv[1], scheduler, "CPU",
                                            {"INFERENCE_NUM_THREADS": threads, **properties})
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        prompts, configs = [], []
        for group in job["groups"]:
            prompts.append(ov.Tensor(np.array([group["prompt"]], dtype=np.int64)))
            config = genai.GenerationConfig(do_sample=True, temperature=1.0, top_p=1.0, max_new_tokens=job["tokens"],
                                            ignore_eos=True, num_return_sequences=group["n"], rng_seed=job["seed"])
            config.eos_token_id = -1
            configs.append(config)
        start = time.perf_counter()
        results = pipe.generate(prompts, configs)
        seconds = time.perf_counter() - start
        tokens = sum(len(ids) for r in results for ids in r.m_generation_ids)
        print(json.dumps({"seconds": seconds, "tokens": tokens}), flush=True)


main()
