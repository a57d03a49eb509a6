/* test_hub.c - pgr_pull against servers of the test's own on 127.0.0.1: what a hub does well, and what it, the network
 * and the disk do badly. */
#include "../base/faults.h"
#include "hub_fixture.h"

#include "hub/hub_cache.h"
#include "hub/hub_list.h"

#define MODEL "org/tiny"

static hub *h;
static pgr_pull_options options;

static int begin(void **state) {
    (void)state;
    h = hub_start(MODEL);
    options = pgr_pull_options_default();
    options.endpoint = h->endpoint;
    options.token = "";
    options.hub_cache = "";
    options.offline = false;
    options.backoff_s = 0.01;
    static char to[100];
    snprintf(to, sizeof to, "%s/to", h->folder);
    options.to = to;
    return 0;
}

static int end(void **state) {
    (void)state;
    hub_stop(h);
    return 0;
}

static pgr_pulled pull_well(void) {
    pgr_pulled r = {0};
    pgr_error err = {0};
    pgr_status s = pgr_pull(MODEL, &options, &r, &err);
    hub_settle(h);
    if (s != PGR_OK) fail_msg("status %d: %s", s, err.message);
    assert_string_equal(r.path, options.to);
    assert_string_equal(r.commit, COMMIT);
    pgr_free(r.path);
    return r;
}

static void pull_badly(pgr_status status, const char *says) {
    pgr_pulled r;
    pgr_error err = {0};
    pgr_status s = pgr_pull(MODEL, &options, &r, &err);
    hub_settle(h);
    if (s == PGR_OK) fail_msg("worked, wanted: %s", says);
    if (s != status || err.status != status || !strstr(err.message, says))
        fail_msg("status %d, wanted %d; \"%s\", wanted: %s", s, status, err.message, says);
}

/* ---- what goes well ---- */

static void check_all_files(bool facts) {
    char *weights = make_bytes(300000, 1);
    add_small(h, "config.json", "{\"a\":1}\n", facts);
    add_small(h, "1_Pooling/config.json", "{\"b\":2}\n", facts);
    add_small(h, "empty.txt", "", facts);
    add_small(h, "README.md", "not of use", facts);
    add_large(h, "model.safetensors", weights, 300000, facts);
    serve_list(h);
    pgr_pulled r = pull_well();
    assert_int_equal(r.files, 4);
    assert_int_equal(r.bytes, 300016);
    assert_false(r.cached);
    assert_true(local_is(h, "to/config.json", "{\"a\":1}\n", 8));
    assert_true(local_is(h, "to/1_Pooling/config.json", "{\"b\":2}\n", 8));
    assert_true(local_is(h, "to/empty.txt", "", 0));
    assert_true(local_is(h, "to/model.safetensors", weights, 300000));
    assert_false(local_exists(h, "to/README.md"));
    assert_false(local_exists(h, "to/model.safetensors.part"));
    assert_false(local_exists(h, "to/model.safetensors.part.etag"));

    r = pull_well(); /* the second time only the list is asked for */
    assert_true(r.cached);
    assert_int_equal(r.bytes, 300016);
    assert_int_equal(server_asked(h->hub, LIST_PATH(MODEL), NULL), 2);
    assert_int_equal(server_asked(h->hub, file_path(h, "config.json"), NULL), 1);
    assert_int_equal(server_asked(h->store, "/blobs/model.safetensors", NULL), 1);
    free(weights);
}

static void test_files_with_facts_in_the_list(void **state) {
    (void)state;
    check_all_files(true);
}

static void test_files_with_facts_in_headers(void **state) {
    (void)state;
    check_all_files(false);
}

static void test_all_and_include(void **state) {
    (void)state;
    add_small(h, "a-Q4.gguf", "four", true);
    add_small(h, "a-Q8.gguf", "eight", true);
    add_small(h, "README.md", "text", true);
    serve_list(h);
    options.include = "*Q4*";
    assert_int_equal(pull_well().files, 1);
    options.include = NULL;
    options.all = true;
    assert_int_equal(pull_well().files, 3);
    assert_int_equal(server_asked(h->hub, file_path(h, "a-Q4.gguf"), NULL), 1); /* it was there */
    options.include = "*.zip";
    pull_badly(PGR_E_FORMAT, "org/tiny@main: none of its 3 files is what is asked for");
}

