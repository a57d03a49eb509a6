/* legible.c - any bytes as UTF-8; see legible.h. */
#include "base/legible.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"

void legible_add(buf *b, const char *s, size_t n) {
    for (size_t i = 0, len; i < n; i += len ? len : 1) {
        len = utf8_next(s + i, n - i, NULL);
        buf_add(b, len ? s + i : "\xEF\xBF\xBD", len ? len : 3);
    }
}

char *legible_name(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    buf b = {0};
    legible_add(&b, path + begin, end - begin);
    return buf_take(&b);
}

json_t *legible_json_n(const char *s, size_t n) {
    json_setup();
    if (utf8_valid(s, n)) return json_stringn_nocheck(s, n);
    buf b = {0};
    legible_add(&b, s, n);
    json_t *v = b.failed ? NULL : json_stringn_nocheck(b.data, b.n);
    buf_free(&b);
    return v;
}

json_t *legible_json(const char *s) {
    return s ? legible_json_n(s, strlen(s)) : json_null();
}
