/* safetensors.c - owns the reading of safetensors files and of the index over several of them. Header, shapes and
 * offsets come from the file and are checked against its size before they are used; names are left to others. */
#include "format/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

enum {
    PREFIX = 8,             /* bytes of the header's length */
    MAX_HEADER = 100000000, /* bytes, the format's own limit */
    MAX_SHARDS = 4096,
    MAX_DIMS = 4,
    MAX_NAME = 256, /* bytes: messages show names in full */
};

enum { REFUSED = -1 };

/* type: the GGUF id, 255 where GGUF has none; REFUSED: weights that we cannot compute with. */
/* clang-format off */
static const struct dtype {
    const char *name;
    size_t bytes;
    int type;
} dtypes[] = {
    {"F32",  4, QUANT_F32}, {"F16", 2, QUANT_F16}, {"BF16", 2, QUANT_BF16},
    {"BOOL", 1, 255}, {"I16", 2, 25}, {"I32", 4, 26}, {"I64", 8, 27}, {"U16", 2, 255}, {"U32", 4, 255}, {"U64", 8, 255},
    {"I8",   1, REFUSED}, {"U8", 1, REFUSED}, {"F64", 8, REFUSED}, {"C64", 8, REFUSED}, {"F4", 0, REFUSED},
    {"F6_E2M3", 0, REFUSED}, {"F6_E3M2", 0, REFUSED}, {"F8_E5M2", 1, REFUSED}, {"F8_E4M3", 1, REFUSED},
    {"F8_E8M0", 1, REFUSED}, {"F8_E4M3FNUZ", 1, REFUSED}, {"F8_E5M2FNUZ", 1, REFUSED},
};
/* clang-format on */

/* One file while it is read. */
typedef struct reader {
    const char *path;
    const uint8_t *buffer; /* the bytes after the header */
    size_t size;           /* of the buffer */
    size_t start;          /* of the buffer in the file */
    const file_map *map;
    arena *arena;
    pgr_error *err;
} reader;

/* ---- one tensor ---- */

static pgr_status check_name(const reader *r, const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > MAX_NAME)
        return fail(r->err, PGR_E_FORMAT, "%s: the name of a tensor has %zu bytes, want 1 to %d", r->path, n, MAX_NAME);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return fail(r->err, PGR_E_FORMAT, "%s: the name of a tensor has a control character at byte %zu", r->path,
                        i);
    return PGR_OK;
}

static pgr_status read_dtype(const reader *r, const char *name, const json_t *info, const struct dtype **out) {
    const json_t *v = json_object_get(info, "dtype");
    if (!json_is_string(v))
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: dtype is %s, want a string", r->path, name, json_kind(v));
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, json_string_value(v)) != 0) continue;
        *out = &dtypes[i];
        if (dtypes[i].type != REFUSED) return PGR_OK;
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: tensor %s has dtype %s; weights are read as F32, F16 and BF16",
                    r->path, name, dtypes[i].name);
    }
    return fail(r->err, PGR_E_FORMAT, "%s: tensor %s has the unknown dtype \"%.40s\"", r->path, name,
                json_string_value(v));
}

/* A whole number of the header that fits a size. */
static bool as_size(const json_t *v, size_t *out) {
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = (size_t)json_integer_value(v);
    return true;
}

/* Dimensions, slowest first in the file, and the bytes that they make. */
static pgr_status read_shape(const reader *r, const json_t *info, size_t value_bytes, source_tensor *t) {
    const json_t *shape = json_object_get(info, "shape");
    if (!json_is_array(shape))
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: shape is %s, want an array", r->path, t->name,
                    json_kind(shape));
    t->n_dim = json_array_size(shape);
    if (t->n_dim > MAX_DIMS)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: tensor %s has %zu dimensions; at most %d are read", r->path,
                    t->name, t->n_dim, MAX_DIMS);
    bool overflow = false;
    t->bytes = value_bytes;
    for (size_t d = 0; d < MAX_DIMS; d++) {
        t->dim[d] = 1;
        if (d < t->n_dim && !as_size(json_array_get(shape, t->n_dim - 1 - d), &t->dim[d]))
            return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: dimension %zu is no whole number of 0 or more", r->path,
                        t->name, t->n_dim - 1 - d);
        overflow |= __builtin_mul_overflow(t->bytes, t->dim[d], &t->bytes);
    }
    if (overflow) return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: its size overflows", r->path, t->name);
    return PGR_OK;
}

