/* pretok.c - owns the patterns, the steps and PCRE2. Text is checked for UTF-8 here, so that PCRE2 need not check it
 * again for every piece (which would make the cutting quadratic). */
#include "text/pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"
#include "text/bert.h"

struct pretok {
    pcre2_general_context *compiling, *matching; /* route PCRE2's memory through mem.h */
    arena arena;
    pretok_step steps[PRETOK_MAX_STEP];
    pcre2_code *code[PRETOK_MAX_STEP]; /* NULL: the step does not cut */
    size_t n_step;
    bool starved; /* while compiling: an allocation failed */
};

/* White space as Unicode has it. PCRE2's \s is no substitute: it counts U+180E too, which no other engine does any
 * more. */
#define WS           "\\p{Z}\\t-\\r\\x{85}"
#define CONTRACTIONS "'s|'t|'re|'ve|'m|'ll|'d"

const char pretok_gpt2[] =
    CONTRACTIONS "| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|[" WS "]+(?![^" WS "])|[" WS "]+";

/* Every number character alone, then the GPT-2 pattern on what is between: white space before a digit therefore stands
 * at the end of its part, as if nothing followed, and the look-ahead takes digits for such an end. */
static const char smollm_pattern[] =
    "\\p{N}|" CONTRACTIONS "| ?\\p{L}+| ?[^" WS "\\p{L}\\p{N}]+|[" WS "]+(?![^" WS "\\p{N}])|[" WS "]+";

const char pretok_digit[] = "\\p{N}", pretok_digits[] = "\\p{N}+";

#define LLAMA3_PATTERN(numbers)                                                                                        \
    "(?i:" CONTRACTIONS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|[" WS           \
    "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS "]+"
static const char llama3_pattern[] = LLAMA3_PATTERN("\\p{N}{1,3}");
static const char qwen2_pattern[] = LLAMA3_PATTERN("\\p{N}");

/* clang-format off */
static const pretok_row rows[] = {
    /* name        pattern         ignore_merges  adds_bos  nfc */
    {"smollm",     smollm_pattern, false,         false,    false},
    {"gpt2",       pretok_gpt2,    false,         false,    false},
    {"gpt-2",      pretok_gpt2,    false,         false,    false},
    {"llama-bpe",  llama3_pattern, true,          true,     false},
    {"llama3",     llama3_pattern, true,          true,     false},
    {"qwen2",      qwen2_pattern,  false,         false,    true}, /* of Qwen 2, 2.5, 3; llama.cpp omits it */
};
/* clang-format on */

const pretok_row *pretok_find(gguf_string name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (gguf_string_is(name, rows[i].name)) return &rows[i];
    return NULL;
}

const char *pretok_list(void) {
    return "smollm, gpt2, gpt-2, llama-bpe, llama3, qwen2";
}

/* starved: where to note a failure, NULL while matching (a pretok is then read-only) */
static void *context_alloc(size_t n, void *starved) {
    void *p = mem_alloc(n);
    if (!p && starved) *(bool *)starved = true;
    return p;
}

static void context_free(void *p, void *starved) {
    (void)starved;
    mem_free(p);
}

/* JIT that the system forbids is no error, the interpreter does the work; JIT that lacks memory is one. A pattern that
 * matches nothing would never get on. */
static pgr_status compile(pretok *p, size_t i, pgr_error *err) {
    int code = 0;
    uint32_t empty = 0;
    PCRE2_SIZE where = 0;
    pcre2_compile_context *compiler = pcre2_compile_context_create(p->compiling);
    if (!compiler) return fail_mem(err);
    p->code[i] = pcre2_compile((PCRE2_SPTR)p->steps[i].pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code,
                               &where, compiler);
    pcre2_compile_context_free(compiler);
    if (p->code[i]) pcre2_jit_compile(p->code[i], PCRE2_JIT_COMPLETE);
    if (p->starved) return fail_mem(err);
    if (!p->code[i])
        return fail(err, PGR_E_UNSUPPORTED, "PCRE2 does not take the pre-tokeniser's pattern: error %d at %zu", code,
                    where);
    pcre2_pattern_info(p->code[i], PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty) return fail(err, PGR_E_UNSUPPORTED, "the pre-tokeniser's pattern matches an empty text");
    return PGR_OK;
}

static pgr_status copy_string(arena *a, const char **s, pgr_error *err) {
    if (*s && !(*s = arena_strdup(a, *s))) return fail_mem(err);
    return PGR_OK;
}

static pgr_status open_steps(pretok *p, const pretok_step *steps, size_t n, pgr_error *err) {
    PGR_ASSERT(n <= PRETOK_MAX_STEP);
    p->compiling = pcre2_general_context_create(context_alloc, context_free, &p->starved);
    p->matching = pcre2_general_context_create(context_alloc, context_free, NULL);
    if (!p->compiling || !p->matching) return fail_mem(err);
    p->n_step = n ? n : 1;
    for (size_t i = 0; i < n; i++) {
        pretok_step *step = &p->steps[i];
        *step = steps[i];
        PGR_TRY(copy_string(&p->arena, &step->pattern, err));
        PGR_TRY(copy_string(&p->arena, &step->space, err));
        PGR_TRY(copy_string(&p->arena, &step->prefix, err));
        if (step->pattern) PGR_TRY(compile(p, i, err));
    }
    return PGR_OK;
}

pgr_status pretok_open(const pretok_step *steps, size_t n, pretok **out, pgr_error *err) {
    pretok *p = mem_zero(1, sizeof *p);
    if (!p) return fail_mem(err);
    pgr_status status = open_steps(p, steps, n, err);
    if (status == PGR_OK)
        *out = p;
    else
        pretok_close(p);
    return status;
}

void pretok_close(pretok *p) {
    if (!p) return;
    for (size_t i = 0; i < PRETOK_MAX_STEP; i++) pcre2_code_free(p->code[i]);
    pcre2_general_context_free(p->matching);
    pcre2_general_context_free(p->compiling);
    arena_free(&p->arena);
    mem_free(p);
}

/* ---- scanning ---- */

pgr_status pretok_begin(const pretok *p, pretok_scan *out, pgr_error *err) {
    *out = (pretok_scan){.pre = p};
    for (size_t i = 0; i < p->n_step; i++) {
        if (p->code[i] && !(out->level[i].match = pcre2_match_data_create(1, p->matching))) {
            pretok_end(out);
            return fail_mem(err);
        }
    }
    return PGR_OK;
}

void pretok_end(pretok_scan *scan) {
    for (size_t i = 0; i < PRETOK_MAX_STEP; i++) {
        pcre2_match_data_free(scan->level[i].match);
        buf_free(&scan->level[i].own);
    }
}

/* Gives a step its text, rewritten as the step says. */
static pgr_status load(pretok_level *l, const pretok_step *step, const char *s, size_t n, bool first, pgr_error *err) {
    size_t len = step->prefix ? strlen(step->prefix) : 0;
    bool wanted = step->prefix_when == PRETOK_PREFIX_ALWAYS || (step->prefix_when == PRETOK_PREFIX_FIRST && first);
    l->s = s;
    l->n = n;
    l->at = l->valid = 0;
    l->first = first;
    if (n == 0) return PGR_OK;
    if (step->space && *s == ' ') wanted &= strcmp(step->space, step->prefix ? step->prefix : "") != 0;
    wanted = wanted && len > 0 && !(n >= len && memcmp(s, step->prefix, len) == 0);
    if (!wanted && !(step->space && memchr(s, ' ', n))) return PGR_OK;
    buf_clear(&l->own);
    if (wanted) buf_add(&l->own, step->prefix, len);
    for (size_t i = 0; i < n;) {
        const char *space = step->space ? memchr(s + i, ' ', n - i) : NULL;
        size_t end = space ? (size_t)(space - s) : n;
        buf_add(&l->own, s + i, end - i);
        if (space) buf_puts(&l->own, step->space);
        i = space ? end + 1 : n;
    }
    if (l->own.failed) return fail_mem(err);
    l->s = l->own.data;
    l->n = l->own.n;
    return PGR_OK;
}

pgr_status pretok_text(pretok_scan *scan, const char *s, size_t n, bool first, pgr_error *err) {
    scan->depth = 0;
    return load(&scan->level[0], &scan->pre->steps[0], s, n, first, err);
}

/* End of the run of valid characters that begins at `at`. */
static size_t valid_until(const char *s, size_t at, size_t n) {
    while (at < n) {
        size_t len = (unsigned char)s[at] < 0x80 ? 1 : utf8_next(s + at, n - at, NULL);
        if (len == 0) break;
        at += len;
    }
    return at;
}

/* The next match or gap, from l->at to *end. */
static pgr_status match(pretok_level *l, const pcre2_code *code, size_t *end, bool *is_match, pgr_error *err) {
    PCRE2_SPTR text = (PCRE2_SPTR)l->s;
    int rc = pcre2_match(code, text, l->valid, l->at, PCRE2_NO_UTF_CHECK, l->match, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, text, l->valid, l->at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, l->match, NULL);
    if (rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT) return fail_mem(err);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) return fail(err, PGR_E_LIMIT, "pre-tokeniser: PCRE2 error %d", rc);
    *is_match = false;
    *end = l->valid;
    if (rc >= 0) {
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(l->match);
        *is_match = span[0] <= l->at;
        *end = *is_match ? span[1] : span[0];
    }
    PGR_ASSERT(*end > l->at);
    return PGR_OK;
}

