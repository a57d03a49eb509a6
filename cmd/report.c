/* report.c - the human form of `score`: persona, rubric, scores, verdict, and everything that did not go well. */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"

static const double EQUAL = 1e-9; /* scores nearer than this are a tie (docs/scores.md) */

enum {
    INDENT = 2,
    LABEL = 12,
    NUMBER_COLUMN = 8,
    CRITERION_LEAST = 38,
    CRITERIA_SHOWN = 8, /* rows; the lighter ones are one row together */
};

typedef struct text {
    char s[48];
} text;

/* A number for a cell, "-" if there is none. */
static text number(double v, int decimals, const char *unit) {
    text t = {"-"};
    if (isfinite(v)) snprintf(t.s, sizeof t.s, "%.*f%s", decimals, v, unit);
    return t;
}

static text percent(double share) {
    return number(100 * share, 0, " %");
}

static text thousands(size_t n) {
    text t;
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%zu", n), m = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) t.s[m++] = ',';
        t.s[m++] = digits[i];
    }
    t.s[m] = '\0';
    return t;
}

static text letter(size_t response) {
    text t;
    snprintf(t.s, sizeof t.s, "%c", (char)('A' + (int)(response % 26)));
    return t;
}

/* Chains that the scores are means of: read, and with the kind of score that counts. */
static size_t chains_that_count(const pgr_result *r) {
    return r->n_response ? r->responses[0].n : 0;
}

static void heading(const screen *s, const char *title) {
    put(s, STYLE_BOLD, "\n%s", title);
    fputc('\n', s->f);
}

static void print_title(const screen *s, const pgr_result *r) {
    char line[400];
    snprintf(line, sizeof line, "%s%s%.150s, %.80s frame, %zu history pair%s shown", r->id && *r->id ? r->id : "",
             r->id && *r->id ? ": " : "", r->model, r->frame, r->history_shown, r->history_shown == 1 ? "" : "s");
    put_wrapped(s, STYLE_DIM, line, 0, 0);
}

static void print_persona(const screen *s, const pgr_result *r) {
    bool nobody = r->history_shown == 0 && r->n_neighbour == 0;
    bool said = r->persona && *r->persona;
    if (!said && !nobody) return;
    heading(s, "Who is asking");
    if (!said)
        put_wrapped(s, STYLE_WEAK, "Nobody whose choices are known: this is what the judge finds good for anybody.",
                    INDENT, 0);
    if (!said) return;
    put_wrapped(s, STYLE_PLAIN, r->persona, INDENT, 0);
}

/* ---- the rubric ---- */

/* Criteria and scores of the responses first..end-1, as many as fit beside each other. */
typedef struct rubric {
    const pgr_result *r;
    table *t;
    size_t first, end, n_column;
} rubric;

typedef enum value_kind { VALUE_NUMBER, VALUE_SHARE } value_kind;

typedef struct rubric_head { /* what stands before the values */
    const char *name;
    text weight, chains;
} rubric_head;

/* A row: a name, a weight, how many chains, one value per response. */
static void rubric_row(const rubric *b, style st, const rubric_head *head,
                       double (*value)(const pgr_result *, size_t, const void *), const void *ctx, value_kind k) {
    text *values = must_alloc((b->end - b->first) * sizeof *values);
    const char **cells = must_alloc(b->n_column * sizeof *cells);
    cells[0] = head->name;
    cells[1] = head->weight.s;
    cells[2] = head->chains.s;
    for (size_t i = b->first; i < b->end; i++) {
        double v = value(b->r, i, ctx);
        values[i - b->first] = k == VALUE_SHARE ? percent(v) : number(v, 2, "");
        cells[3 + i - b->first] = values[i - b->first].s;
    }
    table_row(b->t, st, cells);
    free(cells);
    free(values);
}

static double of_criterion(const pgr_result *r, size_t i, const void *ctx) {
    (void)r;
    const pgr_criterion *c = ctx;
    return c->scores ? c->scores[i] : NAN;
}

static double mean_score(const pgr_result *r, size_t i, const void *ctx) {
    (void)ctx;
    return r->responses[i].scored ? r->responses[i].score : NAN;
}

