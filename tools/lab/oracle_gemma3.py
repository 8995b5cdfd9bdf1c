#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reference cases of Gemma 3 text models, in the format of shared/tools/oracle.py.

    GEM_SHARED=.../shared tools/lab/oracle_gemma3.py OUT [--only PATTERN] [--llama LLAMA_CPP]

Small random models with the traits of each size (docs/gemma3.md), run by transformers in float32 from bfloat16 weights,
the embedding scale rounded to bfloat16. With --llama the `calm` ones are converted and quantised too, into `g-NAME`,
with the logits of the dequantised files. Needs sentencepiece besides what make_cases.py needs: the converter wants a
tokenizer.model, so a small one is trained on Python's own documentation.
"""
import argparse
import copy
import fnmatch
import io
import json
import math
import os
import shutil
import tempfile

import numpy as np
import torch
import reference as ref
from corpus import documentation

SHARED = ref.shared()
import oracle  # noqa: E402  (bf16 rounding)
import transformers as tf  # noqa: E402

KINDS = {'L': 'sliding_attention', 'G': 'full_attention'}
LINEAR8 = {'full_attention': {'rope_type': 'linear', 'factor': 8.0, 'rope_theta': 1e6},
           'sliding_attention': {'rope_type': 'default', 'rope_theta': 1e4}}
BASE = dict(vocab_size=1024, hidden_size=96, intermediate_size=192, num_attention_heads=4, num_key_value_heads=1,
            head_dim=32, query_pre_attn_scalar=32, sliding_window=16, max_position_embeddings=4096)


def pack(name, seed, layers, cases=((11, 16), (47, 24), (130, 8)), pattern=None, multimodal=False, older=False,
         untied=False, dtype='bfloat16', calm=False, formats=(), **text):
    """layers: how many, 5 local to 1 global unless `pattern` ("LLG") says otherwise. older: config keys of 2025."""
    return dict(locals())


FORMATS = ('F16', 'BF16', 'Q4_0', 'Q5_0', 'Q8_0', 'Q4_K_M', 'Q6_K')
PACKS = [
    pack('gemma3-270m', 3001, 18, hidden_size=64, intermediate_size=128, num_attention_heads=2),
    pack('gemma3-1b', 3002, 8, hidden_size=112, intermediate_size=300, head_dim=40, query_pre_attn_scalar=40,
         older=True),                                     # 8 layers: ends with local ones, as the 1B does
    pack('gemma3-4b', 3003, 10, multimodal=True, hidden_size=128, num_key_value_heads=2, rope_parameters=LINEAR8,
         older=True),
    pack('gemma3-4b-newer', 3004, 7, multimodal=True, num_key_value_heads=2, rope_parameters=LINEAR8),
    pack('gemma3-27b', 3005, 8, hidden_size=168, num_attention_heads=8, num_key_value_heads=4, head_dim=16,
         query_pre_attn_scalar=21, rope_parameters=LINEAR8, older=True),  # scale: hidden / heads, not head_dim
    pack('gemma3-pattern', 3006, 6, pattern='GLLGLL', sliding_window=5, rms_norm_eps=1e-3),
    pack('gemma3-sparse-config', 3007, 6, older=True, head_dim=256, query_pre_attn_scalar=256, num_attention_heads=8,
         num_key_value_heads=4),                          # keys that equal the class's defaults are left out
    pack('gemma3-untied-f32', 3008, 6, untied=True, dtype='float32', vocab_size=1031),
    pack('gemma3-f16-long', 3009, 7, dtype='float16', cases=((600, 4), (33, 8))),
    pack('gemma3-calm', 3010, 8, calm=True, hidden_size=256, intermediate_size=512, head_dim=64,
         query_pre_attn_scalar=64, formats=FORMATS),
    pack('gemma3-calm-linear', 3011, 7, calm=True, hidden_size=256, intermediate_size=512, head_dim=64,
         query_pre_attn_scalar=64, num_key_value_heads=2, rope_parameters=LINEAR8, formats=('Q4_0', 'Q8_0')),
]

# The committed ones (tests/golden/models): a 4B as its first files spell it, vision tower included, and a GGUF with the
# fallbacks of the real 270M (rows that K-quants do not fit).
GOLDEN = [
    pack('gemma3', 4101, 7, ((11, 12), (40, 12)), multimodal=True, older=True, rope_parameters=LINEAR8, hidden_size=64,
         intermediate_size=80, num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=20, sliding_window=8,
         vocab_size=320),
    pack('quantised-gemma3', 4102, 7, ((11, 12), (40, 12)), calm=True, formats=('Q4_K_M',), hidden_size=64,
         intermediate_size=256, num_attention_heads=2, head_dim=32, sliding_window=8, vocab_size=512),
]


def text_config(p):
    text = {**BASE, **p['text'], 'num_hidden_layers': p['layers']}
    if p['pattern']:
        text['layer_types'] = [KINDS[k] for k in p['pattern']]
    if p['untied']:
        text['tie_word_embeddings'] = False
    return text


def spread(model, seed, calm):
    """As the oracle's: every term matters. Norms hold 1 + w; the query scale is spent by larger q and k norms."""
    gen = torch.Generator().manual_seed(seed)
    cfg = model.config.get_text_config()
    boost = cfg.query_pre_attn_scalar ** 0.25
    lo, hi = (0.15, 0.35) if calm else (0.4, 0.9)
    uniform = lambda t, a, b: t.copy_(a + (b - a) * torch.rand(t.shape, generator=gen))
    normal = lambda t, std: t.copy_(torch.randn(t.shape, generator=gen) * std)
    for name, t in sorted(model.named_parameters()):
        if 'q_norm' in name or 'k_norm' in name: uniform(t, lo * boost - 1, hi * boost - 1)
        elif 'norm' in name: uniform(t, -0.5, 0.5)
        elif 'embed_tokens' in name or 'lm_head' in name: normal(t, 3 / math.sqrt(t.shape[-1]) if calm else 0.45)
        elif t.dim() > 1: normal(t, 1.2 / math.sqrt(t[0].numel()))
        else: normal(t, 0.2)
        t.copy_(t.to(torch.bfloat16).float())
    for m in model.modules():
        if hasattr(m, 'embed_scale') and torch.is_tensor(m.embed_scale):
            m.embed_scale.fill_(oracle.bf16(m.scalar_embed_scale))
    model.tie_weights()


