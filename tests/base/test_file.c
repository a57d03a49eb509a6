/* test_file.c - mapping, dropping pages, whole files, standard input, and what the errors say. */
#include "faults.h"
#include "scratch.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static char path[100];

static int setup(void **state) {
    if (make_folder(state) != 0) return -1;
    snprintf(path, sizeof path, "%s/f", scratch);
    return 0;
}

static void write_file(const char *data, size_t n) {
    write_bytes("f", data, n);
}

static void maps_and_drops(void **state) {
    (void)state;
    enum { N = 100000 };
    static char data[N];
    for (size_t i = 0; i < N; i++) data[i] = (char)(i * 7);
    write_file(data, N);
    file_map m = {0};
    assert_int_equal(file_map_open(path, &m, NULL), PGR_OK);
    assert_int_equal(m.size, N);
    assert_memory_equal(m.data, data, N);
    file_map_drop(&m, 100, N - 100);
    file_map_drop(&m, 5, 10);       /* less than a page: nothing */
    file_map_drop(&m, N, 1);        /* beyond the end: nothing */
    file_map_drop(&m, 1, SIZE_MAX); /* would wrap */
    assert_memory_equal(m.data, data, N);
    file_map_close(&m);
    assert_null(m.data);
    file_map_close(&m);
}

static void empty_files_are_files(void **state) {
    (void)state;
    write_file("", 0);
    file_map m = {0};
    buf b = {0};
    assert_int_equal(file_map_open(path, &m, NULL), PGR_OK);
    assert_null(m.data);
    assert_int_equal(m.size, 0);
    file_map_drop(&m, 0, 0);
    file_map_close(&m);
    assert_int_equal(file_read(path, &b, NULL), PGR_OK);
    assert_string_equal(b.data, "");
    buf_free(&b);
}

/* A text's byte order mark is none of its characters; in bytes, and later in a text, it stays. */
static void reads_texts_without_mark(void **state) {
    (void)state;
    static const struct {
        const char *file, *text;
    } rows[] = {{"\xEF\xBB\xBFhi\xEF\xBB\xBF", "hi\xEF\xBB\xBF"},
                {"\xEF\xBB\xBF", ""},
                {"\xEF\xBB", "\xEF\xBB"},
                {"hi", "hi"},
                {"", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf b = {0};
        write_file(rows[i].file, strlen(rows[i].file));
        assert_int_equal(file_read_text(path, &b, NULL), PGR_OK);
        assert_int_equal(b.n, strlen(rows[i].text));
        assert_string_equal(b.data, rows[i].text);
        assert_int_equal(file_read(path, &b, NULL), PGR_OK);
        assert_int_equal(b.n, strlen(rows[i].file));
        buf_free(&b);
    }
}

static void reads_whole_files(void **state) {
    (void)state;
    enum { N = 200001 }; /* more than one piece */
    static char data[N];
    for (size_t i = 0; i < N; i++) data[i] = (char)(i % 253);
    write_file(data, N);
    buf b = {0};
    buf_puts(&b, "what was there is replaced");
    assert_int_equal(file_read(path, &b, NULL), PGR_OK);
    assert_int_equal(b.n, N);
    assert_memory_equal(b.data, data, N);
    buf_free(&b);
}

static void reads_standard_input(void **state) {
    (void)state;
    write_file("from standard input", 19);
    assert_non_null(freopen(path, "rb", stdin));
    buf b = {0};
    assert_int_equal(file_read("-", &b, NULL), PGR_OK);
    assert_string_equal(b.data, "from standard input");
    buf_free(&b);
}

static void errors_name_the_path(void **state) {
    (void)state;
    pgr_error err;
    file_map m = {0};
    buf b = {0};
    assert_int_equal(file_map_open("/no/such", &m, &err), PGR_E_IO);
    assert_string_equal(err.message, "/no/such: No such file or directory");
    assert_int_equal(file_read("/no/such", &b, &err), PGR_E_IO);
    assert_string_equal(err.message, "/no/such: No such file or directory");
    assert_int_equal(file_read("/tmp", &b, &err), PGR_E_IO);
    assert_string_equal(err.message, "/tmp: Is a directory");
    assert_int_equal(file_map_open("/dev/null", &m, &err), PGR_E_IO);
    assert_string_equal(err.message, "/dev/null: not a regular file, cannot be mapped");
    assert_null(b.data);
    assert_null(m.data);
    write_file("x", 1);
    assert_true(file_exists(path));
    assert_false(file_exists("/no/such"));
    assert_true(file_is_folder("/tmp"));
    assert_false(file_is_folder(path));
    assert_false(file_is_folder("/no/such"));
}

/* A folder goes with its files; one that has a folder in it stays, and so does what is beside it. */
static void removes_folders_of_one_level(void **state) {
    (void)state;
    char folder[] = "/tmp/pgenrm-folder-XXXXXX", file[64], inner[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/a", folder);
    snprintf(inner, sizeof inner, "%s/in", folder);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(mkdir(inner, 0700), 0);
    file_remove_folder(folder);
    assert_false(file_exists(file));
    assert_true(file_is_folder(inner));
    file_remove_folder(inner);
    file_remove_folder(folder);
    assert_false(file_exists(folder));
    file_remove_folder(folder); /* nothing is there */
}

static bool read_and_free(void) {
    buf b = {0};
    pgr_error err;
    pgr_status status = file_read(path, &b, &err);
    if (status != PGR_OK) assert_int_equal(status, PGR_E_MEM);
    buf_free(&b);
    return status == PGR_OK;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    static char data[150000];
    memset(data, 'x', sizeof data);
    write_file(data, sizeof data);
    assert_in_range(fail_each_allocation(read_and_free), 2, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_and_drops),
        cmocka_unit_test(empty_files_are_files),
        cmocka_unit_test(reads_texts_without_mark),
        cmocka_unit_test(reads_whole_files),
        cmocka_unit_test(reads_standard_input),
        cmocka_unit_test(errors_name_the_path),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(removes_folders_of_one_level),
    };
    return cmocka_run_group_tests(tests, setup, remove_folder);
}