static double weighted_sum(const pgr_result *r, size_t i, const void *ctx) {
    (void)ctx;
    double sum = 0;
    for (size_t k = 0; k < r->n_criterion; k++) sum += r->criteria[k].weight / 100 * r->criteria[k].scores[i];
    return sum;
}

static double stated_total(const pgr_result *r, size_t i, const void *ctx) {
    (void)ctx;
    return r->responses[i].declared;
}

static double standard_error(const pgr_result *r, size_t i, const void *ctx) {
    (void)ctx;
    return r->responses[i].scored ? r->responses[i].se : NAN;
}

static double quality_prior(const pgr_result *r, size_t i, const void *ctx) {
    (void)ctx;
    return r->responses[i].prior;
}

static double win_probability(const pgr_result *r, size_t i, const void *ctx) {
    (void)ctx;
    return r->responses[i].scored ? r->responses[i].win : NAN;
}

/* Do two kinds of score differ in the decimals that are shown? */
static bool differ(const pgr_result *r, double (*one)(const pgr_result *, size_t, const void *),
                   double (*other)(const pgr_result *, size_t, const void *)) {
    for (size_t i = 0; i < r->n_response; i++)
        if (fabs(one(r, i, NULL) - other(r, i, NULL)) >= 0.01) return true;
    return false;
}

static void criterion_row(const rubric *b, const pgr_criterion *c) {
    char name[200];
    bool mark = c->contested && c != &b->r->criteria[b->r->n_criterion - 1];
    snprintf(name, sizeof name, "%.150s%s", c->name, mark ? " (contested)" : "");
    rubric_head head = {name, number(c->weight, 1, " %"), {""}};
    if (isfinite(c->share) && b->r->rubric_chains)
        snprintf(head.chains.s, sizeof head.chains.s, "%.0f of %zu", c->share * (double)b->r->rubric_chains,
                 b->r->rubric_chains);
    rubric_row(b, STYLE_PLAIN, &head, of_criterion, c, VALUE_NUMBER);
    if (c->reason && *c->reason && b->first == 0) table_note(b->t, c->reason);
}

/* The criteria from..to-1 as one row: their weights together, the weighted mean of their scores. */
static void other_criteria(const rubric *b, size_t from, size_t to) {
    double *scores = must_alloc(b->r->n_response * sizeof *scores);
    char name[64];
    pgr_criterion all = {.name = name, .share = NAN, .reason = "", .scores = scores};
    for (size_t i = from; i < to; i++) {
        const pgr_criterion *c = &b->r->criteria[i];
        all.weight += c->weight;
        for (size_t k = 0; k < b->r->n_response; k++) scores[k] += c->weight * c->scores[k];
    }
    for (size_t k = 0; k < b->r->n_response; k++) scores[k] /= all.weight;
    snprintf(name, sizeof name, "%zu more together", to - from);
    criterion_row(b, &all);
    free(scores);
}

/* All of them, or the heaviest, the rest as one, and what stands last. */
static void criterion_rows(const rubric *b) {
    const pgr_result *r = b->r;
    size_t n = r->n_criterion;
    bool fold = r->rubric_chains && n > CRITERIA_SHOWN;
    size_t last = n && strcmp(r->criteria[n - 1].name, "both directions") == 0;
    size_t from = fold ? CRITERIA_SHOWN - 1 - last : n, to = fold ? n - last : n;
    for (size_t i = 0; i < from; i++) criterion_row(b, &r->criteria[i]);
    if (fold) other_criteria(b, from, to);
    for (size_t i = to; i < n; i++) criterion_row(b, &r->criteria[i]);
}