static void test_shards_in_parallel(void **state) {
    (void)state;
    char *bytes[8], name[40];
    for (uint32_t i = 0; i < 8; i++) {
        bytes[i] = make_bytes(50000, i);
        snprintf(name, sizeof name, "model-%05u-of-00008.safetensors", i + 1);
        add_large(h, name, bytes[i], 50000, true)->delay_ms = 60;
    }
    serve_list(h);
    assert_int_equal(pull_well().bytes, 400000);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "to/model-%05u-of-00008.safetensors", i + 1);
        assert_true(local_is(h, name, bytes[i], 50000));
        free(bytes[i]);
    }
    assert_in_range(h->store->most_waiting, 2, 4);
}

static uint64_t last_done, last_total;
static void on_progress(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)ctx;
    assert_string_equal(label, "pull");
    assert_string_equal(unit, "B");
    assert_true(done >= last_done && done <= total);
    last_done = done;
    last_total = total;
}

static void test_progress(void **state) {
    (void)state;
    char *bytes = make_bytes(700000, 3);
    add_large(h, "a.gguf", bytes, 700000, true);
    add_small(h, "config.json", "{}", true);
    serve_list(h);
    last_done = 0;
    options.watch.progress = on_progress;
    pull_well();
    assert_int_equal(last_done, 700002);
    assert_int_equal(last_total, 700002);
    free(bytes);
}

static void test_new_commit_replaces_and_removes(void **state) {
    (void)state;
    add_small(h, "config.json", "old", true);
    add_small(h, "same.json", "same", true);
    add_small(h, "chat_template.jinja", "gone in the next commit", true);
    serve_list(h);
    pull_well();
    hub_route *list = serve_list(h);
    char text[1000], hash[41], same[41];
    git_hash("new!", 4, hash);
    git_hash("same", 4, same);
    list->n = (size_t)snprintf(text, sizeof text,
                               "{\"sha\":\"fedcba9876543210\",\"siblings\":[{\"rfilename\":\"config.json\",\"size\":4,"
                               "\"blobId\":\"%s\"},{\"rfilename\":\"same.json\",\"size\":4,\"blobId\":\"%s\"}]}",
                               hash, same);
    list->body = text;
    hub_route *r = server_route(h->hub, "/org/tiny/resolve/fedcba9876543210/config.json", "new!", 4);
    snprintf(r->etag, sizeof r->etag, "\"%s\"", hash);
    pgr_pulled p;
    pgr_error err = {0};
    assert_int_equal(pgr_pull(MODEL, &options, &p, &err), PGR_OK);
    hub_settle(h);
    assert_string_equal(p.commit, "fedcba9876543210");
    pgr_free(p.path);
    assert_true(local_is(h, "to/config.json", "new!", 4));
    assert_true(local_is(h, "to/same.json", "same", 4));
    assert_false(local_exists(h, "to/chat_template.jinja"));
}

/* ---- cuts and resumption ---- */

static void test_cut_is_resumed(void **state) {
    (void)state;
    char *bytes = make_bytes(400000, 5);
    asked last;
    hub_route *r = add_large(h, "model.safetensors", bytes, 400000, true);
    r->faults = 2;
    r->cut = 150000;
    serve_list(h);
    pull_well();
    assert_true(local_is(h, "to/model.safetensors", bytes, 400000));
    assert_int_equal(server_asked(h->store, "/blobs/model.safetensors", &last), 3);
    assert_string_equal(last.range, "bytes=300000-");
    assert_string_equal(last.if_range, "\"store-1\"");
    free(bytes);
}

/* The end of the connection is the end of the body: only the hub's size tells that something is missing. */
static void test_cut_without_a_length(void **state) {
    (void)state;
    char *bytes = make_bytes(200000, 6);
    hub_route *r = add_large(h, "model.safetensors", bytes, 200000, true);
    r->faults = 1;
    r->cut = 70000;
    r->no_length = true;
    serve_list(h);
    pull_well();
    assert_true(local_is(h, "to/model.safetensors", bytes, 200000));
    assert_int_equal(server_asked(h->store, "/blobs/model.safetensors", NULL), 2);
    free(bytes);
}

