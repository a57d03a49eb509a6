/* gguf.c - owns the reading of GGUF v3: magic, key-value pairs, the tensor directory. Every length, count and offset
 * comes from the file and is checked against the file's size before it is used; the meaning of keys is left to others.
 */
#include "format/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum {
    MIN_PAIR = 8 + 1 + 4 + 1,           /* bytes of the smallest key-value pair: length, key, kind, value */
    MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8, /* bytes of the smallest tensor entry */
    DEFAULT_ALIGNMENT = 32,
    MAX_ALIGNMENT = 1 << 20,
    SHOWN = 80 /* bytes of a name in a message */
};

typedef struct cursor {
    const uint8_t *data;
    size_t size, at;
    const char *path;
    pgr_error *err;
} cursor;

static const char *const kind_names[GGUF_N_KIND] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                    "bool", "string", "array", "u64", "i64", "f64"};
static const uint8_t kind_sizes[GGUF_N_KIND] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}; /* 0: of no fixed size */

/* ---- little-endian numbers, at any address ---- */

static uint64_t load(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;) v = v << 8 | p[i];
    return v;
}

static uint32_t load_u32(const uint8_t *p) {
    return (uint32_t)load(p, 4);
}

static float load_f32(const uint8_t *p) {
    uint32_t bits = load_u32(p);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* A name as a message may show it: clipped, control bytes replaced. */
static const char *shown(gguf_string s, char out[SHOWN + 4]) {
    size_t n = s.n < SHOWN ? s.n : SHOWN;
    for (size_t i = 0; i < n; i++) out[i] = (unsigned char)s.s[i] < 0x20 || s.s[i] == 0x7f ? '?' : s.s[i];
    strcpy(out + n, s.n > n ? "..." : "");
    return out;
}

/* The next n bytes; NULL, with the error, where the file has fewer. */
static const uint8_t *take(cursor *c, uint64_t n, const char *what) {
    if (n > c->size - c->at) {
        fail(c->err, PGR_E_FORMAT, "%s: %s at byte %zu needs %" PRIu64 " bytes, the file has %zu left", c->path, what,
             c->at, n, c->size - c->at);
        return NULL;
    }
    const uint8_t *p = c->data + c->at;
    c->at += (size_t)n;
    return p;
}

static pgr_status take_u32(cursor *c, const char *what, uint32_t *out) {
    const uint8_t *p = take(c, 4, what);
    if (!p) return PGR_E_FORMAT;
    *out = load_u32(p);
    return PGR_OK;
}

static pgr_status take_u64(cursor *c, const char *what, uint64_t *out) {
    const uint8_t *p = take(c, 8, what);
    if (!p) return PGR_E_FORMAT;
    *out = load(p, 8);
    return PGR_OK;
}

static pgr_status take_string(cursor *c, const char *what, gguf_string *out) {
    uint64_t n = 0;
    PGR_TRY(take_u64(c, what, &n));
    const uint8_t *p = take(c, n, what);
    if (!p) return PGR_E_FORMAT;
    *out = (gguf_string){(const char *)p, (size_t)n};
    return PGR_OK;
}

/* ---- names: a hash of n names, open addressing; slot value is index + 1 ---- */

static uint64_t hash_name(const char *s, size_t n) {
    uint64_t h = hash_bytes(HASH_BEGIN, s, n);
    return h ^ h >> 29;
}

static size_t index_size(size_t n) {
    size_t size = 8;
    while (size < 2 * n) size *= 2;
    return size;
}

/* names: the first of n gguf_strings that stand `stride` bytes apart */
static gguf_string name_at(const void *names, size_t stride, size_t i) {
    gguf_string s;
    memcpy(&s, (const char *)names + i * stride, sizeof s);
    return s;
}

/* Enters every name; *twice is the index of the first that repeats an earlier one, else n. */
static void index_names(const void *names, size_t stride, size_t n, size_t *slots, size_t n_slot, size_t *twice) {
    *twice = n;
    for (size_t i = 0; i < n; i++) {
        gguf_string s = name_at(names, stride, i);
        size_t at = hash_name(s.s, s.n) & (n_slot - 1);
        for (; slots[at]; at = (at + 1) & (n_slot - 1)) {
            gguf_string o = name_at(names, stride, slots[at] - 1);
            if (o.n == s.n && memcmp(o.s, s.s, s.n) == 0) {
                *twice = i;
                return;
            }
        }
        slots[at] = i + 1;
    }
}

/* ---- header ---- */

static pgr_status read_header(cursor *c, uint64_t *n_tensor, uint64_t *n_value) {
    uint32_t version = 0;
    const uint8_t *magic = take(c, 4, "the magic number");
    if (!magic) return PGR_E_FORMAT;
    if (memcmp(magic, "FUGG", 4) == 0)
        return fail(c->err, PGR_E_UNSUPPORTED, "%s: a big-endian GGUF file; only little-endian is read", c->path);
    if (memcmp(magic, "lmgg", 4) == 0 || memcmp(magic, "tjgg", 4) == 0 || memcmp(magic, "fmgg", 4) == 0)
        return fail(c->err, PGR_E_UNSUPPORTED, "%s: a GGML file from before GGUF; convert it to GGUF v3", c->path);
    if (memcmp(magic, "GGUF", 4) != 0)
        return fail(c->err, PGR_E_FORMAT, "%s: not a GGUF file (starts with bytes %02x %02x %02x %02x)", c->path,
                    magic[0], magic[1], magic[2], magic[3]);
    PGR_TRY(take_u32(c, "the version", &version));
    if ((version & 0xffff) == 0 && version != 0)
        return fail(c->err, PGR_E_UNSUPPORTED, "%s: a big-endian GGUF file; only little-endian is read", c->path);
    if (version != 3)
        return fail(c->err, PGR_E_UNSUPPORTED, "%s: GGUF version %" PRIu32 "; only version 3 is read", c->path,
                    version);
    PGR_TRY(take_u64(c, "the number of tensors", n_tensor));
    PGR_TRY(take_u64(c, "the number of keys", n_value));
    if (*n_value > (c->size - c->at) / MIN_PAIR)
        return fail(c->err, PGR_E_FORMAT, "%s: %" PRIu64 " keys cannot fit into %zu bytes", c->path, *n_value, c->size);
    if (*n_tensor > (c->size - c->at) / MIN_TENSOR)
        return fail(c->err, PGR_E_FORMAT, "%s: %" PRIu64 " tensors cannot fit into %zu bytes", c->path, *n_tensor,
                    c->size);
    return PGR_OK;
}

/* ---- key-value pairs ---- */

static pgr_status read_strings(gguf *g, cursor *c, gguf_value *v, const char *key) {
    if (v->n > (c->size - c->at) / 8)
        return fail(c->err, PGR_E_FORMAT, "%s: key %s: %zu strings cannot fit into the %zu bytes left", c->path, key,
                    v->n, c->size - c->at);
    gguf_string *strings = arena_array(&g->arena, v->n ? v->n : 1, sizeof *strings);
    if (!strings) return fail_mem(c->err);
    for (size_t i = 0; i < v->n; i++) PGR_TRY(take_string(c, key, &strings[i]));
    v->strings = strings;
    return PGR_OK;
}

static pgr_status read_array(gguf *g, cursor *c, gguf_value *v, const char *key) {
    uint32_t item = 0;
    uint64_t n = 0;
    PGR_TRY(take_u32(c, key, &item));
    PGR_TRY(take_u64(c, key, &n));
    if (item >= GGUF_N_KIND)
        return fail(c->err, PGR_E_FORMAT, "%s: key %s: array of unknown kind %" PRIu32, c->path, key, item);
    if (item == GGUF_ARRAY)
        return fail(c->err, PGR_E_UNSUPPORTED, "%s: key %s: arrays of arrays are not read", c->path, key);
    if (n > c->size - c->at)
        return fail(c->err, PGR_E_FORMAT, "%s: key %s: %" PRIu64 " items cannot fit into the %zu bytes left", c->path,
                    key, n, c->size - c->at);
    v->item = (gguf_kind)item;
    v->n = (size_t)n;
    v->data = c->data + c->at;
    if (item == GGUF_STRING) return read_strings(g, c, v, key);
    if (n > (c->size - c->at) / kind_sizes[item])
        return fail(c->err, PGR_E_FORMAT, "%s: key %s: %" PRIu64 " items of kind %s cannot fit into the %zu bytes left",
                    c->path, key, n, kind_names[item], c->size - c->at);
    return take(c, n * kind_sizes[item], key) ? PGR_OK : PGR_E_FORMAT;
}

static pgr_status read_value(gguf *g, cursor *c, gguf_value *v) {
    char name[SHOWN + 4];
    uint32_t kind = 0;
    gguf_string text;
    PGR_TRY(take_string(c, "a key", &v->key));
    if (v->key.n == 0) return fail(c->err, PGR_E_FORMAT, "%s: empty key before byte %zu", c->path, c->at);
    const char *key = shown(v->key, name);
    PGR_TRY(take_u32(c, key, &kind));
    if (kind >= GGUF_N_KIND) return fail(c->err, PGR_E_FORMAT, "%s: key %s: unknown kind %" PRIu32, c->path, key, kind);
    v->kind = (gguf_kind)kind;
    if (kind == GGUF_ARRAY) return read_array(g, c, v, key);
    v->data = c->data + c->at;
    if (kind == GGUF_STRING) return take_string(c, key, &text);
    if (!take(c, kind_sizes[kind], key)) return PGR_E_FORMAT;
    if (kind == GGUF_BOOL && *v->data > 1)
        return fail(c->err, PGR_E_FORMAT, "%s: key %s: a bool of value %d, want 0 or 1", c->path, key, *v->data);
    return PGR_OK;
}

static pgr_status read_values(gguf *g, cursor *c, size_t n) {
    char name[SHOWN + 4];
    g->values = arena_array(&g->arena, n ? n : 1, sizeof *g->values);
    if (!g->values) return fail_mem(c->err);
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(read_value(g, c, &g->values[i]));
        g->n_value = i + 1;
    }
    size_t n_slot = index_size(n), twice;
    size_t *slots = mem_zero(n_slot, sizeof *slots);
    if (!slots) return fail_mem(c->err);
    index_names(&g->values[0].key, sizeof *g->values, n, slots, n_slot, &twice);
    mem_free(slots);
    if (twice < n)
        return fail(c->err, PGR_E_FORMAT, "%s: key %s occurs twice", c->path, shown(g->values[twice].key, name));
    return PGR_OK;
}