static pgr_status read_place(const reader *r, const json_t *info, source_tensor *t) {
    const json_t *offsets = json_object_get(info, "data_offsets");
    size_t begin, end;
    if (json_array_size(offsets) != 2 || !as_size(json_array_get(offsets, 0), &begin)
        || !as_size(json_array_get(offsets, 1), &end))
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: data_offsets is not two whole numbers of 0 or more", r->path,
                    t->name);
    if (begin > end || end > r->size)
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: its data is bytes %zu to %zu of the file's %zu bytes of data",
                    r->path, t->name, begin, end, r->size);
    if (end - begin != t->bytes)
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: has %zu bytes of data, its shape and dtype make %zu", r->path,
                    t->name, end - begin, t->bytes);
    t->offset = r->start + begin;
    t->map = r->map;
    if (quant_known(t->type)) t->data = r->buffer + begin;
    return PGR_OK;
}

static pgr_status read_tensor(const reader *r, const char *name, const json_t *info, source_tensor *t) {
    const struct dtype *type = NULL;
    PGR_TRY(check_name(r, name));
    if (!json_is_object(info))
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %s is %s, want an object", r->path, name, json_kind(info));
    t->name = arena_strdup(r->arena, name);
    if (!t->name) return fail_mem(r->err);
    PGR_TRY(read_dtype(r, name, info, &type));
    t->type = (uint32_t)type->type;
    PGR_TRY(read_shape(r, info, type->bytes, t));
    return read_place(r, info, t);
}

/* ---- one file ---- */

/* Files of other frameworks have their weights transposed or under other names. */
static pgr_status check_metadata(const reader *r, const json_t *metadata) {
    if (!json_is_object(metadata))
        return fail(r->err, PGR_E_FORMAT, "%s: __metadata__ is %s, want an object", r->path, json_kind(metadata));
    const char *format = json_string_value(json_object_get(metadata, "format"));
    if (format && (strcmp(format, "tf") == 0 || strcmp(format, "flax") == 0))
        return fail(r->err, PGR_E_UNSUPPORTED,
                    "%s: __metadata__ says format \"%s\"; files of PyTorch (\"pt\") are read", r->path, format);
    return PGR_OK;
}

static int compare_places(const void *a, const void *b) {
    const source_tensor *x = *(const source_tensor *const *)a, *y = *(const source_tensor *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* empty ones before what follows them */
}

/* Every byte of the data belongs to exactly one tensor. */
static pgr_status check_cover(const reader *r, const source_tensor *tensors, size_t n) {
    const source_tensor **sorted = mem_array(n ? n : 1, sizeof *sorted);
    if (!sorted) return fail_mem(r->err);
    for (size_t i = 0; i < n; i++) sorted[i] = &tensors[i];
    qsort(sorted, n, sizeof *sorted, compare_places);
    size_t at = r->start, i = 0;
    for (; i < n && sorted[i]->offset == at; i++) at += sorted[i]->bytes;
    const source_tensor *wrong = i < n ? sorted[i] : NULL;
    mem_free(sorted);
    if (wrong && wrong->offset < at)
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: its data overlaps that of another tensor", r->path,
                    wrong->name);
    if (wrong)
        return fail(r->err, PGR_E_FORMAT, "%s: tensor %s: %zu bytes before its data belong to no tensor", r->path,
                    wrong->name, wrong->offset - at);
    if (at != r->start + r->size)
        return fail(r->err, PGR_E_FORMAT, "%s: the last %zu bytes belong to no tensor", r->path,
                    r->start + r->size - at);
    return PGR_OK;
}

/* The tensors that the header lists. */
static pgr_status read_tensors(const reader *r, json_t *header, source_tensor **out, size_t *n) {
    source_tensor *tensors = arena_array(r->arena, json_object_size(header) + 1, sizeof *tensors);
    if (!tensors) return fail_mem(r->err);
    *n = 0;
    for (void *it = json_object_iter(header); it; it = json_object_iter_next(header, it)) {
        const char *name = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        if (strcmp(name, "__metadata__") == 0)
            PGR_TRY(check_metadata(r, value));
        else
            PGR_TRY(read_tensor(r, name, value, &tensors[(*n)++]));
    }
    *out = tensors;
    return check_cover(r, tensors, *n);
}

/* The length of the header, and that it is one. */
static pgr_status read_prefix(const uint8_t *data, size_t size, const char *path, size_t *header, pgr_error *err) {
    uint64_t n = 0;
    if (size < PREFIX)
        return fail(err, PGR_E_FORMAT, "%s: not a safetensors file: has %zu bytes, want %d at least", path, size,
                    PREFIX);
    for (size_t i = PREFIX; i-- > 0;) n = n << 8 | data[i];
    if (n > MAX_HEADER)
        return fail(err, PGR_E_FORMAT, "%s: not a safetensors file: a header of %" PRIu64 " bytes, at most %d are read",
                    path, n, MAX_HEADER);
    if (n > size - PREFIX)
        return fail(err, PGR_E_FORMAT, "%s: the header has %" PRIu64 " bytes, the file has %zu left", path, n,
                    size - PREFIX);
    if (n == 0 || data[PREFIX] != '{')
        return fail(err, PGR_E_FORMAT, "%s: not a safetensors file: its header does not begin with {", path);
    *header = (size_t)n;
    return PGR_OK;
}