/* The total of the table comes first; what counts, if it is something else, after it. */
static void total_rows(const rubric *b) {
    const pgr_result *r = b->r;
    char mean[64];
    size_t n = chains_that_count(r);
    bool other = r->rubric_chains && (r->rubric_chains != n || differ(r, mean_score, weighted_sum));
    if (other) rubric_row(b, STYLE_PLAIN, &(rubric_head){.name = "Weighted sum"}, weighted_sum, NULL, VALUE_NUMBER);
    if (r->scalar_weight > 0)
        rubric_row(b, STYLE_PLAIN, &(rubric_head){.name = "+ quality prior (reward model)"}, quality_prior, NULL,
                   VALUE_NUMBER);
    snprintf(mean, sizeof mean, "Score, mean of %zu chain%s", n, n == 1 ? "" : "s");
    rubric_row(b, STYLE_BOLD, &(rubric_head){.name = mean}, mean_score, NULL, VALUE_NUMBER);
    rubric_row(b, STYLE_PLAIN, &(rubric_head){.name = "± standard error"}, standard_error, NULL, VALUE_NUMBER);
    if (!other && differ(r, mean_score, stated_total))
        rubric_row(b, STYLE_DIM,
                   &(rubric_head){.name = r->completion_tokens ? "as the chains state it" : "by drawn criteria alone"},
                   stated_total, NULL, VALUE_NUMBER);
    if (r->calibrated)
        rubric_row(b, STYLE_PLAIN, &(rubric_head){.name = "Probability to be the best"}, win_probability, NULL,
                   VALUE_SHARE);
}

static void rubric_title(const screen *s, const pgr_result *r) {
    char title[80];
    size_t n = r->rubric_chains, all = chains_that_count(r);
    if (r->n_criterion == 0)
        snprintf(title, sizeof title, "Scores in numbers");
    else if (n <= 1 && all > 1)
        snprintf(title, sizeof title, "Rubric of one chain of %zu", all);
    else if (n <= 1)
        snprintf(title, sizeof title, "Rubric of one chain");
    else
        snprintf(title, sizeof title, "Rubric, merged over %zu chains", n);
    heading(s, title);
}

static void print_rubric(const screen *s, const pgr_result *r) {
    rubric_title(s, r);
    size_t room = (size_t)(s->width > CRITERION_LEAST ? s->width - CRITERION_LEAST : 0) / NUMBER_COLUMN;
    if (room < 2) room = 2;
    for (size_t first = 0; first < r->n_response; first += room) {
        rubric b = {.r = r, .first = first, .end = first + room < r->n_response ? first + room : r->n_response};
        b.n_column = 3 + b.end - b.first;
        column *columns = must_alloc(b.n_column * sizeof *columns);
        text *titles = must_alloc((b.end - b.first) * sizeof *titles);
        columns[0] = (column){.title = "Criterion", .flexible = true};
        columns[1] = (column){.title = "Weight", .right = true};
        columns[2] = (column){.title = "Chains", .right = true};
        for (size_t i = first; i < b.end; i++) {
            titles[i - first] = letter(i);
            columns[3 + i - first] = (column){.title = titles[i - first].s, .right = true};
        }
        b.t = table_create(columns, b.n_column);
        criterion_rows(&b);
        if (r->n_criterion) table_rule(b.t);
        total_rows(&b);
        if (first) fputc('\n', s->f);
        table_print(b.t, s, INDENT);
        table_free(b.t);
        free(titles);
        free(columns);
    }
}

/* ---- bars and verdict ---- */

/* v of full columns, in eighths of a column. */
static void print_bar(const screen *s, style st, double v, double full, int columns) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int filled = isfinite(v) && v > 0 ? (int)(v / full * columns * 8 + 0.5) : 0;
    if (filled > columns * 8) filled = columns * 8;
    char bar[3 * 128 + 1] = "";
    size_t n = 0;
    for (int i = 0; i < filled / 8; i++) n += (size_t)snprintf(bar + n, sizeof bar - n, "█");
    snprintf(bar + n, sizeof bar - n, "%s", eighths[filled % 8]);
    put(s, st, "%s", bar);
    int used = filled / 8 + (filled % 8 != 0);
    if (used < columns) fprintf(s->f, "%*s", columns - used, "");
}

static void print_bars(const screen *s, const pgr_result *r) {
    double full = 10; /* of a score; frames with a wider range set it */
    for (size_t i = 0; i < r->n_response; i++)
        if (r->responses[i].scored && r->responses[i].score > full) full = r->responses[i].score;
    int columns = s->width - INDENT - 24;
    columns = columns > 50 ? 50 : columns < 10 ? 10 : columns;
    heading(s, "Scores");
    for (size_t i = 0; i < r->n_response; i++) {
        const pgr_response_score *p = &r->responses[i];
        bool best = r->best == (int)i;
        put(s, best ? STYLE_BOLD : STYLE_PLAIN, "%*s%s  ", INDENT, "", letter(i).s);
        if (!p->scored) {
            put_wrapped(s, STYLE_WEAK, p->reason ? p->reason : "no score", INDENT + 3, INDENT + 3);
            continue;
        }
        print_bar(s, best ? STYLE_GOOD : STYLE_DIM, p->score, full, columns);
        put(s, best ? STYLE_BOLD : STYLE_PLAIN, "  %4s", number(p->score, 2, "").s);
        if (isfinite(p->se)) put(s, STYLE_DIM, " ± %s", number(p->se, 2, "").s);
        fputc('\n', s->f);
    }
}

