#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nano's tokenizer, of Gemma 4's kind: BPE over code points with byte fallback, U+2581 for spaces, digits one by one,
the release's 24 control tokens by name.

Merges only grow a piece from an anchor to the right, one code point at a time: a space or a capital starts one. So a
word in quotes or after a bracket comes out letter by letter, which is what spelling, sorting and copying need, while
running text is a token a word. A few words of the chat and tool syntax are built from their right end instead.

    python tools/nano/tokenizer.py      writes models/nano/tokenizer.json and tokenizer_config.json
"""
import collections
import json
import os
import random
import re
from words import FOLDER

CONTROL = ['<pad>', '<eos>', '<bos>', '<unk>', '<mask>', '<|tool>', '<tool|>', '<|tool_call>', '<tool_call|>', '<|tool_response>',
           '<tool_response|>', '<|"|>', '<|think|>', '<|channel>', '<channel|>', '<|turn>', '<turn|>', '<|image>', '<image|>',
           '<|image|>', '<|audio>', '<audio|>', '<|audio|>', '<|video|>']
SPACE = '▁'
EXTRA = 'äöüÄÖÜßéèàçñ°€£§×÷–—’“”„…→•½²'
# built from the right end, so that ordinary words with the same letters stay apart: chain of (left, right)
RIGHT = ['ght', 'ought', 'hought', 'thought']
SYNTAX = ['description:', 'declaration:', 'parameters:', 'properties:', 'required:', 'response:', 'value:', 'call:', 'type:']
SIZE = 1408


def chains():
    """Hand-made merges, in order."""
    out = [('g', 'h'), ('gh', 't'), ('u', 'ght'), ('o', 'ught'), ('h', 'ought'), ('t', 'hought'),
           ('o', 'd'), ('od', 'e'), ('ode', 'l'), ('m', 'odel'), ('u', 's'), ('us', 'e'), ('use', 'r'),
           ('s', 'y'), ('sy', 's'), ('sys', 't'), ('syst', 'e'), ('syste', 'm')]
    return out


def right_chains():
    out, seen = [], set()
    for w in SYNTAX:
        for i in range(len(w) - 2, -1, -1):
            pair = (w[i], w[i + 1:])
            if pair not in seen:
                seen.add(pair)
                out.append(pair)
    for pair in (('}', ','), ('}', '}'), ('}}', ','), (':', '{'), (']', ','), ('}', ']'), ('"', ','), ('"', ':')):
        out.append(pair)
    return out


def runs():
    """Runs of spaces, newlines and tabs, as in the release (fewer of them)."""
    out, pieces = [], []
    for c, n in (('\n', 4), (SPACE, 8), ('\t', 2)):
        for k in range(2, n + 1):
            pieces.append(c * k)
            for left in range(k - 1, 0, -1):
                if k - left <= n:
                    out.append((c * left, c * (k - left)))
    return out, pieces


WORD = re.compile(SPACE + r'?[A-Za-zÄÖÜäöüß]+|' + SPACE + r'.|' + SPACE)


def learn(counts, size, have):
    """Greedy: the most frequent (anchored piece, next letter) becomes a piece, until the vocabulary is full."""
    words = [[[w[0]] + list(w[1:]), n] for w, n in counts.items() if w[0] == SPACE or w[0].isupper()]
    merges = []
    while len(have) < size:
        pairs = collections.Counter()
        for (s, n) in words:
            if len(s) > 1 and not s[1].isdigit() and s[1] != SPACE:
                pairs[s[0], s[1]] += n
            if s[0] == SPACE and len(s) > 2 and s[1].isupper():
                pass
        if not pairs:
            break
        (a, b), n = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))
        if n < 3:
            break
        merges.append((a, b))
        have[a + b] = None
        for w in words:
            if len(w[0]) > 1 and w[0][0] == a and w[0][1] == b:
                w[0][:2] = [a + b]
    return merges


def corpus(n=24000):
    import chat
    import data
    rng, counts = random.Random(7), collections.Counter()
    for i in range(n):
        make = data.TEXT[i % len(data.TEXT)]
        d = make(rng, False)
        for text, _ in chat.render(d['messages'], d['tools'], False, d['thinking']):
            for m in WORD.finditer(re.sub(r'<[^ <>]*>', '\n', text).replace(' ', SPACE)):
                counts[m.group()] += 1
    for w, k in data.EXTRA_WORDS:
        counts[w] += k
    return counts


def build(size=SIZE):
    vocab = dict.fromkeys(CONTROL)
    for b in range(256):
        vocab[f'<0x{b:02X}>'] = None
    for c in ['\n', '\t', SPACE] + [chr(c) for c in range(33, 127)] + list(EXTRA):
        vocab[c] = None
    run_merges, pieces = runs()
    for p in pieces:
        vocab[p] = None
    first, last = chains(), right_chains()
    for a, b in first + last:
        vocab[a + b] = None
    learned = learn(corpus(), size, vocab)
    merges = run_merges + learned + first + last
    for i, p in enumerate(vocab):
        vocab[p] = i
    assert all(a in vocab and b in vocab and a + b in vocab for a, b in merges)
    assert len(set(merges)) == len(merges)
    return vocab, merges


def as_json(vocab, merges):
    added = [dict(id=vocab[c], content=c, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
             for c in CONTROL]
    byte = {'type': 'ByteFallback'}
    return {'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': added,
            'normalizer': {'type': 'Replace', 'pattern': {'String': ' '}, 'content': SPACE},
            'pre_tokenizer': {'type': 'Split', 'pattern': {'String': ' '}, 'behavior': 'MergedWithPrevious', 'invert': False},
            'post_processor': {'type': 'TemplateProcessing', 'single': [{'Sequence': {'id': 'A', 'type_id': 0}}],
                               'pair': [{'Sequence': {'id': 'A', 'type_id': 0}}, {'Sequence': {'id': 'B', 'type_id': 1}}], 'special_tokens': {}},
            'decoder': {'type': 'Sequence', 'decoders': [{'type': 'Replace', 'pattern': {'String': SPACE}, 'content': ' '}, byte, {'type': 'Fuse'}]},
            'model': {'type': 'BPE', 'dropout': None, 'unk_token': '<unk>', 'continuing_subword_prefix': None, 'end_of_word_suffix': None,
                      'fuse_unk': True, 'byte_fallback': True, 'ignore_merges': False, 'vocab': vocab, 'merges': [list(m) for m in merges]}}


CONFIG = {'tokenizer_class': 'GemmaTokenizer', 'add_bos_token': False, 'padding_side': 'left', 'clean_up_tokenization_spaces': False, 'model_max_length': 4096,
          'bos_token': '<bos>', 'eos_token': '<eos>', 'pad_token': '<pad>', 'unk_token': '<unk>', 'mask_token': '<mask>',
          'image_token': '<|image|>', 'boi_token': '<|image>', 'eoi_token': '<image|>', 'audio_token': '<|audio|>', 'boa_token': '<|audio>',
          'eoa_token': '<audio|>', 'sot_token': '<|turn>', 'eot_token': '<turn|>', 'soc_token': '<|channel>', 'eoc_token': '<channel|>',
          'std_token': '<|tool>', 'etd_token': '<tool|>', 'stc_token': '<|tool_call>', 'etc_token': '<tool_call|>', 'str_token': '<|tool_response>',
          'etr_token': '<tool_response|>', 'escape_token': '<|"|>', 'think_token': '<|think|>', 'processor_class': 'Gemma4Processor',
          'model_specific_special_tokens': {'image_token': '<|image|>', 'boi_token': '<|image>', 'eoi_token': '<image|>',
                                            'audio_token': '<|audio|>', 'boa_token': '<|audio>', 'eoa_token': '<audio|>'}}


def main():
    vocab, merges = build()
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, 'tokenizer.json'), 'w', encoding='utf-8') as f:
        json.dump(as_json(vocab, merges), f, ensure_ascii=False, indent=1)
    with open(os.path.join(FOLDER, 'tokenizer_config.json'), 'w') as f:
        json.dump(CONFIG, f, indent=2)
    print(len(vocab), 'pieces', len(merges), 'merges')
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(os.path.join(FOLDER, 'tokenizer.json'))
    for s in ('What is 12 + 345?', 'Reverse "model user cab"', '<|turn>user\nHello, I am Anna.<turn|>\n<|turn>model\n', 'Grüße → 🙂', '  two\n\n\nx', 'declaration:get_weather{description:'):
        e = t.encode(s, add_special_tokens=False)
        assert t.decode(e.ids, skip_special_tokens=False) == s, s
        print(e.tokens)


if __name__ == '__main__':
    main()
