/* stream.c - cuts a file into JSON values without parsing them: lines are cut at line breaks, an array's items at
 * commas outside strings and brackets. Reading is zlib's, which takes plain files as they are. */
#include "user/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/mem.h"
#include "base/text.h"

enum { CHUNK = 1 << 16 };

struct stream {
    char *name;
    gzFile file;
    uint64_t size;
    buf value;
    size_t line;  /* of the next byte */
    size_t n, at; /* bytes in chunk, the next one */
    bool array;   /* items of an array, else lines */
    bool first;   /* no item was handed out yet */
    bool ended;
    unsigned char chunk[CHUNK];
};

static bool is_space(int c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static pgr_status fail_read(stream *s, pgr_error *err) {
    int number = 0;
    const char *said = gzerror(s->file, &number), *what = strstr(said, ">: "); /* "<fd:3>: incorrect data check" */
    char text[128];
    s->ended = true;
    if (number == Z_MEM_ERROR) return fail_mem(err);
    if (number == Z_ERRNO)
        return fail(err, PGR_E_IO, "%s: cannot be read: %s", s->name, strerror_r(errno, text, sizeof text));
    if (number == Z_BUF_ERROR)
        return fail(err, PGR_E_FORMAT, "%s: found the end of the file inside gzip data, expected the whole file",
                    s->name);
    return fail(err, PGR_E_FORMAT, "%s: found damaged gzip data (%s), expected the file as it was packed", s->name,
                what ? what + 3 : said);
}

/* The next chunk; s->n is 0 at the end of the file. */
static pgr_status fill(stream *s, pgr_error *err) {
    int n = gzread(s->file, s->chunk, CHUNK);
    s->at = 0;
    s->n = n > 0 ? (size_t)n : 0;
    int number = 0;
    if (n <= 0) gzerror(s->file, &number); /* a file that is cut off gives what it has, then this */
    return n < 0 || number != Z_OK ? fail_read(s, err) : PGR_OK;
}

/* *c: the next byte, still unread; -1 at the end of the file. */
static pgr_status peek(stream *s, int *c, pgr_error *err) {
    if (s->at == s->n) PGR_TRY(fill(s, err));
    *c = s->at < s->n ? s->chunk[s->at] : -1;
    return PGR_OK;
}

static void step(stream *s) {
    if (s->chunk[s->at++] == '\n') s->line++;
}

static pgr_status skip_space(stream *s, int *c, pgr_error *err) {
    PGR_TRY(peek(s, c, err));
    while (is_space(*c)) {
        step(s);
        PGR_TRY(peek(s, c, err));
    }
    return PGR_OK;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static pgr_status refuse_binary(stream *s, pgr_error *err) {
    static const struct {
        const char *magic, *name, *hint;
    } known[] = {
        {"PAR1", "a Parquet file",
         "JSON lines: python3 -c \"import pandas as p, sys; p.read_parquet(sys.argv[1]).to_json(sys.argv[2], "
         "orient='records', lines=True)\" IN.parquet OUT.jsonl"},
        {"SQLite format 3", "an SQLite database", "JSON lines or a JSON array"},
        {"PK\x03\x04", "a zip archive", "JSON lines or a JSON array, plain or gzip"},
        {"\x28\xB5\x2F\xFD", "Zstandard data", "JSON lines or a JSON array, plain or gzip"},
        {"\xFD"
         "7zXZ",
         "xz data", "JSON lines or a JSON array, plain or gzip"},
        {"BZh", "bzip2 data", "JSON lines or a JSON array, plain or gzip"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i].magic);
        if (s->n - s->at >= n && memcmp(s->chunk + s->at, known[i].magic, n) == 0)
            return fail(err, PGR_E_UNSUPPORTED, "%s: found %s, expected %s", s->name, known[i].name, known[i].hint);
    }
    return PGR_OK;
}

/* The first bytes: what kind of file this is. */
static pgr_status begin(stream *s, pgr_error *err) {
    int c = -1;
    PGR_TRY(peek(s, &c, err));
    PGR_TRY(refuse_binary(s, err));
    if (s->n - s->at >= 3 && memcmp(s->chunk + s->at, "\xEF\xBB\xBF", 3) == 0) s->at += 3; /* byte order mark */
    PGR_TRY(skip_space(s, &c, err));
    s->array = c == '[';
    if (s->array) step(s);
    return PGR_OK;
}

static pgr_status open_file(const char *path, stream *s, pgr_error *err) {
    bool standard = strcmp(path, "-") == 0;
    s->name = mem_strdup(standard ? "standard input" : path);
    if (!s->name) return fail_mem(err);
    errno = 0;
    int fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    char text[128];
    if (fd < 0) return fail(err, PGR_E_IO, "%s: cannot be read: %s", s->name, strerror_r(errno, text, sizeof text));
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) s->size = (uint64_t)st.st_size;
    s->file = gzdopen(fd, "rb");
    if (!s->file) {
        close(fd);
        return fail_mem(err);
    }
    gzbuffer(s->file, 1 << 17);
    return begin(s, err);
}