/* The next piece of one step; *n 0 at the end of its text. */
static pgr_status cut(pretok_level *l, const pretok_step *step, const pcre2_code *code, const char **piece, size_t *n,
                      pgr_error *err) {
    if (step->words) {
        size_t begin = l->at, end = bert_word(l->s, l->n, &begin);
        *piece = l->s + begin;
        *n = end - begin;
        l->at = end;
        return PGR_OK;
    }
    while (l->at < l->n) {
        size_t begin = l->at, end = l->n;
        bool is_match = false;
        if (code && begin == l->valid) l->valid = valid_until(l->s, begin, l->n);
        if (code && begin == l->valid)
            end = l->valid = begin + 1; /* not UTF-8 */
        else if (code)
            PGR_TRY(match(l, code, &end, &is_match, err));
        l->at = end;
        if (is_match ? step->drop_matches : step->drop_gaps) continue;
        *piece = l->s + begin;
        *n = end - begin;
        return PGR_OK;
    }
    *n = 0;
    return PGR_OK;
}

pgr_status pretok_next(pretok_scan *scan, const char **piece, size_t *n, pgr_error *err) {
    const pretok *p = scan->pre;
    for (;;) {
        pretok_level *l = &scan->level[scan->depth];
        size_t begin = l->at;
        PGR_TRY(cut(l, &p->steps[scan->depth], p->code[scan->depth], piece, n, err));
        if (*n == 0) {
            if (scan->depth == 0) return PGR_OK;
            scan->depth--;
        } else {
            if (scan->depth + 1 == p->n_step) return PGR_OK;
            bool first = l->first && begin == 0 && *piece == l->s;
            scan->depth++;
            PGR_TRY(load(&scan->level[scan->depth], &p->steps[scan->depth], *piece, *n, first, err));
        }
    }
}
