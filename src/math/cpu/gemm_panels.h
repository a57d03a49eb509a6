/* gemm_panels.h - weights in panels, and the products of GEMM_BF16 and GEMM_INT8. Internal to gemm*.c. */
#ifndef PGR_MATH_CPU_GEMM_PANELS_H
#define PGR_MATH_CPU_GEMM_PANELS_H

#include "math/cpu/gemm_kernels.h"
#include "math/cpu/gemm_stack.h"

typedef struct panel_weights {
    gemm_form form;
    size_t N, K, n_panel, panel_bytes;
    const gemm_kernels *kernels;
    char *data; /* (n_panel, panel_bytes) */
    void *own;  /* data where it is not in a slab, else NULL */
} panel_weights;

/* memory: where the panels go, for as long as they are used; NULL: their own. */
pgr_status panels_create(gemm_form form, const gemm_stack *s, slab *memory, pool *threads, panel_weights **out,
                         pgr_error *err);
void panels_free(panel_weights *w);
size_t panels_bytes(const panel_weights *w);
/* Not of GEMM_F32. */
pgr_status panels_run(const panel_weights *w, const gemm_call *call, pool *threads, pgr_error *err);

#endif
