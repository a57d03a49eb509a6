/* tiles_amx.h - the AMX tiles as all kernels here shape them: eight, each of 16 rows by 64 bytes, 0 to 3 for sums. Only
 * for files that are compiled with -mamx-tile. */
#ifndef PGR_MATH_CPU_TILES_AMX_H
#define PGR_MATH_CPU_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>

/* Before a thread's first product; whatever its tiles had is gone. */
static inline void tiles_begin(void) {
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&shapes);
}

/* Behind its last one. */
static inline void tiles_end(void) {
    _tile_release();
}

static inline void tiles_zero_sums(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

#endif
