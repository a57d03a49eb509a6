/* score_stream.h - /v1/personal/score with "stream": true: server-sent events of what is known while a request is
 * judged, each with "provisional": true, then the result as it is answered without a stream, then [DONE]. What is wrong
 * before anything was asked of the engine is answered with its status, without a stream. docs/serve.md. */
#ifndef PGR_SERVE_SCORE_STREAM_H
#define PGR_SERVE_SCORE_STREAM_H

#include "serve/judges.h"

void score_stream_news(question *q, const desk_news *n); /* question.news */
void score_stream_answer(asking *a);                     /* asking.answer, of one question */

/* The result's JSON. Where there are several tokens it is not told how many of the prompts' tokens were known: they may
 * be of another one's prompts. */
void score_put_result(const call *c, const char *text, buf *out);

#endif
