"""llama.cpp as a worker of target_job.py, by its low-level API: one prompt is computed once and its cells are shared
(llama_memory_seq_cp), all chains decode in one batch, sampling by its own sampler chain. Prompts that begin alike share
that beginning. Protocol: openvino_worker.py.        usage: llama_cpp_worker.py FILE.gguf [threads]"""
import json
import sys
import time

import llama_cpp as lc

BATCH = 2048


@lc.llama_log_callback
def QUIET(level, text, data):  # kept: llama.cpp holds a pointer to it
    pass


def shared(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


class Worker:
    def __init__(self, path, threads):
        lc.llama_backend_init()
        lc.llama_log_set(QUIET, None)
        self.model = lc.llama_model_load_from_file(path.encode(), lc.llama_model_default_params())
        params = lc.llama_context_default_params()
        params.n_ctx = 32768
        params.n_batch = params.n_ubatch = BATCH
        params.n_seq_max = 64
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        self.context = lc.llama_init_from_model(self.model, params)
        self.memory = lc.llama_get_memory(self.context)
        self.batch = lc.llama_batch_init(BATCH, 0, 1)

    def put(self, i, token, position, sequence, logits):
        b = self.batch
        b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, position, 1, logits
        b.seq_id[i][0] = sequence

    def decode(self, n):
        self.batch.n_tokens = n
        status = lc.llama_decode(self.context, self.batch)
        if status != 0:
            raise SystemExit(f"llama_decode: {status}")

    def prompt(self, tokens, first, sequence):
        for at in range(first, len(tokens), BATCH):
            part = tokens[at:at + BATCH]
            for i, t in enumerate(part):
                self.put(i, t, at + i, sequence, at + i + 1 == len(tokens))
            self.decode(len(part))

    def run(self, job):
        lc.llama_memory_clear(self.memory, True)
        live, done = [], []  # chains: [sequence, position, sampler]; prompts so far
        sequence = 0
        for group in job["groups"]:
            tokens, first = group["prompt"], 0
            for other, s in done:
                n = min(shared(tokens, other), len(tokens) - 1)
                if n > first:
                    first, source = n, s
            base = sequence
            if first:
                lc.llama_memory_seq_cp(self.memory, source, base, 0, first)
            self.prompt(tokens, first, base)
            done.append((tokens, base))
            for k in range(group["n"]):
                if k:
                    lc.llama_memory_seq_cp(self.memory, base, base + k, 0, len(tokens))
                sampler = lc.llama_sampler_chain_init(lc.llama_sampler_chain_default_params())
                lc.llama_sampler_chain_add(sampler, lc.llama_sampler_init_temp(1.0))
                lc.llama_sampler_chain_add(sampler, lc.llama_sampler_init_dist(job["seed"] * 1000 + base + k))
                live.append([base + k, len(tokens), sampler, lc.llama_sampler_sample(sampler, self.context, -1)])
            sequence += group["n"]
        for _ in range(job["tokens"] - 1):
            for i, c in enumerate(live):
                self.put(i, c[3], c[1], c[0], True)
                c[1] += 1
            self.decode(len(live))
            for i, c in enumerate(live):
                c[3] = lc.llama_sampler_sample(c[2], self.context, i)
        for c in live:
            lc.llama_sampler_free(c[2])
        return len(live) * job["tokens"]


def main():
    worker = Worker(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        start = time.perf_counter()
        tokens = worker.run(job)
        print(json.dumps({"seconds": time.perf_counter() - start, "tokens": tokens}), flush=True)


main()