/* "A and C", the responses that share the best score. */
static void tied_letters(const pgr_result *r, char *out, size_t size) {
    size_t n = 0, count = 0;
    double top = r->responses[r->best].score;
    for (size_t i = 0; i < r->n_response && n + 8 < size; i++)
        if (r->responses[i].scored && fabs(r->responses[i].score - top) <= EQUAL)
            n += (size_t)snprintf(out + n, size - n, "%s%s", count++ ? " and " : "", letter(i).s);
}

static bool all_alike(const pgr_result *r) {
    return r->lead.mean == 0 && r->lead.spread == 0 && isfinite(r->responses[r->best].win) && !r->calibrated;
}

/* "7 of 8 chains prefer B, 1 prefers A", those that see a tie left to the reader's arithmetic. */
static void preferences(const pgr_result *r, char *out, size_t size) {
    size_t n = chains_that_count(r), best = (size_t)r->best,
           len = (size_t)snprintf(out, size, "%zu of %zu chain%s prefer%s %s", r->agree, n, n == 1 ? "" : "s",
                                  r->agree == 1 ? "s" : "", letter(best).s);
    for (size_t i = 0; i < r->n_response && len + 24 < size; i++) {
        size_t k = r->responses[i].prefer;
        if (i != best && k > 0) len += (size_t)snprintf(out + len, size - len, ", %zu %s", k, letter(i).s);
    }
}

static void verdict_line(const pgr_result *r, char *line, size_t size) {
    char tied[200] = "", who[200];
    preferences(r, who, sizeof who);
    if (r->tie) {
        tied_letters(r, tied, sizeof tied);
        snprintf(line, size, "None: %s have the same score%s.", tied, all_alike(r) ? ": they are the same text" : "");
    } else if (r->calibrated) {
        snprintf(line, size, "Response %s, %s confidence (calibrated); %s.", letter((size_t)r->best).s,
                 percent(r->confidence).s, who);
    } else {
        snprintf(line, size, "Response %s: %s. How often that is right is not known without a calibration%s.",
                 letter((size_t)r->best).s, who, r->kind == PGR_VERDICT_VIEWS ? " of verdicts on views" : "");
    }
}

static void print_verdict(const screen *s, const pgr_result *r) {
    heading(s, "Verdict");
    char line[600];
    if (r->best < 0) {
        const char *why = r->parsed ? "None: no chain has the scores that count, so there is no score."
                                    : "None: no chain could be read, so there is no score.";
        put_wrapped(s, STYLE_WEAK, why, INDENT, 0);
        return;
    }
    verdict_line(r, line, sizeof line);
    bool sure = r->calibrated && r->confidence >= 0.8 && !r->tie;
    put_wrapped(s, sure ? STYLE_GOOD : r->tie || r->open ? STYLE_WEAK : STYLE_PLAIN, line, INDENT, 0);
    if (r->open)
        put_wrapped(s, STYLE_WEAK,
                    "The difference lies within the error of the chains: more chains (--ind) would tell.", INDENT, 0);
    if (r->untrained)
        put_wrapped(s, STYLE_WEAK,
                    "The judge is untrained: this model has not learnt what the frame's slots mean, so that its taste "
                    "and its scores for quality say little.",
                    INDENT, 0);
}

/* ---- what went how ---- */

static void print_line(const screen *s, style st, const char *label, const char *line) {
    put(s, STYLE_DIM, "%*s%-*s", INDENT, "", LABEL - INDENT, label);
    put_wrapped(s, st, line, LABEL, LABEL);
}

