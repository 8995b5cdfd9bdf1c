#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reference cases of shapes and seeds that the golden ones do not have.

    GEM_SHARED=.../shared tools/lab/make_cases.py OUT [--only PATTERN] [--llama LLAMA_CPP]

Varies the specs of shared/golden/models (text only). Each pack is OUT/NAME with spec.json, model/, CASE.json and
CASE.safetensors; `g-NAME` packs hold GGUF files made by llama.cpp (--llama names its source tree, built in build/) and
what their own dequantised weights give. Needs torch, transformers 5.23, safetensors, numpy; gguf for the GGUF packs.
tools/lab/judge.py runs the engine on all of them.
"""
import argparse
import copy
import fnmatch
import json
import math
import os
import shutil
import struct
import tempfile

import numpy as np
import torch
import reference as ref

SHARED = ref.shared()
import oracle  # noqa: E402  (from the shared folder)
import oracle_gguf  # noqa: E402
import transformers as tf  # noqa: E402

KINDS = {'L': 'sliding_attention', 'G': 'full_attention'}


def pack(name, base, seed, pattern=None, cases=((11, 16), (47, 16)), untied=False, text_only=False, old=False,
         vision=None, dtype='bfloat16', shard=None, dead_kv=False, trap=None, media_ids=False, calm=False,
         tokenizer=False, **text):
    """cases: (tokens after <bos>, greedy). old: config keys of the first release. dead_kv: K/V tensors of layers that
    share, which nothing may read. trap: config keys added that must change nothing. media_ids: the first case holds
    ids of media placeholders without media, which multimodal classes of transformers embed as <pad>."""
    return dict(locals())


PACKS = [
    # PLE, shared K/V, double-wide FFN
    pack('e2b-seed', 'e2b', 2001, cases=((11, 24), (47, 24), (200, 8))),
    pack('e2b-h80', 'e2b', 2002, 'LLGLG', hidden_size=80, intermediate_size=100, num_attention_heads=2, head_dim=24,
         global_head_dim=40, sliding_window=5, hidden_size_per_layer_input=16, num_kv_shared_layers=2),
    pack('e2b-h112-noshare', 'e2b', 2003, 'LLLG', hidden_size=112, intermediate_size=150, num_attention_heads=6,
         num_key_value_heads=2, head_dim=40, global_head_dim=80, sliding_window=33, hidden_size_per_layer_input=24,
         num_kv_shared_layers=0, cases=((11, 16), (120, 16))),
    pack('e2b-h200', 'e2b', 2004, 'LGLGLG', hidden_size=200, intermediate_size=312, num_attention_heads=5,
         num_key_value_heads=5, head_dim=48, global_head_dim=96, sliding_window=8, hidden_size_per_layer_input=40,
         num_kv_shared_layers=3),
    pack('e2b-share-most', 'e2b', 2005, 'LGLLLLLG', num_kv_shared_layers=6),
    pack('e2b-share-one', 'e2b', 2006, 'LGLG', num_kv_shared_layers=1, cases=((11, 16), (90, 16))),
    pack('e2b-single-wide', 'e2b', 2007, 'LLLGLLLG', use_double_wide_mlp=False, num_kv_shared_layers=4),
    pack('e2b-v1031', 'e2b', 2008, 'LLGLG', vocab_size=1031, vocab_size_per_layer_input=1031, num_kv_shared_layers=2),
    pack('e2b-v1000', 'e2b', 2009, 'LLGLG', vocab_size=1000, vocab_size_per_layer_input=1000, num_kv_shared_layers=2),
    pack('e2b-long', 'e2b', 2010, 'LLGLG', num_kv_shared_layers=2, cases=((700, 4), (333, 8))),
    pack('e2b-nocap', 'e2b', 2011, 'LLGLG', final_logit_softcapping=None, num_kv_shared_layers=2),
    pack('e2b-cap12', 'e2b', 2012, 'LLGLG', final_logit_softcapping=12.5, num_kv_shared_layers=2),
    pack('e2b-untied', 'e2b', 2013, 'LLGLG', untied=True, num_kv_shared_layers=2),
    pack('e2b-textonly', 'e2b', 2014, text_only=True),
    pack('e2b-textonly-untied-f32-shards', 'e2b', 2015, 'LLGLG', text_only=True, untied=True, dtype='float32',
         shard='400KB', num_kv_shared_layers=2),
    pack('e2b-old', 'e2b', 2016, old=True),
    pack('e2b-f16', 'e2b', 2017, 'LLGLG', dtype='float16', num_kv_shared_layers=2),
    pack('e2b-f32', 'e2b', 2018, 'LLGLG', dtype='float32', num_kv_shared_layers=2),
    pack('e2b-ple8', 'e2b', 2019, 'LLGLG', hidden_size_per_layer_input=8, num_kv_shared_layers=2),
    pack('e2b-ple72', 'e2b', 2020, 'LLGLG', hidden_size_per_layer_input=72, num_kv_shared_layers=2),
    pack('e2b-dead-kv', 'e2b', 2021, dead_kv=True),
    pack('e2b-media-ids', 'e2b', 2023, 'LLGLG', num_kv_shared_layers=2, media_ids=True),
    pack('e2b-media-ids-textonly', 'e2b', 2024, 'LLGLG', num_kv_shared_layers=2, media_ids=True, text_only=True),
    pack('12b-media-ids', '12b', 2212, 'LLG', media_ids=True),
    pack('26b-media-ids', '26b', 2311, 'LLG', media_ids=True),
    pack('e2b-gkv-ignored', 'e2b', 2022, 'LLGLG', old=True, trap={'num_global_key_value_heads': 4},
         num_kv_shared_layers=2, num_key_value_heads=2),
    # K/V heads in groups, no double width
    pack('e4b-seed', 'e4b', 2101, cases=((11, 24), (47, 24), (150, 8))),
    pack('e4b-h144', 'e4b', 2102, 'GLLG', hidden_size=144, intermediate_size=176, num_attention_heads=6,
         num_key_value_heads=3, sliding_window=12, num_kv_shared_layers=0),
    pack('e4b-shards', 'e4b', 2103, 'LLLGLLLG', num_kv_shared_layers=4, shard='300KB'),
    pack('e4b-old-textonly', 'e4b', 2104, 'LLLGLLLG', num_kv_shared_layers=4, old=True, text_only=True),
    pack('e4b-d20', 'e4b', 2105, 'LLGLG', head_dim=20, global_head_dim=20, num_kv_shared_layers=2, sliding_window=3),
    pack('e4b-long', 'e4b', 2106, 'LLLG', num_kv_shared_layers=0, sliding_window=33, cases=((515, 4), (65, 8))),
    # "unified": K=V in global layers, no PLE
    pack('12b-seed', '12b', 2201, cases=((11, 24), (47, 24), (200, 8))),
    pack('12b-h112', '12b', 2202, 'LLG', hidden_size=112, intermediate_size=100, num_attention_heads=4,
         num_key_value_heads=2, num_global_key_value_heads=2, head_dim=40, global_head_dim=48, sliding_window=5),
    pack('12b-small-global', '12b', 2203, 'LGLG', head_dim=48, global_head_dim=24),
    pack('12b-heads16', '12b', 2204, 'LLLG', num_attention_heads=16, num_key_value_heads=8,
         num_global_key_value_heads=1, head_dim=16, global_head_dim=32),
    pack('12b-w1', '12b', 2205, 'LLG', sliding_window=1),
    pack('12b-kv-same', '12b', 2206, 'LLG', num_global_key_value_heads=None),
    pack('12b-old', '12b', 2207, 'LLLG', old=True),
    pack('12b-textonly-f32', '12b', 2208, 'LLLG', text_only=True, dtype='float32'),
    pack('12b-allglobal', '12b', 2209, 'GGG', cases=((11, 16), (130, 8))),
    pack('12b-long', '12b', 2210, 'LLG', sliding_window=8, cases=((700, 4),(257, 4))),
    pack('12b-untied', '12b', 2211, 'LLG', untied=True, vocab_size=1031),
    # mixture of experts beside a dense branch
    pack('26b-seed', '26b', 2301, cases=((11, 24), (47, 24), (150, 8))),
    pack('26b-e8-k1', '26b', 2302, 'LLG', num_experts=8, top_k_experts=1, moe_intermediate_size=72),
    pack('26b-e32-k8', '26b', 2303, 'LLG', num_experts=32, top_k_experts=8, moe_intermediate_size=40),
    pack('26b-e16-k2', '26b', 2304, 'LLLG', hidden_size=80, intermediate_size=100, num_experts=16, top_k_experts=2,
         moe_intermediate_size=100, head_dim=24, global_head_dim=48, sliding_window=5),
    pack('26b-e8-k8', '26b', 2305, 'LG', num_experts=8, top_k_experts=8),
    pack('26b-v-own', '26b', 2306, 'LLG', attention_k_eq_v=False),
    pack('26b-old', '26b', 2307, 'LLG', old=True),
    pack('26b-textonly-shards', '26b', 2308, 'LLG', text_only=True, shard='700KB', num_global_key_value_heads=4),
    pack('26b-f16', '26b', 2309, 'LLG', dtype='float16', num_global_key_value_heads=1),
    pack('26b-long', '26b', 2310, 'LLG', sliding_window=33, cases=((700, 4), (100, 8))),
    # dense, K=V
    pack('31b-seed', '31b', 2401, cases=((11, 24), (47, 24), (150, 8))),
    pack('31b-h200', '31b', 2402, 'LLG', hidden_size=200, intermediate_size=300, num_attention_heads=4,
         num_key_value_heads=1, num_global_key_value_heads=1, head_dim=80, global_head_dim=112, sliding_window=33,
         cases=((11, 16), (100, 16))),
    pack('31b-rope', '31b', 2403, 'LLG', rms_norm_eps=1e-3, rope_parameters={
        'sliding_attention': {'rope_type': 'default', 'rope_theta': 5000.0},
        'full_attention': {'rope_type': 'proportional', 'partial_rotary_factor': 0.5, 'rope_theta': 250000.0}}),
    pack('31b-f32-shards', '31b', 2404, 'LLG', dtype='float32', shard='1MB'),
    pack('31b-old', '31b', 2405, 'LLG', old=True),
    # weights as mild as trained ones, for the fast tier
    pack('e2b-calm', 'e2b-gguf', 2501, 'LLLGLLLG', num_kv_shared_layers=4, calm=True, tokenizer=True,
         cases=((11, 16), (47, 24), (300, 8))),
    pack('e2b-calm-h320', 'e2b-gguf', 2502, 'LLGLG', calm=True, hidden_size=320, intermediate_size=416, head_dim=48,
         global_head_dim=96, num_kv_shared_layers=2, cases=((11, 16), (115, 16))),
    *(pack(f'e2b-calm-narrow{k}', 'e2b', 2520 + k, calm=True, cases=((5, 0), (11, 0), (47, 0))) for k in range(3)),
    pack('26b-calm', '26b-gguf', 2503, calm=True, tokenizer=True, cases=((11, 16), (47, 24), (300, 8))),
    pack('31b-calm', '26b-gguf', 2504, calm=True, tokenizer=True, enable_moe_block=False, num_experts=None,
         top_k_experts=None, moe_intermediate_size=None, num_attention_heads=8, cases=((11, 16), (115, 16))),
    pack('12b-calm', '12b', 2505, 'LLGLLG', calm=True, tokenizer=True, hidden_size=256, intermediate_size=512,
         head_dim=64, global_head_dim=128, cases=((11, 16), (115, 16))),
    pack('e2b-calm-untied', 'e2b-gguf', 2506, 'LLLG', calm=True, tokenizer=True, untied=True, num_kv_shared_layers=0,
         cases=((11, 16), (47, 16))),
    pack('e2b-calm-dead-kv', 'e2b-gguf', 2508, 'LLLGLLLG', num_kv_shared_layers=4, calm=True, tokenizer=True,
         dead_kv=True),
    pack('26b-calm-e32-k8', '26b-gguf', 2507, 'LLG', calm=True, tokenizer=True, num_experts=32, top_k_experts=8,
         moe_intermediate_size=64, cases=((11, 16), (47, 16))),
]

# GGUF packs: which pack, and what is made of it. Rows of all tensors are multiples of 256, save those of expert
# down projections, for which the quantiser falls back to 32-wide blocks.
FORMATS = ['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K',
           'Q3_K_M', 'Q4_K_M', 'Q5_K_M', 'Q6_K', 'IQ4_NL', 'IQ4_XS']
GGUFS = {
    'e2b-calm': FORMATS,
    '26b-calm': FORMATS,
    '31b-calm': FORMATS,
    '12b-calm': ['Q4_0', 'Q4_K_M', 'Q8_0', 'BF16'],
    'e2b-calm-untied': ['Q4_0', 'Q6_K', 'F16'],
    'e2b-calm-dead-kv': ['F16', 'Q8_0'],
    '26b-calm-e32-k8': ['Q4_0', 'Q4_K_M', 'IQ4_XS', 'F16'],
}


# The cases that are committed (tests/golden/models): as small as they can be and still have every trait. Window 8,
# so that 41 tokens span five.
SMALL = dict(hidden_size=64, intermediate_size=80, num_attention_heads=4, head_dim=16, global_head_dim=32,
             sliding_window=8, vocab_size=320, vocab_size_per_layer_input=320)
SHORT = ((11, 12), (40, 12))
GOLDEN = [
    pack('e2b', 'e2b', 4001, 'LLGLG', SHORT, dead_kv=True, tokenizer=True, media_ids=True, num_kv_shared_layers=2,
         **{**SMALL, 'vocab_size': 1024, 'vocab_size_per_layer_input': 1024, 'hidden_size_per_layer_input': 16}),
    pack('e4b', 'e4b', 4002, 'LLGLG', SHORT, text_only=True, old=True, dtype='float16', shard='80KB',
         num_kv_shared_layers=2, hidden_size_per_layer_input=24,
         **{**SMALL, 'hidden_size': 48, 'head_dim': 20, 'global_head_dim': 40}),
    pack('12b', '12b', 4003, 'LLG', SHORT, untied=True, **{**SMALL, 'num_attention_heads': 8}),
    pack('26b', '26b', 4004, 'LLG', SHORT, num_experts=8, top_k_experts=2, moe_intermediate_size=24, **SMALL),
    pack('31b', '31b', 4005, 'LLG', SHORT, dtype='float32', old=True,
         vision=dict(hidden_size=16, num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=16,
                     num_hidden_layers=1, use_clipped_linears=False, standardize=True, position_embedding_size=32),
         **SMALL),
    # for GGUF: rows of 256, a vocabulary of the tokenizer's size
    pack('mixed-e2b', 'e2b-gguf', 4006, 'LGLG', SHORT, calm=True, tokenizer=True, intermediate_size=256,
         num_attention_heads=2, head_dim=128, global_head_dim=256, sliding_window=8, num_kv_shared_layers=2),
    pack('mixed-26b', '26b-gguf', 4007, 'LG', SHORT, calm=True, tokenizer=True, intermediate_size=256,
         sliding_window=8, num_experts=8, top_k_experts=2, moe_intermediate_size=32),
]
# One file holds every number format: (default, base, tensor by tensor).
MIXES = {
    'mixed-e2b': ('Q4_0', 'bf16', {
        'token_embd': 'q6_k', 'per_layer_token_embd': 'q5_k', 'blk.0.attn_q': 'q4_1', 'blk.0.attn_k': 'q8_0',
        'blk.0.attn_v': 'f16', 'blk.0.attn_output': 'q5_0', 'blk.0.ffn_gate': 'q2_k', 'blk.0.ffn_up': 'q3_k',
        'blk.0.ffn_down': 'q4_k', 'blk.1.attn_q': 'q5_1', 'blk.1.attn_k': 'bf16', 'blk.1.attn_v': 'q6_k',
        'blk.1.attn_output': 'iq4_nl', 'blk.1.ffn_gate': 'iq4_xs', 'blk.1.ffn_up': 'q5_k', 'blk.1.ffn_down': 'q3_k',
        'blk.2.attn_output': 'q2_k', 'blk.2.ffn_down': 'iq4_xs', 'blk.2.ffn_up': 'q5_1', 'blk.3.attn_q': 'q4_k',
        'blk.3.inp_gate': 'q8_0'}),
    'mixed-26b': ('Q4_K_M', 'f16', {
        'blk.0.ffn_gate_up_exps': 'q4_0', 'blk.0.ffn_down_exps': 'q5_1', 'blk.1.ffn_gate_up_exps': 'q3_k',
        'blk.1.ffn_down_exps': 'iq4_nl'}),
}


def spec_of(p):
    """The spec that oracle.py would take, with what only this script knows under `lab`."""
    with open(os.path.join(SHARED, 'golden', 'models', p['base'], 'spec.json')) as f:
        spec = json.load(f)
    text = {**spec['text'], **p['text']}
    if p['pattern']:
        text['layer_types'] = [KINDS[k] for k in p['pattern']]
        text['num_hidden_layers'] = len(p['pattern'])
    top = dict(spec.get('top', {}))
    first = text['vocab_size'] - 10
    top = {k: first + i for i, k in enumerate(top)}
    if p['untied']:
        text['tie_word_embeddings'] = top['tie_word_embeddings'] = False
    return {'name': p['name'], 'arch': spec['arch'], 'seed': p['seed'], 'calm': p['calm'], 'text': text, 'top': top,
            'vision': p['vision'], 'audio': None, 'assistant': None,
            'cases': [{'name': f'n{n + 1}', 'seed': p['seed'] * 10 + i, 'before': n, 'greedy': g}
                      for i, (n, g) in enumerate(p['cases'])],
            'lab': {k: p[k] for k in ('untied', 'text_only', 'old', 'dtype', 'shard', 'dead_kv', 'trap', 'media_ids')}}


def build(spec):
    if not spec['lab']['text_only']:
        model = oracle.build(spec)
    else:
        unified = spec['arch'] == 'gemma4_unified'
        cfg = (tf.Gemma4UnifiedTextConfig if unified else tf.Gemma4TextConfig)(**spec['text'])
        cfg._attn_implementation = 'eager'
        model = (tf.Gemma4UnifiedForCausalLM if unified else tf.Gemma4ForCausalLM)(cfg).float().eval()
        oracle.spread(model, torch.Generator().manual_seed(spec['seed']), spec['calm'])
    ref.settle(model, spec['lab']['dtype'], spec['seed'])
    model.tie_weights()
    return model


def old_spelling(cfg):
    """What the first release wrote: global_head_dim and num_global_key_value_heads in place of the map."""
    text = cfg.get('text_config', cfg)
    layers = text.pop('per_layer_config')
    one = next(iter(layers.values()))
    text['global_head_dim'] = one.get('head_dim', text['head_dim'])
    text['num_global_key_value_heads'] = one.get('num_key_value_heads')


def add_dead_kv(spec, path):
    """Released E2B and E4B files carry K/V projections of the sharing layers. NaN: reading one shows (the
    quantiser wants numbers)."""
    text, value = spec['text'], 300.0 if spec['calm'] else math.nan

    def edit(tensors):
        for i in range(text['num_hidden_layers'] - text['num_kv_shared_layers'], text['num_hidden_layers']):
            full = text['layer_types'][i] == 'full_attention'
            d = text['global_head_dim'] if full else text['head_dim']
            p, kv = f'model.language_model.layers.{i}.self_attn.', text['num_key_value_heads'] * d
            tensors[p + 'k_norm.weight'] = torch.full((d,), value, dtype=torch.bfloat16)
            for n in 'kv':
                tensors[f'{p}{n}_proj.weight'] = torch.full((kv, text['hidden_size']), value, dtype=torch.bfloat16)
    ref.edit_tensors(path, edit)


def add_tokenizer(path):
    """The small tokenizer of the golden models: it has 1024 entries, and llama.cpp converts nothing without one."""
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        shutil.copyfile(os.path.join(SHARED, 'golden', 'models', 'e2b', 'model', name), os.path.join(path, name))


def make(p, out):
    spec = spec_of(p)
    os.makedirs(out, exist_ok=True)
    model, lab, top = build(spec), spec['lab'], spec['top']
    media = {v for k, v in top.items() if 'token' in k}
    print(spec['name'], sum(t.numel() for t in model.parameters()), 'parameters', flush=True)
    double = copy.deepcopy(model).double()
    for m in double.modules():  # the grouped matrix product knows no float64
        if hasattr(m, 'config'):
            m.config._experts_implementation = 'eager'
    for c in spec['cases']:
        ids = ref.draw_tokens(c['seed'], c['before'], spec['text']['vocab_size'], media)
        if p['media_ids'] and c is spec['cases'][0]:
            ids[3], ids[6:8], ids[-2] = top['image_token_id'], [top['audio_token_id']] * 2, top['video_token_id']
        ref.text_case(model, out, c['name'], ids, c['greedy'], double, media)
    path = os.path.join(out, 'model')
    ref.save_model(model, path, lab['dtype'], lab['shard'])
    if lab['old']:
        ref.edit_config(path, old_spelling)
    if lab['trap']:
        ref.edit_config(path, lambda cfg: cfg.get('text_config', cfg).update(lab['trap']))
    if lab['dead_kv']:
        add_dead_kv(spec, path)
    if p['tokenizer']:
        add_tokenizer(path)
        # llama.cpp's converter looks this up; transformers 5.23 does not write it for the 12B
        ref.edit_config(path, lambda cfg: cfg.get('text_config', cfg).setdefault('moe_intermediate_size', None))
    with open(os.path.join(out, 'spec.json'), 'w') as f:
        json.dump(spec, f, indent=1)


# ---- GGUF ------------------------------------------------------------------------------------------------------

def name_in(model, gguf_name):
    """oracle_gguf's names, and the head of an untied model."""
    if gguf_name == 'output.weight':
        return 'lm_head.weight'
    return oracle_gguf.hf_name(gguf_name)