static void test_second_call_resumes(void **state) {
    (void)state;
    char *bytes = make_bytes(400000, 7);
    asked last;
    add_small(h, "config.json", "{}", true);
    hub_route *r = add_large(h, "model.safetensors", bytes, 400000, true);
    r->faults = 100;
    r->cut = 1000;
    serve_list(h);
    pull_badly(PGR_E_IO, "the connection was cut in the middle of the file; 5 tries");
    assert_true(local_exists(h, "to/model.safetensors.part"));
    assert_false(local_exists(h, "to/model.safetensors"));
    assert_true(local_is(h, "to/config.json", "{}", 2));
    r->faults = 0;
    pull_well();
    assert_true(local_is(h, "to/model.safetensors", bytes, 400000));
    server_asked(h->store, "/blobs/model.safetensors", &last);
    assert_string_equal(last.range, "bytes=5000-");
    assert_int_equal(server_asked(h->hub, file_path(h, "config.json"), NULL), 1);
    free(bytes);
}

static void test_range_ignored(void **state) {
    (void)state;
    char *bytes = make_bytes(300000, 8);
    hub_route *r = add_large(h, "model.safetensors", bytes, 300000, true);
    r->faults = 1;
    r->cut = 100000;
    r->ignore_range = true;
    serve_list(h);
    pull_well();
    assert_true(local_is(h, "to/model.safetensors", bytes, 300000));
    free(bytes);
}

/* The file changed between two calls: the ETag of the part does not hold any more. */
static void test_part_of_another_version(void **state) {
    (void)state;
    char *bytes = make_bytes(300000, 9);
    add_large(h, "model.safetensors", bytes, 300000, true);
    serve_list(h);
    local_write(h, "to/model.safetensors.part", "an older version's first bytes", 30);
    local_write(h, "to/model.safetensors.part.etag", "\"store-0\"", 9);
    pull_well();
    assert_true(local_is(h, "to/model.safetensors", bytes, 300000));
    assert_int_equal(server_asked(h->store, "/blobs/model.safetensors", NULL), 1);

    /* the same without a tag: only the checksum can tell, and the file is fetched anew */
    assert_int_equal(unlink(local(h, "to/model.safetensors")), 0);
    local_write(h, "to/model.safetensors.part", "an older version's first bytes", 30);
    pull_well();
    assert_true(local_is(h, "to/model.safetensors", bytes, 300000));
    assert_int_equal(server_asked(h->store, "/blobs/model.safetensors", NULL), 3);
    free(bytes);
}

static void test_parts_of_odd_lengths(void **state) {
    (void)state;
    char *bytes = make_bytes(3000, 10);
    add_large(h, "whole.gguf", bytes, 3000, true);
    add_large(h, "longer.gguf", bytes, 2000, true);
    add_large(h, "untold.gguf", bytes, 2500, false);
    serve_list(h);
    local_write(h, "to/whole.gguf.part", bytes, 3000);
    local_write(h, "to/longer.gguf.part", bytes, 3000);
    local_write(h, "to/untold.gguf.part", bytes, 3000); /* its Range is beyond the end: 416 */
    pull_well();
    assert_true(local_is(h, "to/whole.gguf", bytes, 3000));
    assert_true(local_is(h, "to/longer.gguf", bytes, 2000));
    assert_true(local_is(h, "to/untold.gguf", bytes, 2500));
    assert_int_equal(server_asked(h->store, "/blobs/whole.gguf", NULL), 0);
    free(bytes);
}

static pgr_cancel cancel;
static void cancel_in_the_middle(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)ctx, (void)label, (void)total, (void)unit;
    if (done >= 100000) cancel = 1;
}

static void test_cancelled_and_resumed(void **state) {
    (void)state;
    char *bytes = make_bytes(400000, 11);
    hub_route *r = add_large(h, "model.safetensors", bytes, 400000, true);
    asked last;
    size_t from = 0;
    r->faults = 1;
    r->cut = 200000; /* so that the call is still at work when it is cancelled */
    serve_list(h);
    cancel = 0;
    options.backoff_s = 60;
    options.watch.cancel = &cancel;
    options.watch.progress = cancel_in_the_middle;
    pull_badly(PGR_E_CANCELLED, "cancelled");
    assert_true(local_exists(h, "to/model.safetensors.part"));
    assert_false(local_exists(h, "to/model.safetensors"));
    options.watch.cancel = NULL;
    options.watch.progress = NULL;
    pull_well();
    server_asked(h->store, "/blobs/model.safetensors", &last);
    assert_int_equal(sscanf(last.range, "bytes=%zu-", &from), 1);
    assert_true(from >= 100000);
    assert_true(local_is(h, "to/model.safetensors", bytes, 400000));
    free(bytes);
}

