/* turns.h - texts as trainers send them, with the marks of a chat template in them, become turns: a prompt, or a whole
 * conversation whose last answer is to be judged. Which template it was is told by its marks; a text without any is one
 * turn by the user. */
#ifndef PGR_SERVE_TURNS_H
#define PGR_SERVE_TURNS_H

#include "base/json.h"

/* Appends the turns of a text to a JSON array of {"role", "content"}; *answer (n_answer), of the text, is what stands
 * behind the last assistant's mark, which is no turn: "" of a prompt. Without memory: PGR_E_MEM. */
pgr_status turns_read(const char *text, size_t n, json_t *turns, const char **answer, size_t *n_answer, pgr_error *err);

/* The text without blanks around it and without the marks that end a turn behind it. */
void turns_strip(const char **text, size_t *n);

/* Where the answer begins in a query that is prompt and answer: behind the prompt, of which the beginning may have been
 * cut off. *out 0: the query does not begin with the prompt or with the end of it. */
pgr_status turns_behind(const char *prompt, size_t n_prompt, const char *query, size_t n_query, size_t *out,
                        pgr_error *err);

/* A query of prompt and answer apart (pgr_rollout_read): *turns is the caller's, *answer of the query. */
pgr_status turns_split(const char *prompt, const char *query, size_t n_query, json_t **turns, const char **answer,
                       size_t *n_answer, pgr_error *err);

#endif
