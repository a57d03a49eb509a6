/* dtype.c - kinds of arithmetic: their names, which this CPU is fast at, and which one `auto` is. */
#include <stdlib.h>

#include "base/log.h"
#include "math/ops.h"
#include "model/model.h"

pgr_dtype pgr_dtype_auto(void) {
    return ops_cpu_fast(GEMM_INT8) ? PGR_DTYPE_INT8 : PGR_DTYPE_EXACT;
}

pgr_dtype model_dtype_trained(void) {
    return ops_cpu_bf16_ahead() ? PGR_DTYPE_BF16 : PGR_DTYPE_F32;
}

const char *pgr_dtype_name(pgr_dtype dtype) {
    static const char *const names[] = {"auto", "exact", "f32", "bf16", "int8"};
    return names[dtype];
}

bool pgr_dtype_fast(pgr_dtype dtype) {
    return ops_cpu_fast(model_form(dtype == PGR_DTYPE_AUTO ? pgr_dtype_auto() : dtype));
}

/* Who has asked for plain C by PGENRM_CPU knows it, unless he asks for a type by name, too. */
pgr_dtype model_dtype(pgr_dtype asked) {
    pgr_dtype dtype = asked == PGR_DTYPE_AUTO ? pgr_dtype_auto() : asked;
    if (!pgr_dtype_fast(dtype) && (!getenv("PGENRM_CPU") || dtype == PGR_DTYPE_BF16 || dtype == PGR_DTYPE_INT8))
        log_warn(
            "dtype %s: level %s of this CPU has no fast kernels for it, plain C computes it slowly; auto is %s here",
            pgr_dtype_name(dtype), ops_cpu_name(), pgr_dtype_name(pgr_dtype_auto()));
    return dtype;
}
