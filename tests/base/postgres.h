/* postgres.h - for tests: a PostgreSQL server of the program's own, from postgres_start to postgres_stop, or to the
 * program's end, however it ends: in a folder of its own under /tmp, behind a socket in it and no port, without waiting
 * for the disk, as an unprivileged user where the tests are root (the server refuses root). A child looks after it:
 * when the pipe to the tests' process is closed, it stops the server and removes the folder. */
#ifndef PGR_TESTS_POSTGRES_H
#define PGR_TESTS_POSTGRES_H

#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef PGR_POSTGRES
#include <libpq-fe.h>
#endif

typedef struct postgres_server {
    char folder[64]; /* "" while there is none */
    char programs[200];
    pid_t keeper;
    int line; /* to the keeper */
} postgres_server;

static postgres_server postgres;

/* The folder of the server's newest programs: Debian's, else where `postgres` is found; false: there is none. */
static inline bool postgres_find(void) {
    glob_t found;
    char *end = NULL;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0) {
        snprintf(postgres.programs, sizeof postgres.programs, "%s", found.gl_pathv[found.gl_pathc - 1]);
        globfree(&found);
    } else {
        FILE *f = popen("command -v initdb", "r");
        if (!f || !fgets(postgres.programs, sizeof postgres.programs, f)) postgres.programs[0] = '\0';
        if (f) pclose(f);
    }
    end = strrchr(postgres.programs, '/');
    if (end) *end = '\0';
    return end != NULL;
}

/* Runs a command as the server's user, quietly; its exit status. */
static inline int postgres_run(const char *command) {
    pid_t child = fork();
    if (child == 0) {
        struct passwd *who = getuid() == 0 ? getpwnam("postgres") : NULL;
        if (getuid() == 0 && !who) who = getpwnam("nobody");
        if (who && (setgroups(0, NULL) || setgid(who->pw_gid) || setuid(who->pw_uid))) _exit(126);
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || chdir("/") != 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0) _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* pg_ctl with these arguments; the server's messages go to the folder's log. */
static inline int postgres_ctl(const char *arguments) {
    char command[1200];
    snprintf(command, sizeof command, "'%s/pg_ctl' -D %s/data -w -t 120 %s >>%s/log 2>&1", postgres.programs,
             postgres.folder, arguments, postgres.folder);
    return postgres_run(command);
}

static inline bool postgres_up(void) {
    char arguments[400];
    snprintf(arguments, sizeof arguments,
             "-l %s/log -o \"-k %s -c listen_addresses= -c fsync=off -c full_page_writes=off "
             "-c max_connections=20 -c shared_buffers=16MB -c max_wal_size=256MB -c autovacuum=off\" start",
             postgres.folder, postgres.folder);
    return postgres_ctl(arguments) == 0;
}

/* As a server that dies: nothing is finished, nobody is told. */
static inline bool postgres_down(void) {
    return postgres_ctl("-m immediate stop") == 0;
}

/* The child's work: waits for the pipe's end. */
static inline void postgres_keep(int line) {
    char byte, command[100];
    setsid(); /* a Ctrl-C is not for it */
    while (read(line, &byte, 1) > 0) {}
    postgres_down();
    snprintf(command, sizeof command, "rm -rf %s", postgres.folder);
    _exit(system(command) != 0);
}

static inline bool postgres_start_keeper(void) {
    int ends[2];
    if (pipe(ends) != 0 || fcntl(ends[1], F_SETFD, FD_CLOEXEC) != 0) return false;
    postgres.keeper = fork();
    if (postgres.keeper == 0) {
        close(ends[1]);
        postgres_keep(ends[0]);
    }
    close(ends[0]);
    postgres.line = ends[1];
    return postgres.keeper > 0;
}

static inline void postgres_stop(void) {
    if (!postgres.folder[0]) return;
    close(postgres.line);
    waitpid(postgres.keeper, NULL, 0);
    postgres.folder[0] = '\0';
}

/* Starts the server; false, with a line that says why: there is nothing to test with, or $PGENRM_TEST_POSTGRES is "off"
 * (where kernels or a compiler are tested: Makefile). Anything else that fails ends the program. */
static inline bool postgres_start(void) {
    const char *wanted = getenv("PGENRM_TEST_POSTGRES");
    if (wanted && strcmp(wanted, "off") == 0) return false;
#ifndef PGR_POSTGRES
    puts("skipped: PostgreSQL: built without libpq (tools/install_deps.sh installs it)");
    return false;
#endif
    if (!postgres_find()) {
        puts("skipped: PostgreSQL: no server is installed (tools/install_deps.sh postgres installs it)");
        return false;
    }
    strcpy(postgres.folder, "/tmp/pgenrm-postgres-XXXXXX");
    struct passwd *who = getpwnam("postgres");
    if (!mkdtemp(postgres.folder)) abort();
    if (getuid() == 0 && !who) who = getpwnam("nobody");
    if (getuid() == 0 && (!who || chown(postgres.folder, who->pw_uid, who->pw_gid) != 0)) abort();
    char command[600];
    snprintf(command, sizeof command, "'%s/initdb' -D %s/data -U tester -A trust -E UTF8 --locale=C -N >%s/log 2>&1",
             postgres.programs, postgres.folder, postgres.folder);
    if (!postgres_start_keeper() || postgres_run(command) != 0 || !postgres_up()) {
        snprintf(command, sizeof command, "cat %s/log", postgres.folder);
        if (system(command) != 0) puts("no log");
        postgres_stop();
        abort();
    }
    return true;
}

/* The address of a database; one of eight buffers in turn. */
static inline const char *postgres_address(const char *database) {
    static char addresses[8][160];
    static int turn;
    char *a = addresses[turn++ % 8];
    snprintf(a, sizeof addresses[0], "postgres://tester@/%s?host=%s", database, postgres.folder);
    return a;
}

#ifdef PGR_POSTGRES

static inline void postgres_ignore(void *ctx, const char *notice) {
    (void)ctx;
    (void)notice;
}

/* What SQL says of a database as a single number (-1: nothing); false where it fails, and *out is then not written. */
static inline bool postgres_sql(const char *address, const char *sql, int64_t *out) {
    PGconn *link = PQconnectdb(address);
    PQsetNoticeProcessor(link, postgres_ignore, NULL);
    PGresult *r = PQexec(link, sql);
    bool good = PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK;
    if (good && out) *out = PQntuples(r) ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : -1;
    if (!good) fprintf(stderr, "%s: %s", sql, PQerrorMessage(link));
    PQclear(r);
    PQfinish(link);
    return good;
}

/* Ends all connections to a database but one's own, as a server that goes away. */
static inline bool postgres_cut(const char *address) {
    int64_t done = 0;
    return postgres_sql(address,
                        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = "
                        "current_database() AND pid <> pg_backend_pid()",
                        &done)
           && done > 0;
}

#else

static inline bool postgres_sql(const char *address, const char *sql, int64_t *out) {
    (void)address;
    (void)sql;
    (void)out;
    return false;
}

static inline bool postgres_cut(const char *address) {
    return postgres_sql(address, "", NULL);
}

#endif

#endif
