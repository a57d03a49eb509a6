/* test_quant.c - dequantisation against PyPI `gguf` bit for bit (tools/golden_quant.py),
 * every f16 and bf16 both ways. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "math/cpu/level.h"
#include "math/quant.h"

typedef struct golden {
    uint32_t n_block, block;
    uint8_t *data;
    float *values;
} golden;

static golden golden_read(const char *name, size_t block_bytes) {
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/quant/%s.bin", PGR_SOURCE_DIR, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    golden g;
    assert_int_equal(fread(&g.n_block, 4, 1, f), 1);
    assert_int_equal(fread(&g.block, 4, 1, f), 1);
    size_t n = (size_t)g.n_block * g.block, bytes = g.n_block * block_bytes;
    g.data = malloc(bytes);
    g.values = malloc(n * sizeof *g.values);
    assert_int_equal(fread(g.data, 1, bytes, f), bytes);
    assert_int_equal(fread(g.values, sizeof *g.values, n, f), n);
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
    return g;
}

static void check_type(quant_type t, const char *name, size_t block, size_t bytes) {
    golden g = golden_read(name, bytes);
    size_t n = (size_t)g.n_block * g.block;
    assert_int_equal(g.block, block);
    assert_int_equal(quant_block(t), block);
    assert_int_equal(quant_row_bytes(t, n), g.n_block * bytes);
    assert_true(quant_known((uint32_t)t));
    assert_string_equal(quant_name((uint32_t)t), name);

    float *out = malloc(n * sizeof *out);
    uint8_t *odd = malloc(g.n_block * bytes + 1); /* files promise no alignment of a row */
    memcpy(odd + 1, g.data, g.n_block * bytes);
    quant_dequant(t, out, odd + 1, n);
    for (size_t i = 0; i < n; i++)
        if (memcmp(out + i, g.values + i, sizeof *out) != 0)
            fail_msg("%s value %zu: %a, gguf gives %a", name, i, (double)out[i], (double)g.values[i]);
    free(odd);
    free(out);
    free(g.data);
    free(g.values);
}

static void test_golden(void **state) {
    (void)state;
#define X(name, id, n, bytes) check_type(QUANT_##name, #name, n, bytes);
    QUANT_TYPES(X)
#undef X
}

/* n rows of K values, one every `step` values of g, so that rows overlap: at an odd address, in memory that ends where
 * the last row does. */
static void check_tile(const kernels *k, quant_type t, const golden *g, size_t step, size_t n, size_t K, size_t shift) {
    size_t row_bytes = quant_row_bytes(t, step), bytes = (n - 1) * row_bytes + quant_row_bytes(t, K);
    float *tile = malloc(sizeof(float) * GEMM_CHUNK * GEMM_TILE);
    uint8_t *data = malloc(bytes + shift);
    memset(tile, 0xff, sizeof(float) * GEMM_CHUNK * GEMM_TILE);
    memcpy(data + shift, g->data, bytes);
    k->dequant_tile(tile, t, data + shift, row_bytes, n, K);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < K; i++)
            if (memcmp(tile + i * GEMM_TILE + j, g->values + j * step + i, sizeof *tile) != 0)
                fail_msg("%s %s n %zu K %zu row %zu value %zu", k->name, quant_name((uint32_t)t), n, K, j, i);
    free(data);
    free(tile);
}

/* dequant_tile of every level gives the bits of quant_dequant, for any number of rows, any width of whole blocks, at
 * any address, and reads nothing beyond the rows. */
static void check_tiles(const kernels *k, quant_type t, const char *name, size_t bytes) {
    golden g = golden_read(name, bytes);
    size_t total = (size_t)g.n_block * g.block, step = g.block == 1 ? 5 : g.block, shift = 0;
    const size_t counts[] = {1, 3, 7, 8, 9, 15, 16, 17, 20, 33, 48, 63, 64};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t K = g.block; K <= GEMM_CHUNK; K += g.block == 1 && K > 33 ? 37 : g.block) {
            size_t rows = (total - K) / step + 1;
            check_tile(k, t, &g, step, counts[c] < rows ? counts[c] : rows, K, shift++ % 16);
        }
    free(g.data);
    free(g.values);
}

static void test_tiles(void **state) {
    (void)state;
    for (size_t l = 0; cpu_level_at(l); l++) {
#define X(name, id, n, bytes) check_tiles(cpu_level_at(l)->kernels, QUANT_##name, #name, bytes);
        QUANT_TYPES(X)
#undef X
    }
}

static void test_names(void **state) {
    (void)state;
    assert_false(quant_known(39));
    assert_string_equal(quant_name(39), "MXFP4");
    assert_false(quant_known(99));
    assert_string_equal(quant_name(99), "unknown");
}

