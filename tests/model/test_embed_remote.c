/* test_embed_remote.c - embeddings from a server of the test's own: batches, floats and base64, answers that lie. */
#include "../base/faults.h"
#include "../hub/hub_server.h"

#include <math.h>

#include "base/json.h"
#include "model/embedder.h"

enum { DIMS = 4 };

typedef struct fake {
    server *s;
    char url[60];
    bool base64;
    const char *raw; /* every answer; NULL: made */
    int n_asked;
    size_t most; /* texts of a request */
} fake;

/* (length, first byte, 1, 0) of a text, scaled by 3: of another length than 1. */
static void embed(const char *text, size_t n, float out[DIMS]) {
    out[0] = 3 * (float)n, out[1] = n ? 3 * (float)(unsigned char)text[0] : 0, out[2] = 3, out[3] = 0;
}

static void put_base64(buf *b, const void *bytes, size_t n) {
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) buf_putc(b, i + k <= n ? LETTERS[v >> (18 - 6 * k) & 63] : '=');
    }
}

static char *answer_embeddings(void *ctx, const char *posted, size_t n, int *status) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    fake *f = ctx;
    (void)status;
    pthread_mutex_lock(&lock);
    f->n_asked++;
    json_t *v = json_loadb(posted, n, 0, NULL), *list = json_object_get(v, "input");
    buf b = {0};
    size_t count = json_array_size(list);
    if (count > f->most) f->most = count;
    buf_puts(&b, "{\"data\":[");
    for (size_t i = count; i-- > 0;) { /* the last one first: the index tells */
        const json_t *text = json_array_get(list, i);
        float x[DIMS];
        embed(json_string_value(text), json_string_length(text), x);
        buf_printf(&b, "{\"index\":%zu,\"embedding\":", i);
        if (f->base64) {
            buf_putc(&b, '"');
            put_base64(&b, x, sizeof x);
            buf_putc(&b, '"');
        } else {
            buf_printf(&b, "[%g,%g,%g,%g]", (double)x[0], (double)x[1], (double)x[2], (double)x[3]);
        }
        buf_puts(&b, i ? "}," : "}");
    }
    buf_printf(&b, "],\"usage\":{\"prompt_tokens\":%zu}}", 2 * count);
    char *out = strdup(f->raw ? f->raw : b.data);
    buf_free(&b);
    json_decref(v);
    pthread_mutex_unlock(&lock);
    return out;
}

static void begin(fake *f) {
    static const char MODELS[] = "{\"data\":[{\"id\":\"e5\"}]}";
    f->s = server_start();
    hub_route *r = server_route(f->s, "/v1/embeddings", "", 0);
    r->make = answer_embeddings;
    r->ctx = f;
    server_route(f->s, "/v1/models", MODELS, strlen(MODELS));
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d/v1", f->s->port);
}

