/* option_row.c - the library reads the values; see option_row.h. */
#include "option_row.h"

#include <strings.h>

#include "message.h"

bool is_address(const char *name) {
    return strncasecmp(name, "http://", 7) == 0 || strncasecmp(name, "https://", 8) == 0;
}

int option_value(void *member, const option_row *row, const char *value) {
    pgr_error err = {0};
    pgr_option o = {.name = row->name, .type = row->type, .lo = row->lo, .hi = row->hi, .choices = row->choices};
    bool remote = row->address == ADDRESS_MUST || (row->address == ADDRESS_MAY && is_address(value));
    bool named = row->type == PGR_OPTION_TEXT && row->choices;
    int which = 0;
    if (named) o.type = PGR_OPTION_CHOICE;
    if (remote && pgr_addresses_check(value, &err) != PGR_OK) {
        complain("--%s: %s", row->name, err.message);
        return EXIT_USAGE;
    }
    if (pgr_option_set(&o, named ? &which : member, value, &err) == PGR_OK) {
        if (named) *(const char **)member = row->choices[which];
        return EXIT_DONE;
    }
    complain("--%s", err.message);
    return EXIT_USAGE;
}

int option_take(void *options, const option_row *row, const char *value) {
    return row->take ? row->take(options, row, value) : option_value((char *)options + row->offset, row, value);
}
