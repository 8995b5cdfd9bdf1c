#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The held-out set: questions from templates, values, names, voices and drawings that training never uses.
Deterministic by seed; media are made again from their recipe when needed.

    python tools/nano/heldout.py OUT.json [--count 200] [--media DIR]

Each item: skill, messages up to the last answer, tools, thinking, expected (what the model should write, whole),
answer (what counts), media (recipes), and the digest of the tokenizer the set belongs to.
"""
import argparse
import hashlib
import json
import os
import random
import chat
import data
import gen_chat
import gen_manual
import gen_math
import gen_tools
import gen_words

SEED = 20261125


def direct(digits, ops):
    def make(rng, test):
        while True:
            o, a, b = gen_math.operands(rng, True, digits, products='*' in ops)
            if o in ops:
                break
        q, answer = gen_math.question(rng, True, o, a, b), str(gen_math.OPS[o](a, b))
        gen_math.validate(o, a, b, q, answer)
        return gen_math.document('math-direct', [gen_math.user(q), gen_math.model(answer)])
    return make


def thought3(rng, test):
    return gen_math.thought(rng, True)


SKILLS = {
    'thought: to 3 digits': thought3, 'direct: 1 digit': direct(1, '+-'), 'direct: 2 digits': direct(2, '+-'), 'direct: 3 digits': direct(3, '+-'),
    'direct: products': direct(None, '*'), 'story, with thought': lambda r, t: gen_math.story(r, True, True), 'story, direct': lambda r, t: gen_math.story(r, True, False),
    'copy': gen_words.copy, 'reverse': gen_words.reverse, 'sort': gen_words.sort, 'count': gen_words.count, 'extract': gen_words.extract, 'json': gen_words.fill_json,
    'talk and style': gen_chat.talk, 'memory': gen_chat.memory, 'needle': gen_chat.needle, 'manual': None, 'refusal': None, 'tools': gen_tools.tools}


def only(skill):
    def make(rng, test):
        while True:
            d = gen_manual.manual(rng, True)
            if d['skill'] == skill:
                return d
    return make


SKILLS['manual'], SKILLS['refusal'] = only('manual'), only('refuse')
MEDIA = ('image-shape', 'image-colour', 'image-count', 'image-place', 'image-read', 'sound-digits', 'sound-phrase', 'sound-tone', 'sound-beeps', 'video')


def digest(path=None):
    return hashlib.sha256(open(path or os.path.join(data.FOLDER, 'tokenizer.json'), 'rb').read()).hexdigest()


def documents(skill, count):
    """Whole conversations; the last stretch the model writes is what is asked."""
    if skill in MEDIA:
        import media
        yield from media.heldout(skill, count, SEED)
        return
    for k in range(count):
        yield SKILLS[skill](random.Random(f'{SEED}:{skill}:{k}'), True)


def item(skill, d):
    pieces = chat.render(d['messages'], d['tools'], False, d['thinking'])
    while pieces and not pieces[-1][1]:
        pieces.pop()
    end = len(pieces)
    while pieces[end - 1][1]:
        end -= 1
    last = d['messages'][-1]
    return {'skill': skill, 'prompt': ''.join(t for t, _ in pieces[:end]), 'expected': ''.join(t for t, _ in pieces[end:]),
            'answer': last.get('content'), 'messages': d['messages'], 'tools': d['tools'], 'thinking': d['thinking'], 'media': d['media']}


def main():
    a = argparse.ArgumentParser()
    a.add_argument('out')
    a.add_argument('--count', type=int, default=200)
    o = a.parse_args()
    items = [item(s, d) for s in SKILLS for d in documents(s, o.count)]
    with open(o.out, 'w', encoding='utf-8') as f:
        json.dump({'seed': SEED, 'tokenizer': digest(), 'items': items}, f, ensure_ascii=False, indent=0)
    print(len(items), 'items')


if __name__ == '__main__':
    main()
