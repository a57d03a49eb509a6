/* artefact.c - reading the prototypes' file: the footer leads to the table, the table to the sections; every size
 * follows from meta and is compared. */
#include "prototype/artefact.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

#include "prototype/artefact_parts.h"
#include "prototype/mixture.h"

static const float MOST_VOTES = 4294967296.0f;     /* on a text */
static const uint64_t SMALL = (uint64_t)256 << 20; /* a section up to this is read whole at open */

const char *const artefact_section_names[ARTEFACT_N_SECTION] = {
#define X(name, bytes) #name,
    ARTEFACT_SECTIONS(X)
#undef X
};

typedef struct reader {
    artefact *a;
    const uint8_t *data;
    size_t size;
    artefact_check check;
    artefact_footer footer;
    size_t n_section;                         /* of this version */
    artefact_entry table[ARTEFACT_N_SECTION]; /* those that it has not are all zero */
    pgr_error *err;
} reader;

static uint32_t crc_of(const uint8_t *p, size_t n) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), p, n);
}

static bool should_check(const reader *r, uint64_t bytes) {
    return r->check == ARTEFACT_CHECK_ALL || (r->check == ARTEFACT_CHECK_SMALL && bytes <= SMALL);
}

/* ---- the frame of the file ---- */

static pgr_status read_frame(reader *r) {
    const char *path = r->a->path;
    artefact_footer *f = &r->footer;
    uint32_t version;
    size_t table = ARTEFACT_FIRST_SECTIONS * sizeof *r->table;
    if (r->size < 8 || memcmp(r->data, ARTEFACT_MAGIC, 8) != 0)
        return fail(r->err, PGR_E_FORMAT, "%s: header: found no \"%s\", expected a file of prototypes", path,
                    ARTEFACT_MAGIC);
    if (r->size < ARTEFACT_HEADER + table + sizeof *f)
        return fail(r->err, PGR_E_FORMAT, "%s: the file ends after %zu bytes", path, r->size);
    memcpy(&version, r->data + 8, sizeof version);
    if (version < 1 || version > ARTEFACT_VERSION)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: header: version is %u, this program reads 1 to %d", path, version,
                    ARTEFACT_VERSION);
    r->n_section = version == 1   ? ARTEFACT_FIRST_SECTIONS
                   : version == 2 ? ARTEFACT_SECOND_SECTIONS
                                  : ARTEFACT_N_SECTION;
    table = r->n_section * sizeof *r->table;
    memcpy(f, r->data + r->size - sizeof *f, sizeof *f);
    if (memcmp(f->magic, ARTEFACT_MAGIC, 8) != 0)
        return fail(r->err, PGR_E_FORMAT,
                    "%s: footer: not found at the end of %zu bytes, the file is cut off or damaged", path, r->size);
    if (f->file != r->size)
        return fail(r->err, PGR_E_FORMAT, "%s: footer: says %llu bytes, the file has %zu", path,
                    (unsigned long long)f->file, r->size);
    if (r->size < ARTEFACT_HEADER + table + sizeof *f || f->n_section != r->n_section
        || f->table != r->size - sizeof *f - table)
        return fail(r->err, PGR_E_FORMAT, "%s: footer: %u sections and a table at %llu, expected %zu and %zu", path,
                    f->n_section, (unsigned long long)f->table, r->n_section, r->size - sizeof *f - table);
    memcpy(r->table, r->data + f->table, table);
    uint32_t crc = crc_of(r->data + f->table, table);
    if (r->check != ARTEFACT_CHECK_NONE && crc != f->crc)
        return fail(r->err, PGR_E_FORMAT, "%s: table: checksum is %08x, expected %08x", path, crc, f->crc);
    return PGR_OK;
}

