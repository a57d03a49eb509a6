/* score_stream.h - /v1/personal/score with "stream": true: server-sent events of what is known while a request is
 * judged, each with "provisional": true, then the result as it is answered without a stream, then [DONE]. What is wrong
 * before anything was asked of the engine is answered with its status, without a stream. docs/serve.md. */
#ifndef PGR_SERVE_SCORE_STREAM_H
#define PGR_SERVE_SCORE_STREAM_H

#include "serve/judges.h"

void score_stream_news(question *q, const desk_news *n); /* question.news */
void score_stream_answer(asking *a);                     /* asking.answer, of one question */

#endif
