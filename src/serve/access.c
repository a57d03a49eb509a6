/* access.c - tokens: their file, the Authorization header, comparison in constant time. */
#include "serve/access.h"

#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

typedef struct secret {
    char text[TOKEN_MAX + 1]; /* zeros behind it */
} secret;

typedef struct token {
    secret secret;
    const char *scope;
} token;

struct access_list {
    arena arena;
    token *tokens; /* (n) */
    size_t n;
    bool wanted;
};

/* ---- the file ---- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of [*at, end), NULL: there is none. */
static const char *next_word(const char **at, const char *end, size_t *n) {
    while (*at < end && is_blank(**at)) ++*at;
    const char *word = *at;
    while (*at < end && !is_blank(**at)) ++*at;
    *n = (size_t)(*at - word);
    return *n ? word : NULL;
}

static bool is_printable(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] > '~') return false;
    return true;
}

static pgr_status read_line(access_list *a, const char *at, const char *end, const char *path, size_t line,
                            pgr_error *err) {
    size_t n, n_scope = 0, n_more;
    const char *word = next_word(&at, end, &n);
    if (!word || *word == '#') return PGR_OK;
    const char *scope = next_word(&at, end, &n_scope);
    if (next_word(&at, end, &n_more)) return fail(err, PGR_E_FORMAT, "%s:%zu: expected TOKEN [SCOPE]", path, line);
    if (n > TOKEN_MAX || !is_printable(word, n)) /* the token itself is in no message */
        return fail(err, PGR_E_FORMAT, "%s:%zu: found a token of %zu bytes, expected 1 to %d of printable ASCII", path,
                    line, n, TOKEN_MAX);
    if (scope && (!utf8_valid(scope, n_scope) || memchr(scope, '\0', n_scope)))
        return fail(err, PGR_E_FORMAT, "%s:%zu: the scope is not UTF-8", path, line);
    bool all = !scope || (n_scope == 1 && *scope == '*');
    token *t = &a->tokens[a->n];
    t->scope = all ? "" : arena_strndup(&a->arena, scope, n_scope);
    if (!t->scope) return fail_mem(err);
    memcpy(t->secret.text, word, n);
    a->n++;
    return PGR_OK;
}

static pgr_status read_tokens(access_list *a, const buf *text, const char *path, pgr_error *err) {
    size_t n_line = 1;
    for (size_t i = 0; i < text->n; i++) n_line += text->data[i] == '\n';
    a->tokens = arena_array(&a->arena, n_line, sizeof *a->tokens);
    if (!a->tokens) return fail_mem(err);
    const char *at = text->n ? text->data : "", *end = at + text->n;
    for (size_t line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        PGR_TRY(read_line(a, at, stop, path, line, err));
        at = stop + (stop < end);
    }
    if (a->n == 0) return fail(err, PGR_E_FORMAT, "%s: found no token, expected at least one", path);
    return PGR_OK;
}

pgr_status access_read(const char *path, access_list **out, pgr_error *err) {
    access_list *a = mem_zero(1, sizeof *a);
    if (!a) return fail_mem(err);
    buf text = {0};
    a->wanted = path != NULL;
    pgr_status s = path ? file_read_text(path, &text, err) : PGR_OK;
    if (s == PGR_OK && path) s = read_tokens(a, &text, path, err);
    buf_free(&text);
    if (s != PGR_OK) {
        access_free(a);
        return s;
    }
    *out = a;
    return PGR_OK;
}

void access_free(access_list *a) {
    if (!a) return;
    arena_free(&a->arena);
    mem_free(a);
}

bool access_wants_tokens(const access_list *a) {
    return a->wanted;
}

bool access_has_several(const access_list *a) {
    return a->n > 1;
}

/* ---- a request ---- */

/* All bytes are looked at, and no branch depends on them. */
static unsigned differs(const secret *a, const secret *b) {
    unsigned d = 0;
    for (size_t i = 0; i < sizeof a->text; i++) d |= (unsigned)((unsigned char)a->text[i] ^ (unsigned char)b->text[i]);
    return d;
}

/* The scheme's credentials; NULL: the header is of another scheme. */
static const char *credentials(const char *header, const char *scheme) {
    size_t n = strlen(scheme);
    if (strncasecmp(header, scheme, n) != 0 || header[n] != ' ') return NULL;
    header += n;
    while (*header == ' ') header++;
    return header;
}

static bool take_secret(const char *text, size_t n, secret *out) {
    if (n == 0 || n > TOKEN_MAX || memchr(text, '\0', n)) return false;
    memcpy(out->text, text, n);
    return true;
}

static bool given_secret(const char *header, secret *out) {
    const char *bearer = credentials(header, "Bearer"), *basic = credentials(header, "Basic");
    char pair[2 * TOKEN_MAX];
    size_t n = 0;
    if (bearer) return take_secret(bearer, strlen(bearer), out);
    if (!basic || !base64_read(basic, strlen(basic), pair, sizeof pair, &n)) return false;
    const char *colon = memchr(pair, ':', n);
    return colon && take_secret(colon + 1, n - (size_t)(colon + 1 - pair), out);
}

bool access_check(const access_list *a, const char *authorization, grant *out) {
    *out = (grant){0, ""};
    if (!a->wanted) return true;
    secret given = {{0}};
    if (!authorization || !given_secret(authorization, &given)) return false;
    size_t found = a->n;
    for (size_t i = 0; i < a->n; i++) {
        size_t same = differs(&a->tokens[i].secret, &given) == 0;
        found = same && found == a->n ? i : found; /* of equal ones the first */
    }
    if (found == a->n) return false;
    *out = (grant){(int)found + 1, a->tokens[found].scope};
    return true;
}

/* ---- browsers ---- */

bool access_is_foreign(const char *origin, const char *site, const char *host) {
    if (site) return strcasecmp(site, "same-origin") != 0 && strcasecmp(site, "none") != 0;
    if (!origin) return false;
    const char *place = strstr(origin, "://");
    return !place || !host || strcasecmp(place + 3, host) != 0;
}

/* NAME or NAME:PORT; a public one has a dot in it, but so have addresses in numbers. */
bool access_is_public(const char *host) {
    static const char *const own[] = {".localhost", ".internal"}; /* which nobody can buy */
    if (!host || *host == '[') return false;
    size_t n = strcspn(host, ":");
    if (!memchr(host, '.', n) || strspn(host, "0123456789.") == n) return false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        size_t n_own = strlen(own[i]);
        if (n >= n_own && strncasecmp(host + n - n_own, own[i], n_own) == 0) return false;
    }
    return true;
}

bool grant_allows(const grant *g, const char *user) {
    return text_starts(user, g->scope);
}