/* ---- tensors ---- */

static pgr_status read_dims(cursor *c, gguf_tensor *t, const char *name) {
    uint32_t n_dim = 0;
    PGR_TRY(take_u32(c, name, &n_dim));
    if (n_dim == 0 || n_dim > GGUF_MAX_DIMS)
        return fail(c->err, PGR_E_FORMAT, "%s: tensor %s: %" PRIu32 " dimensions, want 1 to %d", c->path, name, n_dim,
                    GGUF_MAX_DIMS);
    t->n_dim = n_dim;
    size_t product = 1;
    for (size_t d = 0; d < GGUF_MAX_DIMS; d++) {
        uint64_t v = 1;
        if (d < n_dim) PGR_TRY(take_u64(c, name, &v));
        if (v == 0) return fail(c->err, PGR_E_FORMAT, "%s: tensor %s: dimension %zu is 0", c->path, name, d);
        if (v > SIZE_MAX || __builtin_mul_overflow(product, (size_t)v, &product))
            return fail(c->err, PGR_E_FORMAT, "%s: tensor %s: its dimensions overflow", c->path, name);
        t->dim[d] = (size_t)v;
    }
    return PGR_OK;
}

/* Bytes of the tensor's data, from its type and dimensions. */
static pgr_status measure(const cursor *c, gguf_tensor *t, const char *name) {
    size_t block = quant_block((quant_type)t->type);
    if (t->dim[0] % block != 0)
        return fail(c->err, PGR_E_FORMAT, "%s: tensor %s: rows of %zu values are not whole blocks of %zu (%s)", c->path,
                    name, t->dim[0], block, quant_name(t->type));
    size_t bytes = t->dim[0] / block;
    bool overflow = __builtin_mul_overflow(bytes, quant_row_bytes((quant_type)t->type, block), &bytes);
    for (size_t d = 1; d < GGUF_MAX_DIMS; d++) overflow |= __builtin_mul_overflow(bytes, t->dim[d], &bytes);
    if (overflow) return fail(c->err, PGR_E_FORMAT, "%s: tensor %s: its size overflows", c->path, name);
    t->bytes = bytes;
    return PGR_OK;
}

