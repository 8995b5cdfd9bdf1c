# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this folder share: text cases of a model, checkpoints in every way a file can be written, and
llama.cpp's converter and quantiser.

The reference is Hugging Face transformers in float32 with the embedding scale rounded to bfloat16, as in the oracle of
the shared folder, whose format this follows: CASE.json, CASE.safetensors (rows, logits, hidden).
"""
import copy
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

torch.set_grad_enabled(False)
torch.set_num_threads(1)

CLOSE = 0.02  # a top-2 margin below this is too small to call a greedy choice


def shared():
    """The shared folder: its tools are imported, its golden specs are varied."""
    path = os.environ.get('GEM_SHARED', '')
    if not os.path.isdir(os.path.join(path, 'tools')):
        sys.exit('GEM_SHARED must name the shared folder (tools/oracle.py, golden/models)')
    tools = os.path.join(path, 'tools')
    if tools not in sys.path:
        sys.path.insert(0, tools)
    return path


def draw_tokens(seed, n, vocab, avoid=()):
    """<bos> and n ordinary ids."""
    rng = np.random.default_rng(seed)
    plain = np.array([i for i in range(3, vocab) if i not in avoid])
    return [2] + [int(t) for t in rng.choice(plain, n)]


def kept_rows(n):
    """All of a short case; of a long one every sixteenth part and the last eight."""
    if n <= 64:
        return list(range(n))
    return sorted(set(range(0, n, max(1, n // 16))) | set(range(n - 8, n)))


def run(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True)


def greedy(model, ids, first_logits, n, avoid):
    """The continuation as far as the reference is sure of it, and its smallest margin. It ends before a placeholder of
    media, which transformers would read as <pad>."""
    out, margin, logits = [], 1e9, first_logits
    for _ in range(n):
        top = logits.topk(2).values
        gap = float(top[0] - top[1])
        if gap < CLOSE or int(logits.argmax()) in avoid:
            break
        margin = min(margin, gap)
        out.append(int(logits.argmax()))
        logits = run(model, ids + out).logits[0, -1]
    return out, margin


def distance(a, b):
    """Relative error, rms over rms."""
    a, b = a.double(), b.double()
    return float(((a - b) ** 2).mean().sqrt() / (b ** 2).mean().sqrt().clamp_min(1e-30))


def int8_linear(x, w, bias=None, plain=torch.nn.functional.linear):
    """A matrix product whose activations are rounded as Q8_0 rounds: blocks of 32, 8 bits. Routers stay exact."""
    if x.shape[-1] % 32 == 0 and w.shape[0] > 32:
        y = x.reshape(-1, 32)
        step = (y.abs().amax(-1, keepdim=True) / 127).clamp_min(1e-30)
        x = ((y / step).round() * step).reshape(x.shape)
    return plain(x, w, bias)


def activation_noise(model, ids, rows, logits):
    """How far 8-bit activations alone take the reference: error of the median row. In a mixture of experts a near tie
    of the router, decided otherwise, changes a row and those that attend to it: such cases say little about an engine."""
    kept, torch.nn.functional.linear = torch.nn.functional.linear, int8_linear
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, 'config')}.values()
    before = [getattr(c, '_experts_implementation', None) for c in configs]
    try:
        for c in configs:
            c._experts_implementation = 'eager'  # the grouped product does not call linear()
        d = (run(model, ids).logits[0, rows] - logits).double()
    finally:
        torch.nn.functional.linear = kept
        for c, b in zip(configs, before):
            c._experts_implementation = b
    return float(((d ** 2).mean(-1).sqrt() / (logits.double() ** 2).mean(-1).sqrt()).median())


def gguf_case(model, ids, path):
    """FILE.CASE.safetensors: the last 16 rows of what the model, filled from the file, gives."""
    rows = list(range(len(ids)))[-16:]
    logits = run(model, ids).logits[0, rows]
    save_tensors({'rows': torch.tensor(rows, dtype=torch.int32), 'logits': logits,
                  'activation_noise': torch.tensor([activation_noise(model, ids, rows, logits)])}, path)


def save_tensors(tensors, path, metadata=None):
    """save_file gives files that only their owner can read."""
    save_file({k: t.contiguous() for k, t in tensors.items()}, path, metadata)
    os.chmod(path, 0o644)


def text_case(model, out, name, ids, n_greedy=16, double=None, avoid=()):
    """Writes one case. `double`, the same model in float64, tells how much of the reference is float32 noise."""
    o, rows = run(model, ids), kept_rows(len(ids))
    logits, hidden = o.logits[0, rows], torch.stack([h[0, rows] for h in o.hidden_states])
    more, margin = greedy(model, ids, o.logits[0, -1], n_greedy, avoid)
    meta = {'tokens': ids, 'media': [], 'greedy': more, 'greedy_min_margin': round(margin, 5)}
    if double is not None:
        d = run(double, ids)
        noise = [distance(h[0, rows], g[0, rows]) for h, g in zip(o.hidden_states, d.hidden_states)]
        meta['noise'] = float(f'{max(noise + [distance(logits, d.logits[0, rows])]):.2e}')
    save_tensors({'rows': torch.tensor(rows, dtype=torch.int32), 'logits': logits.float(), 'hidden': hidden.float(),
                  'activation_noise': torch.tensor([activation_noise(model, ids, rows, logits)])},
                 os.path.join(out, name + '.safetensors'))
    with open(os.path.join(out, name + '.json'), 'w') as f:
        json.dump(meta, f)
    print(f"  {name}: {len(ids)} tokens, greedy {len(more)}, noise {meta.get('noise')}, "
          f"|logit| max {o.logits.abs().max():.2f}", flush=True)


DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16, 'float32': torch.float32}


def settle(model, dtype, seed):
    """Gives the weights values that a file of this dtype holds exactly: finer than bfloat16 where it can."""
    if dtype == 'bfloat16':
        return
    gen = torch.Generator().manual_seed(seed)
    for t in list(model.parameters()) + [b for n, b in model.named_buffers() if n.endswith('layer_scalar')]:
        t.mul_(1 + 1e-3 * torch.rand(t.shape, generator=gen))
        t.copy_(t.to(DTYPES[dtype]).float())


def save_model(model, path, dtype='bfloat16', shard=None):
    """A checkpoint folder. The copy keeps the float32 model as it is."""
    shutil.rmtree(path, ignore_errors=True)
    kw = {'max_shard_size': shard} if shard else {}
    copy.deepcopy(model).to(DTYPES[dtype]).save_pretrained(path, **kw)
    for name in os.listdir(path):
        os.chmod(os.path.join(path, name), 0o644)


def edit_config(path, edit):
    """edit(config) changes the parsed config.json in place."""
    name = os.path.join(path, 'config.json')
    with open(name) as f:
        cfg = json.load(f)
    edit(cfg)
    with open(name, 'w') as f:
        json.dump(cfg, f, indent=2)


def edit_tensors(path, edit):
    """edit(dict of tensors) changes a single-file checkpoint."""
    name = os.path.join(path, 'model.safetensors')
    tensors = load_file(name)
    edit(tensors)
    save_tensors(tensors, name, {'format': 'pt'})


def quiet(*command, **env):
    r = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       env={**os.environ, **env})
    if r.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{r.stdout[-3000:]}")
    return r.stdout


class Llama:
    """llama.cpp's converter, quantiser and splitter: the files that people have are made by them."""

    def __init__(self, root):
        self.root = root
        self.bin = os.path.join(root, 'build', 'bin')

    def convert(self, folder, out, outtype='f32'):
        quiet(sys.executable, os.path.join(self.root, 'convert_hf_to_gguf.py'), folder, '--outfile', out,
              '--outtype', outtype, PYTHONPATH=os.path.join(self.root, 'gguf-py'))

    def quantise(self, source, out, kind, *options):
        quiet(os.path.join(self.bin, 'llama-quantize'), *options, source, out, kind, 1)

    def split(self, source, prefix, size='1M'):
        quiet(os.path.join(self.bin, 'llama-gguf-split'), '--split', '--split-max-size', size, source, prefix)
