/* text.h - UTF-8 and small string helpers. */
#ifndef PGR_BASE_TEXT_H
#define PGR_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length in bytes of the character at s (n > 0 bytes left): 1..4, or 0 if it is not valid UTF-8. *code: may be NULL. */
size_t utf8_next(const char *s, size_t n, uint32_t *code);
bool utf8_valid(const char *s, size_t n);
bool utf8_is_space(uint32_t code);                    /* Unicode's White_Space */
size_t utf8_put(char out[4], uint32_t code);         /* bytes written */
size_t utf8_complete(const char *s, size_t n);       /* largest prefix that does not end inside a character */
/* largest prefix of at most max bytes that ends at a character */
size_t utf8_clip(const char *s, size_t n, size_t max);
int text_width(const char *s, size_t n);             /* columns on a terminal */

/* The entry of known (NULL-terminated) nearest to word by edit distance, NULL if none is near. */
const char *text_nearest(const char *word, const char *const *known);
bool text_starts(const char *s, const char *prefix);
bool text_is_ascii(const char *s, size_t n);

#endif