static pgr_status read_tensor(const gguf *g, cursor *c, gguf_tensor *t) {
    char shown_name[SHOWN + 4];
    uint64_t offset = 0;
    PGR_TRY(take_string(c, "a tensor's name", &t->name));
    if (t->name.n == 0)
        return fail(c->err, PGR_E_FORMAT, "%s: a tensor without a name before byte %zu", c->path, c->at);
    const char *name = shown(t->name, shown_name);
    PGR_TRY(read_dims(c, t, name));
    PGR_TRY(take_u32(c, name, &t->type));
    PGR_TRY(take_u64(c, name, &offset));
    if (offset % g->alignment != 0)
        return fail(c->err, PGR_E_FORMAT, "%s: tensor %s: offset %" PRIu64 " is not a multiple of %zu", c->path, name,
                    offset, g->alignment);
    if (offset > c->size)
        return fail(c->err, PGR_E_FORMAT, "%s: tensor %s: data begins at offset %" PRIu64 ", the file has %zu bytes",
                    c->path, name, offset, c->size);
    t->offset = (size_t)offset;
    return quant_known(t->type) ? measure(c, t, name) : PGR_OK;
}

/* Offsets count from the start of the data, which is known only after the last entry: make them the file's. */
static pgr_status place_tensors(gguf *g, const cursor *c) {
    char name[SHOWN + 4];
    size_t start = (c->at + g->alignment - 1) & ~(g->alignment - 1); /* at <= size: the sum cannot overflow */
    for (size_t i = 0; i < g->n_tensor; i++) {
        gguf_tensor *t = &g->tensors[i];
        size_t end;
        t->offset += start; /* both are at most the file's size */
        if (__builtin_add_overflow(t->offset, t->bytes, &end)) end = SIZE_MAX;
        if (end > c->size)
            return fail(c->err, PGR_E_FORMAT, "%s: tensor %s: data ends at byte %zu, the file has %zu", c->path,
                        shown(t->name, name), end, c->size);
        if (quant_known(t->type)) t->data = c->data + t->offset;
    }
    return PGR_OK;
}

