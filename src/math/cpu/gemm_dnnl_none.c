/* gemm_dnnl_none.c - in place of gemm_dnnl.c in a build without oneDNN (PGR_DNNL=OFF): no weights are packed, so
 * that GEMM_F32 is computed by tiles. */
#include "base/mem.h"
#include "math/cpu/gemm_dnnl.h"

pgr_status dnnl_weights_create(const gemm_stack *s, pool *threads, dnnl_weights **out, pgr_error *err) {
    (void)threads, (void)out;
    return fail(err, PGR_E_UNSUPPORTED, "this build has no oneDNN (%zu x %zu)", s->N, s->K);
}

void dnnl_weights_free(dnnl_weights *w) {
    PGR_ASSERT(!w);
}

size_t dnnl_weights_bytes(const dnnl_weights *w) {
    PGR_ASSERT(!w);
    return 0;
}

pgr_status dnnl_weights_run(const dnnl_weights *w, const gemm_call *call, pool *threads, pgr_error *err) {
    (void)call, (void)threads;
    PGR_ASSERT(!w);
    return fail(err, PGR_E_UNSUPPORTED, "this build has no oneDNN");
}
