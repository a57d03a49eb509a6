/* embed.c - rows from tables, sums of them, and the angles of positions. */
#include <math.h>
#include <string.h>

#include "math/cpu/device.h"

typedef struct embed_job {
    const cpu_ops *o;
    float *x;
    const lookup *tables;
    size_t n_table, d;
} embed_job;

/* x += values of a row of the table, in pieces that every block size divides. */
static void add_row(const kernels *k, float *x, const lookup *t, const uint8_t *row, size_t d) {
    float piece[GEMM_CHUNK];
    for (size_t i = 0; i < d; i += GEMM_CHUNK) {
        size_t n = d - i < GEMM_CHUNK ? d - i : GEMM_CHUNK;
        quant_dequant(t->type, piece, row + quant_row_bytes(t->type, i), n);
        k->add(x + i, piece, n);
    }
}

static void embed_row(void *ctx, size_t m, size_t worker) {
    (void)worker;
    const embed_job *job = ctx;
    float *x = job->x + m * job->d;
    for (size_t i = 0; i < job->n_table; i++) {
        const lookup *t = &job->tables[i];
        size_t row = t->row ? (size_t)t->row[m] : 0;
        const uint8_t *at = (const uint8_t *)t->data + row * quant_row_bytes(t->type, job->d);
        if (i == 0)
            quant_dequant(t->type, x, at, job->d);
        else
            add_row(job->o->k, x, t, at, job->d);
        for (size_t k = 0; k < t->n_term; k++) lowrank_add_row(&t->terms[k], x, row);
    }
}

void cpu_embed(ops *o, float *x, const lookup *tables, size_t n_table, size_t n, size_t d) {
    embed_job job = {cpu_of(o), x, tables, n_table, d};
    pool_run(job.o->threads, n, embed_row, &job);
}

typedef struct mix_job {
    const cpu_ops *o;
    float *out;
    const row_mix *mix;
    size_t d;
} mix_job;

static void mix_row(void *ctx, size_t m, size_t worker) {
    (void)worker;
    const mix_job *job = ctx;
    const row_mix *x = job->mix;
    float piece[GEMM_CHUNK], *out = job->out + m * job->d;
    memset(out, 0, job->d * sizeof *out);
    for (size_t j = x->start[m]; j < x->start[m + 1]; j++) {
        const uint8_t *row = (const uint8_t *)x->data + (size_t)x->row[j] * quant_row_bytes(x->type, job->d);
        for (size_t i = 0; i < job->d; i += GEMM_CHUNK) {
            size_t n = job->d - i < GEMM_CHUNK ? job->d - i : GEMM_CHUNK;
            quant_dequant(x->type, piece, row + quant_row_bytes(x->type, i), n);
            job->o->k->mac(out + i, n, &x->factor[j], 1, piece, n, 1, 1, n);
        }
    }
}

void cpu_mix(ops *o, float *out, const row_mix *mix, size_t n, size_t d) {
    mix_job job = {cpu_of(o), out, mix, d};
    pool_run(job.o->threads, n, mix_row, &job);
}

typedef struct angle_job {
    float *cs;
    const uint32_t *pos;
    const float *freq;
    size_t n_freq;
    float scale;
} angle_job;

static void angle_row(void *ctx, size_t m, size_t worker) {
    (void)worker;
    const angle_job *job = ctx;
    float *cs = job->cs + m * 2 * job->n_freq;
    for (size_t i = 0; i < job->n_freq; i++) {
        float angle = (float)job->pos[m] * job->freq[i]; /* in fp32, as the reference implementations train */
        cs[2 * i] = job->scale * cosf(angle);
        cs[2 * i + 1] = job->scale * sinf(angle);
    }
}

void cpu_angles(ops *o, float *cs, const uint32_t *pos, const float *freq, size_t n_freq, float scale, size_t n) {
    angle_job job = {cs, pos, freq, n_freq, scale};
    pool_run(cpu_of(o)->threads, n, angle_row, &job);
}
