/* text_reward.c - how much of a user's true criteria a chain covers. The truth is what the user stated, with what
 * weighed in the choice; where nothing is stated, the rule's taste of all of his pairs, of which the prompt shows some.
 * Told by rule, by this model without its adapter, or by a server. */
#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "judge/slots.h"
#include "judge/span.h"
#include "train/rubric_writer.h"
#include "train/text.h"

enum { HEAVIEST = 4 /* criteria of a chain that count */, STEM = 5, WORD = 4, JUDGE_TOKENS = 16, DIGITS = 10 };

typedef struct truth {
    bool stated;
    buf text;              /* lines, for a judge */
    double taste[N_TASTE]; /* where nothing is stated */
} truth;

/* ---- the truth ---- */

static bool has_truth(const psi_set *s, size_t pair) {
    return s->users[s->user[pair]].n_criteria > 0 || s->attributes[pair][0];
}

static pgr_status find_taste(const psi_set *s, const psi_user *u, truth *t, pgr_error *err) {
    size_t *all = mem_array(u->n + 1, sizeof *all);
    if (!all) return fail_mem(err);
    for (size_t i = 0; i < u->n; i++) all[i] = u->first + i;
    slots_target(s->pairs, all, u->n, t->taste);
    mem_free(all);
    for (int w = 0; w < N_TASTE; w++)
        if (t->taste[w] > 1.0 / N_TASTE) buf_printf(&t->text, "- %s (%.0f%%)\n", rubric_name(w), 100 * t->taste[w]);
    return PGR_OK;
}

static pgr_status find_truth(const psi_set *s, size_t pair, truth *t, pgr_error *err) {
    const psi_user *u = &s->users[s->user[pair]];
    t->stated = has_truth(s, pair);
    if (!t->stated) return find_taste(s, u, t, err);
    for (size_t i = 0; i < u->n_criteria; i++) buf_printf(&t->text, "- %s\n", u->criteria[i]);
    if (s->attributes[pair][0]) buf_printf(&t->text, "%s\n", s->attributes[pair]);
    return t->text.failed ? fail_mem(err) : PGR_OK;
}

/* ---- by rule: facts ---- */

/* clang-format off */
static const struct { const char *stem; int word; } STEMS[] = { /* the first that occurs in a name tells */
#define MORE(f) 2 * FACT_##f
#define LESS(f) 2 * FACT_##f + 1
    {"concis", LESS(LENGTH)}, {"brev", LESS(LENGTH)}, {"brief", LESS(LENGTH)}, {"short", LESS(LENGTH)},
    {"detail", MORE(LENGTH)}, {"thorough", MORE(LENGTH)}, {"depth", MORE(LENGTH)}, {"comprehens", MORE(LENGTH)},
    {"bullet", MORE(LISTS)}, {"list", MORE(LISTS)}, {"prose", LESS(LISTS)}, {"heading", MORE(HEADINGS)},
    {"impersonal", LESS(PERSONAL)}, {"personal", MORE(PERSONAL)}, {"informal", LESS(FORMAL)}, {"casual", LESS(FORMAL)},
    {"formal", MORE(FORMAL)}, {"warm", MORE(WARMTH)}, {"friendl", MORE(WARMTH)}, {"empath", MORE(WARMTH)},
    {"example", MORE(EXAMPLES)}, {"caut", MORE(CAUTION)}, {"hedg", MORE(CAUTION)}, {"definit", LESS(CAUTION)},
    {"direct", LESS(CAUTION)}, {"figure", MORE(NUMBERS)}, {"statistic", MORE(NUMBERS)}, {"code", MORE(CODE)},
    {"question", MORE(QUESTIONS)}, {"relevan", MORE(ECHO)}, {"focus", MORE(ECHO)},
#undef MORE
#undef LESS
};
/* clang-format on */

/* The word of a taste that a criterion's name means; -1: none. */
static int word_of(const char *name) {
    const char *space = strrchr(name, ' ');
    int fact = space ? fact_find(name, (size_t)(space - name)) : -1;
    if (fact >= 0 && strcasecmp(space, " more") == 0) return 2 * fact;
    if (fact >= 0 && strcasecmp(space, " less") == 0) return 2 * fact + 1;
    for (int w = 0; w < N_TASTE; w++)
        if (strcasecmp(name, rubric_name(w)) == 0) return w;
    for (size_t i = 0; i < sizeof STEMS / sizeof *STEMS; i++)
        if (span_find((span){name, name + strlen(name)}, STEMS[i].stem)) return STEMS[i].word;
    return -1;
}

