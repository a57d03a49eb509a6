/* fuzz_hub.c - any bytes as a hub's list of files: an error, or names that stay below the model's folder, each once,
 * with addresses that hold nothing but what an address may; the same bytes as an ETag and as a model's name. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "hub/hub_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No part of the path leads upwards or back to the root. */
static void check_path(const char *name) {
    PGR_ASSERT(name[0] && name[0] != '/' && strlen(name) <= 512);
    for (const char *part = name; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t n = strcspn(part, "/");
        PGR_ASSERT(n > 0 && !(n == 1 && part[0] == '.') && !(n == 2 && part[0] == '.' && part[1] == '.'));
    }
}

static void check_url(char *url, const char *start) {
    PGR_ASSERT(url && strncmp(url, start, strlen(start)) == 0);
    for (const char *c = url; *c; c++) PGR_ASSERT(*c > 0x20 && *c < 0x7F && !strchr("#\\\"<>", *c));
    mem_free(url);
}

static void check_list(const hub_list *list, const hub_model *m) {
    PGR_ASSERT(list->commit[strspn(list->commit, "0123456789abcdef")] == '\0');
    for (size_t i = 0; i < list->n; i++) {
        const hub_file *f = &list->files[i];
        check_path(f->name);
        PGR_ASSERT(f->size >= -1);
        PGR_ASSERT(strlen(f->hash.hex) == (f->hash.kind == HASH_SHA256 ? 64 : f->hash.kind == HASH_GIT ? 40 : 0));
        for (size_t k = 0; k < i && k < 50; k++) PGR_ASSERT(strcmp(list->files[k].name, f->name) != 0);
        check_url(hub_file_url("http://h", m, list->commit, f->name), "http://h/org/name/resolve/");
        hub_file_wanted(f->name, i % 2, "*.json");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const hub_model model = {.id = "org/name", .revision = "main"};
    hub_list list = {0};
    hub_model m;
    pgr_error err = {0};
    if (hub_list_parse((const char *)data, size, "fuzz", &list, &err) == PGR_OK)
        check_list(&list, &model);
    else
        PGR_ASSERT(err.status < 0 && err.message[0] && list.n == 0);
    hub_list_free(&list);

    char text[300];
    size_t n = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, n);
    text[n] = '\0';
    hash_from_etag(text);
    if (hub_model_parse(text, &m, NULL) == PGR_OK) check_url(hub_list_url("http://h", &m), "http://h/api/models/");
    return 0;
}