def build(p):
    text = text_config(p)
    if p['multimodal']:
        vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=56,
                      patch_size=14)
        v = text['vocab_size']
        cfg = tf.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=v - 4,
                              boi_token_index=v - 3, eoi_token_index=v - 2)
        cls = tf.Gemma3ForConditionalGeneration
    else:
        cfg, cls = tf.Gemma3TextConfig(**text), tf.Gemma3ForCausalLM
    cfg._attn_implementation = 'eager'
    model = cls(cfg).float().eval()
    scale = {n: b.clone() for n, b in model.named_buffers() if n.endswith('embed_scale')}
    spread(model, p['seed'], p['calm'])
    ref.settle(model, p['dtype'], p['seed'])
    model.tie_weights()
    assert scale
    return model


def older(cfg):
    """The keys of 2025: two bases and a scaling in place of rope_parameters, a number for the pattern."""
    text = cfg.get('text_config', cfg)
    rope = text.pop('rope_parameters')
    full = dict(rope['full_attention'])
    text['rope_theta'] = full.pop('rope_theta')
    text['rope_local_base_freq'] = rope['sliding_attention']['rope_theta']
    text['rope_scaling'] = full if full['rope_type'] != 'default' else None
    text['sliding_window_pattern'] = text.pop('_sliding_window_pattern')
    text.pop('layer_types')


def sparse(cfg):
    """4B and 27B files name few keys and leave the rest to the class (docs/gemma3.md)."""
    for key in ('head_dim', 'num_attention_heads', 'num_key_value_heads', 'query_pre_attn_scalar', 'rope_theta',
                'rope_local_base_freq', 'rope_scaling', 'sliding_window_pattern', 'rms_norm_eps',
                'final_logit_softcapping', 'attn_logit_softcapping', 'tie_word_embeddings', 'bos_token_id',
                'eos_token_id', 'pad_token_id',
                'attention_bias', 'attention_dropout', 'hidden_activation', 'use_bidirectional_attention'):
        cfg.pop(key)


def make(p, out):
    os.makedirs(out, exist_ok=True)
    model = build(p)
    print(p['name'], sum(t.numel() for t in model.parameters()), 'parameters', flush=True)
    double = copy.deepcopy(model).double()
    for i, (n, g) in enumerate(p['cases']):
        vocab = p['text'].get('vocab_size', BASE['vocab_size'])
        ids = ref.draw_tokens(p['seed'] * 10 + i, n, vocab - 5)
        ref.text_case(model, out, f'n{n + 1}', ids, g, double, range(vocab - 4, vocab) if p['multimodal'] else ())
    path = os.path.join(out, 'model')
    ref.save_model(model, path, p['dtype'])
    if p['older']:
        ref.edit_config(path, older)
    if p['name'].endswith('sparse-config'):
        ref.edit_config(path, sparse)
    with open(os.path.join(out, 'spec.json'), 'w') as f:
        json.dump({'name': p['name'], 'arch': 'gemma3', 'calm': p['calm'], 'multimodal': p['multimodal'],
                   'text': text_config(p)}, f, indent=1)


