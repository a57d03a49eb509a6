/* bench_job.c - pgenrm as a worker of bench/target_job.py: reads jobs as JSON lines {"groups": [{"prompt": [ids], "n": chains}],
 * "tokens": N, "seed": S}, answers each with {"seconds", "tokens", "prefill_s", "decode_s", "cached"}.
 *
 * Before the first job, as the peers do: the model is loaded, the engine is created with memory for READY tokens of K and V. In a
 * job: everything else. The engine keeps nothing of a job (cache_bytes 0), so that nothing is known of the one before; within a job
 * prompts share what they begin with.
 *
 * usage: bench_job MODEL [auto|f32|bf16|int8] [threads] [READY] */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "infer/engine.h"

enum { MAX_GROUP = 64, READY = 24576 };

static void die(const char *what) {
    fprintf(stderr, "bench_job: %s\n", what);
    exit(1);
}

static pgr_dtype dtype_of(const char *name) {
    static const char *const names[] = {"auto", "f32", "bf16", "int8"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) return (pgr_dtype)i;
    die("the type is not one of auto, f32, bf16, int8");
    return PGR_DTYPE_AUTO;
}

/* The groups of a job as requests; prompts are the caller's (mem_free). */
static size_t read_groups(json_t *job, infer_request *requests) {
    json_t *groups = json_object_get(job, "groups"), *group;
    size_t i, n_token = (size_t)json_integer_value(json_object_get(job, "tokens"));
    if (json_array_size(groups) > MAX_GROUP) die("too many groups");
    json_array_foreach(groups, i, group) {
        json_t *prompt = json_object_get(group, "prompt"), *id;
        size_t k, n = json_array_size(prompt);
        int32_t *tokens = mem_array(n + 1, sizeof *tokens);
        if (!tokens) die("out of memory");
        json_array_foreach(prompt, k, id) tokens[k] = (int32_t)json_integer_value(id);
        requests[i] = (infer_request){.prompt = tokens,
                                      .n_prompt = n,
                                      .n_sample = (size_t)json_integer_value(json_object_get(group, "n")),
                                      .seed = (uint64_t)json_integer_value(json_object_get(job, "seed")),
                                      .id = (uint32_t)i,
                                      .sampling = {.temperature = 1.0f, .top_p = 1.0f},
                                      .max_tokens = n_token,
                                      .ignore_eos = true};
    }
    return json_array_size(groups);
}

static void run_job(pgr_engine *engine, json_t *job) {
    infer_request requests[MAX_GROUP];
    size_t n = read_groups(job, requests);
    infer_output out = {0};
    pgr_error err = {0};
    double start = clock_now();
    if (infer_run(engine, requests, n, NULL, &out, &err) != PGR_OK) die(err.message);
    printf("{\"seconds\": %.4f, \"tokens\": %zu, \"prefill_s\": %.4f, \"decode_s\": %.4f, \"cached\": %zu}\n",
           clock_now() - start, out.completion_tokens, out.prefill_s, out.decode_s, out.cached_tokens);
    fflush(stdout);
    infer_output_free(&out);
    for (size_t i = 0; i < n; i++) mem_free((void *)(uintptr_t)requests[i].prompt);
}

int main(int argc, char **argv) {
    if (argc < 2) die("usage: bench_job MODEL [auto|f32|bf16|int8] [threads] [READY]");
    pgr_model_options o = pgr_model_options_default();
    o.dtype = dtype_of(argc > 2 ? argv[2] : "int8");
    o.n_thread = argc > 3 ? atoi(argv[3]) : 0;
    pgr_model *model = NULL;
    pgr_error err = {0};
    if (pgr_model_open(argv[1], &o, &model, &err) != PGR_OK) die(err.message);
    pgr_engine_options eo = pgr_engine_options_default();
    eo.cache_bytes = 0;
    eo.n_kv_ready = argc > 4 ? (size_t)atol(argv[4]) : READY;
    pgr_engine *engine = NULL;
    if (pgr_engine_create(model, &eo, &engine, &err) != PGR_OK) die(err.message);
    puts("{\"ready\": true}");
    fflush(stdout);

    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_t *job = json_loadb(line, (size_t)n, 0, NULL);
        if (!job) die("a line is not JSON");
        run_job(engine, job);
        json_decref(job);
    }
    free(line);
    pgr_engine_free(engine);
    pgr_model_close(model);
    return 0;
}