pgr_status stream_open(const char *path, stream **out, pgr_error *err) {
    stream *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    s->line = 1;
    s->first = true;
    pgr_status status = open_file(path, s, err);
    if (status == PGR_OK)
        *out = s;
    else
        stream_close(s);
    return status;
}

void stream_close(stream *s) {
    if (!s) return;
    if (s->file) gzclose(s->file);
    buf_free(&s->value);
    mem_free(s->name);
    mem_free(s);
}

const char *stream_name(const stream *s) {
    return s->name;
}

uint64_t stream_size(const stream *s) {
    return s->size;
}

uint64_t stream_read(const stream *s) {
    z_off_t at = gzoffset(s->file);
    return at > 0 ? (uint64_t)at : 0;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* Bytes of the value, as many as there is room for; `seen` counts them all. */
static void keep(stream *s, const void *p, size_t n, size_t *seen) {
    *seen += n;
    if (*seen <= STREAM_VALUE_MAX) buf_add(&s->value, p, n);
}

/* The rest of the line, without its line break. */
static pgr_status read_line(stream *s, size_t *seen, pgr_error *err) {
    for (int c = 0;;) {
        PGR_TRY(peek(s, &c, err));
        if (c < 0) return PGR_OK;
        const unsigned char *from = s->chunk + s->at, *end = memchr(from, '\n', s->n - s->at);
        size_t n = end ? (size_t)(end - from) : s->n - s->at;
        keep(s, from, n, seen);
        s->at += n;
        if (!end) continue;
        step(s);
        return PGR_OK;
    }
}

/* The bytes up to the comma or bracket that ends the item, which stay unread. */
static pgr_status read_item(stream *s, size_t *seen, pgr_error *err) {
    size_t depth = 0;
    bool text = false, escaped = false;
    for (int c = 0;;) {
        PGR_TRY(peek(s, &c, err));
        if (c < 0) return PGR_OK;
        if (text) {
            text = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if (depth == 0 && (c == ',' || c == ']')) {
            return PGR_OK;
        } else {
            text = c == '"';
            depth += c == '{' || c == '[';
            depth -= depth > 0 && (c == '}' || c == ']');
        }
        char byte = (char)c;
        keep(s, &byte, 1, seen);
        step(s);
    }
}

/* Between items: *more says whether another one begins here. */
static pgr_status next_item(stream *s, bool *more, pgr_error *err) {
    int c = -1;
    PGR_TRY(skip_space(s, &c, err));
    bool end = c == ']';
    *more = !end;
    if (c < 0 || (!end && !s->first && c != ','))
        return fail(err, PGR_E_FORMAT, "%s:%zu: found the end of the file, expected `]` at the end of the array",
                    s->name, s->line);
    if (end || !s->first) step(s);
    s->first = false;
    PGR_TRY(skip_space(s, &c, err));
    if (end && c >= 0)
        return fail(err, PGR_E_FORMAT, "%s:%zu: found text after the array's end, expected none", s->name, s->line);
    return PGR_OK;
}

static pgr_status read_value(stream *s, stream_value *out, bool *more, pgr_error *err) {
    int c = -1;
    size_t seen = 0;
    buf_clear(&s->value);
    if (s->array)
        PGR_TRY(next_item(s, more, err));
    else
        PGR_TRY(skip_space(s, &c, err));
    if (!s->array) *more = c >= 0;
    if (!*more) return PGR_OK;

    size_t line = s->line;
    PGR_TRY(s->array ? read_item(s, &seen, err) : read_line(s, &seen, err));
    if (s->value.failed) return fail_mem(err);
    if (seen > STREAM_VALUE_MAX)
        return fail(err, PGR_E_LIMIT, "%s:%zu: found a value of %zu bytes, expected at most %zu", s->name, line, seen,
                    STREAM_VALUE_MAX);
    *out = (stream_value){.text = s->value.data ? s->value.data : "", .n = s->value.n, .line = line};
    return PGR_OK;
}

bool stream_is_opened_object(const stream_value *v) {
    size_t n = v->n;
    while (n && is_space((unsigned char)v->text[n - 1])) n--;
    return n == 1 && v->text[0] == '{';
}

pgr_status stream_next(stream *s, stream_value *out, bool *more, pgr_error *err) {
    if (s->ended) {
        *more = false;
        return PGR_OK;
    }
    pgr_status status = read_value(s, out, more, err);
    if (status != PGR_E_LIMIT && (status != PGR_OK || !*more)) s->ended = true;
    return status;
}