/* ---- wrong bytes ---- */

static void test_wrong_length(void **state) {
    (void)state;
    char *bytes = make_bytes(5000, 12);
    hub_route *r = add_large(h, "a.gguf", bytes, 5000, true);
    r->n = 4000;
    serve_list(h);
    pull_badly(PGR_E_FORMAT, "/org/tiny/resolve/" COMMIT "/a.gguf: the server has 4000 bytes, the hub says 5000");
    r->n = 5000;
    r->no_length = true;
    hub_route *hub_side = server_route(h->hub, file_path(h, "b.gguf"), bytes, 5000);
    hub_side->no_length = true;
    sha256_hash(bytes, 5000, hub_side->etag);
    list_entry(h, "b.gguf", ",\"size\":4999");
    serve_list(h);
    pull_badly(PGR_E_FORMAT, "b.gguf: the server sends more than the 4999 bytes that the hub says");
    assert_false(local_exists(h, "to/b.gguf"));
    free(bytes);
}

static void test_wrong_hash(void **state) {
    (void)state;
    char *bytes = make_bytes(5000, 13), *other = make_bytes(5000, 14);
    hub_route *r = add_large(h, "a.gguf", bytes, 5000, true);
    r->body = other;
    serve_list(h);
    pull_badly(PGR_E_FORMAT, "a.gguf: found sha256 ");
    assert_false(local_exists(h, "to/a.gguf"));
    assert_false(local_exists(h, "to/a.gguf.part"));
    r->body = bytes;
    r = add_small(h, "config.json", "right", false);
    r->body = "wrong";
    serve_list(h);
    pull_badly(PGR_E_FORMAT, "config.json: found git blob sha1 ");
    assert_false(local_exists(h, "to/config.json"));
    r->body = "right";
    strcpy(r->etag, "\"an ETag that is no checksum\"");
    pull_badly(PGR_E_FORMAT, "config.json: the hub tells no checksum");
    free(bytes);
    free(other);
}

/* A file of that name is there: kept if it is the hub's, else replaced. */
static void test_files_that_are_there(void **state) {
    (void)state;
    add_small(h, "config.json", "right", true);
    add_small(h, "tokenizer.json", "right", true);
    serve_list(h);
    local_write(h, "to/config.json", "right", 5);
    local_write(h, "to/tokenizer.json", "wrong", 5);
    pull_well();
    assert_true(local_is(h, "to/tokenizer.json", "right", 5));
    assert_int_equal(server_asked(h->hub, file_path(h, "config.json"), NULL), 0);

    local_write(h, "to/config.json", "edited", 6); /* after it was verified */
    assert_false(pull_well().cached);
    assert_true(local_is(h, "to/config.json", "right", 5));
}

/* ---- servers that refuse ---- */

static void test_refusals(void **state) {
    (void)state;
    add_small(h, "config.json", "{}", true);
    hub_route *r = serve_list(h);
    r->faults = 2;
    r->fault_status = 401;
    pull_badly(PGR_E_IO, "/api/models/org/tiny/revision/main?blobs=true: HTTP status 401: no access without a token");
    options.token = "hf_secret";
    pull_badly(PGR_E_IO, "HTTP status 401: the token in HF_TOKEN gives no access");
    r->faults = 1;
    r->fault_status = 404;
    pull_badly(PGR_E_IO, "HTTP status 404: no such model, revision or file");
    assert_int_equal(server_asked(h->hub, LIST_PATH(MODEL), NULL), 3); /* none of these was tried again */
    options.token = "two words";
    pull_badly(PGR_E_ARG, "HF_TOKEN: found blanks");
    options.token = "";
    options.endpoint = "ftp://127.0.0.1";
    pull_badly(PGR_E_ARG, "expected http:// or https://");
    options.endpoint = "http://127.0.0.1:1"; /* nobody listens there */
    pull_badly(PGR_E_IO, "http://127.0.0.1:1/api/models/org/tiny");
    assert_false(local_exists(h, "to"));
}

