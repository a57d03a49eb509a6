/* blame.c - see blame.h. */
#include "serve/blame.h"

#include <string.h>

#include "base/text.h"

static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

/* Bytes of the path that the text begins with, up to the colon behind it, or behind a line's number; 0: none. */
static size_t path_length(const char *text) {
    size_t n = 0;
    for (size_t more; (more = strspn(text + n, LETTERS)) > 0;) {
        n += more;
        while (text[n] == '[') {
            size_t digits = strspn(text + n + 1, "0123456789");
            if (digits == 0 || text[n + 1 + digits] != ']') return 0;
            n += digits + 2;
        }
        if (text[n] != '.') break;
        n++;
    }
    if (text[n] != ':') return 0;
    size_t line = strspn(text + n + 1, "0123456789");
    const char *behind = text + n + 1 + line;
    return *behind == ' ' || (line > 0 && *behind == ':') ? n : 0;
}

static bool put(const char *from, size_t n, char *out, size_t size) {
    if (n == 0 || n >= size) return false;
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

static bool has_key(const json_t *body, const char *path) {
    char key[80];
    return put(path, strspn(path, LETTERS), key, sizeof key) && json_object_get(body, key);
}

bool blame_field(const json_t *body, const char *message, char *out, size_t size) {
    static const char whole[] = "body: ", unknown[] = "unknown key \"", fed[] = "history[0].";
    const char *text = text_starts(message, whole) ? message + sizeof whole - 1 : message;
    if (text_starts(text, unknown)) { /* of the body itself */
        text += sizeof unknown - 1;
        return put(text, strcspn(text, "\""), out, size) && json_object_get(body, out);
    }
    size_t n = path_length(text);
    if (n == 0) return false;
    if (text_starts(text, fed) && !has_key(body, text)) { /* a pair that is fed back is its user's history */
        text += sizeof fed - 1;
        n -= sizeof fed - 1;
    }
    return has_key(body, text) && put(text, n, out, size);
}
