/* sql_postgres_none.c - a build without libpq: addresses are refused, with how to get it. The address, which may hold a
 * password, is not repeated. */
#include "user/sql.h"

pgr_status sql_postgres_check(const char *address, pgr_error *err) {
    (void)address;
    return fail(err, PGR_E_UNSUPPORTED,
                "postgres://...: stores in PostgreSQL are not built in, expected the path of a file; for them build "
                "pgenrm where libpq is (libpq-dev, which tools/install_deps.sh installs)");
}

pgr_status sql_postgres_name(const char *address, char **out, pgr_error *err) {
    (void)out;
    return sql_postgres_check(address, err);
}

pgr_status sql_open_postgres(const char *address, pgr_store **out, pgr_error *err) {
    (void)out;
    return sql_postgres_check(address, err);
}