def fill(model, paths):
    """Puts the dequantised tensors of a (split) GGUF file into the model; every parameter must be given."""
    from gguf import GGUFReader, dequantize
    state = {**dict(model.named_parameters()), **{n: b for n, b in model.named_buffers() if n.endswith('layer_scalar')}}
    missing = {n for n in state if not n.startswith('lm_head')}
    for path in paths:
        for t in GGUFReader(path).tensors:
            name = name_in(model, t.name)
            if name is None or name not in state:
                continue  # rope_freqs; dead K/V
            w = torch.from_numpy(np.array(dequantize(t.data, t.tensor_type), dtype=np.float32))
            state[name].copy_(w.reshape(state[name].shape))
            missing.discard(name)
    if missing:
        raise RuntimeError(f'{paths[0]}: nothing for {sorted(missing)[:4]}')
    model.tie_weights()


def expect(model, paths, out, base, cases):
    """FILE.CASE.safetensors: the last 16 rows of what the file's own weights give."""
    fill(model, paths)
    for c in cases:
        with open(os.path.join(out, c + '.json')) as f:
            ids = json.load(f)['tokens']
        ref.gguf_case(model, ids, os.path.join(out, f'{base}.{c}.safetensors'))


def as_version_2(source, out):
    """Versions 2 and 3 differ by the number only (3 added big-endian files)."""
    data = bytearray(open(source, 'rb').read())
    data[4:8] = struct.pack('<I', 2)
    open(out, 'wb').write(data)


