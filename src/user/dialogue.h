/* dialogue.h - what was said, in the ways in which data sets tell it: lists of turns, transcripts in one text, a
 * question alone. Two dialogues that part ways become a pair: what they share is the context, what follows are the
 * two responses. */
#ifndef PGR_USER_DIALOGUE_H
#define PGR_USER_DIALOGUE_H

#include "user/rules.h"

typedef struct dialogue {
    turn *turns; /* (n) */
    size_t n;
} dialogue;

/* A list of turns, or a text: a transcript ("\n\nHuman: ... \n\nAssistant: ..."), else one turn of this role. No
 * turns where it is not given. */
pgr_status dialogue_read(const field_reader *in, const json_t *v, const field_path *p, const char *role, dialogue *out);
/* The same of a text that lasts as long as the arena. */
pgr_status dialogue_of_text(const field_reader *in, const char *text, const char *role, dialogue *out);
/* One turn by the assistant, of this very text. */
pgr_status dialogue_of_answer(const field_reader *in, const char *text, dialogue *out);
bool dialogue_is_transcript(const char *text);

/* asked (may be empty) and two ways in which it goes on, each of which may begin with asked again: sets the context
 * and the two responses of p and adds it, or counts why not. A way that goes on for several turns is one text in
 * which the turns behind the first are named. */
pgr_status dialogue_pair(const field_reader *in, record_list *list, const dialogue *asked, const dialogue *chosen,
                         const dialogue *rejected, pair_record *p);

#endif
