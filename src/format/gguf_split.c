/* gguf_split.c - owns models in several GGUF files: NAME-00001-of-0000N.gguf with the keys split.no, split.count and
 * split.tensors.count. The first file has the model's keys, every one its own tensors. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/gguf.h"

enum { MAX_PART = 10000, DIGITS = 5, ENDING = sizeof "-00001-of-00002.gguf" - 1 };

/* The keys of a part. *count 1: the file is whole. */
static pgr_status read_keys(const gguf *g, uint32_t *no, uint32_t *count, uint32_t *n_tensor, pgr_error *err) {
    PGR_TRY(gguf_get_u32_or(g, "split.count", 1, count, err));
    PGR_TRY(gguf_get_u32_or(g, "split.no", 0, no, err));
    PGR_TRY(gguf_get_u32_or(g, "split.tensors.count", 0, n_tensor, err));
    if (*count > MAX_PART)
        return fail(err, PGR_E_FORMAT, "%s: split.count is %" PRIu32 ", want at most %d", g->path, *count, MAX_PART);
    return PGR_OK;
}

/* The ending that part `no` (from 0) of `count` has. */
static void ending_of(char out[ENDING + 16], uint32_t no, uint32_t count) {
    snprintf(out, ENDING + 16, "-%0*u-of-%0*u.gguf", DIGITS, no + 1, DIGITS, count);
}

/* The first part's path ends in what its keys say; *stem: what comes before. */
static pgr_status check_name(const gguf *g, uint32_t no, uint32_t count, size_t *stem, pgr_error *err) {
    char own[ENDING + 16], first[ENDING + 16];
    size_t n = strlen(g->path);
    ending_of(own, no, count);
    ending_of(first, 0, count);
    if (n < ENDING || strcmp(g->path + n - ENDING, own) != 0)
        return fail(err, PGR_E_FORMAT, "%s: is part %" PRIu32 " of %" PRIu32 ", want a name that ends in %s", g->path,
                    no + 1, count, own);
    *stem = n - ENDING;
    if (no == 0) return PGR_OK;
    return fail(err, PGR_E_ARG, "%s: is part %" PRIu32 " of %" PRIu32 "; give the first, %.*s%s", g->path, no + 1,
                count, (int)*stem, g->path, first);
}

static pgr_status open_part(const gguf *g, size_t stem, uint32_t no, uint32_t count, gguf *out, pgr_error *err) {
    char ending[ENDING + 16], *path = mem_alloc(stem + ENDING + 16);
    uint32_t found, of, n_tensor;
    file_map map;
    if (!path) return fail_mem(err);
    ending_of(ending, no, count);
    snprintf(path, stem + ENDING + 16, "%.*s%s", (int)stem, g->path, ending);
    pgr_status s = file_map_open(path, &map, err);
    if (s == PGR_OK) {
        s = gguf_open_memory(map.data, map.size, path, out, err);
        if (s == PGR_OK)
            out->map = map;
        else
            file_map_close(&map);
    }
    mem_free(path);
    PGR_TRY(s);
    s = read_keys(out, &found, &of, &n_tensor, err);
    if (s == PGR_OK && (found != no || of != count))
        s = fail(err, PGR_E_FORMAT, "%s: its keys say part %" PRIu32 " of %" PRIu32 ", want %" PRIu32 " of %" PRIu32,
                 out->path, found + 1, of, no + 1, count);
    if (s != PGR_OK) gguf_close(out);
    return s;
}

pgr_status gguf_open_rest(gguf *g, pgr_error *err) {
    uint32_t no, count, n_tensor;
    size_t stem = 0, total = g->n_tensor;
    PGR_TRY(read_keys(g, &no, &count, &n_tensor, err));
    if (count <= 1) return PGR_OK;
    PGR_TRY(check_name(g, no, count, &stem, err));
    g->rest = mem_zero(count - 1, sizeof *g->rest);
    if (!g->rest) return fail_mem(err);
    for (uint32_t i = 1; i < count; i++) {
        PGR_TRY(open_part(g, stem, i, count, &g->rest[i - 1], err));
        g->n_rest = i;
        total += g->rest[i - 1].n_tensor;
    }
    if (n_tensor == 0 || n_tensor == total) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "%s: the %" PRIu32 " parts have %zu tensors, split.tensors.count is %" PRIu32,
                g->path, count, total, n_tensor);
}
