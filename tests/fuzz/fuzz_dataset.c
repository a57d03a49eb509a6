/* fuzz_dataset.c - any bytes as a data file: records whose parts all hold, then an end or an error; never a crash or
 * a leak. What leaves a reader keeps the rules of all (user/rules.h). The first byte's bits: bad values are passed
 * over; a user for rows without one; a column of users; weights; rows without a user are nobody's; equal texts are
 * kept. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_texts(const char *const *texts, size_t n) {
    for (size_t i = 0; i < n; i++) PGR_ASSERT(texts[i][0]);
}

static void check_pair(const pair_record *p, const dataset_options *o) {
    PGR_ASSERT((p->user_id[0] || o->unnamed == UNNAMED_NOBODY) && p->conversation_id && p->type);
    PGR_ASSERT(p->choice_attributes && p->group && p->weight > 0);
    PGR_ASSERT(rules_split_name(p->split) && strcmp(rules_split_name(p->split), p->split) == 0);
    PGR_ASSERT(!field_is_blank(p->pair.chosen) && !field_is_blank(p->pair.rejected));
    PGR_ASSERT(o->keep_alike || strcmp(p->pair.chosen, p->pair.rejected) != 0);
    PGR_ASSERT(p->pair.n_context > 0 && p->pair.chosen && p->pair.rejected);
    for (size_t i = 0; i < p->pair.n_context; i++) PGR_ASSERT(p->pair.context[i].role && p->pair.context[i].text);
    PGR_ASSERT(strcmp(p->pair.context[p->pair.n_context - 1].role, "user") == 0);
    PGR_ASSERT(!field_is_blank(p->pair.context[p->pair.n_context - 1].text));
    check_texts(p->subsets, p->n_subset);
}

static void check_record(const record *r, const dataset_options *o) {
    PGR_ASSERT(r->line > 0);
    if (r->kind == RECORD_PAIR) check_pair(&r->pair, o);
    if (r->kind == RECORD_USER) PGR_ASSERT(r->user.id[0] && r->user.demographics);
    if (r->kind == RECORD_USER && r->user.n_criteria > 1) check_texts(r->user.criteria, r->user.n_criteria);
    if (r->kind == RECORD_QUESTION) PGR_ASSERT(r->question.id[0] && r->question.user_id[0] && r->question.question[0]);
}

/* The bytes as a file that has a path. */
static int make_file(const uint8_t *data, size_t size, char path[40]) {
    int fd = memfd_create("dataset", 0);
    PGR_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, 40, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    char path[40];
    int fd = make_file(data + 1, size - 1, path);
    dataset *d = NULL;
    pgr_error err = {0};
    dataset_options o = {.skip_bad = data[0] & 1,
                         .user = data[0] & 2 ? "u" : NULL,
                         .user_key = data[0] & 4 ? "who" : NULL,
                         .weights = data[0] & 8 ? "a=0.5,b=-2" : NULL,
                         .unnamed = data[0] & 64 ? UNNAMED_NOBODY : UNNAMED_REFUSED,
                         .keep_alike = data[0] & 128};
    pgr_status status = dataset_open(path, &o, &d, &err);
    bool more = true;
    while (status == PGR_OK && more) {
        arena a = {0};
        record r;
        status = dataset_next(d, &a, &r, &more, &err);
        if (status == PGR_OK && more) check_record(&r, &o);
        arena_free(&a);
    }
    if (status != PGR_OK) PGR_ASSERT(err.status == status && err.message[0]);
    dataset_close(d);
    close(fd);
    return 0;
}
