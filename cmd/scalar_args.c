/* scalar_args.c - --scalar MODEL[:WEIGHT]; see scalar_args.h. */
#include "scalar_args.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "message.h"

int scalar_take(void *options, const option_row *row, const char *value) {
    scalar_args *a = (scalar_args *)(void *)((char *)options + row->offset);
    const char *colon = strrchr(value, ':');
    *a = (scalar_args){.text = value, .n = strlen(value)};
    a->has_weight = colon && !strchr(colon, '/');
    if (a->has_weight) {
        a->n = (size_t)(colon - value);
        int status = option_value(&a->weight, row, colon + 1);
        if (status != EXIT_DONE) return status;
    }
    if (a->n > 0) return EXIT_DONE;
    complain("--scalar: found \"%s\", expected MODEL[:WEIGHT]", value);
    return EXIT_USAGE;
}

int scalar_args_open(scalar_args *a, const common_options *common, pgr_progress_bar *bar) {
    if (!a->text) return EXIT_DONE;
    char *name = must_dup(a->text, a->n), *path = NULL;
    pgr_error err = {0};
    pgr_model_options mo = pgr_model_options_default();
    mo.dtype = common->dtype;
    mo.n_thread = common->n_thread;
    mo.watch = bar_watch(bar);
    pgr_status s = pgr_model_find(name, &path, &err);
    if (s == PGR_OK) s = pgr_scalar_open(path, &mo, &a->opened, &err);
    pgr_free(path);
    free(name);
    return finish_call(s, &err);
}

void scalar_args_close(scalar_args *a) {
    pgr_scalar_close(a->opened);
    a->opened = NULL;
}
