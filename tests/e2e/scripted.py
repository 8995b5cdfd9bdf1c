# SPDX-License-Identifier: Apache-2.0
"""A model that says what a test wants it to say: which token follows which is written into its head. Embeddings are
one-hot, all layers add nothing, so that the row of the head that fits the last token wins."""
import json
import struct

CONTROLS = ['<pad>', '<eos>', '<bos>', '<unk>', '<mask>', '<|tool>', '<tool|>', '<|tool_call>', '<tool_call|>',
            '<|tool_response>', '<tool_response|>', '<|"|>', '<|think|>', '<|channel>', '<channel|>', '<|turn>', '<turn|>',
            '<|image|>', '<|video|>', '<|audio|>', '<|image>', '<image|>', '<|audio>', '<audio|>']
LAYERS, WIDTH = 2, 16


def tokenizer(words):
    """Bytes, and words that are found whole wherever they stand."""
    pieces = CONTROLS + [f'<0x{i:02X}>' for i in range(256)] + ['\u2581']
    ids = {piece: i for i, piece in enumerate(pieces + words)}
    added = [{'id': ids[p], 'content': p, 'single_word': False, 'lstrip': False, 'rstrip': False, 'normalized': False,
              'special': p in CONTROLS} for p in CONTROLS + words]
    model = {'type': 'BPE', 'dropout': None, 'unk_token': '<unk>', 'continuing_subword_prefix': None,
             'end_of_word_suffix': None, 'fuse_unk': True, 'byte_fallback': True, 'ignore_merges': False,
             'vocab': ids, 'merges': []}
    return {'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': added,
            'normalizer': {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '\u2581'},
            'pre_tokenizer': {'type': 'Split', 'pattern': {'String': ' '}, 'behavior': 'MergedWithPrevious',
                              'invert': False},
            'post_processor': None,
            'decoder': {'type': 'Sequence', 'decoders': [
                {'type': 'Replace', 'pattern': {'String': '\u2581'}, 'content': ' '}, {'type': 'ByteFallback'},
                {'type': 'Fuse'}]},
            'model': model}


def config(vocab):
    rope = {'sliding_attention': {'rope_theta': 10000.0, 'rope_type': 'default'},
            'full_attention': {'partial_rotary_factor': 0.25, 'rope_theta': 1000000.0, 'rope_type': 'proportional'}}
    text = {'model_type': 'gemma4_text', 'hidden_size': vocab, 'vocab_size': vocab, 'intermediate_size': WIDTH,
            'num_hidden_layers': LAYERS, 'num_attention_heads': 1, 'num_key_value_heads': 1, 'head_dim': WIDTH,
            'global_head_dim': WIDTH, 'num_global_key_value_heads': 1, 'attention_k_eq_v': False,
            'layer_types': ['sliding_attention', 'full_attention'], 'sliding_window': 16, 'max_position_embeddings': 4096,
            'rope_parameters': rope, 'rms_norm_eps': 1e-6, 'final_logit_softcapping': 30.0,
            'hidden_activation': 'gelu_pytorch_tanh', 'hidden_size_per_layer_input': 0, 'num_kv_shared_layers': 0,
            'enable_moe_block': False, 'num_experts': None, 'use_double_wide_mlp': False, 'bos_token_id': 2,
            'eos_token_id': 1, 'pad_token_id': 0, 'tie_word_embeddings': False, 'use_cache': True,
            'vocab_size_per_layer_input': vocab}
    return {'architectures': ['Gemma4ForCausalLM'], 'model_type': 'gemma4', 'dtype': 'float32', 'text_config': text,
            'tie_word_embeddings': False}


def sparse(rows, columns, ones):
    data = bytearray(4 * rows * columns)
    for row, column in ones:
        struct.pack_into('<f', data, 4 * (row * columns + column), 1.0)
    return [rows, columns], bytes(data)


def tensors(vocab, follows):
    norm = lambda n: ([n], struct.pack('<f', 1.0) * n)
    zero = lambda rows, columns: ([rows, columns], bytes(4 * rows * columns))
    yield 'model.language_model.embed_tokens.weight', sparse(vocab, vocab, [(i, i) for i in range(vocab)])
    yield 'lm_head.weight', sparse(vocab, vocab, [(after, before) for before, after in follows])
    yield 'model.language_model.norm.weight', norm(vocab)
    for i in range(LAYERS):
        p = f'model.language_model.layers.{i}.'
        for name in ('input_layernorm', 'post_attention_layernorm', 'pre_feedforward_layernorm',
                     'post_feedforward_layernorm'):
            yield p + name + '.weight', norm(vocab)
        yield p + 'layer_scalar', norm(1)
        for name in ('q_norm', 'k_norm'):
            yield p + f'self_attn.{name}.weight', norm(WIDTH)
        for name in ('q_proj', 'k_proj', 'v_proj'):
            yield p + f'self_attn.{name}.weight', zero(WIDTH, vocab)
        yield p + 'self_attn.o_proj.weight', zero(vocab, WIDTH)
        for name in ('gate_proj', 'up_proj'):
            yield p + f'mlp.{name}.weight', zero(WIDTH, vocab)
        yield p + 'mlp.down_proj.weight', zero(vocab, WIDTH)


def make(folder, *chains):
    """Each chain is a list of pieces that follow one another; a piece has one successor only."""
    words = sorted({p for chain in chains for p in chain} - set(CONTROLS))
    entry = tokenizer(words)
    ids = entry['model']['vocab']
    follows = {}
    for chain in chains:
        for before, after in zip(chain, chain[1:]):
            assert follows.setdefault(ids[before], ids[after]) == ids[after], (before, after)
    header, data = {}, b''
    for name, (shape, content) in tensors(len(ids), follows.items()):
        header[name] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [len(data), len(data) + len(content)]}
        data += content
    head = json.dumps(header).encode()
    head += b' ' * (-len(head) % 8)
    folder.mkdir()
    (folder / 'model.safetensors').write_bytes(struct.pack('<Q', len(head)) + head + data)
    (folder / 'config.json').write_text(json.dumps(config(len(ids))))
    (folder / 'tokenizer.json').write_text(json.dumps(entry))
    return folder