def split_experts(source, out):
    """Older converters wrote gate and up of the experts as two tensors."""
    from gguf import GGUFReader, GGUFWriter, GGUFValueType
    r = GGUFReader(source)
    w = GGUFWriter(out, r.fields['general.architecture'].contents())
    for key, f in r.fields.items():
        if key.startswith('GGUF.') or key == 'general.architecture':
            continue
        sub = f.types[1] if f.types[0] == GGUFValueType.ARRAY else None
        w.add_key_value(key, f.contents(), f.types[0], sub)
    for t in r.tensors:
        parts = {t.name: t.data}
        if t.name.endswith('ffn_gate_up_exps.weight'):
            half = t.data.shape[1] // 2
            parts = {t.name.replace('gate_up', 'gate'): np.ascontiguousarray(t.data[:, :half]),
                     t.name.replace('gate_up', 'up'): np.ascontiguousarray(t.data[:, half:])}
        for name, data in parts.items():
            w.add_tensor(name, data, raw_dtype=t.tensor_type)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()


def make_gguf(name, kinds, root, llama):
    """One file per format from the pack's own folder, plus the ways a file can be written."""
    source, out = os.path.join(root, name), os.path.join(root, 'g-' + name)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    with open(os.path.join(source, 'spec.json')) as f:
        spec = json.load(f)
    cases = [c['name'] for c in spec['cases']]
    for c in cases + ['spec']:
        shutil.copyfile(os.path.join(source, c + '.json'), os.path.join(out, c + '.json'))
    at = lambda base: os.path.join(out, base + '.gguf')
    full = os.path.join(root, name + '.f32.tmp')
    llama.convert(os.path.join(source, 'model'), full, 'f32')
    files = {}
    for kind in kinds:
        llama.quantise(full, at(kind), kind)
        files[kind] = [at(kind)]
    if 'Q4_0' in kinds:
        llama.quantise(full, at('Q4_0-q6k-table'), 'Q4_0', '--token-embedding-type', 'q6_k')
        files['Q4_0-q6k-table'] = [at('Q4_0-q6k-table')]
        as_version_2(at('Q4_0'), at('Q4_0-v2'))
        files['Q4_0-v2'] = [at('Q4_0-v2')]
        llama.split(at('Q4_0'), os.path.join(out, 'Q4_0-split'))
        files['Q4_0-split-00001-of-%05d' % sum(f.startswith('Q4_0-split-') for f in os.listdir(out))] = sorted(
            os.path.join(out, f) for f in os.listdir(out) if f.startswith('Q4_0-split-'))
        if spec['text'].get('enable_moe_block'):
            split_experts(at('Q4_0'), at('Q4_0-gate-up'))
            files['Q4_0-gate-up'] = [at('Q4_0')]  # the same weights
    os.remove(full)
    model = oracle.build(spec)
    for base, paths in files.items():
        expect(model, paths, out, base, cases)
    print('g-' + name, ' '.join(files), flush=True)