/* The criteria that count: the heaviest, each once. */
static size_t heaviest(const chain *c, const chain_criterion **out) {
    bool taken[CHAIN_MAX_CRITERIA] = {false};
    size_t n = 0;
    for (; n < HEAVIEST && n < c->n_criterion; n++) {
        size_t best = c->n_criterion;
        for (size_t i = 0; i < c->n_criterion; i++)
            if (!taken[i]
                && (best == c->n_criterion
                    || (isfinite(c->criteria[i].weight) && !(c->criteria[i].weight <= c->criteria[best].weight))))
                best = i;
        taken[best] = true;
        out[n] = &c->criteria[best];
    }
    return n;
}

int text_first_word(const chain *c) {
    const chain_criterion *list[HEAVIEST];
    return heaviest(c, list) > 0 ? word_of(list[0]->name) : -1;
}

pgr_status text_margin_by_facts(const text_example *x, const chain *c, double *out, pgr_error *err) {
    double levels[TEXT_RESPONSES][N_FACT];
    pgr_request r = x->request;
    r.responses = x->responses;
    *out = 0;
    PGR_TRY(slots_response_levels(&r, levels[0], err));
    for (size_t i = 0; i < c->n_criterion; i++) {
        int word = word_of(c->criteria[i].name);
        if (word < 0 || !isfinite(c->criteria[i].weight)) continue;
        double more = levels[TEXT_CHOSEN][word / 2] - levels[1 - TEXT_CHOSEN][word / 2];
        *out += c->criteria[i].weight / 100 * (word % 2 ? -more : more);
    }
    return PGR_OK;
}

/* What the chain's words have of the truth, of what as many as count could have. */
static double cover_taste(const truth *t, const chain *c) {
    const chain_criterion *list[HEAVIEST];
    bool named[N_TASTE] = {false}, best[N_TASTE] = {false};
    double have = 0, most = 0;
    size_t n = heaviest(c, list);
    for (size_t i = 0; i < n; i++) {
        int w = word_of(list[i]->name);
        if (w < 0 || named[w]) continue;
        named[w] = true;
        have += t->taste[w];
    }
    for (size_t i = 0; i < HEAVIEST; i++) {
        int top = -1;
        for (int w = 0; w < N_TASTE; w++)
            if (!best[w] && (top < 0 || t->taste[w] > t->taste[top])) top = w;
        best[top] = true;
        most += t->taste[top];
    }
    return most > 0 ? have / most : 0;
}

/* ---- by rule: words ---- */

static bool mentions(const chain *c, const char *word, size_t n) {
    char stem[STEM + 1] = "";
    memcpy(stem, word, n < STEM ? n : STEM);
    for (size_t i = 0; i < c->n_criterion; i++) {
        const char *name = c->criteria[i].name, *reason = c->criteria[i].reason;
        if (span_find((span){name, name + strlen(name)}, stem)) return true;
        if (span_find((span){reason, reason + strlen(reason)}, stem)) return true;
    }
    return span_find((span){c->persona, c->persona + strlen(c->persona)}, stem) != NULL;
}

/* The mean over lines of the share of a line's words that the chain mentions; "name: 80" weighs 80. */
static double cover_words(const truth *t, const chain *c) {
    double sum = 0, all = 0;
    const char *end = t->text.data + t->text.n;
    for (const char *s = t->text.data; s < end;) {
        span line = span_line(s, end);
        size_t n = 0, said = 0;
        double weight = 1;
        s = line.end + 1;
        for (const char *p = line.s; p < line.end;) {
            const char *from = p;
            while (p < line.end && isalpha((unsigned char)*p)) p++;
            if (p - from >= WORD) {
                n++;
                said += mentions(c, from, (size_t)(p - from));
            }
            if (p == from && is_digit(*p))
                number_read(&p, line.end, &weight);
            else if (p == from)
                p++;
        }
        if (n == 0 || !(weight > 0)) continue;
        sum += weight * (double)said / (double)n;
        all += weight;
    }
    return all > 0 ? sum / all : 0;
}

/* ---- by a judge ---- */

