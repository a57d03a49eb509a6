/* forward.h - the forward pass over a ragged batch of rows: one row is one token of one sequence. Prefill and decode
 * are the same pass. A row's logits depend on its own sequence alone, bit for bit. */
#ifndef PGR_MODEL_FORWARD_H
#define PGR_MODEL_FORWARD_H

#include "model/kv.h"
#include "model/lora_set.h"
#include "model/model.h"

typedef struct forward_row {
    int32_t token;
    uint32_t seq;  /* index into the batch's sequences */
    uint32_t pos;  /* position in its sequence; rows of one sequence stand together, in order of position */
    bool want;     /* logits of this row are wanted */
} forward_row;

typedef struct forward_state forward_state; /* activations for up to n_batch rows */

pgr_status forward_create(const pgr_model *m, size_t n_batch, forward_state **out, pgr_error *err);
void forward_free(forward_state *f);

/* The adapters that all passes from now on apply; n 0: none, and the passes are those of the model as it is, bit for
 * bit. What caches hold of earlier passes belongs to the adapters of then. On error the set is as before. The
 * adapters must outlive it. */
pgr_status forward_set_loras(forward_state *f, pgr_lora *const *loras, const float *scales, size_t n, pgr_error *err);

/* Exchanges the set that passes apply for another one, both made for the same model (lora_set_create); no work. */
void forward_swap_loras(forward_state *f, lora_set *set);

/* Computes the rows, stores their K and V (room was made by kv_reserve) and advances the sequences' n_token.
 * logits: (number of rows with want, n_vocab) in row order. n_row <= n_batch. */
pgr_status forward_run(forward_state *f, kv_cache *kv, kv_seq *const *seqs, const forward_row *rows, size_t n_row,
                       float *logits, pgr_error *err);

/* The same, but the wanted rows' last hidden states (after the final norm) in place of logits.
 * hidden: (number of rows with want, n_embd) */
pgr_status forward_hidden(forward_state *f, kv_cache *kv, kv_seq *const *seqs, const forward_row *rows, size_t n_row,
                          float *hidden, pgr_error *err);

/* freq[i]: by what the angle of pair i grows from position to position.                       freq: (rope_dim / 2) */
void forward_angles(const pgr_model *m, float *freq);

/* From now on each pass also leaves the input of every layer, which a backward pass computes the rest from: (n_layer,
 * n_batch, d) rows of ops_alloc or the host's, the caller's; NULL: no longer. */
void forward_keep(forward_state *f, float *inputs);

#endif
