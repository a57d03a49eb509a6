/* test_file_out.c - a file is there when it is whole, and not before. */
#include <fcntl.h>
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

/* A link stays a link, and a pipe a pipe: what is behind them is written. */
static void links_and_pipes_stay(void **state) {
    (void)state;
    char link[80], place[PATH_MAX], got[8] = "";
    struct stat st;
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(file_write(path, "old", 3, NULL), PGR_OK);
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(file_write(link, "new", 3, NULL), PGR_OK);
    assert_true(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    assert_true(file_out_place(link, place) && strcmp(strrchr(place, '/'), "/file") == 0);
    assert_holds("new");
    unlink(link);

    assert_int_equal(mkfifo(link, 0600), 0);
    int fd = open(link, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_false(file_out_place(link, place));
    assert_int_equal(file_write(link, "piped", 5, NULL), PGR_OK);
    assert_int_equal(read(fd, got, sizeof got), 5);
    assert_string_equal(got, "piped");
    file_out f;
    assert_int_equal(file_out_open(link, &f, NULL), PGR_OK);
    file_out_abort(&f);
    assert_true(lstat(link, &st) == 0 && S_ISFIFO(st.st_mode));
    close(fd);
    unlink(link);
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
    const struct CMUnitTest tests[] = {T(named_when_whole), T(links_and_pipes_stay), T(failures_name_the_file),
                                       T(out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
