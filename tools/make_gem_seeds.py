#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/fuzz/seeds/gem: native files (src/files/gem.h) by the letter of the definition, without our writer.
usage: make_gem_seeds.py [tests/fuzz/seeds/gem]"""
import math
import struct
import sys
from pathlib import Path

import numpy as np
import xxhash

ROW_BYTES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144), 14: (256, 210), 30: (1, 2)}
PANEL_GROUP = {1: (32, 288), 2: (32, 544), 3: (32, 384), 4: (32, 640), 5: (16, 384)}


def n_bytes(shape, kind, layout):
    if not layout:
        block, size = ROW_BYTES[kind]
        return math.prod(shape) // block * size
    group, size = PANEL_GROUP[layout]
    return math.prod(shape[:-2]) * -(-shape[-2] // 16) * (shape[-1] // group * size)


def native(source, blobs, tensors):
    rng = np.random.default_rng(5)
    names = b''.join(name.encode() for name, _ in blobs)
    names += b''.join(name.encode() + (other or '').encode() for name, _, _, _, other in tensors)
    directory_bytes = 32 * len(blobs) + 80 * len(tensors) + len(names)
    data, directory, at = b'', b'', 64 + directory_bytes
    digest = lambda x: xxhash.xxh64(x).intdigest()

    def place(content):
        nonlocal data, at
        data += bytes(-at % 64) + content
        at += -at % 64 + len(content)
        return at - len(content)

    for name, content in blobs:
        directory += struct.pack('<QQQII', place(content), len(content), digest(content), len(name), 0)
    for name, shape, kind, layout, other in tensors:
        content = rng.integers(0, 120, 5 if other else n_bytes(shape, kind, layout), np.uint8).tobytes()
        directory += struct.pack('<QQQ4Q6I', place(content), len(content), digest(content),
                                 *(list(shape) + [1] * (4 - len(shape))), len(shape), kind, layout, 1, len(name),
                                 len(other or ''))
    directory += names
    head = b'\x89GEM\r\n\x1a\n' + struct.pack('<IIQQIIIIQ', 0x01020304, 1, at, len(directory), len(blobs),
                                              len(tensors), source, 0, digest(directory))
    return head + struct.pack('<Q', digest(head)) + directory + data


def gguf(pairs):
    text = lambda s: struct.pack('<Q', len(s)) + s
    out = b'GGUF' + struct.pack('<IQQ', 3, 0, len(pairs))
    for key, kind, value in pairs:
        out += text(key) + struct.pack('<I', kind) + value
    return out


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else 'tests/fuzz/seeds/gem')
    folder.mkdir(parents=True, exist_ok=True)
    kv = gguf([(b'general.architecture', 8, struct.pack('<Q', 6) + b'gemma4'), (b'gemma4.block_count', 4, b'\1\0\0\0'),
               (b'list', 9, struct.pack('<IQ', 4, 2) + bytes(8))])
    (folder / 'gguf.gem').write_bytes(native(1, [('metadata.gguf', kv)], [
        ('output_norm.weight', [8], 0, 0, None), ('token_embd.weight', [17, 32], 2, 1, None),
        ('blk.0.ffn_down_exps.weight', [2, 3, 32], 8, 2, None), ('rows', [3, 32], 8, 0, None)]))
    (folder / 'folder.gem').write_bytes(native(2, [('config.json', b'{"model_type": "gemma4"}'), ('tokenizer.json', b'{}')], [
        ('model.norm.weight', [3], 30, 0, None), ('tower', [5], 42, 0, 'F8_E4M3'), ('nothing', [0, 4], 1, 0, None)]))
    (folder / 'kinds.gem').write_bytes(native(1, [('metadata.gguf', kv)], [
        ('q4m', [2, 256], 12, 3, None), ('q8m16', [1, 256], 14, 5, None)]))


if __name__ == '__main__':
    main()