/* map: where data lies, NULL for memory of the caller */
static pgr_status read_file(const uint8_t *data, size_t size, const file_map *map, const char *path, arena *a,
                            source_tensor **tensors, size_t *n, pgr_error *err) {
    size_t header = 0;
    json_t *root = NULL;
    PGR_TRY(read_prefix(data, size, path, &header, err));
    PGR_TRY(json_parse((const char *)data + PREFIX, header, path, 1, &root, err));
    reader r = {.path = path, .start = PREFIX + header, .map = map, .arena = a, .err = err};
    r.buffer = data + r.start;
    r.size = size - r.start;
    pgr_status status = read_tensors(&r, root, tensors, n);
    json_decref(root);
    return status;
}

/* ---- the index over several files ---- */

/* A name that can only stand for a file in the folder of the index. */
static bool is_plain_name(const char *s) {
    return s[0] && !strchr(s, '/') && !strchr(s, '\\') && !strstr(s, "..");
}

/* The number of a file, entered where it is new. */
static pgr_status enter_file(shard_index *x, const char *name, size_t guess, const char *origin, arena *a, size_t *out,
                             pgr_error *err) {
    if (guess < x->n_file && strcmp(x->files[guess], name) == 0) {
        *out = guess;
        return PGR_OK;
    }
    for (*out = 0; *out < x->n_file; (*out)++)
        if (strcmp(x->files[*out], name) == 0) return PGR_OK;
    if (x->n_file == MAX_SHARDS)
        return fail(err, PGR_E_LIMIT, "%s: weight_map names more than %d files", origin, MAX_SHARDS);
    x->files[x->n_file] = arena_strdup(a, name);
    return x->files[x->n_file++] ? PGR_OK : fail_mem(err);
}

static pgr_status read_weight_map(json_t *map, const char *origin, arena *a, shard_index *x, pgr_error *err) {
    size_t n = json_object_size(map), file = 0;
    x->tensors = arena_array(a, n, sizeof *x->tensors);
    x->file_of = arena_array(a, n, sizeof *x->file_of);
    x->files = arena_array(a, n < MAX_SHARDS ? n : MAX_SHARDS, sizeof *x->files);
    if (!x->tensors || !x->file_of || !x->files) return fail_mem(err);
    for (void *it = json_object_iter(map); it; it = json_object_iter_next(map, it)) {
        const char *tensor = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        const char *name = json_string_value(value);
        if (!name || strlen(name) != json_string_length(value) || !is_plain_name(name))
            return fail(err, PGR_E_FORMAT,
                        "%s: weight_map: tensor %.200s: found %s \"%.80s\", want a file in this folder", origin, tensor,
                        json_kind(value), name ? name : "");
        PGR_TRY(enter_file(x, name, file, origin, a, &file, err));
        x->tensors[x->n_tensor] = arena_strdup(a, tensor);
        if (!x->tensors[x->n_tensor]) return fail_mem(err);
        x->file_of[x->n_tensor++] = file;
    }
    return PGR_OK;
}

pgr_status shard_index_parse(const char *text, size_t n, const char *origin, arena *a, shard_index *out,
                             pgr_error *err) {
    json_t *root = NULL;
    shard_index x = {0};
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    json_t *map = json_object_get(root, "weight_map");
    pgr_status status = json_want_object(map, (json_at){origin, "weight_map"}, err);
    if (status == PGR_OK && json_object_size(map) == 0)
        status = fail(err, PGR_E_FORMAT, "%s: weight_map is empty", origin);
    if (status == PGR_OK) status = read_weight_map(map, origin, a, &x, err);
    json_decref(root);
    if (status == PGR_OK) *out = x;
    return status;
}

/* ---- open and close ---- */

/* Maps and reads file i; tensors go into memory of the arena. */
static pgr_status open_file(safetensors *s, const char *path, source_tensor **tensors, size_t *n, pgr_error *err) {
    file_map *map = &s->maps[s->n_map];
    PGR_TRY(file_map_open(path, map, err));
    s->n_map++;
    return read_file(map->data, map->size, map, path, &s->arena, tensors, n, err);
}

static pgr_status open_single(safetensors *s, const char *path, pgr_error *err) {
    s->maps = arena_array(&s->arena, 1, sizeof *s->maps);
    if (!s->maps) return fail_mem(err);
    PGR_TRY(open_file(s, path, &s->source.tensors, &s->source.n_tensor, err));
    return source_index(&s->source, &s->arena, err);
}

