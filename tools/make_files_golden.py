#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/files and the seeds of tests/fuzz for checkpoint files.

Files are written and read by other people's code: gguf-py, safetensors, huggingface_hub, and llama.cpp's splitter.
What they hold is written down as a listing, one line per metadata key and tensor, which tests/unit/archive.c has to
reproduce: in full for the files made here, and as number of lines and CRC-32 for the reference models.

  make_files_golden.py --split LLAMA-GGUF-SPLIT --shared SHARED-FOLDER     write everything
  make_files_golden.py --list FILE ...                                     listings of files, to look at a difference
"""
import argparse
import json
import pathlib
import shutil
import struct
import subprocess
import tempfile
import zlib

import gguf
import numpy as np
from safetensors import deserialize
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/files"
SEEDS = ROOT / "tests/fuzz/seeds"
T = gguf.GGUFValueType
FLOATS = (T.FLOAT32, T.FLOAT64)
KV_NAMES = {T.UINT8: "u8", T.INT8: "i8", T.UINT16: "u16", T.INT16: "i16", T.UINT32: "u32", T.INT32: "i32",
            T.FLOAT32: "f32", T.BOOL: "bool", T.STRING: "string", T.UINT64: "u64", T.INT64: "i64", T.FLOAT64: "f64"}


# ---- listings ---------------------------------------------------------------------------------------------

def kv_line(field):
    """`K key type n crc` of the values as text: numbers joined by commas, strings as length:bytes."""
    is_array = field.types[0] == T.ARRAY
    element = T(int(field.parts[3][0])) if is_array else field.types[0]
    if element == T.STRING:
        values = [bytes(field.parts[i]) for i in field.data]
        text = b"".join(b"%d:%s" % (len(v), v) for v in values)
    else:
        values = [field.parts[i][0] for i in field.data]
        text = ",".join("%.17g" % v if element in FLOATS else "%d" % v for v in values).encode()
    kind = "array:" + KV_NAMES[element] if is_array else KV_NAMES[element]
    return f"K {field.name} {kind} {len(values)} {zlib.crc32(text):08x}"


def tensor_line(name, kind, shape, file, offset, data):
    dims = "x".join(str(int(d)) for d in shape) or "-"
    return f"T {name} {kind} {dims} {file}:{offset} {len(data)} {zlib.crc32(data):08x}"


def list_gguf(paths):
    """Of a split file all parts in order: keys of a later part only where they are new."""
    keys, tensors, seen = [], [], set()
    for number, path in enumerate(paths):
        reader = gguf.GGUFReader(path)
        for name, field in reader.fields.items():
            if not name.startswith("GGUF.") and name not in seen:
                seen.add(name)
                keys.append(kv_line(field))
        raw = reader.data
        tensors += [tensor_line(t.name, t.tensor_type.name, reversed(t.shape.tolist()), number, int(t.data_offset),
                                raw[int(t.data_offset):int(t.data_offset) + int(t.n_bytes)].tobytes())
                    for t in reader.tensors]
    return keys + tensors


def list_safetensors(paths):
    lines = []
    for number, path in enumerate(paths):
        raw = path.read_bytes()
        n = struct.unpack_from("<Q", raw)[0]
        header = json.loads(raw[8:8 + n])
        views = dict(deserialize(raw))  # the reference implementation's own reading
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            view = views.pop(name)
            begin, end = entry["data_offsets"]
            data = bytes(view["data"])
            assert (view["dtype"], list(view["shape"]), len(data)) == (entry["dtype"], entry["shape"], end - begin)
            lines.append(tensor_line(name, view["dtype"], view["shape"], number, 8 + n + begin, data))
        assert not views
    return lines


def listing(paths):
    lines = list_gguf(paths) if paths[0].suffix == ".gguf" else list_safetensors(paths)
    return "".join(line + "\n" for line in lines)


# ---- files ------------------------------------------------------------------------------------------------

def write_tiny_gguf(path, alignment):
    """Every type of value, and a few types of tensors."""
    rng = np.random.default_rng(4)
    w = gguf.GGUFWriter(path, "gemma4")
    if alignment:
        w.add_custom_alignment(alignment)
    for suffix, kind, value in [("u8", T.UINT8, 200), ("i8", T.INT8, -100), ("u16", T.UINT16, 60000),
                                ("i16", T.INT16, -30000), ("u32", T.UINT32, 4000000000), ("i32", T.INT32, -2000000000),
                                ("f32", T.FLOAT32, 1e-6), ("bool", T.BOOL, True), ("string", T.STRING, "größer"),
                                ("u64", T.UINT64, 2**64 - 1), ("i64", T.INT64, -2**63), ("f64", T.FLOAT64, 1e300)]:
        w.add_key_value("test." + suffix, value, kind)
    for suffix, kind, values in [("u8", T.UINT8, [0, 255]), ("i16", T.INT16, [-1, 0, 1]), ("i32", T.INT32, [7] * 5),
                                 ("bool", T.BOOL, [True, False, True]), ("f32", T.FLOAT32, [0.5, -0.25]),
                                 ("i64", T.INT64, [-5, 5]), ("string", T.STRING, ["", "a", "▁the", "<turn|>"])]:
        w.add_key_value("test.array." + suffix, values, T.ARRAY, sub_type=kind)
    w.add_tensor("token_embd.weight", rng.standard_normal((3, 8), dtype=np.float32))
    w.add_tensor("blk.0.attn_norm.weight", rng.standard_normal(5, dtype=np.float32))
    w.add_tensor("blk.0.half", rng.standard_normal((2, 3, 2)).astype(np.float16))
    w.add_tensor("blk.0.quant", gguf.quants.quantize(rng.standard_normal((2, 64), dtype=np.float32),
                                                     gguf.GGMLQuantizationType.Q4_0),
                 raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    w.add_tensor("ids", np.arange(4, dtype=np.int32).reshape(1, 2, 2, 1))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_tiny_safetensors(path):
    rng = np.random.default_rng(5)
    tensors = {"scalar": np.array(1.5, dtype=np.float32), "matrix": rng.standard_normal((2, 3), dtype=np.float32),
               "empty": np.zeros((0, 7), dtype=np.float32), "half": rng.standard_normal(5).astype(np.float16)}
    for name, kind in [("i8", np.int8), ("i16", np.int16), ("i32", np.int32), ("i64", np.int64), ("u8", np.uint8),
                       ("u16", np.uint16), ("u32", np.uint32), ("u64", np.uint64), ("bool", np.bool_),
                       ("f64", np.float64)]:
        tensors["t." + name] = np.arange(3).astype(kind)
    save_file(tensors, path, metadata={"format": "pt", "note": "ignored"})


def write_shards(folder):
    import torch
    from huggingface_hub import save_torch_state_dict
    torch.manual_seed(6)
    state = {f"model.layers.{i}.weight": torch.randn(4, 4).to(torch.bfloat16) for i in range(5)}
    folder.mkdir()
    save_torch_state_dict(state, folder, max_shard_size=64)


def write_golden(split, shared):
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    tiny = GOLDEN / "tiny.gguf"
    write_tiny_gguf(tiny, 64)
    v2 = bytearray(tiny.read_bytes())  # 2 and 3 differ in the number only
    v2[4] = 2
    (GOLDEN / "tiny-v2.gguf").write_bytes(v2)
    with tempfile.TemporaryDirectory() as folder:
        whole = pathlib.Path(folder) / "whole.gguf"  # the splitter pads to 32 bytes whatever the alignment says
        write_tiny_gguf(whole, None)
        subprocess.run([split, "--split", "--split-max-tensors", "2", whole, GOLDEN / "tiny-split"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    write_tiny_safetensors(GOLDEN / "tiny.safetensors")
    write_shards(GOLDEN / "sharded")
    for path in GOLDEN.rglob("*.safetensors"):
        path.chmod(0o644)
    parts = sorted(GOLDEN.glob("tiny-split-*.gguf"))
    assert len(parts) == 3
    for name, paths in [("tiny.gguf", [tiny]), ("tiny-v2.gguf", [GOLDEN / "tiny-v2.gguf"]), ("tiny-split.gguf", parts),
                        ("tiny.safetensors", [GOLDEN / "tiny.safetensors"]),
                        ("sharded", sorted((GOLDEN / "sharded").glob("*.safetensors")))]:
        (GOLDEN / (name + ".txt")).write_text(listing(paths))
    models = sorted(p for pattern in ("*.gguf", "model.safetensors") for p in (shared / "golden/models").rglob(pattern))
    lines = []
    for path in models:
        text = listing([path])
        lines.append(f"{path.relative_to(shared)} {text.count(chr(10))} {zlib.crc32(text.encode()):08x}\n")
    (GOLDEN / "models.txt").write_text("".join(lines))


def write_seeds():
    """A few hundred bytes each: a fuzzer changes small files faster."""
    for kind in ("gguf", "safetensors"):
        shutil.rmtree(SEEDS / kind, ignore_errors=True)
        (SEEDS / kind).mkdir(parents=True)
    shutil.copy(GOLDEN / "tiny-v2.gguf", SEEDS / "gguf/all-types.gguf")
    shutil.copy(GOLDEN / "tiny-split-00002-of-00003.gguf", SEEDS / "gguf/part.gguf")
    shutil.copy(GOLDEN / "tiny.safetensors", SEEDS / "safetensors/all-types.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "small.gguf"
        w = gguf.GGUFWriter(path, "gemma4")
        w.add_custom_alignment(8)
        w.add_array("tokenizer.ggml.tokens", ["a", "b"])
        w.add_tensor("x", np.ones((1, 2), dtype=np.float32))
        w.add_tensor("y", np.ones(1, dtype=np.float32))
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        shutil.copy(path, SEEDS / "gguf/small.gguf")
    (SEEDS / "gguf/no-tensors.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    for name, header, data in [
            ("small", {"x": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}, bytes(8)),
            ("float8", {"x": {"dtype": "F8_E4M3", "shape": [], "data_offsets": [0, 1]},
                        "y": {"dtype": "NEW", "shape": [2], "data_offsets": [1, 3]}}, bytes(3)),
            ("none", {"__metadata__": {"format": "pt"}}, b"")]:
        text = json.dumps(header).encode()
        (SEEDS / f"safetensors/{name}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", nargs="+", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--split", metavar="LLAMA-GGUF-SPLIT")
    parser.add_argument("--shared", type=pathlib.Path)
    args = parser.parse_args()
    if args.list:
        print(listing(args.list), end="")
    elif args.split and args.shared:
        write_golden(args.split, args.shared)
        write_seeds()
    else:
        parser.error("give --list, or --split and --shared")


if __name__ == "__main__":
    main()
