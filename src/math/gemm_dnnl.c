/* gemm_dnnl.c - weights packed for oneDNN. */
#include "math/gemm_dnnl.h"

pgr_status packed_create(gemm_form form, quant_type t, const void *data, size_t N, size_t K, pool *threads,
                         packed_weights **out, pgr_error *err) {
    (void)form, (void)t, (void)data, (void)N, (void)K, (void)threads, (void)out;
    return fail(err, PGR_E_UNSUPPORTED, "packed weights");
}
void packed_free(packed_weights *w) { (void)w; }
size_t packed_bytes(const packed_weights *w) { (void)w; return 0; }
pgr_status packed_run(const packed_weights *w, float *out, const float *x, size_t M, pool *threads, pgr_error *err) {
    (void)w, (void)out, (void)x, (void)M, (void)threads;
    return fail(err, PGR_E_UNSUPPORTED, "packed weights");
}