# ---- GGUF ------------------------------------------------------------------------------------------------------

PARTS = {'attn_norm': 'input_layernorm', 'post_attention_norm': 'post_attention_layernorm',
         'ffn_norm': 'pre_feedforward_layernorm', 'post_ffw_norm': 'post_feedforward_layernorm',
         'attn_q': 'self_attn.q_proj', 'attn_k': 'self_attn.k_proj', 'attn_v': 'self_attn.v_proj',
         'attn_output': 'self_attn.o_proj', 'attn_q_norm': 'self_attn.q_norm', 'attn_k_norm': 'self_attn.k_norm',
         'ffn_gate': 'mlp.gate_proj', 'ffn_up': 'mlp.up_proj', 'ffn_down': 'mlp.down_proj'}


def hf_name(name):
    whole = {'token_embd.weight': 'model.embed_tokens.weight', 'output_norm.weight': 'model.norm.weight'}
    if name in whole:
        return whole[name]
    _, i, rest = name.split('.', 2)
    return f'model.layers.{i}.{PARTS[rest.removesuffix(".weight")]}.weight'


def fill(model, path):
    """The file's own weights; its norms hold 1 + w."""
    from gguf import GGUFReader, dequantize
    state = dict(model.named_parameters())
    missing = set(state)
    for t in GGUFReader(path).tensors:
        name = hf_name(t.name)
        w = torch.from_numpy(np.array(dequantize(t.data, t.tensor_type), dtype=np.float32))
        state[name].copy_(w.reshape(state[name].shape) - (1.0 if 'norm' in name else 0.0))
        missing.discard(name)
    assert not missing, missing
    model.tie_weights()


def sentencepiece_model(path, size):
    """A tokenizer of Gemma 3's kind: BPE with scores, bytes as fallback, spaces kept."""
    import sentencepiece as spm
    text = documentation(200_000)
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(text.splitlines()), model_writer=out, model_type='bpe', vocab_size=size,
        byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False, normalization_rule_name='identity',
        split_digits=True, allow_whitespace_only_pieces=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        user_defined_symbols=['<mask>', '<start_of_turn>', '<end_of_turn>', '\n', '\n\n'], minloglevel=2, num_threads=1)
    with open(os.path.join(path, 'tokenizer.model'), 'wb') as f:
        f.write(out.getvalue())


def make_gguf(p, source, out, llama):
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    sentencepiece_model(os.path.join(source, 'model'), p['text'].get('vocab_size', BASE['vocab_size']))
    full = out + '.f32.tmp'
    llama.convert(os.path.join(source, 'model'), full)
    model = build(p)
    cases = [f'n{n + 1}' for n, _ in p['cases']]
    for c in cases + ['spec']:
        shutil.copyfile(os.path.join(source, c + '.json'), os.path.join(out, c + '.json'))
    for kind in p['formats']:
        path = os.path.join(out, kind + '.gguf')
        llama.quantise(full, path, kind)
        fill(model, path)
        for case in cases:
            with open(os.path.join(out, case + '.json')) as f:
                ids = json.load(f)['tokens']
            ref.gguf_case(model, ids, os.path.join(out, f'{kind}.{case}.safetensors'))
    os.remove(full)
    print(out, ' '.join(p['formats']), flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('out')
    a.add_argument('--only', default='*')
    a.add_argument('--llama', help='source tree of llama.cpp')
    a.add_argument('--golden', action='store_true', help='make the committed cases instead (OUT: tests/golden/models)')
    a = a.parse_args()
    for p in GOLDEN if a.golden else PACKS:
        folder = os.path.join(a.out, p['name'])
        if not fnmatch.fnmatch(p['name'], a.only):
            continue
        if not a.golden or not p['formats']:
            make(p, folder)
        if a.llama and p['formats'] and not a.golden:
            make_gguf(p, folder, os.path.join(a.out, 'g-' + p['name']), ref.Llama(a.llama))
        elif a.llama and p['formats']:
            with tempfile.TemporaryDirectory() as source:
                make(p, source)
                make_gguf(p, source, folder, ref.Llama(a.llama))


if __name__ == '__main__':
    main()