/* Sections follow one another in their order, each at the next multiple of 64 bytes. */
static pgr_status check_places(reader *r) {
    uint64_t at = ARTEFACT_HEADER;
    for (size_t i = 0; i < r->n_section; i++) {
        const artefact_entry *e = &r->table[i];
        const char *name = artefact_section_names[i];
        if (strncmp(e->name, name, sizeof e->name) != 0)
            return fail(r->err, PGR_E_FORMAT, "%s: table: section %zu is \"%.15s\", expected %s", r->a->path, i,
                        e->name, name);
        if (e->offset != at || e->bytes > r->footer.table - at)
            return fail(r->err, PGR_E_FORMAT, "%s: table: %s has %llu bytes at %llu, expected it at %llu within %llu",
                        r->a->path, name, (unsigned long long)e->bytes, (unsigned long long)e->offset,
                        (unsigned long long)at, (unsigned long long)r->footer.table);
        at += e->bytes;
        at += (ARTEFACT_ALIGN - at % ARTEFACT_ALIGN) % ARTEFACT_ALIGN;
        if (at > r->footer.table)
            return fail(r->err, PGR_E_FORMAT, "%s: table: %s runs into the table", r->a->path, name);
    }
    if (at != r->footer.table)
        return fail(r->err, PGR_E_FORMAT, "%s: table: the sections end at %llu, expected %llu", r->a->path,
                    (unsigned long long)at, (unsigned long long)r->footer.table);
    return PGR_OK;
}

static pgr_status check_sums(reader *r) {
    for (size_t i = 0; i < r->n_section; i++) {
        const artefact_entry *e = &r->table[i];
        if (!should_check(r, e->bytes)) continue;
        uint32_t crc = crc_of(r->data + e->offset, (size_t)e->bytes);
        if (crc != e->crc)
            return fail(r->err, PGR_E_FORMAT, "%s: %s: checksum is %08x, expected %08x: the file is damaged",
                        r->a->path, artefact_section_names[i], crc, e->crc);
    }
    return PGR_OK;
}

static const void *section(const reader *r, artefact_section i) {
    return r->data + r->table[i].offset;
}

static pgr_status check_sizes(reader *r) {
    const artefact *a = r->a;
    const uint64_t meta_bytes = r->table[ARTEFACT_meta].bytes, ids_bytes = r->table[ARTEFACT_ids].bytes;
    const uint64_t want[ARTEFACT_N_SECTION] = {
#define X(name, bytes) (bytes),
        ARTEFACT_SECTIONS(X)
#undef X
    };
    for (size_t i = 0; i < ARTEFACT_N_SECTION; i++)
        if (r->table[i].bytes != want[i])
            return fail(r->err, PGR_E_FORMAT, "%s: %s: %llu bytes, expected %llu", a->path, artefact_section_names[i],
                        (unsigned long long)r->table[i].bytes, (unsigned long long)want[i]);
    return PGR_OK;
}

/* ---- what is in the sections ---- */

static pgr_status check_way(const reader *r) {
    const artefact *a = r->a;
    bool facts = strcmp(a->by, "facts") == 0;
    if (facts && r->n_section == ARTEFACT_FIRST_SECTIONS)
        return fail(r->err, PGR_E_UNSUPPORTED,
                    "%s: header: prototypes by facts of version 1, which this program makes in another way: build them "
                    "again (pgenrm proto build --by facts)",
                    a->path);
    if (a->views.n > 0 && strcmp(a->by, "votes") != 0)
        return fail(r->err, PGR_E_FORMAT, "%s: meta: by %s with n_views %zu, expected 0", a->path, a->by, a->views.n);
    if ((a->n_mixture > 0) != facts)
        return fail(r->err, PGR_E_FORMAT, "%s: meta: by %s with n_mixture %zu, expected %s", a->path, a->by,
                    a->n_mixture, facts ? "more than 0" : "0");
    return PGR_OK;
}

static pgr_status check_members(const artefact *a, pgr_error *err) {
    if (a->start[0] != 0 || a->start[a->k] != a->n_row)
        return fail(err, PGR_E_FORMAT, "%s: start: from %llu to %llu, expected 0 to %zu", a->path,
                    (unsigned long long)a->start[0], (unsigned long long)a->start[a->k], a->n_row);
    for (size_t j = 0; j < a->k; j++)
        if (a->start[j] > a->start[j + 1])
            return fail(err, PGR_E_FORMAT, "%s: start: prototype %zu ends at row %llu and begins at %llu", a->path, j,
                        (unsigned long long)a->start[j + 1], (unsigned long long)a->start[j]);
    for (size_t i = 0; i < a->n_row; i++)
        if (a->row_user[i] >= a->n_user)
            return fail(err, PGR_E_FORMAT, "%s: row_user: row %zu belongs to user %u of %zu", a->path, i,
                        a->row_user[i], a->n_user);
    return PGR_OK;
}

