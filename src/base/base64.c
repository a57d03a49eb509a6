/* base64.c - see base64.h. */
#include "base/base64.h"

#include <string.h>

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(buf *out, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    buf_reserve(out, (n + 2) / 3 * 4);
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
        char four[4] = {DIGITS[v >> 18], DIGITS[v >> 12 & 63], left > 1 ? DIGITS[v >> 6 & 63] : '=',
                        left > 2 ? DIGITS[v & 63] : '='};
        buf_add(out, four, sizeof four);
    }
}

bool base64_read(const char *text, size_t n, char *out, size_t room, size_t *n_out) {
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t')) n--;
    for (int pads = 0; pads < 2 && n > 0 && text[n - 1] == '='; pads++) n--;
    if (n % 4 == 1 || n / 4 * 3 + n % 4 > room + 1) return false;
    uint32_t v = 0;
    size_t bits = 0;
    *n_out = 0;
    for (size_t i = 0; i < n; i++) {
        const char *digit = text[i] ? strchr(DIGITS, text[i]) : NULL;
        if (!digit) return false;
        v = v << 6 | (uint32_t)(digit - DIGITS);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        if (*n_out == room) return false;
        out[(*n_out)++] = (char)(v >> bits & 255);
    }
    return true;
}
