/* fuzz_grammar.c - any bytes, up to the first 0xFF, as a grammar; the bytes behind it step through it. What holds for
 * every state: it reaches the end, a byte brings it nearer by one at most, what is forced is allowed, and a walk by the
 * shortest way ends. */
#include <stdint.h>
#include <string.h>

#include "infer/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_GRAMMAR = 4096, MAX_STEPS = 256 };

/* PGR_OK, or one of the errors that a lazily found state may give. */
static bool worked(pgr_status s, const pgr_error *err) {
    PGR_ASSERT(s == PGR_OK || ((s == PGR_E_LIMIT || s == PGR_E_FORMAT) && err->message[0]));
    return s == PGR_OK;
}

static bool step(grammar *g, int *state, uint8_t byte) {
    pgr_error err = {0};
    int to;
    if (!worked(grammar_step(g, *state, byte, &to, &err), &err)) return false;
    if (to == GRAMMAR_DEAD) return true; /* stay: the next byte is tried from here */
    PGR_ASSERT(!grammar_hole(g, *state) && !grammar_only_end(g, *state));
    PGR_ASSERT(grammar_distance(g, to) + 1 >= grammar_distance(g, *state));
    *state = to;
    return true;
}

static bool write_forced(grammar *g, int *state) {
    pgr_error err = {0};
    buf out = {0};
    int from = *state, again;
    bool ok = worked(grammar_forced(g, state, &out, &err), &err);
    if (ok) {
        PGR_ASSERT(grammar_walk(g, from, out.data ? out.data : "", out.n, &again, &err) == PGR_OK && again == *state);
        PGR_ASSERT(out.n == 0 || grammar_distance(g, *state) + out.n == grammar_distance(g, from));
    }
    buf_free(&out);
    return ok;
}

static bool pass_holes(grammar *g, int *state) {
    pgr_error err = {0};
    for (int i = 0; i < MAX_STEPS && grammar_hole(g, *state); i++) {
        size_t before = grammar_distance(g, *state);
        if (!worked(grammar_after_hole(g, *state, state, &err), &err)) return false;
        PGR_ASSERT(grammar_distance(g, *state) + GRAMMAR_HOLE_BYTES == before);
    }
    return true;
}

/* Some byte brings every state without a hole nearer to the end. */
static void check_nearer(grammar *g, int state) {
    size_t distance = grammar_distance(g, state);
    bool found = distance == 0 || grammar_hole(g, state);
    PGR_ASSERT(distance != SIZE_MAX && (distance == 0) == grammar_accepts(g, state));
    for (int c = 0; c < 256 && !found; c++) {
        int to;
        if (grammar_step(g, state, (uint8_t)c, &to, NULL) != PGR_OK) return;
        found = to != GRAMMAR_DEAD && grammar_distance(g, to) + 1 == distance;
    }
    PGR_ASSERT(found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size ? memchr(data, 0xFF, size) : NULL;
    size_t n = cut ? (size_t)(cut - data) : size;
    grammar *g = NULL;
    pgr_error err = {0};
    if (n > MAX_GRAMMAR) return 0;
    if (grammar_compile((const char *)data, n, "fuzz", &g, &err) != PGR_OK) {
        PGR_ASSERT(!g && err.status < 0 && strncmp(err.message, "fuzz:", 5) == 0);
        return 0;
    }
    int state = grammar_start(g);
    bool alive = true;
    for (size_t i = n + 1; alive && i < size && i < n + MAX_STEPS; i++) {
        alive = pass_holes(g, &state) && step(g, &state, data[i]);
        if (alive && i % 4 == 0) alive = write_forced(g, &state);
        if (i % 8 == 0) check_nearer(g, state);
    }
    check_nearer(g, state);
    grammar_unref(g);
    return 0;
}
