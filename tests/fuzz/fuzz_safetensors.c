/* fuzz_safetensors.c - any bytes as a safetensors file and as the index of a sharded one: an error, or tensors that lie
 * in the file and cover it exactly, and files that can only be in the index's folder. */
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_file(const uint8_t *data, size_t size) {
    safetensors s;
    pgr_error err = {0};
    if (safetensors_open_memory(data, size, "fuzz", &s, &err) != PGR_OK) {
        PGR_ASSERT(err.status < 0 && err.message[0]);
        return;
    }
    size_t total = 8, header = 0;
    for (size_t i = 0; i < 4; i++) header |= (size_t)data[i] << (8 * i);
    for (size_t i = 0; i < s.source.n_tensor; i++) {
        const source_tensor *t = &s.source.tensors[i];
        float v;
        PGR_ASSERT(t->offset <= size && t->bytes <= size - t->offset);
        PGR_ASSERT(quant_known(t->type) ? t->data == data + t->offset : !t->data);
        PGR_ASSERT(source_find(&s.source, t->name) == t);
        if (t->data && t->bytes) quant_dequant((quant_type)t->type, &v, t->data, 1);
        total += t->bytes;
    }
    PGR_ASSERT(total + header == size);
    safetensors_close(&s);
}

static void check_index(const uint8_t *data, size_t size) {
    arena a = {0};
    shard_index x;
    if (shard_index_parse((const char *)data, size, "fuzz", &a, &x, NULL) == PGR_OK) {
        PGR_ASSERT(x.n_file > 0 && x.n_file <= x.n_tensor);
        for (size_t i = 0; i < x.n_tensor; i++) PGR_ASSERT(x.tensors[i] && x.file_of[i] < x.n_file);
        for (size_t i = 0; i < x.n_file; i++) PGR_ASSERT(x.files[i][0] && !strpbrk(x.files[i], "/\\"));
    }
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_file(data, size);
    check_index(data, size);
    return 0;
}
