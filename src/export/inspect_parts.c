/* inspect_parts.c - owns the lines and members that more than one report of pgr_inspect has. */
#include "export/inspect_parts.h"

#include <string.h>

#include "base/json.h"
#include "math/ops.h"

void inspect_count(const tensor_source *s, size_t *parameters, size_t *bytes) {
    *parameters = *bytes = 0;
    for (size_t i = 0; i < s->n_tensor; i++) {
        const source_tensor *t = &s->tensors[i];
        *parameters += t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
        *bytes += t->bytes;
    }
}

/* ---- this CPU ---- */

static const pgr_dtype dtypes[] = {PGR_DTYPE_EXACT, PGR_DTYPE_F32, PGR_DTYPE_BF16, PGR_DTYPE_INT8};
enum { N_DTYPE = sizeof dtypes / sizeof *dtypes };

void inspect_put_kernels(buf *b) {
    buf_printf(b, "kernels         %s, fast for:", ops_cpu_name());
    size_t n = 0;
    for (size_t i = 0; i < N_DTYPE; i++)
        if (pgr_dtype_fast(dtypes[i])) buf_printf(b, "%s %s", n++ ? "," : "", pgr_dtype_name(dtypes[i]));
    buf_puts(b, n ? "\n" : " nothing, plain C\n");
}

void inspect_put_kernels_json(buf *b) {
    inspect_put_field(b, "kernels", ops_cpu_name());
    inspect_put_field(b, "dtype_auto", pgr_dtype_name(pgr_dtype_auto()));
    buf_puts(b, "\"fast\":[");
    size_t n = 0;
    for (size_t i = 0; i < N_DTYPE; i++)
        if (pgr_dtype_fast(dtypes[i])) buf_printf(b, "%s\"%s\"", n++ ? "," : "", pgr_dtype_name(dtypes[i]));
    buf_puts(b, "],");
}

/* ---- text ---- */

void inspect_put_types(buf *b, const tensor_source *s) {
    size_t count[256] = {0}, bytes[256] = {0};
    for (size_t i = 0; i < s->n_tensor; i++) {
        count[s->tensors[i].type % 256]++;
        bytes[s->tensors[i].type % 256] += s->tensors[i].bytes;
    }
    buf_printf(b, "tensors         %zu:", s->n_tensor);
    for (uint32_t t = 0; t < 256; t++)
        if (count[t]) buf_printf(b, "  %zu %s (%.1f MB)", count[t], quant_name(t), (double)bytes[t] / 1e6);
    buf_puts(b, "\n");
}

static const char *pool_name(pgr_pool pool) {
    return pool == PGR_POOL_LAST ? "last" : pool == PGR_POOL_CLS ? "cls" : "mean";
}

void inspect_put_embedding(buf *b, const sentence_config *say, size_t dims, const char *end) {
    buf_printf(b, "embeddings      %s pooling (%s)", pool_name(say->pool), say->pool_from);
    if (end) buf_printf(b, " of the text and an appended %s", end);
    buf_printf(b, ", %zu values%s, at most %zu tokens%s\n", dims,
               say->normalise ? " scaled to length 1" : ", not scaled to length 1", say->max_tokens,
               say->lower_case ? ", letters in lower case" : "");
}

/* ---- JSON ---- */

void inspect_put_field(buf *b, const char *key, const char *value) {
    inspect_put_or_null(b, key, value, ",");
}

void inspect_put_or_null(buf *b, const char *key, const char *value, const char *after) {
    buf_printf(b, "\"%s\":", key);
    if (value)
        json_put_string(b, value, strlen(value));
    else
        buf_puts(b, "null");
    buf_puts(b, after);
}

void inspect_put_tensors(buf *b, const tensor_source *s) {
    buf_puts(b, "\"tensors\":[");
    for (size_t i = 0; i < s->n_tensor; i++) {
        const source_tensor *t = &s->tensors[i];
        buf_puts(b, i ? ",{\"name\":" : "{\"name\":");
        json_put_string(b, t->name, strlen(t->name));
        buf_printf(b, ",\"type\":\"%s\",\"shape\":[", quant_name(t->type));
        for (size_t d = t->n_dim; d-- > 0;) buf_printf(b, d ? "%zu," : "%zu", t->dim[d]);
        buf_printf(b, "],\"bytes\":%zu}", t->bytes);
    }
    buf_puts(b, "]");
}

void inspect_put_embedding_json(buf *b, const sentence_config *say, size_t dims, int32_t end) {
    inspect_put_field(b, "pool", pool_name(say->pool));
    inspect_put_field(b, "pool_from", say->pool_from);
    buf_printf(b, "\"dims\":%zu,\"max_tokens\":%zu,\"normalised\":%s,\"lower_case\":%s,\"appended\":", dims,
               say->max_tokens, say->normalise ? "true" : "false", say->lower_case ? "true" : "false");
    if (end < 0)
        buf_puts(b, "null,");
    else
        buf_printf(b, "%d,", end);
}
