/* persona.c - a sentence about the user from the merged criteria: what most chains say of measured facts, in words. */
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "facts/facts.h"
#include "judge/votes.h"

enum { MOST = 3 };              /* criteria in the sentence */
static const double HALF = 0.5; /* the share of a criterion that is in it is more than this */

typedef struct wording {
    const char *words;
    bool before; /* "longer answers", else "answers with more lists" */
} wording;

static const wording WORDS[N_FACT][2] = {
    [FACT_LENGTH] = {{"longer", true}, {"shorter", true}},
    [FACT_LISTS] = {{"more lists", false}, {"fewer lists", false}},
    [FACT_HEADINGS] = {{"more headings", false}, {"fewer headings", false}},
    [FACT_QUESTIONS] = {{"more questions to the reader", false}, {"fewer questions to the reader", false}},
    [FACT_CAUTION] = {{"more careful", true}, {"more definite", true}},
    [FACT_PERSONAL] = {{"more personal", true}, {"less personal", true}},
    [FACT_NUMBERS] = {{"more figures", false}, {"fewer figures", false}},
    [FACT_WARMTH] = {{"warmer", true}, {"cooler", true}},
    [FACT_CODE] = {{"more code", false}, {"less code", false}},
    [FACT_FORMAL] = {{"more formal", true}, {"less formal", true}},
    [FACT_ECHO] = {{"more of the question's own words", false}, {"fewer of the question's own words", false}},
    [FACT_EXAMPLES] = {{"more examples", false}, {"fewer examples", false}},
};

/* "length more"; NULL: no measured fact with a direction. */
static const wording *wording_of(const char *name) {
    const char *space = strrchr(name, ' ');
    int fact = space ? fact_find(name, (size_t)(space - name)) : -1;
    if (fact < 0) return NULL;
    if (strcasecmp(space, " more") == 0) return &WORDS[fact][0];
    return strcasecmp(space, " less") == 0 ? &WORDS[fact][1] : NULL;
}

pgr_status persona_sentence(const char *const *names, size_t n_name, arena *a, const char **out, pgr_error *err) {
    buf before = {0}, after = {0};
    for (size_t i = 0; i < n_name; i++) {
        const wording *w = wording_of(names[i]);
        if (w && w->before)
            buf_printf(&before, "%s%s", before.n ? ", " : "", w->words);
        else if (w)
            buf_printf(&after, "%s%s", after.n ? " and " : " with ", w->words);
    }
    bool failed = before.failed || after.failed;
    *out = before.n + after.n == 0 ? ""
                                   : arena_printf(a, "Prefers %s%sanswers%s.", before.n ? before.data : "",
                                                  before.n ? " " : "", after.n ? after.data : "");
    buf_free(&before);
    buf_free(&after);
    return *out && !failed ? PGR_OK : fail_mem(err);
}

pgr_status persona_write(const pgr_result *r, double least, arena *a, const char **out, pgr_error *err) {
    const char *names[MOST];
    size_t n = 0;
    for (size_t i = 0; i < r->n_criterion && n < MOST; i++) {
        const pgr_criterion *c = &r->criteria[i];
        if (c->weight >= least && c->share > HALF && wording_of(c->name)) names[n++] = c->name;
    }
    return persona_sentence(names, n, a, out, err);
}