/* Every reason once, with how often it was given. */
static void print_reasons(const screen *s, const pgr_result *r) {
    for (size_t i = 0; i < r->n_sample; i++) {
        const char *reason = r->samples[i].reason;
        size_t count = 0;
        bool first = true;
        for (size_t k = 0; reason && k < r->n_sample; k++) {
            if (!r->samples[k].reason || strcmp(r->samples[k].reason, reason) != 0) continue;
            count++;
            if (k < i) first = false;
        }
        if (!reason || !first) continue;
        char line[400];
        snprintf(line, sizeof line, "%zu of %zu: %.350s", count, r->requested, reason);
        print_line(s, STYLE_WEAK, "", line);
    }
}

static void print_chain_counts(const screen *s, const pgr_result *r) {
    char line[300];
    size_t n = (size_t)snprintf(line, sizeof line, "%zu of %zu read", r->parsed, r->requested);
    if (r->pro.requested)
        n += (size_t)snprintf(line + n, sizeof line - n, " (%zu under the own history, %zu under similar users')",
                              r->ind.parsed, r->pro.parsed);
    if (r->alike) n += (size_t)snprintf(line + n, sizeof line - n, "; %zu more would be copies of these", r->alike);
    if (r->saved)
        n += (size_t)snprintf(line + n, sizeof line - n,
                              r->calibrated ? ", %zu saved: the verdict was settled at %s"
                                            : ", %zu saved: one more would agree with a chance of %s or more",
                              r->saved, percent(r->adaptive).s);
    if (r->cut) n += (size_t)snprintf(line + n, sizeof line - n, ", %zu closed at the token limit", r->cut);
    if (r->failed) snprintf(line + n, sizeof line - n, ", %zu failed:", r->failed);
    print_line(s, r->failed ? STYLE_WEAK : STYLE_PLAIN, "Chains", line);
    if (r->failed) print_reasons(s, r);
}

/* The history's texts together, the others one by one. */
static void print_clips(const screen *s, const pgr_result *r) {
    char line[300];
    const char *label = "Shortened";
    size_t n = 0, from = 0, to = 0;
    for (size_t i = 0; i < r->n_clip; i++) {
        const pgr_clip *c = &r->clipped[i];
        if (strncmp(c->field, "user.history", strlen("user.history")) == 0) {
            n++;
            from += c->from_tokens;
            to += c->to_tokens;
            continue;
        }
        snprintf(line, sizeof line, "%.150s from %s to %s tokens", c->field, thousands(c->from_tokens).s,
                 thousands(c->to_tokens).s);
        print_line(s, STYLE_PLAIN, label, line);
        label = "";
    }
    if (!n) return;
    snprintf(line, sizeof line, "%zu text%s of the history, from %s to %s tokens%s", n, n == 1 ? "" : "s",
             thousands(from).s, thousands(to).s, n == 1 ? "" : " together");
    print_line(s, STYLE_PLAIN, label, line);
}

/* Who else was asked: a row per similar user. */
static void print_neighbours(const screen *s, const pgr_result *r) {
    if (!r->n_neighbour && !r->pro_reason) return;
    heading(s, "Similar users");
    if (!r->n_neighbour) {
        put_wrapped(s, STYLE_WEAK, r->pro_reason, INDENT, 0);
        return;
    }
    static const column columns[] = {{.title = "User", .flexible = true},
                                     {.title = "Similarity", .right = true},
                                     {.title = "Weight", .right = true},
                                     {.title = "Chains", .right = true}};
    table *t = table_create(columns, 4);
    for (size_t i = 0; i < r->n_neighbour; i++) {
        const pgr_neighbour *n = &r->neighbours[i];
        text similarity = number(n->similarity, 2, ""), weight = percent(n->weight), count = thousands(n->n);
        table_row(t, STYLE_PLAIN, (const char *const[]){n->user, similarity.s, weight.s, count.s});
    }
    table_print(t, s, INDENT);
    table_free(t);
    char line[300];
    snprintf(line, sizeof line, "The own history weighs %s, similar users %s%s.", percent(r->w_ind).s,
             percent(r->w_pro).s, r->cold_start ? " (cold start: the user's history is short)" : "");
    put_wrapped(s, r->cold_start ? STYLE_WEAK : STYLE_PLAIN, line, INDENT, 0);
}

