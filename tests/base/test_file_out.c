/* test_file_out.c - a file is there when it is whole, and not before. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"

#include "base/file.h"
#include "base/file_out.h"

static char folder[] = "/tmp/pgenrm-out-XXXXXX";
static char path[64], part[64];

static int begin(void **state) {
    (void)state;
    strcpy(folder, "/tmp/pgenrm-out-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(part, sizeof part, "%s/file.part", folder);
    return 0;
}

static int end(void **state) {
    (void)state;
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* no part is left */
    return 0;
}

static void assert_holds(const char *want) {
    buf b = {0};
    assert_int_equal(file_read(path, &b, NULL), PGR_OK);
    assert_string_equal(b.data, want);
    buf_free(&b);
}

static void named_when_whole(void **state) {
    (void)state;
    file_out f;
    assert_int_equal(file_write(path, "old", 3, NULL), PGR_OK);
    assert_int_equal(file_out_open(path, &f, NULL), PGR_OK);
    assert_int_equal(file_out_write(&f, "new ", 4, NULL), PGR_OK);
    assert_int_equal(file_out_write(&f, "text", 4, NULL), PGR_OK);
    assert_true(f.n == 8 && file_exists(part));
    assert_holds("old");
    assert_int_equal(file_out_commit(&f, NULL), PGR_OK);
    assert_true(f.part == NULL && !file_exists(part));
    assert_holds("new text");
    assert_int_equal(file_out_open(path, &f, NULL), PGR_OK);
    file_out_abort(&f);
    file_out_abort(&f);
    assert_holds("new text");
}

static void failures_name_the_file(void **state) {
    (void)state;
    pgr_error err = {0};
    file_out f;
    assert_int_equal(file_write("/tmp/no-such-folder/x", "a", 1, &err), PGR_E_IO);
    assert_string_equal(err.message, "/tmp/no-such-folder/x: cannot be written: No such file or directory");

    assert_int_equal(mkdir(path, 0777), 0); /* the part can be written, but not get this name */
    assert_int_equal(file_write(path, "a", 1, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "/file: cannot be written: "));
    assert_int_equal(rmdir(path), 0);

    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){1000, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static char text[3000];
    assert_int_equal(file_out_open(path, &f, NULL), PGR_OK);
    assert_int_equal(file_out_write(&f, text, sizeof text, &err), PGR_E_IO);
    file_out_abort(&f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_non_null(strstr(err.message, "/file: cannot be written: File too large"));
    assert_false(file_exists(path));
}

static bool work(void) {
    return file_write(path, "abc", 3, NULL) == PGR_OK;
}

static void out_of_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(work) >= 2);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {T(named_when_whole), T(failures_name_the_file), T(out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
