/* store_write.c - what goes into a store: users, pairs, and what was computed of them. */
#include <math.h>
#include <nettle/sha2.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "user/record_json.h"
#include "user/sql.h"

enum { HASH = 16 }; /* bytes kept of a SHA-256: two pairs of one user that collide are out of reach */

/* ---- users ------------------------------------------------------------------------------------------------------- */

static struct known_user *slot_of(store *s, const char *id) {
    uint64_t h = hash_text(HASH_BEGIN, id);
    return &s->known[(h ^ h >> 32) % SQL_KNOWN];
}

static pgr_status remember_user(store *s, const char *id, int64_t key, pgr_error *err) {
    struct known_user *slot = slot_of(s, id);
    mem_free(slot->id);
    slot->id = mem_strdup(id);
    slot->key = key;
    return slot->id ? PGR_OK : fail_mem(err);
}

static pgr_status find_user(store *s, const char *id, bool *there, int64_t *key, pgr_error *err) {
    sql_name q = s->batch ? SQL_USER_KEEP : SQL_USER_KEY;
    pgr_status status = sql_run(s, q, there, err, "t", id);
    if (status == PGR_OK && *there) *key = sql_integer(s, q, 0);
    sql_end(s, q);
    return status;
}

static pgr_status add_user(store *s, const char *id, bool *added, int64_t *key, pgr_error *err) {
    pgr_status status = sql_run(s, SQL_USER_ADD, added, err, "t", id);
    if (status == PGR_OK && *added) *key = sql_integer(s, SQL_USER_ADD, 0);
    sql_end(s, SQL_USER_ADD);
    if (status == PGR_OK) s->users_added += *added;
    return status;
}

/* The user's key; he is added where he is not there. Another program may do the same, or forget him, in between. */
static pgr_status need_user(store *s, const char *id, int64_t *key, pgr_error *err) {
    const struct known_user *known = slot_of(s, id);
    if (s->batch && known->id && strcmp(known->id, id) == 0) {
        *key = known->key;
        return PGR_OK;
    }
    if (!id[0]) return fail(err, PGR_E_ARG, "%s: found a user without a name, expected one", s->path);
    bool there = false;
    for (int i = 0; i < 3 && !there; i++) {
        PGR_TRY(find_user(s, id, &there, key, err));
        if (!there) PGR_TRY(add_user(s, id, &there, key, err));
    }
    if (!there) return fail(err, PGR_E_IO, "%s: another program adds and forgets user %.80s, try again", s->path, id);
    return s->batch ? remember_user(s, id, *key, err) : PGR_OK;
}

/* A list of texts as a JSON array in s->scratch. */
static pgr_status put_texts(store *s, const char *const *texts, size_t n, pgr_error *err) {
    buf_clear(&s->scratch);
    json_put_texts(&s->scratch, texts, n);
    return s->scratch.failed ? fail_mem(err) : PGR_OK;
}

pgr_status store_put_user(store *s, const user_record *u, pgr_error *err) {
    int64_t key = 0;
    PGR_TRY(need_user(s, u->id, &key, err));
    if (u->demographics[0]) PGR_TRY(sql_do(s, SQL_USER_DEMOGRAPHICS, err, "it", key, u->demographics));
    if (u->n_criteria == 0) return PGR_OK;
    PGR_TRY(put_texts(s, u->criteria, u->n_criteria, err));
    return sql_do(s, SQL_USER_CRITERIA, err, "it", key, s->scratch.data);
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

static void digest_text(struct sha256_ctx *c, const char *text) {
    sha256_update(c, strlen(text) + 1, (const uint8_t *)text); /* with its NUL: no text runs into the next */
}

static void hash_pair(const pair_record *p, uint8_t out[HASH]) {
    struct sha256_ctx c;
    sha256_init(&c);
    digest_text(&c, p->conversation_id);
    for (size_t i = 0; i < p->pair.n_context; i++) {
        digest_text(&c, p->pair.context[i].role);
        digest_text(&c, p->pair.context[i].text);
    }
    digest_text(&c, "");
    digest_text(&c, p->pair.chosen);
    digest_text(&c, p->pair.rejected);
    sha256_digest(&c, HASH, out);
}

/* The pair is there already: what was not known of it is filled in.
 * A split that differs would let test pairs into a history. */
static pgr_status complete_pair(store *s, int64_t user, const uint8_t *hash, const pair_record *p, const char *subsets,
                                pgr_error *err) {
    bool there = false;
    pgr_status status = sql_run(s, SQL_PAIR_SAME, &there, err, "ib", user, hash, (size_t)HASH);
    int64_t key = there ? sql_integer(s, SQL_PAIR_SAME, 0) : 0;
    const char *split = there ? sql_text(s, SQL_PAIR_SAME, 1) : "";
    if (status == PGR_OK && split[0] && p->split[0] && strcmp(split, p->split) != 0)
        status = fail(err, PGR_E_FORMAT,
                      "split: found \"%.40s\", expected \"%.40s\" as the store has it for this pair of user %.80s",
                      p->split, split, p->user_id);
    sql_end(s, SQL_PAIR_SAME);
    PGR_TRY(status);
    return sql_do(s, SQL_PAIR_COMPLETE, err, "iddtttt", key, p->chosen_score, p->rejected_score, p->split, subsets,
                  p->type, p->choice_attributes);
}

pgr_status store_put_pair(store *s, const pair_record *p, bool *added, pgr_error *err) {
    int64_t user = 0;
    uint8_t hash[HASH];
    PGR_TRY(need_user(s, p->user_id, &user, err));
    hash_pair(p, hash);
    PGR_TRY(put_texts(s, p->subsets, p->n_subset, err));
    size_t context = s->scratch.n + 1; /* behind the subsets and their NUL */
    buf_putc(&s->scratch, '\0');
    json_put_turns(&s->scratch, p->pair.context, p->pair.n_context);
    if (s->scratch.failed) return fail_mem(err);
    const char *subsets = s->scratch.data;
    PGR_TRY(sql_do(s, SQL_PAIR_ADD, err, "ibttttddttttdt", user, hash, (size_t)HASH, p->conversation_id,
                   subsets + context, p->pair.chosen, p->pair.rejected, p->chosen_score, p->rejected_score, p->split,
                   subsets, p->type, p->choice_attributes, p->weight > 0 ? p->weight : 1, p->group ? p->group : ""));
    *added = s->changed > 0;
    return *added ? PGR_OK : complete_pair(s, user, hash, p, subsets, err);
}

/* ---- what is derived --------------------------------------------------------------------------------------------- */

pgr_status store_put_vector(store *s, int64_t pair_key, const char *what, const char *embedder, const float *v,
                            size_t n, pgr_error *err) {
    return sql_do(s, SQL_VECTOR_PUT, err, "ittb", pair_key, what, embedder, v, n * sizeof *v);
}

pgr_status store_put_analysis(store *s, int64_t pair_key, const char *model, const char *text, pgr_error *err) {
    return sql_do(s, SQL_ANALYSIS_PUT, err, "itt", pair_key, model, text);
}
