/* fuzz_verdict.c - any bytes as a line of a journal: an error that names file and line, or a verdict inside its bounds
 * that is written and read back the same. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "bench/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CELLS = 2, RUNS = 2, ROWS = 3 };

static bool same(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static void check(verdict_table *t, size_t cell, size_t run, size_t row) {
    bench_verdict v = *verdict_at(t, cell, run, row), *again = verdict_at(t, cell, run, row);
    PGR_ASSERT((isnan(v.p) || (v.p >= 0 && v.p <= 1)) && !(v.seconds < 0));
    buf line = {0};
    verdict_write(t, cell, run, row, &line);
    *again = (bench_verdict){0};
    PGR_ASSERT(!line.failed && verdict_parse(line.data, line.n - 1, "fuzz", 1, t, NULL) == PGR_OK);
    PGR_ASSERT(again->known && same(again->p, v.p) && same(again->right, v.right) && again->tokens == v.tokens
               && again->n_gap == v.n_gap && again->kind == v.kind && again->calibrated == v.calibrated);
    buf_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const bench_method statistic = {.name = "longest"};
    const bench_cell cells[CELLS] = {{.method = "longest", .statistic = &statistic},
                                     {.method = "p-genrm", .ind = 8, .pro = 4, .personal = true, .stranger = 1}};
    bench_verdict v[CELLS * RUNS * ROWS] = {{0}};
    arena a = {0};
    verdict_table t = {
        .data = "set", .cells = cells, .n_cell = CELLS, .n_run = RUNS, .n_row = ROWS, .v = v, .arena = &a};
    pgr_error err = {0};
    if (verdict_parse((const char *)data, size, "fuzz", 7, &t, &err) != PGR_OK)
        PGR_ASSERT(err.status < 0 && strncmp(err.message, "fuzz:7:", 7) == 0);
    for (size_t i = 0; i < CELLS * RUNS * ROWS; i++)
        if (v[i].known) check(&t, i / (RUNS * ROWS), i / ROWS % RUNS, i % ROWS);
    arena_free(&a);
    return 0;
}