static pgr_status check_ids(const artefact *a, size_t bytes, pgr_error *err) {
    if (a->ids_at[0] != 0 || a->ids_at[a->n_user] != bytes)
        return fail(err, PGR_E_FORMAT, "%s: ids_at: from %llu to %llu, expected 0 to %zu", a->path,
                    (unsigned long long)a->ids_at[0], (unsigned long long)a->ids_at[a->n_user], bytes);
    for (size_t u = 0; u < a->n_user; u++) {
        uint64_t from = a->ids_at[u], to = a->ids_at[u + 1];
        if (from >= to || to > bytes || a->ids[to - 1] || memchr(a->ids + from, 0, to - from) != a->ids + to - 1)
            return fail(err, PGR_E_FORMAT, "%s: ids: that of user %zu is no text of bytes %llu to %llu", a->path, u,
                        (unsigned long long)from, (unsigned long long)to);
        if (u > 0 && strcmp(artefact_id(a, u - 1), artefact_id(a, u)) >= 0)
            return fail(err, PGR_E_FORMAT, "%s: ids: user %zu's does not come after the one before", a->path, u);
    }
    return PGR_OK;
}

static pgr_status check_finite(const artefact *a, const char *name, const float *v, size_t n, pgr_error *err) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i])) return fail(err, PGR_E_FORMAT, "%s: %s: value %zu is no number", a->path, name, i);
    return PGR_OK;
}

static pgr_status check_mixture(const artefact *a, pgr_error *err) {
    mixture m;
    pgr_error wrong;
    if (a->n_mixture == 0) return PGR_OK;
    pgr_status s = mixture_unpack(a->mixture, a->n_mixture, a->k, a->dims, &m, &wrong);
    mixture_free(&m);
    return s == PGR_OK ? PGR_OK : fail(err, s, "%s: mixture: %s", a->path, wrong.message);
}

static pgr_status check_views(const artefact *a, pgr_error *err) {
    ideal_point point;
    for (size_t i = 0; i < a->views.n; i++) {
        const float *row = a->views.rows + i * VIEW_SIZE, *counts = row + IDEAL_PACKED;
        if (i > 0 && a->views.keys[i] <= a->views.keys[i - 1])
            return fail(err, PGR_E_FORMAT, "%s: view_keys: that of row %zu does not come after the one before", a->path,
                        i);
        if (!ideal_unpack(row, &point))
            return fail(err, PGR_E_FORMAT, "%s: view_rows: row %zu has no variance, or a value that is no number",
                        a->path, i);
        if (!(counts[0] >= 0 && counts[0] <= MOST_VOTES && counts[1] >= 0 && counts[1] <= MOST_VOTES))
            return fail(err, PGR_E_FORMAT, "%s: view_rows: row %zu counts %g and %g votes, expected 0 to %g", a->path,
                        i, (double)counts[0], (double)counts[1], (double)MOST_VOTES);
    }
    return PGR_OK;
}

static pgr_status bind_numbers(reader *r) {
    artefact *a = r->a;
    const double *numbers = section(r, ARTEFACT_numbers);
    for (size_t i = 0; i < 1 + a->n_singular + a->n_loss; i++)
        if (!isfinite(numbers[i])) return fail(r->err, PGR_E_FORMAT, "%s: numbers: value %zu is no number", a->path, i);
    a->inertia = numbers[0];
    a->singular = numbers + 1;
    a->losses = numbers + 1 + a->n_singular;
    return PGR_OK;
}

