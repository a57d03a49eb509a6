/* option_row.h - one option of a command: how it is written, what help says of it, which member of the command's struct
 * it sets. The member's type says how its text is read. */
#ifndef PGR_CMD_OPTION_ROW_H
#define PGR_CMD_OPTION_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pgenrm.h"

typedef enum option_address { /* is the text one of servers, http://HOST[:PORT]/v1,...? */
    ADDRESS_NO,
    ADDRESS_MAY, /* where it begins like one: else it is a file or a name */
    ADDRESS_MUST
} option_address;

typedef struct option_row {
    char letter;       /* 0: none */
    const char *name;  /* without the dashes; NULL ends a table */
    const char *value; /* what it takes, in capitals; NULL: nothing */
    const char *help;
    pgr_option_type type;
    size_t offset;
    double lo, hi;              /* of numbers, both included */
    const char *const *choices; /* NULL at the end */
    option_address address;     /* of texts */
    /* Takes it instead: an exit status, and a message where it is not EXIT_DONE. */
    int (*take)(void *options, const struct option_row *row, const char *value);
} option_row;

#define OPTION_TYPE(member)                                                                                            \
    _Generic(member,                                                                                                   \
             int: PGR_OPTION_INT,                                                                                      \
             int64_t: PGR_OPTION_INT64,                                                                                \
             size_t: PGR_OPTION_SIZE,                                                                                  \
             float: PGR_OPTION_FLOAT,                                                                                  \
             double: PGR_OPTION_DOUBLE,                                                                                \
             bool: PGR_OPTION_FLAG,                                                                                    \
             const char *: PGR_OPTION_TEXT)

/* Last in a row: a number (.lo and .hi follow), a flag or a text; one of some names. */
#define OPTION_AT(options, member) .type = OPTION_TYPE(((options *)0)->member), .offset = offsetof(options, member)
#define CHOICE_AT(options, member, names)                                                                              \
    .type = PGR_OPTION_CHOICE, .offset = offsetof(options, member), .choices = names
#define NAME_AT(options, member, names) OPTION_AT(options, member), .choices = names /* a text, one of these */

bool is_address(const char *name); /* does it begin with http:// or https://? */

/* The member of *options becomes what the value says: EXIT_DONE, or EXIT_USAGE and a message that names the option. */
int option_take(void *options, const option_row *row, const char *value);
/* The same for a value that lies at *member. */
int option_value(void *member, const option_row *row, const char *value);

#endif
