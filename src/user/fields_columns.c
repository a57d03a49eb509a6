/* fields_columns.c - the columns of a data set whose names are all known. */
#include "base/text.h"
#include "user/fields.h"

static bool is_ignored_column(const char *key, const char *const *prefixes) {
    for (size_t i = 0; prefixes[i]; i++)
        if (text_starts(key, prefixes[i])) return true;
    return false;
}

pgr_status field_columns(const field_reader *in, json_t *top, const char *const *known, const char *const *prefixes) {
    json_t *rest = json_object(); /* keys of the record that are not read over */
    if (!rest) return fail_mem(in->err);
    pgr_status status = PGR_OK;
    for (void *it = json_object_iter(top); it && status == PGR_OK; it = json_object_iter_next(top, it)) {
        const char *key = json_object_iter_key(it);
        if (!is_ignored_column(key, prefixes) && json_object_set(rest, key, json_object_iter_value(it)) != 0)
            status = fail_mem(in->err);
    }
    if (status == PGR_OK) status = field_keys(in, rest, known, &FIELD_TOP);
    json_decref(rest);
    return status;
}
