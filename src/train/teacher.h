/* teacher.h - questions to a larger model behind an OpenAI-compatible server (POST /chat/completions), which writes
 * chains to learn from or says what others are worth: several at once, again after 429, 5xx and cut connections with
 * growing waits, within a budget of tokens, every answer kept on the disk and found there the next time. */
#ifndef PGR_TRAIN_TEACHER_H
#define PGR_TRAIN_TEACHER_H

#include "base/arena.h"
#include "infer/engine.h"
#include "pgenrm_train.h"

typedef struct teacher teacher;

/* folder: of the answers where o->cache is NULL; made where it is missing. Asks for the model's name where o->model is
 * NULL. */
pgr_status teacher_open(const pgr_teacher_server *o, const char *folder, teacher **out, pgr_error *err);
void teacher_close(teacher *r); /* NULL is fine */

typedef struct teacher_ask {
    const infer_message *messages; /* (n_message) */
    size_t n_message;
    size_t number;      /* asks of the same messages with different numbers have answers of their own */
    size_t max_tokens;
    const char *answer; /* memory of the arena; NULL: none, the budget was used up */
} teacher_ask;

/* Asks all of them. An answer that the server refuses to give (a status that no retry helps, or none after all tries)
 * is an error that names the address and the status. */
pgr_status teacher_run(teacher *r, teacher_ask *asks, size_t n, const pgr_watch *watch, arena *a, pgr_error *err);

typedef struct teacher_usage {
    size_t asked, cached, refused, retries; /* questions; refused: for want of budget */
    uint64_t tokens;                        /* that the server counted */
} teacher_usage;
teacher_usage teacher_used(const teacher *r);

#endif