static pgr_status read_tensors(gguf *g, cursor *c, size_t n) {
    char name[SHOWN + 4];
    uint32_t alignment;
    size_t twice;
    PGR_TRY(gguf_get_u32_or(g, "general.alignment", DEFAULT_ALIGNMENT, &alignment, c->err));
    if (alignment < 8 || alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0)
        return fail(c->err, PGR_E_FORMAT, "%s: general.alignment is %" PRIu32 ", want a power of two from 8 to %d",
                    c->path, alignment, MAX_ALIGNMENT);
    g->alignment = alignment;
    g->n_index = index_size(n);
    g->tensors = arena_array(&g->arena, n ? n : 1, sizeof *g->tensors);
    g->tensor_index = arena_array(&g->arena, g->n_index, sizeof *g->tensor_index);
    if (!g->tensors || !g->tensor_index) return fail_mem(c->err);
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(read_tensor(g, c, &g->tensors[i]));
        g->n_tensor = i + 1;
    }
    index_names(&g->tensors[0].name, sizeof *g->tensors, n, g->tensor_index, g->n_index, &twice);
    if (twice < n)
        return fail(c->err, PGR_E_FORMAT, "%s: tensor %s occurs twice", c->path, shown(g->tensors[twice].name, name));
    return place_tensors(g, c);
}

