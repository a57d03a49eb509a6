/* artefact_write.c - writing the prototypes' file,
 * section by section: memory for one row beyond what the caller holds. */
#include <math.h>
#include <string.h>
#include <zlib.h>

#include "base/file_out.h"
#include "base/mem.h"
#include "prototype/artefact_parts.h"

typedef struct writer {
    const artefact *a;
    const uint32_t *order;
    file_out file;
    artefact_entry table[ARTEFACT_N_SECTION];
    size_t n;               /* sections begun */
    float *scales, *errors; /* (n_row) */
    int8_t *code;           /* (dims) */
    pgr_error *err;
} writer;

float artefact_code(int8_t *code, const float *v, size_t n, float *error) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(v[i]));
    float scale = most / 127.0f;
    double ss = 0;
    for (size_t i = 0; i < n; i++) {
        code[i] = scale > 0 ? (int8_t)lrintf(v[i] / scale) : 0;
        double e = (double)v[i] - (double)scale * code[i];
        ss += e * e;
    }
    *error = nextafterf((float)sqrt(ss), INFINITY);
    return scale;
}

/* ---- sections ---- */

static pgr_status put(writer *w, const void *p, size_t n) {
    artefact_entry *e = &w->table[w->n - 1];
    e->bytes += n;
    e->crc = (uint32_t)crc32_z(e->crc, p, n);
    return file_out_write(&w->file, p, n, w->err);
}

static void begin(writer *w) {
    artefact_entry *e = &w->table[w->n];
    strncpy(e->name, artefact_section_names[w->n], sizeof e->name - 1);
    e->offset = w->file.n;
    e->crc = (uint32_t)crc32_z(0, NULL, 0);
    w->n++;
}

static pgr_status end(writer *w) {
    static const uint8_t zeros[ARTEFACT_ALIGN];
    size_t over = w->file.n % ARTEFACT_ALIGN;
    return over ? file_out_write(&w->file, zeros, ARTEFACT_ALIGN - over, w->err) : PGR_OK;
}

static pgr_status put_section(writer *w, const void *p, size_t n) {
    begin(w);
    if (n > 0) PGR_TRY(put(w, p, n));
    return end(w);
}

static pgr_status put_meta(writer *w) {
    buf meta = {0};
    artefact_put_meta(&meta, w->a);
    pgr_status s = meta.failed ? fail_mem(w->err) : put_section(w, meta.data, meta.n);
    buf_free(&meta);
    return s;
}

static pgr_status put_numbers(writer *w) {
    const artefact *a = w->a;
    begin(w);
    PGR_TRY(put(w, &a->inertia, sizeof a->inertia));
    if (a->n_singular > 0) PGR_TRY(put(w, a->singular, a->n_singular * sizeof *a->singular));
    if (a->n_loss > 0) PGR_TRY(put(w, a->losses, a->n_loss * sizeof *a->losses));
    return end(w);
}

static size_t source_row(const writer *w, size_t row) {
    return w->order ? w->order[row] : row;
}

static const float *vector(const writer *w, size_t row) {
    return w->a->vectors + source_row(w, row) * w->a->dims;
}

static pgr_status put_row_users(writer *w) {
    begin(w);
    for (size_t r = 0; r < w->a->n_row; r++) PGR_TRY(put(w, &w->a->row_user[source_row(w, r)], sizeof(uint32_t)));
    return end(w);
}

static pgr_status put_codes(writer *w) {
    begin(w);
    for (size_t r = 0; r < w->a->n_row; r++) {
        float error;
        artefact_code(w->code, vector(w, r), w->a->dims, &error);
        PGR_TRY(put(w, w->code, w->a->dims));
    }
    return end(w);
}

static pgr_status put_vectors(writer *w) {
    begin(w);
    for (size_t r = 0; r < w->a->n_row; r++) PGR_TRY(put(w, vector(w, r), w->a->dims * sizeof(float)));
    return end(w);
}

static pgr_status put_sections(writer *w) {
    const artefact *a = w->a;
    size_t proto_bytes = a->k * a->dims * sizeof(float);
    for (size_t r = 0; r < a->n_row; r++) w->scales[r] = artefact_code(w->code, vector(w, r), a->dims, &w->errors[r]);
    PGR_TRY(put_meta(w));
    PGR_TRY(put_numbers(w));
    PGR_TRY(put_section(w, a->before, proto_bytes));
    PGR_TRY(put_section(w, a->after, proto_bytes));
    PGR_TRY(put_section(w, a->refine, a->n_refine * sizeof(float)));
    PGR_TRY(put_section(w, a->start, (a->k + 1) * sizeof *a->start));
    PGR_TRY(put_row_users(w));
    PGR_TRY(put_section(w, a->ids_at, (a->n_user + 1) * sizeof *a->ids_at));
    PGR_TRY(put_section(w, a->ids, (size_t)a->ids_at[a->n_user]));
    PGR_TRY(put_section(w, w->scales, a->n_row * sizeof(float)));
    PGR_TRY(put_section(w, w->errors, a->n_row * sizeof(float)));
    PGR_TRY(put_codes(w));
    PGR_TRY(put_vectors(w));
    PGR_TRY(put_section(w, a->mixture, a->n_mixture * sizeof(float)));
    PGR_TRY(put_section(w, a->views.keys, a->views.n * sizeof *a->views.keys));
    return put_section(w, a->views.rows, a->views.n * VIEW_SIZE * sizeof *a->views.rows);
}

static pgr_status put_file(writer *w) {
    uint8_t header[ARTEFACT_HEADER] = ARTEFACT_MAGIC;
    uint32_t version = ARTEFACT_VERSION;
    memcpy(header + 8, &version, sizeof version);
    PGR_TRY(file_out_write(&w->file, header, sizeof header, w->err));
    PGR_TRY(put_sections(w));
    artefact_footer f = {.table = w->file.n, .n_section = ARTEFACT_N_SECTION, .magic = ARTEFACT_MAGIC};
    f.file = w->file.n + sizeof w->table + sizeof f;
    f.crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), (const uint8_t *)w->table, sizeof w->table);
    PGR_TRY(file_out_write(&w->file, w->table, sizeof w->table, w->err));
    return file_out_write(&w->file, &f, sizeof f, w->err);
}

static pgr_status write_file(writer *w, const char *path) {
    w->scales = mem_array(w->a->n_row, sizeof *w->scales);
    w->errors = mem_array(w->a->n_row, sizeof *w->errors);
    w->code = mem_alloc(w->a->dims);
    if (!w->scales || !w->errors || !w->code) return fail_mem(w->err);
    PGR_TRY(file_out_open(path, &w->file, w->err));
    pgr_status s = put_file(w);
    if (s == PGR_OK) return file_out_commit(&w->file, w->err);
    file_out_abort(&w->file);
    return s;
}

pgr_status artefact_write(const artefact *a, const uint32_t *order, const char *path, pgr_error *err) {
    writer w = {.a = a, .order = order, .err = err};
    pgr_status s = write_file(&w, path);
    mem_free(w.scales);
    mem_free(w.errors);
    mem_free(w.code);
    return s;
}
