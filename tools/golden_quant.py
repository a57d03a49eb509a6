#!/usr/bin/env python3
"""Writes tests/golden/quant/TYPE.bin: what PyPI `gguf` makes of a few blocks of every type that src/math/quant.h lists.

A file is: u32 number of blocks, u32 values per block, the blocks, the values (fp32, little-endian). Scales are random,
extreme, subnormal and zero in turn, the other bytes random. And quantise.bin, what it makes of rows of values: u32
values per row, the rows (fp32), and per type of QUANTISED the rows in that type. Needs gguf and numpy; run it from the
repository root."""
import pathlib

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Type

N_BLOCK = 24
# offsets of the f16 scales in a block
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208]}
# subnormals, zeros, the smallest normal, the largest, ones
EDGES = [0x0001, 0x8001, 0x03FF, 0x83FF, 0x0000, 0x8000, 0x0400, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00, 0x0200]


def blocks_of(name, size, rng):
    b = rng.integers(0, 256, (N_BLOCK, size), dtype=np.uint8)
    for k, offset in enumerate(SCALES[name]):
        scale = rng.normal(0, 0.02, N_BLOCK).astype(np.float16).view(np.uint16)
        for i in range(N_BLOCK // 2):
            scale[i] = EDGES[(i * (1 + 4 * k) + k) % len(EDGES)]
        b[:, offset:offset + 2] = scale.view(np.uint8).reshape(N_BLOCK, 2)
    return b


def plain(name, rng):
    """F32, F16, BF16: one value per block, everything but NaN."""
    n = 512
    if name == "F32":
        return rng.normal(0, 1, n).astype(np.float32).view(np.uint8).reshape(n, 4)
    u = rng.integers(0, 1 << 16, n, dtype=np.uint16)
    u[:len(EDGES)] = EDGES
    u[len(EDGES):len(EDGES) + 2] = [0x7C00, 0xFC00] if name == "F16" else [0x7F80, 0xFF80]
    exponent = 0x7C00 if name == "F16" else 0x7F80
    special = (u & exponent) == exponent
    u[special] &= np.uint16(0xFFFF & ~(0x7FFF & ~exponent))
    return u.view(np.uint8).reshape(n, 2)


QUANTISED = ["F16", "BF16", "Q8_0", "Q4_0"]


def rows(rng):
    """Blocks of very different sizes, with values half way between two steps, equal magnitudes, signed zeros and
    subnormals."""
    x = rng.normal(0, 1, (64, 64)).astype(np.float32) * np.float32(10.0) ** rng.integers(-6, 4, (64, 1)).astype(
        np.float32)
    x[0] = np.arange(-32, 32) / 2
    x[1] = np.tile([8, -8, 7.5, -7.5, 3.5, 0.5, -0.5, -3.5], 8)
    x[2] = np.tile([-8, 8, 7.5, -7.5, 3.5, 0.5, -0.5, -3.5], 8)
    x[3] = 127 * rng.choice([1, -1], 64)
    x[3, 1:] = (rng.integers(-126, 126, 63) + 0.5)
    x[4] = 0
    x[5] = np.float32(2) ** -24 * rng.integers(-40, 40, 64) / 4
    x[6] = 60000 * np.sign(x[6])
    x[7, ::3] = 0
    return x


def quantise(out):
    x = rows(np.random.default_rng(7))
    data = np.array([x.shape[1]], "<u4").tobytes() + x.astype("<f4").tobytes()
    for name in QUANTISED:
        packed = x.astype(np.float16) if name == "F16" else gguf.quants.quantize(x, Type[name])
        data += np.ascontiguousarray(packed).tobytes()
    (out / "quantise.bin").write_bytes(data)


def main():
    out = pathlib.Path("tests/golden/quant")
    out.mkdir(parents=True, exist_ok=True)
    for name in ["F32", "F16", "BF16", *SCALES]:
        rng = np.random.default_rng(sum(name.encode()))
        kind = Type[name]
        block, size = GGML_QUANT_SIZES[kind]
        data = blocks_of(name, size, rng) if name in SCALES else plain(name, rng)
        values = gguf.quants.dequantize(data, kind).astype("<f4")
        assert values.size == data.shape[0] * block
        head = np.array([data.shape[0], block], dtype="<u4")
        (out / f"{name}.bin").write_bytes(head.tobytes() + data.tobytes() + values.tobytes())
    quantise(out)


main()
