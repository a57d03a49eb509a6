/* fuzz_lampqa.c - any bytes as a generator's answers and as true scores: an error that names the file, or answers that
 * are not blank and a finite score for each generator. */
#include <math.h>
#include <string.h>

#include "bench/lampqa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *names[] = {"one", "two"}, *answers[2] = {NULL, NULL};
    lampqa_question q = {.id = "q1", .text = "Why?", .profile = "", .answers = answers};
    lampqa_data d = {.generators = names, .n_generator = 2, .questions = &q, .n_question = 1};
    size_t number;
    pgr_error err = {0};
    PGR_ASSERT(distinct_number(&d.categories, "Art", &number, NULL) == PGR_OK);
    if (lampqa_answers(&d, 1, (const char *)data, size, "fuzz", &err) != PGR_OK)
        PGR_ASSERT(err.status < 0 && strncmp(err.message, "fuzz:", 5) == 0);
    PGR_ASSERT(!answers[0] && (!answers[1] || answers[1][strspn(answers[1], " \t\r\n")]));
    if (lampqa_truth(&d, (const char *)data, size, "fuzz", &err) == PGR_OK)
        PGR_ASSERT(isfinite(d.truth[0]) && isfinite(d.truth[1]));
    else
        PGR_ASSERT(err.status < 0 && strncmp(err.message, "fuzz:", 5) == 0);
    d.questions = NULL;
    lampqa_free(&d);
    return 0;
}
