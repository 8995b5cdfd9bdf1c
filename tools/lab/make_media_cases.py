#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reference cases with images and videos.

    GEM_SHARED=.../shared tools/lab/make_media_cases.py OUT [--only PATTERN] [--golden] [--llama LLAMA_CPP]

Varies the specs of shared/golden/models in the vision tower and in what it is shown. Each pack is OUT/NAME with spec.json,
model/, CASE.json, CASE.safetensors and pictures; with --llama also mmproj.gguf and mmproj-q8_0.gguf by its converter,
and what the latter's own dequantised weights give: mmproj-q8_0.CASE.safetensors (soft).
--golden: only the small ones that are committed in tests/golden/models. Needs torch, transformers 5.23, Pillow.
"""
import argparse
import copy
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import load_file, save_file

import reference as ref

SHARED = ref.shared()
import oracle  # noqa: E402  (from the shared folder)

KINDS = {'L': 'sliding_attention', 'G': 'full_attention'}
TOP = {k: 240 + i for i, k in enumerate(['image_token_id', 'video_token_id', 'audio_token_id', 'boi_token_id',
                                         'eoi_token_id', 'boa_token_id', 'eoa_token_index'])}


def image(w, h, budget=70):
    return {'kind': 'image', 'w': w, 'h': h, 'budget': budget}


def video(w, h, frames, budget=70):
    return {'kind': 'video', 'w': w, 'h': h, 'frames': frames, 'budget': budget}


WORDS = {'kind': 'text', 'n': 5}


def pack(name, base, seed, cases, pattern='LLG', vision=None, calm=False, golden=False, big=False, **text):
    return dict(locals())


ENCODER = dict(hidden_size=32, num_attention_heads=2, num_key_value_heads=2, head_dim=16, intermediate_size=48,
               num_hidden_layers=2)
SMALL = dict(vocab_size=256, vocab_size_per_layer_input=256, hidden_size=48, intermediate_size=64, num_attention_heads=4,
             head_dim=16, global_head_dim=32, sliding_window=8)
PACKS = [
    pack('media-e2b', 'e2b', 9001, {'pixel': [image(1, 1)], 'strip': [image(5000, 1)], 'pair': [image(61, 47), WORDS,
                                                                                           image(33, 90, 140)],
                                    'film': [video(40, 30, 2)]},
         'LLGLG', ENCODER, golden=True, **SMALL, num_key_value_heads=1, hidden_size_per_layer_input=8,
         num_kv_shared_layers=2),
    pack('media-12b', '12b', 9002, {'pair': [image(50, 20), WORDS, image(20, 50)], 'large': [image(70, 70, 560)],
                                    'film': [video(40, 30, 2)]},
         vision=dict(mm_embed_dim=16, mm_posemb_size=64, output_proj_dims=16), golden=True, **{**SMALL, 'hidden_size': 32},
         num_key_value_heads=2, num_global_key_value_heads=1),
    pack('media-26b', '26b', 9003, {'pixel': [image(1, 1)], 'large': [image(90, 64, 280)]},
         vision={**ENCODER, 'hidden_size': 40, 'num_attention_heads': 2, 'head_dim': 20, 'intermediate_size': 44},
         golden=True, **SMALL, num_key_value_heads=2, num_global_key_value_heads=1, num_experts=4, top_k_experts=2,
         moe_intermediate_size=32),
    pack('media-calm-e4b', 'e4b', 9004, {'photo': [image(60, 80, 70)]}, 'LLGLG', {**ENCODER, 'num_hidden_layers': 4},
         calm=True, golden=True, **SMALL, num_key_value_heads=2, hidden_size_per_layer_input=8, num_kv_shared_layers=2),
    pack('media-calm-31b', '31b', 9005, {'photo': [image(60, 80, 70)]},
         vision={**ENCODER, 'hidden_size': 48, 'num_attention_heads': 2, 'head_dim': 24, 'num_hidden_layers': 4},
         calm=True, golden=True, **SMALL, num_key_value_heads=2, num_global_key_value_heads=1),
    # not committed
    pack('media-e2b-budgets', 'e2b', 9101, {f'b{b}': [image(640, 480, b)] for b in (70, 140, 280, 560, 1120)}),
    pack('media-e2b-shapes', 'e2b', 9102, {f'{w}x{h}': [image(w, h)] for w, h in
                                           [(1, 1), (2, 3), (1, 5000), (5000, 1), (3, 900), (48, 48), (431, 337), (1920, 1080)]}),
    pack('media-e2b-many', 'e2b', 9103, {'six': [image(30 + 9 * i, 70 - 8 * i) for i in range(6)],
                                         'films': [video(50, 40, 8)], 'both': [image(20, 20), video(64, 48, 3)]}),
    pack('media-e4b-seed', 'e4b', 9104, {'photo': [image(300, 200, 280)], 'film': [video(90, 120, 4)]}),
    pack('media-12b-budgets', '12b', 9105, {f'b{b}': [image(480, 640, b)] for b in (70, 280, 1120)}),
    pack('media-12b-shapes', '12b', 9106, {f'{w}x{h}': [image(w, h)] for w, h in [(1, 1), (1, 5000), (5000, 1), (90, 31)]}),
    pack('media-26b-budgets', '26b', 9107, {f'b{b}': [image(640, 480, b)] for b in (70, 280, 1120)}),
    pack('media-26b-films', '26b', 9108, {'film': [video(96, 64, 5)], 'both': [image(20, 20), WORDS, video(64, 48, 3)]}),
    pack('media-31b-seed', '31b', 9109, {'photo': [image(300, 200, 280)], 'pair': [image(1, 1), image(77, 140, 140)]}),
    pack('media-31b-window', '31b', 9110, {'photo': [image(300, 200, 1120)]}, sliding_window=100),
    pack('media-calm-e2b', 'e2b', 9111, {'photo': [image(200, 150)], 'large': [image(200, 150, 560)]}, calm=True, vision={
        **ENCODER, 'hidden_size': 96, 'num_attention_heads': 3, 'head_dim': 32, 'intermediate_size': 160, 'num_hidden_layers': 8}),
    pack('media-calm-26b', '26b', 9112, {'photo': [image(200, 150)], 'large': [image(200, 150, 560)]}, calm=True, vision={
        **ENCODER, 'hidden_size': 72, 'num_attention_heads': 2, 'head_dim': 36, 'intermediate_size': 112, 'num_hidden_layers': 9}),
]


def spec_of(p):
    with open(os.path.join(SHARED, 'golden', 'models', p['base'], 'spec.json')) as f:
        spec = json.load(f)
    spec.update(name=p['name'], seed=p['seed'], calm=p['calm'], audio=None if spec['arch'] == 'gemma4' else spec['audio'],
                assistant=None)
    spec['text'].update(p['text'])
    if p['golden']:
        spec['top'] = dict(TOP)
        spec['text']['num_hidden_layers'] = len(p['pattern'])
        spec['text']['layer_types'] = [KINDS[c] for c in p['pattern']]
    if p['vision']:
        spec['vision'].update(p['vision'])
    if 'position_embedding_size' in spec['vision']:
        spec['vision']['position_embedding_size'] = 256
    spec['cases'] = [dict(name=name, seed=p['seed'] * 10 + i, before=5, after=6, greedy=6, parts=copy.deepcopy(parts))
                     for i, (name, parts) in enumerate(p['cases'].items())]
    return spec


def convert(folder, llama):
    """llama.cpp's own converter, so that names, order and types are those of files in the wild."""
    for kind, name in (('f16', 'mmproj.gguf'), ('q8_0', 'mmproj-q8_0.gguf')):
        subprocess.run([sys.executable, os.path.join(llama, 'convert_hf_to_gguf.py'), '--mmproj', '--outtype', kind,
                        '--outfile', os.path.join(folder, name), os.path.join(folder, 'model')], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


LINEARS = {'attn_q': 'self_attn.q_proj', 'attn_k': 'self_attn.k_proj', 'attn_v': 'self_attn.v_proj',
           'attn_out': 'self_attn.o_proj', 'ffn_gate': 'mlp.gate_proj', 'ffn_up': 'mlp.up_proj', 'ffn_down': 'mlp.down_proj'}


def quantised_soft(folder, spec):
    """Soft tokens from the weights that mmproj-q8_0.gguf holds; nothing when it holds no quantised ones."""
    model = oracle.build(spec)
    state, changed = dict(model.named_parameters()), 0
    for t in GGUFReader(os.path.join(folder, 'mmproj-q8_0.gguf')).tensors:
        part = t.name.split('.')
        if t.tensor_type.name != 'Q8_0':
            continue
        if part[:2] == ['v', 'blk']:
            name = f'model.vision_tower.encoder.layers.{part[2]}.{LINEARS[part[3]]}.linear.weight'
        elif t.name == 'mm.input_projection.weight':
            name = next(n for n in state if 'embed_vision' in n and n.endswith('embedding_projection.weight'))
        else:
            return False
        state[name].copy_(torch.from_numpy(dequantize(t.data, t.tensor_type)))
        changed += 1
    with tempfile.TemporaryDirectory() as out:
        for c in spec['cases'] if changed else []:
            oracle.case(model, spec, c, out)
            save_file({'soft': load_file(os.path.join(out, c['name'] + '.safetensors'))['soft']},
                      os.path.join(folder, f'mmproj-q8_0.{c["name"]}.safetensors'))
    return changed > 0


def wanted_packs(doc, packs, spec_of):
    """(arguments, pack, its folder, its spec) of each pack that the command line asks for; the folder holds the spec."""
    a = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('out')
    a.add_argument('--only', default='*')
    a.add_argument('--golden', action='store_true')
    a.add_argument('--llama')
    a = a.parse_args()
    for p in packs:
        if not fnmatch.fnmatch(p['name'], a.only) or (a.golden and not p['golden']):
            continue
        folder = os.path.join(a.out, p['name'])
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        spec = spec_of(p)
        with open(os.path.join(folder, 'spec.json'), 'w') as f:
            json.dump(spec, f, indent=1)
            f.write('\n')
        yield a, p, folder, spec


def main():
    for a, p, folder, spec in wanted_packs(__doc__, PACKS, spec_of):
        sys.argv = ['oracle.py', os.path.join(folder, 'spec.json'), folder]
        oracle.main()
        if a.llama:
            shutil.copy(os.path.join(SHARED, 'golden', 'models', p['base'], 'model', 'preprocessor_config.json'),
                        os.path.join(folder, 'model'))
            convert(folder, a.llama)
            if not quantised_soft(folder, spec):
                os.remove(os.path.join(folder, 'mmproj-q8_0.gguf'))


if __name__ == '__main__':
    main()
