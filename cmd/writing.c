/* writing.c - models written to files; see writing.h. */
#include "writing.h"

#include <stdio.h>
#include <string.h>

#include "json_out.h"
#include "message.h"

const char *const FILE_TYPES[] = {"keep", "f32", "f16", "bf16", "q8_0", "q4_0", NULL};

pgr_progress_bar *begin_writing(const common_options *o, pgr_write_options *out) {
    pgr_progress_bar *bar = pgr_progress_bar_create(o->quiet);
    out->n_thread = o->n_thread;
    out->watch = bar_watch(bar);
    return bar;
}

void print_written(const char *path, const pgr_written *w, bool json) {
    if (!json) {
        printf("%s\n", path);
        return;
    }
    printf("{\"path\":");
    json_text(path, strlen(path));
    printf(",\"tensors\":%zu,\"bytes\":%llu,\"seconds\":", w->tensors, (unsigned long long)w->bytes);
    json_real(w->seconds);
    printf("}\n");
}