static void test_busy_servers(void **state) {
    (void)state;
    char *bytes = make_bytes(5000, 15);
    struct timespec a, b;
    hub_route *list, *r = add_large(h, "a.gguf", bytes, 5000, true), *c = add_small(h, "config.json", "{}", true);
    list = serve_list(h);
    list->faults = 2;
    list->fault_status = 503;
    r->faults = 1;
    r->fault_status = 429;
    r->retry_after = "1";
    c->faults = 2;
    c->silent = true;
    clock_gettime(CLOCK_MONOTONIC, &a);
    pull_well();
    clock_gettime(CLOCK_MONOTONIC, &b);
    double seconds = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    assert_true(seconds >= 1); /* as Retry-After asked, though the backoff is a hundredth of that */
    assert_int_equal(server_asked(h->hub, LIST_PATH(MODEL), NULL), 3);
    assert_int_equal(server_asked(h->store, "/blobs/a.gguf", NULL), 2);
    assert_int_equal(server_asked(h->hub, file_path(h, "config.json"), NULL), 3);

    list->faults = 1;
    list->fault_status = 429;
    list->retry_after = "86400";
    pull_badly(PGR_E_IO, "the server asks to wait 86400 seconds");
    list->faults = 100;
    list->fault_status = 500;
    list->retry_after = NULL;
    pull_badly(PGR_E_IO, "HTTP status 500: the server has a problem; 5 tries");
    free(bytes);
}

static void test_redirects(void **state) {
    (void)state;
    hub_route *list = serve_list(h);
    snprintf(list->location, sizeof list->location, "/again");
    hub_route *again = server_route(h->hub, "/again", "", 0);
    strcpy(again->location, "/again");
    pull_badly(PGR_E_IO, "redirects");
    strcpy(again->location, "file:///etc/passwd");
    pull_badly(PGR_E_IO, "/api/models/org/tiny");
}

static void test_token_stays_with_its_host(void **state) {
    (void)state;
    char *bytes = make_bytes(5000, 16);
    asked last;
    add_large(h, "a.gguf", bytes, 5000, true);
    add_small(h, "config.json", "{}", true);
    hub_route *r = add_small(h, "moved.json", "{}", true), *to = server_route(h->hub, "/moved", "{}", 2);
    strcpy(to->etag, r->etag);
    strcpy(r->location, "/moved"); /* the same host: the token goes along */
    serve_list(h);
    options.token = "hf_secret";
    pull_well();
    static const char *const with[] = {LIST_PATH(MODEL), "/org/tiny/resolve/" COMMIT "/a.gguf",
                                       "/org/tiny/resolve/" COMMIT "/config.json", "/moved"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(server_asked(h->hub, with[i], &last), 1);
        assert_string_equal(last.authorization, "Bearer hf_secret");
    }
    assert_int_equal(server_asked(h->store, "/blobs/a.gguf", &last), 1);
    assert_string_equal(last.authorization, "");
    free(bytes);
}

/* ---- hubs that lie ---- */

static void answer_badly(const char *text, const char *says) {
    hub_route *r = serve_list(h);
    r->body = text;
    r->n = strlen(text);
    pull_badly(PGR_E_FORMAT, says);
}

static void test_answers_that_are_none(void **state) {
    (void)state;
#define SIBLINGS(x) "{\"sha\":\"0123456789\",\"siblings\":[" x "]}"
#define NAMED(x)    SIBLINGS("{\"rfilename\":\"" x "\"}")
    answer_badly("<html>", "/api/models/org/tiny/revision/main?blobs=true:1: ");
    answer_badly("", "/api/models/org/tiny/revision/main?blobs=true:1: ");
    answer_badly("[]", "expected an object");
    answer_badly("{\"siblings\":[]}", "sha: found nothing, expected a string");
    answer_badly("{\"sha\":\"../../x\",\"siblings\":[]}", "sha: found \"../../x\", expected a commit");
    answer_badly("{\"sha\":\"0123456789\",\"siblings\":{}}", "siblings: found an object, expected an array");
    answer_badly(SIBLINGS("3"), "siblings[0]: found");
    answer_badly(SIBLINGS("{}"), "siblings[0].rfilename: found nothing");
    answer_badly(SIBLINGS("{\"rfilename\":\"a.json\"},{\"rfilename\":\"a.json\"}"), "\"a.json\" comes twice");
    answer_badly(SIBLINGS("{\"rfilename\":\"a.json\",\"size\":-1}"), "siblings[0].size: found");
    answer_badly(SIBLINGS(""), "none of its 0 files");
    answer_badly(NAMED("../a.json"), "siblings[0].rfilename: found \"../a.json\", expected a path below");
    answer_badly(NAMED("/etc/a.json"), "expected a path below");
    answer_badly(NAMED("a/../../a.json"), "expected a path below");
    answer_badly(NAMED("a//a.json"), "expected a path below");
    answer_badly(NAMED("./a.json"), "expected a path below");
    answer_badly(NAMED("a\\\\..\\\\a.json"), "expected a path below");
    answer_badly(NAMED("a\\u0001.json"), "expected a path below");
    answer_badly(NAMED("a\\u0000.json"), "");
    answer_badly(NAMED(""), "expected a path below");
    answer_badly(NAMED("a.json/"), "expected a path below");
    answer_badly(NAMED("a.json.part"), "expected a path below");
    answer_badly(NAMED(".pgenrm-pull.json"), "expected a path below");
    assert_false(local_exists(h, "to"));
}

