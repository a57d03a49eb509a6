/* embed_remote.h - embeddings from servers that answer POST /v1/embeddings (OpenAI, vLLM, llama.cpp). */
#ifndef PGR_MODEL_EMBED_REMOTE_H
#define PGR_MODEL_EMBED_REMOTE_H

#include "base/json.h"
#include "net/client.h"

typedef struct remote_embedder remote_embedder;

bool embed_is_remote(const char *path); /* an address, not a file */

/* urls: "http://HOST[:PORT]/v1[#MODEL]", several with commas between; without MODEL the first of /v1/models. One text
 * is embedded, which tells how many values an embedding has. */
pgr_status remote_embedder_open(const char *urls, remote_embedder **out, pgr_error *err);
void remote_embedder_close(remote_embedder *e); /* NULL is fine */
const char *remote_embedder_model(const remote_embedder *e);
size_t remote_embedder_dims(const remote_embedder *e);

/* out: (n, dims) as the server gives them. tokens: (n) of each text, the server's count of a request dealt out by
 * bytes; 0 where it counts none. */
pgr_status remote_embed(remote_embedder *e, const char *const *texts, const size_t *lens, size_t n,
                        const pgr_watch *watch, float *out, size_t *tokens, pgr_error *err);

/* The n embeddings of an answer, of `dims` values each (0: all of them alike; *found says how many), as numbers or as
 * base64 of little-endian floats; counts, indices and numbers are checked. out NULL: only *found. *tokens: 0: none were
 * counted. */
pgr_status embeddings_read(const char *text, size_t size, const char *origin, size_t n, size_t dims, float *out,
                           size_t *found, size_t *tokens, pgr_error *err);

#endif