static void test_embeddings(void **state) {
    (void)state;
    enum { N = 150 };
    for (int base64 = 0; base64 < 2; base64++) {
        fake f = {.base64 = base64};
        begin(&f);
        pgr_embedder *e = NULL;
        pgr_error err = {0};
        char *path = NULL, names[N][8];
        assert_int_equal(pgr_embedder_find(f.url, &path, &err), PGR_OK);
        if (pgr_embedder_open(path, NULL, &e, &err) != PGR_OK) fail_msg("%s", err.message);
        pgr_free(path);
        assert_string_equal(pgr_embedder_name(e), "e5");
        assert_int_equal(pgr_embedder_dims(e), DIMS);
        const char *texts[N];
        size_t lens[N];
        float out[N][DIMS];
        pgr_embedded counts[N];
        for (size_t i = 0; i < N; i++) {
            lens[i] = (size_t)snprintf(names[i], sizeof names[i], "%zu", i * i);
            texts[i] = names[i];
        }
        if (pgr_embed(e, texts, lens, N, NULL, out[0], counts, &err) != PGR_OK) fail_msg("%s", err.message);
        size_t tokens = 0;
        for (size_t i = 0; i < N; i++) {
            float want[DIMS];
            embed(texts[i], lens[i], want);
            double ss = 0;
            for (size_t k = 0; k < DIMS; k++) ss += (double)want[k] * (double)want[k];
            for (size_t k = 0; k < DIMS; k++) /* a float's rounding, and that of %g */
                assert_true(fabs((double)out[i][k] - (double)want[k] / sqrt(ss)) < 1e-5);
            tokens += counts[i].tokens;
        }
        assert_int_equal(tokens, 2 * N);
        assert_int_equal(f.n_asked, 1 + 3); /* 64, 64, 22 */
        assert_int_equal(f.most, 64);
        pgr_embed_options o = pgr_embed_options_default();
        o.dim = 2;
        assert_int_equal(pgr_embed(e, texts, lens, 1, &o, out[0], NULL, &err), PGR_OK);
        assert_true(fabs(hypot((double)out[0][0], (double)out[0][1]) - 1) < 1e-6);
        o.pool = PGR_POOL_MEAN;
        assert_int_equal(pgr_embed(e, texts, lens, 1, &o, out[0], NULL, &err), PGR_E_UNSUPPORTED);
        pgr_embedder_close(e);
        server_stop(f.s);
    }
}

static void test_lies(void **state) {
    (void)state;
    static const struct {
        const char *raw, *said;
    } LIES[] = {
        {"", "here"},
        {"{\"data\":7}", "expected an array of 2 embeddings"},
        {"{\"data\":[]}", "expected an array of 2 embeddings"},
        {"{\"data\":[{\"embedding\":[1,2]},{\"index\":0,\"embedding\":[1,2]}]}", "data[1].index is 0"},
        {"{\"data\":[{\"embedding\":[1,2]},{\"index\":2,\"embedding\":[1,2]}]}", "data[1].index is 2"},
        {"{\"data\":[{\"embedding\":[1,2]},{\"embedding\":[1]}]}", "data[1].embedding has 1 values, expected 2"},
        {"{\"data\":[{\"embedding\":[1,\"2\"]},{\"embedding\":[1,2]}]}", "no list of numbers"},
        {"{\"data\":[{\"embedding\":[1,NaN]},{\"embedding\":[1,2]}]}", "data[0].embedding[1] is "},
        {"{\"data\":[{\"embedding\":\"AAAAAAAA\"},{\"embedding\":[1,2]}]}", "no list of numbers"},
        {"{\"data\":[{\"embedding\":\"?\"},{\"embedding\":[1,2]}]}", "no list of numbers"},
        {"{\"data\":[{\"embedding\":\"AADAfwAAgD8=\"},{\"embedding\":[1,2]}]}", "data[0].embedding[0] is nan"},
    };
    for (size_t i = 0; i < sizeof LIES / sizeof *LIES; i++) {
        float out[4];
        size_t found, tokens;
        pgr_error err = {0};
        assert_int_equal(embeddings_read(LIES[i].raw, strlen(LIES[i].raw), "here", 2, 2, out, &found, &tokens, &err),
                         PGR_E_FORMAT);
        if (!strstr(err.message, LIES[i].said)) fail_msg("%s", err.message);
    }
    fake f = {.raw = "{\"data\":[{\"embedding\":[]}]}"};
    begin(&f);
    pgr_embedder *e = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_embedder_open(f.url, NULL, &e, &err), PGR_E_FORMAT);
    f.raw = "{\"data\":[{\"embedding\":[0,0]}]}";
    assert_int_equal(pgr_embedder_open(f.url, NULL, &e, &err), PGR_OK);
    float out[2];
    assert_int_equal(pgr_embed(e, (const char *const[]){"a"}, (const size_t[]){1}, 1, NULL, out, NULL, &err),
                     PGR_E_FORMAT); /* no direction */
    pgr_embedder_close(e);
    server_stop(f.s);
    assert_int_equal(pgr_embedder_open(f.url, NULL, &e, &err), PGR_E_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_embeddings), cmocka_unit_test(test_lies)};
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
