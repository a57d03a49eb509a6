/* inspect_parts.h - what the three reports of pgr_inspect share: of a language model, of a LoRA adapter,
 * of an encoder. */
#ifndef PGR_EXPORT_INSPECT_PARTS_H
#define PGR_EXPORT_INSPECT_PARTS_H

#include "base/buf.h"
#include "model/model.h"
#include "format/sentence.h"

typedef enum inspect_kind { INSPECT_MODEL, INSPECT_ADAPTER, INSPECT_ENCODER } inspect_kind;

/* What lies at a path. What cannot be told apart is INSPECT_MODEL, whose report has the error. */
pgr_status inspect_kind_of(const char *path, inspect_kind *out, pgr_error *err);
pgr_status inspect_adapter(const char *path, bool json, buf *out, pgr_error *err);
pgr_status inspect_encoder(const char *path, bool json, buf *out, pgr_error *err);

void inspect_count(const tensor_source *s, size_t *parameters, size_t *bytes);
void inspect_put_types(buf *b, const tensor_source *s); /* the line "tensors" */
/* "embeddings": pooling and why, length. end: the text of an appended token; NULL: none */
void inspect_put_embedding(buf *b, const sentence_config *say, size_t dims, const char *end);
void inspect_put_kernels(buf *b); /* the line "kernels": the level, and what plain C is left with */

/* JSON: members with a comma behind, but put_tensors; put_or_null ends with after. */
void inspect_put_field(buf *b, const char *key, const char *value);
void inspect_put_or_null(buf *b, const char *key, const char *value, const char *after);
void inspect_put_kernels_json(buf *b); /* "kernels", "fast", "dtype_auto" */
void inspect_put_tensors(buf *b, const tensor_source *s);
void inspect_put_embedding_json(buf *b, const sentence_config *say, size_t dims, int32_t end);

#endif