static pgr_status bind(reader *r) {
    artefact *a = r->a;
    size_t n_proto = a->k * a->dims;
    PGR_TRY(bind_numbers(r));
    a->before = section(r, ARTEFACT_before);
    a->after = section(r, ARTEFACT_after);
    a->refine = a->n_refine ? section(r, ARTEFACT_refine) : NULL;
    a->mixture = a->n_mixture ? section(r, ARTEFACT_mixture) : NULL;
    if (a->views.n > 0) {
        a->views.keys = section(r, ARTEFACT_view_keys);
        a->views.rows = section(r, ARTEFACT_view_rows);
    }
    a->start = section(r, ARTEFACT_start);
    a->row_user = section(r, ARTEFACT_row_user);
    a->ids_at = section(r, ARTEFACT_ids_at);
    a->ids = section(r, ARTEFACT_ids);
    a->scales = section(r, ARTEFACT_scales);
    a->errors = section(r, ARTEFACT_errors);
    a->codes = section(r, ARTEFACT_codes);
    a->vectors = section(r, ARTEFACT_vectors);
    PGR_TRY(check_members(a, r->err));
    PGR_TRY(check_ids(a, (size_t)r->table[ARTEFACT_ids].bytes, r->err));
    PGR_TRY(check_finite(a, "before", a->before, n_proto, r->err));
    PGR_TRY(check_finite(a, "after", a->after, n_proto, r->err));
    PGR_TRY(check_finite(a, "refine", a->refine, a->n_refine, r->err));
    PGR_TRY(check_mixture(a, r->err));
    PGR_TRY(check_views(a, r->err));
    PGR_TRY(check_finite(a, "scales", a->scales, a->n_row, r->err));
    PGR_TRY(check_finite(a, "errors", a->errors, a->n_row, r->err));
    if (!should_check(r, r->table[ARTEFACT_vectors].bytes)) return PGR_OK;
    return check_finite(a, "vectors", a->vectors, a->n_row * a->dims, r->err);
}

static pgr_status read_all(reader *r) {
    PGR_TRY(read_frame(r));
    PGR_TRY(check_places(r));
    PGR_TRY(check_sums(r));
    PGR_TRY(artefact_read_meta(r->a, section(r, ARTEFACT_meta), (size_t)r->table[ARTEFACT_meta].bytes, r->err));
    PGR_TRY(check_way(r));
    PGR_TRY(check_sizes(r));
    return bind(r);
}

pgr_status artefact_open_memory(const void *data, size_t size, const char *name, artefact_check check, artefact *out,
                                pgr_error *err) {
    artefact a = {0};
    reader r = {.a = &a, .data = data, .size = size, .check = check, .err = err};
    a.path = arena_strdup(&a.arena, name);
    pgr_status s = a.path ? read_all(&r) : fail_mem(err);
    if (s == PGR_OK)
        *out = a;
    else
        artefact_close(&a);
    return s;
}

pgr_status artefact_open(const char *path, artefact_check check, artefact *out, pgr_error *err) {
    file_map map;
    PGR_TRY(file_map_open(path, &map, err));
    pgr_status s = artefact_open_memory(map.data, map.size, path, check, out, err);
    if (s == PGR_OK)
        out->map = map;
    else
        file_map_close(&map);
    return s;
}

void artefact_close(artefact *a) {
    file_map_close(&a->map);
    arena_free(&a->arena);
    *a = (artefact){0};
}

/* ---- asking ---- */

const char *artefact_id(const artefact *a, size_t user) {
    return a->ids + a->ids_at[user];
}

size_t artefact_find(const artefact *a, const char *id) {
    size_t lo = 0, hi = a->n_user;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(artefact_id(a, mid), id);
        if (c == 0) return mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return a->n_user;
}

/* The first user whose id's beginning does not come before the prefix; `after`: who comes behind it. */
static size_t bound(const artefact *a, const char *prefix, bool after) {
    size_t lo = 0, hi = a->n_user, n = strlen(prefix);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strncmp(artefact_id(a, mid), prefix, n);
        if (c < 0 || (after && c == 0))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void artefact_range(const artefact *a, const char *prefix, size_t *from, size_t *to) {
    *from = bound(a, prefix, false);
    *to = bound(a, prefix, true);
}

double artefact_get(const artefact *a, const char *setting, double otherwise) {
    for (size_t i = 0; i < a->n_setting; i++)
        if (strcmp(a->settings[i].name, setting) == 0) return a->settings[i].value;
    return otherwise;
}

double artefact_last_pair(const artefact *a) {
    return artefact_get(a, "last_pair", 0);
}

double artefact_own_lead(const artefact *a) {
    return fmin(fmax(artefact_get(a, "own_lead", 0), 0), 1);
}
