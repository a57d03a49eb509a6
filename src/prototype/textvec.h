/* textvec.h - texts to vectors of one space: an embedder's, with a cache; random directions named by a hash of the text
 * ("votes"): there the same text is the same direction, different ones are nearly at right angles, and no model is
 * needed; or what form the answers of a pair have ("facts"), of which no text says anything alone. */
#ifndef PGR_PROTOTYPE_TEXTVEC_H
#define PGR_PROTOTYPE_TEXTVEC_H

#include "user/request.h"

typedef struct textvec textvec;

enum { TEXTVEC_HASH_DIMS = 512 };

/* e NULL: hashed texts of `dims` values (a multiple of 128); else e's, whatever dims says. e must outlive it.
 * threads: one at a time. */
pgr_status textvec_create(pgr_embedder *e, size_t dims, textvec **out, pgr_error *err);
/* The space of facts, N_FACT values: pairs and queries have vectors, texts alone have none. */
pgr_status textvec_create_facts(textvec **out, pgr_error *err);
void textvec_free(textvec *t); /* NULL is fine */

size_t textvec_dims(const textvec *t);
const char *textvec_name(const textvec *t); /* the embedder's; "" for hashed texts and facts */

/* out (n, dims); texts that are equal are computed once, and again only when the cache has let go of them. Not for
 * facts. */
pgr_status textvec_of(textvec *t, const char *const *texts, size_t n, pgr_cancel *cancel, float *out, pgr_error *err);

/* out (n, 2, dims): the chosen and the rejected text of each pair. By facts one is an eighth of the levels by which it
 * differs from the other (facts_level), and so chosen - rejected a quarter of the pair's levels. */
pgr_status textvec_of_pairs(textvec *t, const preference_pair *pairs, size_t n, pgr_cancel *cancel, float *out,
                            pgr_error *err);
/* out (dims): what stands for the conversation before the answers: its turns as textvec_put_turns has them; by facts
 * the levels of the last one against an empty text. */
pgr_status textvec_of_query(textvec *t, const preference_pair *p, pgr_cancel *cancel, float *out, pgr_error *err);

/* What stands for a conversation: its turns, the newest first,
 * since the end of a text too long for the embedder is cut off. Appends to out. */
void textvec_put_turns(buf *out, const turn *turns, size_t n);

#endif