static pgr_status put_question(const truth *t, const chain *c, buf *out, pgr_error *err) {
    buf_printf(out,
               "What a user wants of answers:\n%s\nWhat a judge holds to be this user's criteria:\n"
               "%s\n",
               t->text.data ? t->text.data : "", c->persona);
    for (size_t i = 0; i < c->n_criterion; i++)
        buf_printf(out, "- %s: %s\n", c->criteria[i].name, c->criteria[i].reason);
    buf_puts(out, "\nHow much of what the user wants does the judge's list cover? 0 is nothing, 9 is all of it. One "
                  "digit: ");
    return out->failed ? fail_mem(err) : PGR_OK;
}

static pgr_status ask_self(text *t, train_run *r, const infer_message *questions, size_t n, double *out,
                           pgr_error *err) {
    static const char *const digits[DIGITS] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    const infer_adapters none = {NULL, NULL, 0};
    infer_request *list = mem_zero(n, sizeof *list);
    infer_slot *slots = mem_zero(n, sizeof *slots);
    infer_output made = {.n_result = 0};
    infer_options io = {.watch = r->o->watch};
    pgr_status s = list && slots ? PGR_OK : fail_mem(err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        slots[i] = (infer_slot){0, questions[i].n, digits, DIGITS};
        list[i] = (infer_request){
            .messages = &questions[i], .n_message = 1, .slots = &slots[i], .n_slot = 1, .adapters = &none};
    }
    if (s == PGR_OK) s = infer_run(t->e, list, n, &io, &made, err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        out[i] = 0;
        for (size_t k = 0; k < DIGITS; k++)
            out[i] += (double)k / (DIGITS - 1) * exp(made.results[i]->readings[0].logprobs[k]);
    }
    infer_output_free(&made);
    mem_free(list);
    mem_free(slots);
    return s;
}

/* The first digit of an answer; one without covers nothing. */
static pgr_status ask_server(text *t, train_run *r, const infer_message *questions, size_t n, double *out,
                             pgr_error *err) {
    arena a = {0};
    teacher_ask *asks = arena_array(&a, n, sizeof *asks);
    pgr_status s = asks ? PGR_OK : fail_mem(err);
    for (size_t i = 0; s == PGR_OK && i < n; i++)
        asks[i] = (teacher_ask){.messages = &questions[i], .n_message = 1, .max_tokens = JUDGE_TOKENS};
    if (s == PGR_OK) s = teacher_run(t->teacher, asks, n, &r->o->watch, &a, err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        const char *answer = asks[i].answer ? asks[i].answer : "";
        size_t at = strcspn(answer, "0123456789");
        out[i] = answer[at] ? (double)(answer[at] - '0') / (DIGITS - 1) : 0;
    }
    arena_free(&a);
    return s;
}

static pgr_status ask_judge(text *t, train_run *r, const truth *of, const text_verdict *chains, size_t n, double *out,
                            pgr_error *err) {
    infer_message *questions = mem_zero(n, sizeof *questions);
    double *scores = mem_array(n, sizeof *scores);
    size_t n_asked = 0;
    pgr_status s = questions && scores ? PGR_OK : fail_mem(err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        buf b = {0};
        if (!chains[i].parsed) continue;
        s = put_question(of, &chains[i].read, &b, err);
        size_t length = b.n;
        char *text = buf_take(&b);
        if (s == PGR_OK && !text) s = fail_mem(err);
        if (s == PGR_OK) questions[n_asked++] = (infer_message){"user", text, length};
    }
    if (s == PGR_OK && n_asked > 0)
        s = t->o->grpo.process == PGR_PROCESS_SELF ? ask_self(t, r, questions, n_asked, scores, err)
                                                   : ask_server(t, r, questions, n_asked, scores, err);
    for (size_t i = 0, k = 0; s == PGR_OK && i < n; i++) out[i] = chains[i].parsed ? scores[k++] : 0;
    for (size_t i = 0; questions && i < n_asked; i++) mem_free((void *)(uintptr_t)questions[i].text);
    mem_free(questions);
    mem_free(scores);
    return s;
}

pgr_status text_coverage(text *t, train_run *r, size_t pair, const text_verdict *chains, size_t n, double *out,
                         pgr_error *err) {
    truth of = {.stated = false};
    pgr_status s = find_truth(&t->set, pair, &of, err);
    if (s == PGR_OK && t->o->grpo.process != PGR_PROCESS_RULE)
        s = ask_judge(t, r, &of, chains, n, out, err);
    else
        for (size_t i = 0; s == PGR_OK && i < n; i++)
            out[i] = !chains[i].parsed ? 0
                     : of.stated       ? cover_words(&of, &chains[i].read)
                                       : cover_taste(&of, &chains[i].read);
    buf_free(&of.text);
    return s;
}
