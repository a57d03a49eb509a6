/* gemm_stack.h - the rows of several matrices one below the other. Internal to the gemm_*.c. */
#ifndef PGR_MATH_CPU_GEMM_STACK_H
#define PGR_MATH_CPU_GEMM_STACK_H

#include "math/cpu/gemm.h"

typedef struct gemm_stack {
    const gemm_part *parts;
    size_t n_part;
    size_t N, K; /* N: of all parts */
} gemm_stack;

/* Row n as its part has it. */
static inline const void *stack_file_row(const gemm_stack *s, size_t n) {
    const gemm_part *p = s->parts;
    for (; n >= p->N; p++) n -= p->N;
    return (const char *)p->data + n * quant_row_bytes(p->type, s->K);
}

/* Row n in fp32.                                                                                            out: (K) */
static inline void stack_row(const gemm_stack *s, size_t n, float *out) {
    const gemm_part *p = s->parts;
    for (; n >= p->N; p++) n -= p->N;
    quant_dequant(p->type, out, (const char *)p->data + n * quant_row_bytes(p->type, s->K), s->K);
}

#endif
