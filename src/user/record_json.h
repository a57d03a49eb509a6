/* record_json.h - users and pairs as JSON text: what fields.h reads back. Failure sticks to the buffer. */
#ifndef PGR_USER_RECORD_JSON_H
#define PGR_USER_RECORD_JSON_H

#include "user/store.h"

void json_put_texts(buf *b, const char *const *texts, size_t n);     /* ["a","b"] */
void json_put_turns(buf *b, const turn *turns, size_t n);            /* [{"role":"user","content":"a"}] */
void json_put_pair_record(buf *b, const pair_record *p);             /* a PersonalRewardBench record */
void json_put_user_record(buf *b, const user_record *u);             /* {"user_id", "demographics", "criteria"} */
void json_put_request_user(buf *b, const stored_user *u);            /* a request's "user" object, no tests */

#endif