/* Every finite f16 and bf16 comes back; halves between neighbours go to the even one. */
static void test_f16(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        if ((h & 0x7c00) == 0x7c00 && (h & 0x3ff)) {
            assert_true(isnan(f16_to_f32((uint16_t)h)) && isnan(f16_to_f32(f32_to_f16(f16_to_f32((uint16_t)h)))));
            continue;
        }
        assert_int_equal(f32_to_f16(f16_to_f32((uint16_t)h)), h);
        if ((h & 0x7fff) >= 0x7bff) continue; /* no finite neighbour */
        float a = f16_to_f32((uint16_t)h), b = f16_to_f32((uint16_t)(h + 1)), middle = (a + b) / 2;
        assert_int_equal(f32_to_f16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(f32_to_f16(nextafterf(middle, a)), h);
        assert_int_equal(f32_to_f16(nextafterf(middle, b)), h + 1);
    }
    assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(0x1p-25f), 0);
    assert_int_equal(f32_to_f16(0x1.000002p-25f), 1);
}

static void test_bf16(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float a = bf16_to_f32((uint16_t)h);
        if (isnan(a)) {
            assert_true(isnan(bf16_to_f32(f32_to_bf16(a))));
            continue;
        }
        assert_int_equal(f32_to_bf16(a), h);
        if ((h & 0x7fff) >= 0x7f7f) continue;
        uint32_t bits = h << 16 | 0x8000;
        float middle, below, above;
        memcpy(&middle, &bits, 4);
        bits--;
        memcpy(&below, &bits, 4);
        bits += 2;
        memcpy(&above, &bits, 4);
        assert_int_equal(f32_to_bf16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(f32_to_bf16(below), h);
        assert_int_equal(f32_to_bf16(above), h + 1);
    }
    assert_true(isnan(bf16_to_f32(f32_to_bf16(NAN))));

    static uint16_t every[0x10000]; /* a row of all of them, of any length */
    float *row = malloc(sizeof *row * 0x10000);
    for (uint32_t h = 0; h < 0x10000; h++) every[h] = (uint16_t)h;
    for (size_t n = 0x10000 - 5; n <= 0x10000; n++) {
        quant_dequant(QUANT_BF16, row, every, n);
        for (size_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, row + i, sizeof bits);
            assert_int_equal(bits, (uint32_t)i << 16);
        }
    }
    free(row);
}

/* Rows in every type that is written have the bytes that PyPI `gguf` makes of them. */
static void test_quantise(void **state) {
    (void)state;
    enum { ROWS = 64, N = 64 };
    static const quant_type kinds[] = {QUANT_F16, QUANT_BF16, QUANT_Q8_0, QUANT_Q4_0};
    uint32_t per_row;
    static float rows[ROWS][N];
    FILE *f = fopen(PGR_SOURCE_DIR "/tests/golden/quant/quantise.bin", "rb");
    assert_non_null(f);
    assert_int_equal(fread(&per_row, 4, 1, f), 1);
    assert_int_equal(per_row, N);
    assert_int_equal(fread(rows, sizeof rows, 1, f), 1);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        uint8_t want[4 * N], got[4 * N + 1]; /* at an odd address */
        size_t bytes = quant_row_bytes(kinds[k], N);
        for (size_t r = 0; r < ROWS; r++) {
            assert_int_equal(fread(want, 1, bytes, f), bytes);
            assert_true(quant_writable((uint32_t)kinds[k]));
            assert_true(quant_quantise(kinds[k], got + 1, rows[r], N));
            if (memcmp(got + 1, want, bytes) != 0) fail_msg("%s: row %zu differs", quant_name((uint32_t)kinds[k]), r);
        }
    }
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
}

static void test_quantise_refuses(void **state) {
    (void)state;
    static const quant_type all[] = {QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q8_0, QUANT_Q4_0};
    uint8_t out[4 * 32];
    for (size_t k = 0; k < 5; k++) {
        float x[32] = {[5] = 1};
        assert_true(quant_quantise(all[k], out, x, 32));
        x[31] = NAN;
        assert_false(quant_quantise(all[k], out, x, 32));
        x[31] = -INFINITY;
        assert_false(quant_quantise(all[k], out, x, 32));
        x[31] = 65520; /* the first that rounds to infinity as a half */
        assert_int_equal(quant_quantise(all[k], out, x, 32), all[k] != QUANT_F16);
        x[31] = 3.4e38f; /* beyond bf16's largest, and beyond what a half as scale reaches */
        assert_int_equal(quant_quantise(all[k], out, x, 32), all[k] == QUANT_F32);
    }
    assert_false(quant_writable(QUANT_Q4_1));
    assert_false(quant_writable(99));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_quantise),
        cmocka_unit_test(test_quantise_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
