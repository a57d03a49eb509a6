/* bench_embed.c - texts per second of pgr_embed, driven by tools/compare_embedder.py: for every line that comes on
 * standard input embeds all texts once and prints the seconds.
 *
 *     bench_embed MODEL TEXTS BATCH THREADS      TEXTS: one text per line; BATCH: texts per call */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pgenrm.h"

enum { MAX_TEXTS = 100000, MAX_LINE = 1 << 16 };

static const char *texts[MAX_TEXTS];
static size_t lens[MAX_TEXTS], n_text;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int read_texts(const char *path) {
    static char line[MAX_LINE];
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    while (n_text < MAX_TEXTS && fgets(line, sizeof line, f)) {
        lens[n_text] = strcspn(line, "\n");
        texts[n_text] = strndup(line, lens[n_text]);
        n_text++;
    }
    fclose(f);
    return 0;
}

static int embed_all(pgr_embedder *e, size_t batch, float *out) {
    pgr_error err;
    for (size_t i = 0; i < n_text; i += batch) {
        size_t n = n_text - i < batch ? n_text - i : batch;
        if (pgr_embed(e, texts + i, lens + i, n, NULL, out + i * pgr_embedder_dims(e), NULL, &err) != PGR_OK) {
            fprintf(stderr, "%s\n", err.message);
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    pgr_error err;
    pgr_embedder *e;
    pgr_model_options o = pgr_model_options_default();
    if (argc != 5 || read_texts(argv[2]) != 0) {
        fprintf(stderr, "usage: bench_embed MODEL TEXTS BATCH THREADS\n");
        return 2;
    }
    o.n_thread = atoi(argv[4]);
    if (pgr_embedder_open(argv[1], &o, &e, &err) != PGR_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    float *out = malloc((n_text + 1) * pgr_embedder_dims(e) * sizeof *out);
    for (int c; out && (c = getchar()) != EOF;) {
        if (c != '\n') continue;
        double start = now();
        if (embed_all(e, (size_t)atol(argv[3]), out) != 0) return 1;
        printf("%.6f\n", now() - start);
        fflush(stdout);
    }
    free(out);
    pgr_embedder_close(e);
    return 0;
}
