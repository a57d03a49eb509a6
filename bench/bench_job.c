/* bench_job.c - pgenrm as a worker of bench/target_job.py and bench/repeat.py: reads jobs as JSON lines {"groups":
 * [{"prompt": [ids], "n": chains, "after": steps, "id": I}], "tokens": N, "seed": S}, answers each with {"seconds",
 * "tokens", "prefill_s", "decode_s", "cached", "digests": [a hash of each group's tokens and log-probabilities]}.
 * "after" (default 0): a group is submitted when the engine has done so many steps of the job. "id" (default: the
 * group's place) names its random numbers.
 *
 * Before the first job, as the peers do: the model is loaded, the engine is created with memory for READY tokens of K
 * and V. In a job: everything else. The engine keeps nothing of a job (cache_bytes 0), so that nothing is known of
 * the one before; within a job prompts share what they begin with.
 *
 * usage: bench_job MODEL [auto|exact|f32|bf16|int8] [threads] [READY] */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "infer/engine.h"

enum { MAX_GROUP = 64, READY = 24576 };

typedef struct group {
    infer_request request;
    size_t after;
    bool submitted;
    infer_result *result;
} group;

static void die(const char *what) {
    fprintf(stderr, "bench_job: %s\n", what);
    exit(1);
}

static pgr_dtype dtype_of(const char *name) {
    static const char *const names[] = {"auto", "exact", "f32", "bf16", "int8"};
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0) return (pgr_dtype)i;
    die("the type is not one of auto, exact, f32, bf16, int8");
    return PGR_DTYPE_AUTO;
}

/* The groups of a job; prompts are the caller's (mem_free). */
static size_t read_groups(json_t *job, group *groups) {
    json_t *list = json_object_get(job, "groups"), *one;
    size_t i, n_token = (size_t)json_integer_value(json_object_get(job, "tokens"));
    if (json_array_size(list) > MAX_GROUP) die("too many groups");
    json_array_foreach(list, i, one) {
        json_t *prompt = json_object_get(one, "prompt"), *named = json_object_get(one, "id"), *id;
        size_t k, n = json_array_size(prompt);
        int32_t *tokens = mem_array(n + 1, sizeof *tokens);
        if (!tokens) die("out of memory");
        json_array_foreach(prompt, k, id) tokens[k] = (int32_t)json_integer_value(id);
        groups[i] = (group){.after = (size_t)json_integer_value(json_object_get(one, "after"))};
        groups[i].request = (infer_request){.prompt = tokens,
                                            .n_prompt = n,
                                            .n_sample = (size_t)json_integer_value(json_object_get(one, "n")),
                                            .seed = (uint64_t)json_integer_value(json_object_get(job, "seed")),
                                            .id = (uint32_t)(named ? (size_t)json_integer_value(named) : i),
                                            .sampling = {.temperature = 1.0f, .top_p = 1.0f},
                                            .max_tokens = n_token,
                                            .ignore_eos = true,
                                            .tag = &groups[i]};
    }
    return json_array_size(list);
}

static void submit_due(pgr_engine *engine, group *groups, size_t n, size_t step) {
    infer_ticket ticket;
    pgr_error err = {0};
    for (size_t i = 0; i < n; i++) {
        if (groups[i].submitted || groups[i].after > step) continue;
        if (engine_submit(engine, &groups[i].request, &ticket, &err) != PGR_OK) die(err.message);
        groups[i].submitted = true;
    }
}

static size_t take_ended(pgr_engine *engine) {
    infer_event event;
    size_t n = 0;
    while (engine_take(engine, NULL, &event)) {
        if (event.result->error.status != PGR_OK) die(event.result->error.message);
        ((group *)event.tag)->result = event.result;
        n++;
    }
    return n;
}

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n) { /* FNV-1a */
    for (const unsigned char *s = p; n > 0; s++, n--) h = (h ^ *s) * 0x100000001B3u;
    return h;
}

static uint64_t digest(const infer_result *r) {
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < r->n_chain; i++) {
        const infer_chain *c = &r->chains[i];
        h = hash_bytes(h, c->tokens.v, c->tokens.n * sizeof *c->tokens.v);
        h = hash_bytes(h, c->logprobs, c->tokens.n * sizeof *c->logprobs);
    }
    return h;
}

static void answer(const group *groups, size_t n, double seconds) {
    size_t tokens = 0, cached = 0;
    double prefill = 0;
    for (size_t i = 0; i < n; i++) {
        const infer_result *r = groups[i].result;
        for (size_t k = 0; k < r->n_chain; k++) tokens += r->chains[k].tokens.n;
        cached += r->usage.cached_tokens;
        if (r->usage.prompt_s > prefill) prefill = r->usage.prompt_s;
    }
    printf(
        "{\"seconds\": %.4f, \"tokens\": %zu, \"prefill_s\": %.4f, \"decode_s\": %.4f, \"cached\": %zu, \"digests\": [",
        seconds, tokens, prefill, seconds - prefill, cached);
    for (size_t i = 0; i < n; i++) printf("%s\"%016llx\"", i ? ", " : "", (unsigned long long)digest(groups[i].result));
    printf("]}\n");
    fflush(stdout);
}

static void run_job(pgr_engine *engine, json_t *job) {
    static group groups[MAX_GROUP];
    size_t n = read_groups(job, groups), n_done = 0;
    double start = clock_now();
    for (size_t step = 0; n_done < n; step++) {
        submit_due(engine, groups, n, step);
        engine_step(engine);
        n_done += take_ended(engine);
    }
    answer(groups, n, clock_now() - start);
    for (size_t i = 0; i < n; i++) {
        infer_result_free(groups[i].result);
        mem_free((void *)(uintptr_t)groups[i].request.prompt);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) die("usage: bench_job MODEL [auto|exact|f32|bf16|int8] [threads] [READY]");
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
