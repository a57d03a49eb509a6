/* prism.h - what PRISM's two tellings of a conversation share,
 * and the telling by utterances: lines that go together. */
#ifndef PGR_USER_PRISM_H
#define PGR_USER_PRISM_H

#include "user/forms.h"

typedef struct prism_response {
    const char *text; /* "" where it is empty */
    double score;     /* NaN: none */
    size_t line;      /* of the file; 0: the record's */
    bool chosen;
} prism_response;

typedef struct prism_dialogue {
    pair_record about; /* what all its pairs have in common */
    turn *turns;       /* (n) the chosen way through it; pairs' contexts are its beginnings */
    size_t n;
} prism_dialogue;

/* A text of theirs; "" where it is not given or says that it is empty. */
pgr_status prism_text(const field_reader *in, const json_t *object, const char *key, const field_path *parent,
                      const char **out);
pgr_status prism_user(const field_reader *in, const json_t *v, const char **id);

/* One turn: what was asked and its n responses, at most one of them chosen. A pair of the chosen one and each other one
 * goes to out by the rules; the dialogue, which has room for two turns more, goes on. */
pgr_status prism_turn(const field_reader *in, prism_dialogue *d, const char *asked, const prism_response *responses,
                      size_t n, record_list *out);

/* utterances.jsonl: the responses of one interaction and the conversation so far are held, nothing else. */
typedef struct utterances utterances;

utterances *utterances_new(void); /* NULL: out of memory */
void utterances_free(utterances *u);

/* The next line. The pairs of the interaction before it, if this line ends that, go to out; they last until the next
 * call. A line that has no place there is PGR_E_FORMAT, changes nothing and gives nothing; only a second chosen
 * response takes the interaction's pairs with it. */
pgr_status utterances_add(utterances *u, const field_reader *in, json_t *v, size_t line, record_list *out);
/* The end of the file: the last interaction's pairs. */
pgr_status utterances_end(utterances *u, const field_reader *in, record_list *out);

#endif
