/* sql_postgres_address.c - the address of a store in PostgreSQL: what it names, and what of it may be shown. */
#include <string.h>

#include <libpq-fe.h>

#include "user/sql.h"

static const char *part(const PQconninfoOption *parts, const char *name) {
    for (; parts->keyword; parts++)
        if (strcmp(parts->keyword, name) == 0 && parts->val) return parts->val;
    return "";
}

/* Are the parts what they seem to be? A password with a bare @ or / in it runs over into the others. */
static bool is_plain(const PQconninfoOption *parts) {
    const char *port = part(parts, "port");
    return !strchr(part(parts, "host"), '@') && !strchr(part(parts, "dbname"), '@')
           && port[strspn(port, "0123456789,")] == '\0';
}

/* libpq's own message is not repeated: it may quote a password. *out: PQconninfoFree. */
static pgr_status parse(const char *address, PQconninfoOption **out, pgr_error *err) {
    char *why = NULL;
    *out = PQconninfoParse(address, &why);
    PQfreemem(why);
    if (*out && is_plain(*out)) return PGR_OK;
    PQconninfoFree(*out);
    return fail(err, PGR_E_ARG,
                "postgres://...: found an address that cannot be read, expected postgres://USER@HOST:PORT/DATABASE "
                "(in a password, @ is %%40 and / is %%2F)");
}

pgr_status sql_postgres_check(const char *address, pgr_error *err) {
    PQconninfoOption *parts = NULL;
    PGR_TRY(parse(address, &parts, err));
    PQconninfoFree(parts);
    return PGR_OK;
}

static void put_encoded(buf *b, const char *text) {
    for (; *text; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9')
                     || strchr("-._~/,", *text);
        if (plain)
            buf_putc(b, *text);
        else
            buf_printf(b, "%%%02X", (unsigned char)*text);
    }
}

/* HOST:PORT, or several of them or a socket's folder, which only fit behind the question mark. */
static void put_place(buf *b, const char *host, const char *port, const char *database) {
    bool behind = host[0] == '/' || strchr(host, ',') != NULL, numbers = strchr(host, ':') != NULL;
    if (!behind) {
        buf_printf(b, "%s%s%s", numbers ? "[" : "", host, numbers ? "]" : ""); /* IPv6 */
        if (port[0]) buf_printf(b, ":%s", port);
    }
    buf_putc(b, '/');
    put_encoded(b, database);
    if (!behind) return;
    buf_puts(b, "?host=");
    put_encoded(b, host);
    if (port[0]) buf_printf(b, "&port=%s", port);
}

pgr_status sql_postgres_show(const char *address, char **out, pgr_error *err) {
    PQconninfoOption *parts = NULL;
    PGR_TRY(parse(address, &parts, err));
    buf b = {0};
    buf_puts(&b, "postgres://");
    put_encoded(&b, part(parts, "user"));
    if (part(parts, "user")[0]) buf_putc(&b, '@');
    put_place(&b, part(parts, "host"), part(parts, "port"), part(parts, "dbname"));
    PQconninfoFree(parts);
    *out = b.failed ? NULL : buf_take(&b);
    buf_free(&b);
    return *out ? PGR_OK : fail_mem(err);
}

pgr_status sql_postgres_name(const char *address, char **out, pgr_error *err) {
    PQconninfoOption *parts = NULL;
    PGR_TRY(parse(address, &parts, err));
    static const char *const keys[] = {"host", "port", "dbname"};
    buf b = {0};
    buf_puts(&b, "postgres");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (part(parts, keys[i])[0]) buf_printf(&b, "-%s", part(parts, keys[i]));
    PQconninfoFree(parts);
    for (size_t i = 0; i < b.n; i++)
        if (b.data[i] == '/') b.data[i] = '-';
    *out = b.failed ? NULL : buf_take(&b);
    buf_free(&b);
    return *out ? PGR_OK : fail_mem(err);
}
