/* facts_sd.c - the standard deviations in src/facts/facts.h, measured: reads PersonalRewardBench rows (JSON lines),
 * keeps split = train, and prints for every fact the standard deviation of chosen - rejected and how often the sign of
 * the difference names the chosen text (ties count half).
 *     gcc -O2 -D_GNU_SOURCE -Iinclude -Isrc bench/facts_sd.c src/facts/facts.c src/facts/facts_lexicon.c
 * src/base/[a-z]*.c \ -ljansson -lm -lpthread -o facts_sd && ./facts_sd prism.jsonl mt_bench.jsonl */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "facts/facts.h"

typedef struct sums {
    double n, sum[N_FACT], square[N_FACT], right[N_FACT], differs[N_FACT];
} sums;

static const char *content(const json_t *turn) {
    return json_string_value(json_object_get(turn, "content"));
}

static void add_row(const json_t *row, sums *s) {
    const char *split = json_string_value(json_object_get(row, "split"));
    const json_t *context = json_object_get(row, "context");
    const char *query = content(json_array_get(context, json_array_size(context) - 1));
    const char *chosen = content(json_object_get(row, "chosen")), *rejected = content(json_object_get(row, "rejected"));
    if (!split || strcmp(split, "train") != 0 || !query || !chosen || !rejected) return;
    facts a, b;
    facts_measure(chosen, strlen(chosen), query, strlen(query), &a);
    facts_measure(rejected, strlen(rejected), query, strlen(query), &b);
    s->n++;
    for (int f = 0; f < N_FACT; f++) {
        double d = a.v[f] - b.v[f];
        s->sum[f] += d;
        s->square[f] += d * d;
        s->right[f] += d > 0 ? 1.0 : d < 0 ? 0.0 : 0.5;
        s->differs[f] += d != 0;
    }
}

static pgr_status add_file(const char *path, sums *s, pgr_error *err) {
    buf text = {0};
    PGR_TRY(file_read(path, &text, err));
    pgr_status status = PGR_OK;
    size_t line = 1;
    for (char *p = text.data, *end = p + text.n; status == PGR_OK && p < end; line++) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        json_t *row = NULL;
        status = json_parse(p, (size_t)(stop - p), path, line, &row, err);
        if (status == PGR_OK) add_row(row, s);
        json_decref(row);
        p = stop + 1;
    }
    buf_free(&text);
    return status;
}

static void print_sums(const char *title, const sums *s) {
    printf("%s: %.0f train rows\n%-10s %8s %8s %8s %9s\n", title, s->n, "fact", "sd", "mean", "right", "differs");
    for (int f = 0; f < N_FACT; f++) {
        double mean = s->sum[f] / s->n, sd = sqrt((s->square[f] - s->n * mean * mean) / (s->n - 1));
        printf("%-10s %8.3f %8.3f %8.3f %8.0f%%\n", fact_word(f), sd, mean, s->right[f] / s->n,
               100 * s->differs[f] / s->n);
    }
}

static void merge(sums *into, const sums *s) {
    into->n += s->n;
    for (int f = 0; f < N_FACT; f++) {
        into->sum[f] += s->sum[f], into->square[f] += s->square[f];
        into->right[f] += s->right[f], into->differs[f] += s->differs[f];
    }
}

int main(int argc, char **argv) {
    sums all = {0};
    for (int i = 1; i < argc; i++) {
        pgr_error err;
        sums s = {0};
        if (add_file(argv[i], &s, &err) != PGR_OK) {
            fprintf(stderr, "facts_sd: %s\n", err.message);
            return 1;
        }
        print_sums(argv[i], &s);
        merge(&all, &s);
    }
    if (argc > 2) print_sums("all", &all);
    return 0;
}
