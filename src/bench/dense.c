/* dense.c - sums over rows; see dense.h. One body in vectors of eight doubles, compiled for the registers that there
 * are: eight, four or two doubles wide. No products are fused with sums, so all give the same bits. */
#include "bench/dense.h"

#include <string.h>

enum { HALF = DENSE_LANES / 2 };

/* ---- plain C ----------------------------------------------------------------------------------------------------- */

/* The lanes' tree: 16 become 8, 4, 2, 1. */
static double tree(double *lane) {
    for (size_t width = DENSE_LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++) lane[i] += lane[i + width];
    return lane[0];
}

double dense_dot_x_ref(const float *x, const double *w, size_t n) {
    double lane[DENSE_LANES] = {0};
    size_t whole = n - n % DENSE_LANES;
    for (size_t i = 0; i < whole; i++) lane[i % DENSE_LANES] += (double)x[i] * w[i];
    double sum = tree(lane);
    for (size_t i = whole; i < n; i++) sum += (double)x[i] * w[i];
    return sum;
}

void dense_add_x_ref(double *restrict out, double a, const float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] += a * (double)x[i];
}

double dense_dot_ref(const double *a, const double *b, size_t n) {
    double lane[DENSE_LANES] = {0};
    size_t whole = n - n % DENSE_LANES;
    for (size_t i = 0; i < whole; i++) lane[i % DENSE_LANES] += a[i] * b[i];
    double sum = tree(lane);
    for (size_t i = whole; i < n; i++) sum += a[i] * b[i];
    return sum;
}

void dense_add_ref(double *restrict out, double a, const double *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] += a * x[i];
}

/* ---- vectors ----------------------------------------------------------------------------------------------------- */

typedef double eight __attribute__((vector_size(HALF * sizeof(double))));
typedef float eight_x __attribute__((vector_size(HALF * sizeof(float))));

#define INLINE static inline __attribute__((always_inline))

INLINE double sum_of(const eight *a, const eight *b) {
    double lane[DENSE_LANES];
    memcpy(lane, a, sizeof *a);
    memcpy(lane + HALF, b, sizeof *b);
    return tree(lane);
}

INLINE double dot_x(const float *x, const double *w, size_t n) {
    eight sum[2] = {{0}, {0}};
    size_t i = 0;
    for (; i + DENSE_LANES <= n; i += DENSE_LANES)
        for (size_t k = 0; k < 2; k++) {
            eight_x a;
            eight b;
            memcpy(&a, x + i + k * HALF, sizeof a);
            memcpy(&b, w + i + k * HALF, sizeof b);
            sum[k] += __builtin_convertvector(a, eight) * b;
        }
    double total = sum_of(&sum[0], &sum[1]);
    for (; i < n; i++) total += (double)x[i] * w[i];
    return total;
}

INLINE void add_x(double *restrict out, double a, const float *restrict x, size_t n) {
    size_t i = 0;
    for (; i + HALF <= n; i += HALF) {
        eight_x v;
        eight o;
        memcpy(&v, x + i, sizeof v);
        memcpy(&o, out + i, sizeof o);
        o += a * __builtin_convertvector(v, eight);
        memcpy(out + i, &o, sizeof o);
    }
    for (; i < n; i++) out[i] += a * (double)x[i];
}

INLINE double dot(const double *a, const double *b, size_t n) {
    eight sum[2] = {{0}, {0}};
    size_t i = 0;
    for (; i + DENSE_LANES <= n; i += DENSE_LANES)
        for (size_t k = 0; k < 2; k++) {
            eight v, w;
            memcpy(&v, a + i + k * HALF, sizeof v);
            memcpy(&w, b + i + k * HALF, sizeof w);
            sum[k] += v * w;
        }
    double total = sum_of(&sum[0], &sum[1]);
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

INLINE void add(double *restrict out, double a, const double *restrict x, size_t n) {
    size_t i = 0;
    for (; i + HALF <= n; i += HALF) {
        eight v, o;
        memcpy(&v, x + i, sizeof v);
        memcpy(&o, out + i, sizeof o);
        o += a * v;
        memcpy(out + i, &o, sizeof o);
    }
    for (; i < n; i++) out[i] += a * x[i];
}

/* ---- by the CPU's registers -------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* clang-format off */
#define AT_WIDTH(name, isa)                                                                                            \
    __attribute__((target(isa))) static double dot_x_##name(const float *x, const double *w, size_t n) {              \
        return dot_x(x, w, n);                                                                                         \
    }                                                                                                                  \
    __attribute__((target(isa))) static void add_x_##name(double *restrict out, double a, const float *restrict x,    \
                                                          size_t n) {                                                  \
        add_x(out, a, x, n);                                                                                           \
    }                                                                                                                  \
    __attribute__((target(isa))) static double dot_##name(const double *a, const double *b, size_t n) {               \
        return dot(a, b, n);                                                                                           \
    }                                                                                                                  \
    __attribute__((target(isa))) static void add_##name(double *restrict out, double a, const double *restrict x,     \
                                                        size_t n) {                                                    \
        add(out, a, x, n);                                                                                             \
    }
/* clang-format on */
AT_WIDTH(avx2, "avx2")
AT_WIDTH(avx512, "avx512f")

#define BY_WIDTH(call, ...)                                                                                            \
    (__builtin_cpu_supports("avx512f") ? call##_avx512(__VA_ARGS__)                                                    \
     : __builtin_cpu_supports("avx2")  ? call##_avx2(__VA_ARGS__)                                                      \
                                       : call(__VA_ARGS__))
#else
#define BY_WIDTH(call, ...) call(__VA_ARGS__)
#endif

double dense_dot_x(const float *x, const double *w, size_t n) {
    return BY_WIDTH(dot_x, x, w, n);
}

void dense_add_x(double *restrict out, double a, const float *restrict x, size_t n) {
    BY_WIDTH(add_x, out, a, x, n);
}

double dense_dot(const double *a, const double *b, size_t n) {
    return BY_WIDTH(dot, a, b, n);
}

void dense_add(double *restrict out, double a, const double *restrict x, size_t n) {
    BY_WIDTH(add, out, a, x, n);
}