/* ---- open and close ---- */

static pgr_status parse(gguf *g, const uint8_t *data, size_t size, const char *name, pgr_error *err) {
    cursor c = {data, size, 0, name, err};
    uint64_t n_tensor, n_value;
    g->path = mem_strdup(name);
    if (!g->path) return fail_mem(err);
    PGR_TRY(read_header(&c, &n_tensor, &n_value));
    PGR_TRY(read_values(g, &c, (size_t)n_value));
    return read_tensors(g, &c, (size_t)n_tensor);
}

pgr_status gguf_open_memory(const uint8_t *data, size_t size, const char *name, gguf *out, pgr_error *err) {
    gguf g = {0};
    pgr_status status = parse(&g, data, size, name, err);
    if (status == PGR_OK)
        *out = g;
    else
        gguf_close(&g);
    return status;
}

pgr_status gguf_open(const char *path, gguf *out, pgr_error *err) {
    file_map map;
    PGR_TRY(file_map_open(path, &map, err));
    pgr_status status = gguf_open_memory(map.data, map.size, path, out, err);
    if (status != PGR_OK) {
        file_map_close(&map);
        return status;
    }
    out->map = map;
    status = gguf_open_rest(out, err);
    if (status != PGR_OK) gguf_close(out);
    return status;
}

void gguf_close(gguf *g) {
    if (!g) return;
    for (size_t i = 0; i < g->n_rest; i++) gguf_close(&g->rest[i]);
    mem_free(g->rest);
    arena_free(&g->arena);
    mem_free(g->path);
    if (g->map.data) file_map_close(&g->map);
    *g = (gguf){0};
}

/* ---- look-ups ---- */

bool gguf_string_is(gguf_string a, const char *b) {
    return a.n == strlen(b) && memcmp(a.s, b, a.n) == 0;
}

const gguf_value *gguf_find(const gguf *g, const char *key) {
    for (size_t i = 0; i < g->n_value; i++)
        if (gguf_string_is(g->values[i].key, key)) return &g->values[i];
    return NULL;
}

static const gguf_tensor *find_here(const gguf *g, const char *name) {
    size_t n = strlen(name), mask = g->n_index - 1;
    for (size_t at = hash_name(name, n) & mask; g->tensor_index[at]; at = (at + 1) & mask) {
        const gguf_tensor *t = &g->tensors[g->tensor_index[at] - 1];
        if (t->name.n == n && memcmp(t->name.s, name, n) == 0) return t;
    }
    return NULL;
}

const gguf_tensor *gguf_find_tensor(const gguf *g, const char *name) {
    const gguf_tensor *t = find_here(g, name);
    for (size_t i = 0; !t && i < g->n_rest; i++) t = find_here(&g->rest[i], name);
    return t;
}

static pgr_status absent(const gguf *g, const char *key, pgr_error *err) {
    return fail(err, PGR_E_FORMAT, "%s: key %s is missing", g->path, key);
}

static pgr_status wrong_kind(const gguf *g, const gguf_value *v, const char *key, const char *want, pgr_error *err) {
    return fail(err, PGR_E_FORMAT, "%s: key %s is of kind %s, want %s", g->path, key, kind_names[v->kind], want);
}