def make_mix(p, root, llama):
    """A committed GGUF of many formats; the folder it was made from is not kept."""
    kind, base, types = MIXES[p['name']]
    out = os.path.join(root, p['name'])
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    with tempfile.TemporaryDirectory() as source:
        full = os.path.join(source, 'full.gguf')
        make(p, source)
        llama.convert(os.path.join(source, 'model'), full, base)
        options = [o for n, t in types.items() for o in ('--tensor-type', f'{n}={t}')]
        llama.quantise(full, os.path.join(out, 'mixed.gguf'), kind, *options)
        cases = [f'n{n + 1}' for n, _ in p['cases']]
        for c in cases + ['spec']:
            shutil.copyfile(os.path.join(source, c + '.json'), os.path.join(out, c + '.json'))
    with open(os.path.join(out, 'spec.json')) as f:
        expect(oracle.build(json.load(f)), [os.path.join(out, 'mixed.gguf')], out, 'mixed', cases)


def make_golden(a):
    for p in GOLDEN:
        if not fnmatch.fnmatch(p['name'], a.only):
            continue
        if p['name'] not in MIXES:
            make(p, os.path.join(a.out, p['name']))
        elif a.llama:
            make_mix(p, a.out, ref.Llama(a.llama))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('out')
    a.add_argument('--only', default='*', help='packs whose name matches (g-NAME for GGUF)')
    a.add_argument('--llama', help='source tree of llama.cpp')
    a.add_argument('--golden', action='store_true', help='make the committed cases instead (OUT: tests/golden/models)')
    a.add_argument('--list', action='store_true')
    a = a.parse_args()
    if a.golden:
        return make_golden(a)
    for p in PACKS:
        if fnmatch.fnmatch(p['name'], a.only):
            print(p['name']) if a.list else make(p, os.path.join(a.out, p['name']))
    for name, kinds in GGUFS.items():
        if a.llama and fnmatch.fnmatch('g-' + name, a.only):
            print('g-' + name) if a.list else make_gguf(name, kinds, a.out, ref.Llama(a.llama))


if __name__ == '__main__':
    main()
