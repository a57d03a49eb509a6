/* pretok.c - owns the patterns and PCRE2. Text is checked for UTF-8 here, so that PCRE2 need not check it again for
 * every piece (which would make the cutting quadratic). */
#include "model/pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

struct pretok {
    pcre2_general_context *compiling, *matching; /* route PCRE2's memory through mem.h */
    pcre2_code *code;
    bool starved; /* while compiling: an allocation failed */
};

/* White space as Unicode has it. PCRE2's \s is no substitute: it counts U+180E too, which no other engine does any
 * more. */
#define WS           "\\p{Z}\\t-\\r\\x{85}"
#define CONTRACTIONS "'s|'t|'re|'ve|'m|'ll|'d"

static const char gpt2_pattern[] =
    CONTRACTIONS "| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|[" WS "]+(?![^" WS "])|[" WS "]+";

/* Every number character alone, then the GPT-2 pattern on what is between: white space before a digit therefore stands
 * at the end of its part, as if nothing followed, and the look-ahead takes digits for such an end. */
static const char smollm_pattern[] =
    "\\p{N}|" CONTRACTIONS "| ?\\p{L}+| ?[^" WS "\\p{L}\\p{N}]+|[" WS "]+(?![^" WS "\\p{N}])|[" WS "]+";

#define LLAMA3_PATTERN(numbers)                                                                                        \
    "(?i:" CONTRACTIONS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|[" WS           \
    "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS "]+"
static const char llama3_pattern[] = LLAMA3_PATTERN("\\p{N}{1,3}");
static const char qwen2_pattern[] = LLAMA3_PATTERN("\\p{N}");

/* clang-format off */
static const pretok_row rows[] = {
    /* name        pattern         ignore_merges  adds_bos */
    {"smollm",     smollm_pattern, false,         false},
    {"gpt2",       gpt2_pattern,   false,         false},
    {"gpt-2",      gpt2_pattern,   false,         false},
    {"llama-bpe",  llama3_pattern, true,          true},
    {"llama3",     llama3_pattern, true,          true},
    {"qwen2",      qwen2_pattern,  false,         false},
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

/* JIT that the system forbids is no error, the interpreter does the work; JIT that lacks memory is one. */
static pgr_status compile(pretok *p, const char *pattern, pgr_error *err) {
    int code = 0;
    PCRE2_SIZE where = 0;
    p->compiling = pcre2_general_context_create(context_alloc, context_free, &p->starved);
    p->matching = pcre2_general_context_create(context_alloc, context_free, NULL);
    pcre2_compile_context *compiler = p->compiling && p->matching ? pcre2_compile_context_create(p->compiling) : NULL;
    if (!compiler) return fail_mem(err);
    p->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &where, compiler);
    pcre2_compile_context_free(compiler);
    if (p->code) pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
    if (p->starved) return fail_mem(err);
    if (!p->code)
        return fail(err, PGR_E_UNSUPPORTED, "this PCRE2 does not take the pre-tokeniser's pattern: error %d at %zu",
                    code, where);
    return PGR_OK;
}

pgr_status pretok_open(const pretok_row *row, pretok **out, pgr_error *err) {
    pretok *p = mem_zero(1, sizeof *p);
    if (!p) return fail_mem(err);
    pgr_status status = compile(p, row->pattern, err);
    if (status == PGR_OK)
        *out = p;
    else
        pretok_close(p);
    return status;
}

void pretok_close(pretok *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    pcre2_general_context_free(p->matching);
    pcre2_general_context_free(p->compiling);
    mem_free(p);
}

pgr_status pretok_begin(const pretok *p, pretok_scan *out, pgr_error *err) {
    *out = (pretok_scan){.pre = p, .match = pcre2_match_data_create(1, p->matching)};
    return out->match ? PGR_OK : fail_mem(err);
}

void pretok_end(pretok_scan *scan) {
    pcre2_match_data_free(scan->match);
}

void pretok_text(pretok_scan *scan, const char *s, size_t n) {
    scan->s = s;
    scan->n = n;
    scan->at = scan->valid = 0;
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

pgr_status pretok_next(pretok_scan *scan, const char **piece, size_t *n, pgr_error *err) {
    *piece = scan->s + scan->at;
    *n = 0;
    if (scan->at == scan->n) return PGR_OK;
    if (scan->at == scan->valid) {
        scan->valid = valid_until(scan->s, scan->at, scan->n);
        if (scan->at == scan->valid) {
            scan->at = scan->valid += 1; /* not UTF-8 */
            *n = 1;
            return PGR_OK;
        }
    }
    PCRE2_SPTR text = (PCRE2_SPTR)scan->s;
    int rc = pcre2_match(scan->pre->code, text, scan->valid, scan->at, PCRE2_NO_UTF_CHECK, scan->match, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(scan->pre->code, text, scan->valid, scan->at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scan->match,
                         NULL);
    if (rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT) return fail_mem(err);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) return fail(err, PGR_E_LIMIT, "pre-tokeniser: PCRE2 error %d", rc);
    size_t end = scan->valid; /* what the pattern leaves out is a piece too */
    if (rc >= 0) {
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(scan->match);
        end = span[0] > scan->at ? span[0] : span[1];
    }
    PGR_ASSERT(end > scan->at);
    *n = end - scan->at;
    scan->at = end;
    return PGR_OK;
}