static void print_details(const screen *s, const pgr_result *r) {
    char line[400];
    heading(s, "Details");
    print_chain_counts(s, r);
    if (isfinite(r->flip_rate)) {
        snprintf(line, sizeof line,
                 "the verdict changed in %s of the chain pairs that saw the responses in swapped order",
                 percent(r->flip_rate).s);
        print_line(s, STYLE_PLAIN, "Order", line);
    }
    if (r->arithmetic_wrong > 0) {
        snprintf(line, sizeof line, "%s of the chains state totals that are not their weighted sums",
                 percent(r->arithmetic_wrong).s);
        print_line(s, STYLE_PLAIN, "Sums", line);
    }
    if (r->contradictory > 0) {
        snprintf(line, sizeof line, "%s of the chains name a criterion and its opposite", percent(r->contradictory).s);
        print_line(s, STYLE_PLAIN, "Criteria", line);
    }
    print_clips(s, r);
    snprintf(line, sizeof line, "%s prompt (%s cached), %s written", thousands(r->prompt_tokens).s,
             thousands(r->cached_tokens).s, r->completion_tokens ? thousands(r->completion_tokens).s : "none");
    print_line(s, STYLE_PLAIN, "Tokens", line);
    if (r->completion_tokens)
        snprintf(line, sizeof line, "%.1f s, first token after %.1f s", r->seconds, r->first_token_s);
    else
        snprintf(line, sizeof line, "%.1f s", r->seconds);
    print_line(s, STYLE_PLAIN, "Time", line);
}

static void print_chains(const screen *s, const pgr_result *r) {
    for (size_t i = 0; i < r->n_sample; i++) {
        const pgr_chain_sample *c = &r->samples[i];
        char order[160] = "", title[400], tokens[32];
        size_t n = 0;
        for (size_t k = 0; c->order && k < r->n_response && n + 4 < sizeof order; k++)
            n += (size_t)snprintf(order + n, sizeof order - n, "%s%s", k ? " " : "", letter(c->order[k]).s);
        if (c->n_token)
            snprintf(tokens, sizeof tokens, "%zu tokens", c->n_token);
        else
            snprintf(tokens, sizeof tokens, "written by the program");
        char *user = text_clean(c->user ? c->user : "", c->user ? strlen(c->user) : 0);
        snprintf(title, sizeof title, "Chain %zu (%s%.100s%s%s, responses shown as %s%s%s)", i + 1,
                 c->user ? "under the history of " : "", user, c->user ? ", " : "", tokens, order,
                 c->cut ? ", cut" : "", c->parsed ? "" : ", not read");
        free(user);
        heading(s, title);
        put_lines(s, c->text ? c->text : "", INDENT);
    }
}

/* What a reward model says, and what of it is in the scores. */
static void print_scalars(const screen *s, const pgr_result *r) {
    static const column columns[] = {
        {"Response", false, false}, {"Reward", true, false}, {"In the score", true, false}};
    if (!r->scalar_model) return;
    heading(s, "Reward model");
    table *t = table_create(columns, 3);
    for (size_t i = 0; i < r->n_response; i++) {
        const pgr_response_score *p = &r->responses[i];
        text name = letter(i), reward = number(p->scalar, 2, ""),
             prior = number(r->scalar_weight > 0 ? p->prior : NAN, 2, "");
        const char *cells[] = {name.s, reward.s, prior.s};
        table_row(t, STYLE_PLAIN, cells);
    }
    table_print(t, s, INDENT);
    table_free(t);
    char line[300];
    const char *who = *r->scalar_model ? r->scalar_model : "scores of the request";
    if (r->scalar_weight > 0)
        snprintf(line, sizeof line, "%.200s, each point above the mean is worth %g; chains are counted with it.", who,
                 r->scalar_weight);
    else
        snprintf(line, sizeof line, "%.200s, beside the verdict: it is not in the scores.", who);
    put_wrapped(s, STYLE_DIM, line, INDENT, 0);
}

void report_print(const screen *s, const pgr_result *r, bool chains) {
    print_title(s, r);
    print_persona(s, r);
    print_rubric(s, r);
    print_bars(s, r);
    print_verdict(s, r);
    print_neighbours(s, r);
    print_scalars(s, r);
    print_details(s, r);
    if (chains) print_chains(s, r);
}
