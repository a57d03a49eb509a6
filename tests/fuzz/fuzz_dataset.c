/* fuzz_dataset.c - any bytes as a data file: records whose parts all hold, then an end or an error; never a crash or a
 * leak. The first byte says whether bad values are passed over. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_texts(const char *const *texts, size_t n) {
    for (size_t i = 0; i < n; i++) PGR_ASSERT(texts[i][0]);
}

static void check_pair(const pair_record *p) {
    PGR_ASSERT(p->user_id[0] && p->conversation_id && p->split && p->type && p->choice_attributes);
    PGR_ASSERT(p->pair.n_context > 0 && p->pair.chosen && p->pair.rejected);
    for (size_t i = 0; i < p->pair.n_context; i++) PGR_ASSERT(p->pair.context[i].role && p->pair.context[i].text);
    PGR_ASSERT(strcmp(p->pair.context[p->pair.n_context - 1].role, "user") == 0);
    check_texts(p->subsets, p->n_subset);
}

static void check_record(const record *r) {
    PGR_ASSERT(r->line > 0);
    if (r->kind == RECORD_PAIR) check_pair(&r->pair);
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
    pgr_status status = dataset_open(path, NULL, data[0] & 1, &d, &err);
    bool more = true;
    while (status == PGR_OK && more) {
        arena a = {0};
        record r;
        status = dataset_next(d, &a, &r, &more, &err);
        if (status == PGR_OK && more) check_record(&r);
        arena_free(&a);
    }
    if (status != PGR_OK) PGR_ASSERT(err.status == status && err.message[0]);
    dataset_close(d);
    close(fd);
    return 0;
}