/* Every tensor of the index stands in the file that it names. */
static pgr_status check_index(const safetensors *s, const shard_index *x, const char *origin, pgr_error *err) {
    for (size_t i = 0; i < x->n_tensor; i++) {
        const source_tensor *t = source_find(&s->source, x->tensors[i]);
        if (!t || t->map != &s->maps[x->file_of[i]])
            return fail(err, PGR_E_FORMAT, "%s: tensor %.200s is not in file %s", origin, x->tensors[i],
                        x->files[x->file_of[i]]);
    }
    return PGR_OK;
}

static pgr_status open_shards(safetensors *s, const char *folder, const char *index_path, const shard_index *x,
                              pgr_error *err) {
    typedef struct part {
        source_tensor *tensors;
        size_t n;
    } part;
    arena *a = &s->arena;
    part *parts = arena_array(a, x->n_file, sizeof *parts);
    s->maps = arena_array(a, x->n_file, sizeof *s->maps);
    if (!parts || !s->maps) return fail_mem(err);
    size_t total = 0;
    for (size_t i = 0; i < x->n_file; i++) {
        const char *path = arena_printf(a, "%s/%s", folder, x->files[i]);
        if (!path) return fail_mem(err);
        PGR_TRY(open_file(s, path, &parts[i].tensors, &parts[i].n, err));
        total += parts[i].n;
    }
    s->source.tensors = arena_array(a, total + 1, sizeof *s->source.tensors);
    if (!s->source.tensors) return fail_mem(err);
    for (size_t i = 0; i < x->n_file; i++)
        for (size_t k = 0; k < parts[i].n; k++) s->source.tensors[s->source.n_tensor++] = parts[i].tensors[k];
    PGR_TRY(source_index(&s->source, a, err));
    return check_index(s, x, index_path, err);
}

static pgr_status open_folder(safetensors *s, const char *folder, pgr_error *err) {
    const char *single = arena_printf(&s->arena, "%s/model.safetensors", folder);
    const char *index_path = arena_printf(&s->arena, "%s/model.safetensors.index.json", folder);
    const char *pickle = arena_printf(&s->arena, "%s/pytorch_model.bin", folder);
    if (!single || !index_path || !pickle) return fail_mem(err);
    if (file_exists(single)) return open_single(s, single, err);
    if (!file_exists(index_path))
        return fail(err, file_exists(pickle) ? PGR_E_UNSUPPORTED : PGR_E_IO,
                    "%s: has neither model.safetensors nor model.safetensors.index.json%s", folder,
                    file_exists(pickle) ? "; pytorch_model.bin is not read, save the model as safetensors" : "");
    buf text = {0};
    shard_index x = {0};
    PGR_TRY(file_read(index_path, &text, err));
    pgr_status status = shard_index_parse(text.data, text.n, index_path, &s->arena, &x, err);
    buf_free(&text);
    PGR_TRY(status);
    return open_shards(s, folder, index_path, &x, err);
}

static pgr_status finish(safetensors *s, pgr_status status, safetensors *out) {
    if (status == PGR_OK)
        *out = *s;
    else
        safetensors_close(s);
    return status;
}

static pgr_status begin(safetensors *s, const char *path, pgr_error *err) {
    s->source.names = SOURCE_HF;
    s->source.path = arena_strdup(&s->arena, path);
    return s->source.path ? PGR_OK : fail_mem(err);
}

pgr_status safetensors_open(const char *path, safetensors *out, pgr_error *err) {
    static const char suffix[] = ".safetensors";
    safetensors s = {0};
    size_t n = strlen(path);
    bool single = n > sizeof suffix && strcmp(path + n - (sizeof suffix - 1), suffix) == 0;
    pgr_status status = begin(&s, path, err);
    if (status == PGR_OK) status = single ? open_single(&s, path, err) : open_folder(&s, path, err);
    return finish(&s, status, out);
}

pgr_status safetensors_open_memory(const uint8_t *data, size_t size, const char *name, safetensors *out,
                                   pgr_error *err) {
    safetensors s = {0};
    pgr_status status = begin(&s, name, err);
    if (status == PGR_OK)
        status = read_file(data, size, NULL, s.source.path, &s.arena, &s.source.tensors, &s.source.n_tensor, err);
    if (status == PGR_OK) status = source_index(&s.source, &s.arena, err);
    return finish(&s, status, out);
}

void safetensors_close(safetensors *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_map; i++) file_map_close(&s->maps[i]);
    arena_free(&s->arena);
    *s = (safetensors){0};
}