/* Any whole number that fits: writers differ in the width they choose. */
static pgr_status as_u32(const gguf *g, const gguf_value *v, const char *key, uint32_t *out, pgr_error *err) {
    static const bool is_signed[GGUF_N_KIND] = {
        [GGUF_I8] = true, [GGUF_I16] = true, [GGUF_I32] = true, [GGUF_I64] = true};
    if (kind_sizes[v->kind] == 0 || v->kind == GGUF_F32 || v->kind == GGUF_F64 || v->kind == GGUF_BOOL)
        return wrong_kind(g, v, key, "u32", err);
    uint64_t u = load(v->data, kind_sizes[v->kind]);
    bool negative = is_signed[v->kind] && u >> (8 * kind_sizes[v->kind] - 1) != 0;
    if (negative || u > UINT32_MAX)
        return fail(err, PGR_E_FORMAT, "%s: key %s: its value is out of range, want 0 to %" PRIu32, g->path, key,
                    UINT32_MAX);
    *out = (uint32_t)u;
    return PGR_OK;
}

pgr_status gguf_get_u32(const gguf *g, const char *key, uint32_t *out, pgr_error *err) {
    const gguf_value *v = gguf_find(g, key);
    return v ? as_u32(g, v, key, out, err) : absent(g, key, err);
}

pgr_status gguf_get_u32_or(const gguf *g, const char *key, uint32_t fallback, uint32_t *out, pgr_error *err) {
    const gguf_value *v = gguf_find(g, key);
    if (v) return as_u32(g, v, key, out, err);
    *out = fallback;
    return PGR_OK;
}

pgr_status gguf_get_f32_or(const gguf *g, const char *key, float fallback, float *out, pgr_error *err) {
    const gguf_value *v = gguf_find(g, key);
    if (!v) {
        *out = fallback;
    } else if (v->kind == GGUF_F32) {
        *out = load_f32(v->data);
    } else if (v->kind == GGUF_F64) {
        uint64_t bits = load(v->data, 8);
        double d;
        memcpy(&d, &bits, sizeof d);
        /* beyond float's range the conversion is undefined */
        *out = fabs(d) <= 3.4e38 ? (float)d : d > 0 ? INFINITY : d < 0 ? -INFINITY : NAN;
    } else {
        return wrong_kind(g, v, key, "f32", err);
    }
    return PGR_OK;
}

pgr_status gguf_get_bool_or(const gguf *g, const char *key, bool fallback, bool *out, pgr_error *err) {
    const gguf_value *v = gguf_find(g, key);
    if (v && v->kind != GGUF_BOOL) return wrong_kind(g, v, key, "bool", err);
    *out = v ? *v->data != 0 : fallback;
    return PGR_OK;
}

pgr_status gguf_get_string(const gguf *g, const char *key, gguf_string *out, pgr_error *err) {
    const gguf_value *v = gguf_find(g, key);
    if (!v) return absent(g, key, err);
    if (v->kind != GGUF_STRING) return wrong_kind(g, v, key, "string", err);
    *out = (gguf_string){(const char *)v->data + 8, (size_t)load(v->data, 8)};
    return PGR_OK;
}

pgr_status gguf_get_array(const gguf *g, const char *key, gguf_kind item, const gguf_value **out, pgr_error *err) {
    const gguf_value *v = gguf_find(g, key);
    if (!v) return absent(g, key, err);
    if (v->kind != GGUF_ARRAY) return wrong_kind(g, v, key, "array", err);
    if (v->item != item && !(item == GGUF_I32 && v->item == GGUF_U32))
        return fail(err, PGR_E_FORMAT, "%s: key %s is an array of %s, want %s", g->path, key, kind_names[v->item],
                    kind_names[item]);
    *out = v;
    return PGR_OK;
}

int32_t gguf_array_i32(const gguf_value *array, size_t i) {
    PGR_ASSERT(i < array->n && kind_sizes[array->item] == 4);
    return (int32_t)load_u32(array->data + 4 * i);
}

float gguf_array_f32(const gguf_value *array, size_t i) {
    PGR_ASSERT(i < array->n && array->item == GGUF_F32);
    return load_f32(array->data + 4 * i);
}
