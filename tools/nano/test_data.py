#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generators: every sample renders, is scored somewhere and is the same for the same seed; no held-out question is
ever asked in training; the text of a conversation grows by exactly what the model writes; a damaged checkpoint is noticed.

    python tools/nano/test_data.py [--count 300]
"""
import argparse
import json
import os
import random
import sys
import tempfile
import torch
import auxiliary
import chat
import checkpoint
import data
import heldout
import pictures
from words import WrongLabel


def asked(d):
    """What a conversation ends in: its last question, with what it depends on before."""
    return json.dumps([[m['content'] if isinstance(m['content'], str) else 0 for m in d['messages'][:-1]], d['tools'], d['thinking']])


def grows(d):
    """The prompt for each answer, the answer, and the next prompt fit together as the template renders them."""
    m = d['messages']
    if d['thinking']:
        return
    for k in [i for i, x in enumerate(m) if x['role'] == 'assistant' and not x.get('tool_calls')]:
        before = chat.prompt(m[:k], d['tools'], m[k - 1]['role'] != 'tool', False)
        assert chat.prompt(m[:k + 1], d['tools'], False, False) == before + m[k]['content'] + '<turn|>\n', (before, m[k])


def respelled(encoder, d, ids, wanted):
    """The same text, and the same of it is the model's; what is not scored is no more than a shorter beginning."""
    other, want = data.respell(encoder, random.Random(len(ids)), ids, wanted)
    text = lambda ids, kept: encoder.text([i for i, k in zip(ids, kept) if k])
    assert text(other, [True] * len(other)) == text(ids, [True] * len(ids)) and text(other, want) == text(ids, wanted), d
    for k, w in enumerate(want):
        assert w != data.UNSCORED or (want[k + 1] is True and encoder.pieces[other[k + 1]][0].isalpha()), d
    return want


def labels(encoder):
    """What the auxiliary losses ask for: the first letters of each name that is written are those of the declaration to look at,
    which says them and its kind; what is behind a word says how that would begin, and a word that is written again is that word."""
    b = data.Mixture(encoder, {'tools': 2, 'which': 1, 'carry': 2}).batch('U', random.Random('labels'))
    l, length, chosen = b.labels, b.ids.shape[1], 0
    piece = lambda at: encoder.pieces[int(b.ids.reshape(-1)[at])]
    knows = {int(at): (three.tolist(), auxiliary.KNOWS[k % len(auxiliary.KNOWS)]) for k, (at, three) in enumerate(zip(l.parts, l.three))}
    kinds = dict(zip(l.later.tolist(), l.kind.tolist()))
    assert all(piece(at) == part for at, (_, part) in knows.items())
    for place, wanted, right in zip(l.places.tolist(), l.wanted.tolist(), l.right.tolist()):
        for column in right:
            if column >= 0:
                at, chosen = place // length * length + column, chosen + 1
                before, behind = (''.join(piece(place + k).lstrip('▁') for k in r) for r in (range(-1, 1), range(1, 4)))
                spelled = [(before[len(before) - k:] + behind)[:3] for k in range(3)]            # with k letters written before
                assert kinds[at] == wanted and knows[at][0] in [list(map(auxiliary.letter, b)) for b in spelled], spelled
    begins = {row: encoder.pieces[i].lstrip('▁') for i, row in encoder.spaced.items()}
    def word(at):
        """The one that ends before this position."""
        k = at - 1
        while auxiliary.inner(piece(k)):
            k -= 1
        return ''.join(map(piece, range(k + 1, at)))
    for at, row in zip(l.behind.tolist(), l.spaced.tolist()):
        assert not piece(at).isalpha() and word(at).startswith(begins[row]), (word(at), begins[row])
    for place, (column,) in zip(l.words.tolist(), l.source.tolist()):
        again = word(place // length * length + column)
        assert ''.join(map(piece, range(place + 1, place + 1 + len(again)))).startswith('▁' + again), again
    assert chosen and len(l.words)
    print(f'labels: {chosen} places to look at, {len(l.behind)} words, {len(l.words)} of them written again')


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--count', type=int, default=300)
    n, encoder, mistakes = a.parse_args().count, data.Encoder(), 0
    for skill, (make, _) in data.MIX.items():
        seen = set()
        for k in range(n):
            d = make(random.Random(f'{skill}{k}'), False)
            assert d == make(random.Random(f'{skill}{k}'), False), skill
            ids, wanted = encoder.document(d)
            assert len(ids) == len(wanted) and encoder.text(ids) == chat.prompt(d['messages'], d['tools'], False, d['thinking'])
            grows(d)
            mistakes += respelled(encoder, d, ids, wanted).count(data.UNSCORED)
            seen.add(asked(d))
        held = {asked(make(random.Random(f'{skill}:{k}'), True)) for k in range(n)}
        assert not held & seen, (skill, list(held & seen)[:2])
        print(f'{skill}: {n} samples, {len(seen)} and {len(held)} different questions, none in both')
    assert mistakes
    print(mistakes, 'words were begun with a shorter piece')
    labels(encoder)
    for test in (False, True):
        scenes = [pictures.scene(random.Random(f'{test}{k}'), test) for k in range(n)]
        scenes += [f for k in range(n // 10) for f in pictures.video_scene(random.Random(f'{test}{k}'), test)['frames']]
        figures = [f for s in scenes for f in s['figures']]
        assert any(pictures.apart((f['shape'], f['colour'])) for f in figures if f['colour']) == test, test
        for f in figures:
            if not f['colour']:                                 # one without a name is not like that held out either
                like = next(v for c, v in pictures.RGB.items() if pictures.apart((f['shape'], c)))
                assert not test and sum(abs(x - y) for x, y in zip(f['rgb'], like)) > 100
    print(f'pictures: in training no figure of the {len(pictures.SHAPES)} pairs of shape and colour held out')
    try:
        from gen_math import validate
        validate('+', 2, 2, '2+2', '5')
        raise SystemExit('a wrong label went through')
    except WrongLabel:
        print('a wrong label is refused')
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'last.pt')
        checkpoint.save(path, {'step': 1})
        checkpoint.save(path, {'step': 2})
        open(path, 'r+b').truncate(100)
        assert checkpoint.load(path)['step'] == 1
        open(path + '.before', 'r+b').truncate(100)
        try:
            checkpoint.load(path)
            raise AssertionError('a damaged checkpoint was opened')
        except SystemExit as e:
            print('damaged checkpoints are refused:', e)
    items = [heldout.item(s, d) for s in heldout.SKILLS for d in heldout.documents(s, 3)]
    assert items == [heldout.item(s, d) for s in heldout.SKILLS for d in heldout.documents(s, 3)]
    assert all(i['prompt'] and i['expected'] for i in items)
    print('the held-out set is the same each time')


if __name__ == '__main__':
    sys.exit(main())
