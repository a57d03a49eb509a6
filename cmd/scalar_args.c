/* scalar_args.c - --scalar MODEL[:WEIGHT]; see scalar_args.h. */
#include "scalar_args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "message.h"
#include "pgenrm_bench.h"

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
    if (a->n > 0 && !is_address(value)) return EXIT_DONE;
    complain("--scalar: found \"%s\", expected MODEL[:WEIGHT]", value);
    return EXIT_USAGE;
}

static pgr_status open_attributes(const char *path, pgr_scalar **out, pgr_error *err) {
#ifdef PGR_QUICK
    (void)out;
    *err = (pgr_error){.status = PGR_E_UNSUPPORTED};
    snprintf(err->message, sizeof err->message,
             "%.200s: this program was built in a hurry, without attributes: `make build` makes one that has them",
             path);
    return err->status;
#else
    return pgr_attributes_open(path, out, err);
#endif
}

static pgr_status open_model(const char *name, const common_options *common, pgr_progress_bar *bar, pgr_scalar **out,
                             pgr_error *err) {
    char *path = NULL;
    pgr_model_options mo = pgr_model_options_default();
    mo.dtype = common->dtype;
    mo.n_thread = common->n_thread;
    mo.watch = bar_watch(bar);
    pgr_status s = pgr_model_find(name, &path, err);
    if (s == PGR_OK) s = pgr_scalar_open(path, &mo, out, err);
    pgr_free(path);
    return s;
}

int scalar_args_open(scalar_args *a, const common_options *common, pgr_progress_bar *bar) {
    static const char ATTRIBUTES[] = ".json";
    if (!a->text) return EXIT_DONE;
    char *name = must_dup(a->text, a->n);
    size_t n = strlen(ATTRIBUTES);
    pgr_error err = {0};
    pgr_status s = a->n > n && strcmp(name + a->n - n, ATTRIBUTES) == 0
                       ? open_attributes(name, &a->opened, &err)
                       : open_model(name, common, bar, &a->opened, &err);
    free(name);
    return finish_call(s, &err);
}

void scalar_args_close(scalar_args *a) {
    pgr_scalar_close(a->opened);
    a->opened = NULL;
}