static void test_names_of_models(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",          "tiny",      "/tiny",        "org/",          "org/tiny/x",  "../tiny", "org/..",
        "org/ti ny", "org/tiny@", "org/tiny@a b", "org/tiny@../x", "org/tiny@/x", "-o/tiny", "a@b/c"};
    hub_model m;
    pgr_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hub_model_parse(bad[i], &m, &err) != PGR_E_ARG) fail_msg("\"%s\" was taken", bad[i]);
    assert_int_equal(hub_model_parse("Org-1/a_b.c@refs/pr/1", &m, &err), PGR_OK);
    assert_string_equal(m.id, "Org-1/a_b.c");
    char *url = hub_list_url("http://h", &m);
    assert_string_equal(url, "http://h/api/models/Org-1/a_b.c/revision/refs%2Fpr%2F1?blobs=true");
    mem_free(url);
    url = hub_file_url("http://h", &m, "abc", "d e/f#?%.json");
    assert_string_equal(url, "http://h/Org-1/a_b.c/resolve/abc/d%20e/f%23%3F%25.json");
    mem_free(url);
    assert_int_equal(hub_model_parse("org/tiny", &m, &err), PGR_OK);
    assert_string_equal(m.revision, "main");
}

static void test_checksums(void **state) {
    (void)state;
    /* `git hash-object` of "hello\n", and FIPS 180-2's "abc" */
    static const struct {
        const char *text, *hex;
        hash_kind kind;
    } known[] = {{"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a", HASH_GIT},
                 {"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", HASH_GIT},
                 {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", HASH_SHA256}};
    for (size_t i = 0; i < 3; i++) {
        check c;
        bool finished = false;
        file_hash got;
        local_write(h, "f", known[i].text, strlen(known[i].text));
        assert_int_equal(check_open(&c, local(h, "f"), known[i].kind, NULL), PGR_OK);
        assert_int_equal(check_step(&c, "f", &finished, &got, NULL), PGR_OK);
        assert_true(finished);
        check_close(&c);
        assert_string_equal(got.hex, known[i].hex);
        file_hash want = hash_from_etag(known[i].hex);
        assert_true(hash_equal(&got, &want));
    }
    assert_int_equal(hash_from_etag("W/\"CE013625030ba8dba906f756967f9e9ca394464a\"").kind, HASH_GIT);
    assert_string_equal(hash_from_etag("\"CE013625030ba8dba906f756967f9e9ca394464a\"").hex, known[0].hex);
    assert_int_equal(hash_from_etag("").kind, HASH_NONE);
    assert_int_equal(hash_from_etag("\"ce013625030ba8dba906f756967f9e9ca394464\"").kind, HASH_NONE);
    assert_int_equal(hash_from_etag("\"ce013625030ba8dba906f756967f9e9ca394464a-1\"").kind, HASH_NONE);
}

/* ---- what is there already ---- */

#define SNAPSHOT "cache/models--org--tiny/snapshots/" COMMIT

static void make_hub_cache(const char *weights, size_t n) {
    static char cache[100];
    snprintf(cache, sizeof cache, "%s/cache", h->folder);
    options.hub_cache = cache;
    local_write(h, "cache/models--org--tiny/refs/main", COMMIT, 40);
    local_write(h, "cache/models--org--tiny/blobs/w", weights, n);
    local_write(h, SNAPSHOT "/config.json", "{}", 2);
    local_write(h, SNAPSHOT "/1_Pooling/config.json", "{ }", 3);
    assert_int_equal(symlink("../../blobs/w", local(h, SNAPSHOT "/model.safetensors")), 0);
}

static void test_hub_cache_is_used(void **state) {
    (void)state;
    char *bytes = make_bytes(5000, 17);
    struct stat st;
    make_hub_cache(bytes, 5000);
    add_small(h, "config.json", "{}", true);
    add_small(h, "tokenizer.json", "only on the hub", true);
    add_large(h, "model.safetensors", bytes, 5000, true);
    serve_list(h);
    pgr_pulled r = pull_well();
    assert_false(r.cached);
    assert_int_equal(r.files, 3);
    assert_int_equal(r.bytes, 5017);
    assert_true(local_is(h, "to/model.safetensors", bytes, 5000));
    assert_int_equal(lstat(local(h, "to/model.safetensors"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_true(local_is(h, "to/tokenizer.json", "only on the hub", 15));
    assert_int_equal(server_asked(h->store, "/blobs/model.safetensors", NULL), 0);
    assert_true(pull_well().cached);

    assert_int_equal(unlink(local(h, "cache/models--org--tiny/blobs/w")), 0); /* the cache was cleared */
    assert_false(pull_well().cached);
    assert_true(local_is(h, "to/model.safetensors", bytes, 5000));
    free(bytes);
}

static void test_hub_cache_of_another_size_is_not(void **state) {
    (void)state;
    char *bytes = make_bytes(5000, 18);
    make_hub_cache(bytes, 4000);
    add_large(h, "model.safetensors", bytes, 5000, true);
    serve_list(h);
    assert_false(pull_well().cached);
    assert_true(local_is(h, "to/model.safetensors", bytes, 5000));
    free(bytes);
}

static void test_offline(void **state) {
    (void)state;
    options.offline = true;
    pull_badly(PGR_E_IO, "offline (HF_HUB_OFFLINE): org/tiny@main is neither whole in ");
    assert_false(local_exists(h, "to"));
    add_small(h, "config.json", "{}", true);
    serve_list(h);
    options.offline = false;
    pull_well();
    options.offline = true;
    size_t before = h->hub->n_asked;
    assert_true(pull_well().cached);
    assert_int_equal(unlink(local(h, "to/config.json")), 0);
    pull_badly(PGR_E_IO, "offline (HF_HUB_OFFLINE): config.json is neither in");
    assert_int_equal(h->hub->n_asked, before);
}

static void test_offline_from_the_hub_cache(void **state) {
    (void)state;
    make_hub_cache("weights", 7);
    options.offline = true;
    pgr_pulled r = pull_well();
    assert_true(r.cached);
    assert_int_equal(r.files, 3);
    assert_int_equal(r.bytes, 12);
    assert_true(local_is(h, "to/model.safetensors", "weights", 7));
    assert_true(local_is(h, "to/1_Pooling/config.json", "{ }", 3));
    assert_true(pull_well().cached);
    assert_int_equal(h->hub->n_asked, 0);
}

static void test_environment(void **state) {
    (void)state;
    asked last;
    static const char *const no[] = {"", "0", "false", "10"};
    add_small(h, "config.json", "{}", true);
    serve_list(h);
    setenv("HF_ENDPOINT", h->endpoint, 1);
    setenv("HF_TOKEN", "hf_environment", 1);
    setenv("HF_HUB_CACHE", local(h, "cache"), 1);
    setenv("PGENRM_HOME", local(h, "home"), 1);
    setenv("HF_HUB_OFFLINE", "TRUE", 1);
    assert_true(pgr_pull_options_default().offline);
    for (size_t i = 0; i < 4; i++) {
        setenv("HF_HUB_OFFLINE", no[i], 1);
        assert_false(pgr_pull_options_default().offline);
    }
    pgr_pulled r = {0};
    assert_int_equal(pgr_pull(MODEL "@main", NULL, &r, NULL), PGR_OK);
    assert_string_equal(r.path, local(h, "home/org/tiny"));
    pgr_free(r.path);
    server_asked(h->hub, LIST_PATH(MODEL), &last);
    assert_string_equal(last.authorization, "Bearer hf_environment");
    char *found = NULL; /* where models are looked for by name */
    assert_int_equal(pgr_model_find(MODEL, &found, NULL), PGR_OK);
    assert_string_equal(found, local(h, "home/org/tiny"));
    pgr_free(found);
    static const char *const names[] = {"HF_ENDPOINT", "HF_TOKEN", "HF_HUB_CACHE", "PGENRM_HOME", "HF_HUB_OFFLINE"};
    for (size_t i = 0; i < 5; i++) unsetenv(names[i]);
}

/* ---- folders ---- */

static void test_folders_that_do_not_fit(void **state) {
    (void)state;
    add_small(h, "config.json", "{}", true);
    serve_list(h);
    pull_well();
    static const char record[] =
        "{\"model\":\"org/other\",\"revision\":\"main\",\"commit\":\"0123456789\",\"files\":{}}";
    local_write(h, "to/.pgenrm-pull.json", record, sizeof record - 1);
    pull_badly(PGR_E_ARG, "/to: holds org/other, expected a folder for org/tiny");
    local_write(h, "to/.pgenrm-pull.json", "{\"model\":", 9); /* cut short: as if it were not there */
    pull_well();
    local_write(h, "file", "x", 1);
    options.to = local(h, "file");
    pull_badly(PGR_E_IO, "/file");
    options.to = "";
    pull_badly(PGR_E_ARG, "empty name");
}

static void test_two_pulls_at_once(void **state) {
    (void)state;
    add_small(h, "config.json", "{}", true);
    serve_list(h);
    local_write(h, "to/.pgenrm-pull.lock", "", 0);
    int other = open(local(h, "to/.pgenrm-pull.lock"), O_RDWR);
    assert_int_equal(flock(other, LOCK_EX), 0);
    pull_badly(PGR_E_IO, "another pull is writing there");
    close(other);
    pull_well();
}

/* ---- memory ---- */

static bool parse_list(void) {
    static const char text[] =
        "{\"sha\":\"0123456789\",\"siblings\":[{\"rfilename\":\"a.json\",\"size\":3,\"blobId\":"
        "\"ce013625030ba8dba906f756967f9e9ca394464a\"},{\"rfilename\":\"b/c.gguf\",\"lfs\":{}}]}";
    hub_list list = {0};
    bool worked = hub_list_parse(text, sizeof text - 1, "test", &list, NULL) == PGR_OK;
    hub_list_free(&list);
    return worked;
}

/* All of a pull whose files come over the network or from the cache; the folder is empty each time. */
static bool pull_anew(void) {
    pgr_pulled r = {0};
    for (size_t i = 0; i < 7; i++) {
        static const char *const names[] = {
            "to/config.json",         "to/config.json.part",  "to/config.json.part.etag", "to/tokenizer.json",
            "to/tokenizer.json.part", "to/.pgenrm-pull.json", "to/.pgenrm-pull.json.new"};
        unlink(local(h, names[i]));
    }
    bool worked = pgr_pull(MODEL, &options, &r, NULL) == PGR_OK;
    hub_settle(h);
    pgr_free(r.path);
    return worked;
}

static void test_allocation_failures(void **state) {
    (void)state;
    assert_true(fail_each_allocation(parse_list) > 5);
    make_hub_cache("weights", 7);
    add_small(h, "config.json", "{}", true);
    add_small(h, "tokenizer.json", "only on the hub", false);
    serve_list(h);
    assert_true(fail_allocations(pull_anew, 1000) > 20);
    options.offline = true;
    assert_true(fail_allocations(pull_anew, 1000) > 20);
}

int main(void) {
    setenv("no_proxy", "*", 1); /* 127.0.0.1 is asked directly */
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_files_with_facts_in_the_list),
        T(test_files_with_facts_in_headers),
        T(test_all_and_include),
        T(test_shards_in_parallel),
        T(test_progress),
        T(test_new_commit_replaces_and_removes),
        T(test_cut_is_resumed),
        T(test_cut_without_a_length),
        T(test_second_call_resumes),
        T(test_range_ignored),
        T(test_part_of_another_version),
        T(test_parts_of_odd_lengths),
        T(test_cancelled_and_resumed),
        T(test_wrong_length),
        T(test_wrong_hash),
        T(test_files_that_are_there),
        T(test_refusals),
        T(test_busy_servers),
        T(test_redirects),
        T(test_token_stays_with_its_host),
        T(test_answers_that_are_none),
        T(test_names_of_models),
        T(test_checksums),
        T(test_hub_cache_is_used),
        T(test_hub_cache_of_another_size_is_not),
        T(test_offline),
        T(test_offline_from_the_hub_cache),
        T(test_environment),
        T(test_folders_that_do_not_fit),
        T(test_two_pulls_at_once),
        T(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
