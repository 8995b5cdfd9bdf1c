#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/formats: what the `gguf` package (0.19) makes of random blocks, and numpy of roundings.

  decode.bin   records of  u32 type, u32 n, u32 n_bytes, the n_bytes raw bytes, n float32
  round.bin    records of  u32 float32 bits, u16 float16 bits, u16 bfloat16 bits
  encode.bin   records of  u32 type, u32 n, u32 n_bytes, n float32, the n_bytes that the package quantises them to
All little-endian. usage: make_format_vectors.py [tests/golden/formats]
"""
import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGML_QUANT_SIZES, dequantize, quantize

N = 1024  # elements of each format
# Where the float16 scales of a block lie; every other byte may have any value.
SCALES = {
    T.F32: [], T.F16: [], T.BF16: [],
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.IQ4_NL: [0], T.IQ4_XS: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
# Scales of the first blocks: zeros, the least and the greatest subnormal, greatest, negative, infinite.
SPECIAL = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xB555, 0x7C00], np.uint16)


def blocks_of(t: T, rng: np.random.Generator) -> np.ndarray:
    block, size = GGML_QUANT_SIZES[t]
    raw = rng.integers(0, 256, (N // block, size), np.uint8)
    if t in (T.F32, T.F16, T.BF16):  # bit patterns of all kinds, NaN included
        return raw.reshape(1, -1)
    for place in SCALES[t]:
        d = rng.normal(0, 0.05, len(raw)).astype(np.float16).view(np.uint16)
        if block == 32:
            d[: len(SPECIAL)] = rng.permutation(SPECIAL)
        else:  # four blocks only
            d[:2] = rng.choice(SPECIAL[:6], 2, replace=False)
        raw[:, place] = d & 255
        raw[:, place + 1] = d >> 8
    return raw.reshape(1, -1)


def write_decode(path: Path, rng: np.random.Generator) -> None:
    with path.open("wb") as f, np.errstate(all="ignore"):
        for t in SCALES:
            raw = blocks_of(t, rng)
            value = np.ascontiguousarray(dequantize(raw, t), np.float32).reshape(-1)
            assert value.size == N
            f.write(struct.pack("<III", t.value, value.size, raw.size) + raw.tobytes() + value.tobytes())


def write_round(path: Path, rng: np.random.Generator) -> None:
    edges = [0.0, 1.0, 65504.0, 65519.996, 65520.0, 65536.0, 2.0**-14, 2.0**-24, 2.0**-25, 2.0**-26, 1.5 * 2.0**-24]
    ties = np.arange(64) * 2.0**-25  # halves of float16's subnormals
    ties2 = 1 + np.arange(64) * 2.0**-11
    ties3 = 1 + np.arange(64) * 2.0**-8  # halves of bfloat16's steps
    x = np.concatenate([edges, ties, ties2, ties3]).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(0))])
    x = np.concatenate([x, rng.normal(0, 1, 300), 10.0 ** rng.uniform(-9, 5, 300)]).astype(np.float32)
    odd = np.array([0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0x7F7FFFFF, 0x7F7F8000, 1, 0x00007FFF, 0x00018000],
                   np.uint32)
    u = np.concatenate([x.view(np.uint32), odd])
    u = np.concatenate([u, u | np.uint32(0x80000000)])
    with np.errstate(all="ignore"):
        h = u.view(np.float32).astype(np.float16).view(np.uint16)
    # bfloat16 by torch: numpy has none, and the gguf package's quantiser is where our rule comes from.
    import torch

    b = torch.from_numpy(u.view(np.float32).copy()).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    out = np.zeros(u.size, np.dtype([("f", "<u4"), ("h", "<u2"), ("b", "<u2")]))
    out["f"], out["h"], out["b"] = u, h, b
    path.write_bytes(out.tobytes())


def write_encode(path: Path, rng: np.random.Generator) -> None:
    x = [rng.normal(0, s, 512) for s in (1, 0.02, 1e-4, 300)]
    x += [np.zeros(32), np.full(32, -0.0), np.full(32, 1.0), np.full(32, -3e-5)]
    x += [np.arange(32) - 16, np.arange(32) - 15, np.arange(32) / 2, -np.arange(32) / 2]  # ties
    x += [rng.normal(0, s, 64) for s in (1e-7, 1e-9, 1e-30, 1e4)]  # scales that float16 hardly has, or has not
    one = np.zeros(32)
    one[7], one[20] = -5, 5  # the first of two as large
    x += [one, -one, rng.integers(-127, 128, 256), rng.integers(-8, 9, 256)]
    x = np.concatenate(x).astype(np.float32)
    with path.open("wb") as f, np.errstate(all="ignore"):
        for t in (T.F32, T.F16, T.BF16, T.Q4_0, T.Q8_0):
            y = x.astype(np.float16) if t == T.F16 else quantize(x.reshape(1, -1), t)
            raw = np.ascontiguousarray(y).tobytes()
            f.write(struct.pack("<III", t.value, x.size, len(raw)) + x.tobytes() + raw)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/formats")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20261125)
    write_decode(folder / "decode.bin", rng)
    write_round(folder / "round.bin", rng)
    write_encode(folder / "encode.bin", rng)


if __name__ == "__main__":
    main()
