# SPDX-License-Identifier: Apache-2.0
"""The mixture: which skills, how often, as packed batches. Deterministic: batch i depends on (seed, i) alone."""
import os
import random
import numpy as np
import torch
import auxiliary
import chat
import gen_chat
import gen_manual
import gen_math
import gen_tools
import gen_words
from words import FOLDER, require

TEXT = [gen_math.direct, gen_math.thought, gen_math.story, gen_words.copy, gen_words.reverse, gen_words.sort, gen_words.count,
        gen_words.extract, gen_words.fill_json, gen_chat.talk, gen_chat.talk, gen_chat.talk, gen_chat.memory, gen_chat.memory, gen_chat.needle, gen_manual.manual,
        gen_manual.manual, gen_manual.manual, gen_tools.tools, gen_tools.tools]
SEEN = '''What shape is this? colour image picture circle square triangle star cross diamond figure figures how many left right above below of the
which digit word is shown reads sound hear tone high low beeps say transcribe spoken video moved from to up down nothing moves middle top bottom
Describe Listen Look the zero one two three four five six seven eight nine ten yes no stop go start open close light music left right on off'''.split()
EXTRA_WORDS = [('▁' + w, 120) for w in SEEN] + [(w.capitalize(), 30) for w in SEEN]

# share of documents in the text part of the mixture; a stage of training may name its own
MIX = {
    'direct': (gen_math.direct, 22), 'products': (gen_math.products, 15), 'thought': (gen_math.thought, 12), 'story': (gen_math.story, 12),
    'copy': (gen_words.copy, 7), 'carry': (gen_words.carry, 26), 'reverse': (gen_words.reverse, 6), 'sort': (gen_words.sort, 34), 'count': (gen_words.count, 10),
    'extract': (gen_words.extract, 12), 'json': (gen_words.fill_json, 8), 'talk': (gen_chat.talk, 36), 'memory': (gen_chat.memory, 14),
    'manual': (gen_manual.manual, 12), 'tools': (gen_tools.tools, 64), 'which': (gen_tools.which, 36)}


class Encoder:
    def __init__(self, path=None):
        os.environ['TOKENIZERS_PARALLELISM'] = 'false'
        from tokenizers import Tokenizer
        self.tok = Tokenizer.from_file(path or os.path.join(FOLDER, 'tokenizer.json'))
        self.vocab = self.tok.get_vocab()
        self.pieces = {i: p for p, i in self.vocab.items()}
        self.size = len(self.vocab)
        self.cache = {}

    def piece(self, text):
        ids = self.cache.get(text)
        if ids is None:
            ids = self.tok.encode(text, add_special_tokens=False).ids
            if len(self.cache) < 50000 and len(text) < 40:
                self.cache[text] = ids
        return ids

    def text(self, ids):
        """With control tokens by name."""
        return self.tok.decode(ids, skip_special_tokens=False)

    def document(self, d):
        """ids, wanted (whether each is what the model must write)."""
        ids, wanted = [], []
        for text, want in chat.render(d['messages'], d['tools'], False, d['thinking']):
            t = self.piece(text)
            ids += t
            wanted += [want] * len(t)
        require(any(wanted), d)
        return ids, wanted


UNSCORED = -1                                                   # of a token that the model writes: by mistake, so it is not scored


def respell(encoder, rng, ids, wanted, share=0.25):
    """Some words that the model carries over from what it is given, beginning with a shorter piece than the tokenizer's: with what piece a
    word begins depends on all of it, and a model that errs there must go on with the letter that comes next."""
    pieces, out, want = [encoder.pieces[i] for i in ids], list(ids), list(wanted)
    inner = lambda k: k < len(ids) and wanted[k] and auxiliary.inner(pieces[k])
    for start in range(len(ids) - 1, 0, -1):                    # from behind, so that what is before stays where it is
        word = pieces[start].lstrip('▁')
        if not wanted[start] or len(pieces[start]) < 2 or not word.isalpha() or rng.random() >= share:
            continue
        if inner(start) and pieces[start - 1][-1].isalpha():    # not the first of its word
            continue
        short = [p for p in (pieces[start][:n] for n in range(1, len(pieces[start]))) if p in encoder.vocab and p != '▁']
        end = start + 1
        while inner(end):
            end += 1
        word += ''.join(pieces[start + 1:end])
        if len(word) < 3 or not short or word not in ''.join(p for p, w in zip(pieces[:start], wanted) if not w):
            continue
        first = rng.choice(short)
        rest = encoder.piece(word[len(first.lstrip('▁')):])
        out[start:end] = [encoder.vocab[first], *rest]
        want[start:end] = [UNSCORED] + [True] * len(rest)
    return out, want


class Batch:
    """ids, pos [B,T]; doc [B,T]; where (flat positions whose next token is scored) and next (those tokens)."""

    def __init__(self, rows, length, images=None, sounds=None):
        self.images, self.sounds = images, sounds
        self.cells = self.scenes = self.labels = None           # for throw-away heads, of the towers and of the middle
        if rows is None:                                        # for a tower alone
            self.ids = self.pos = self.doc = self.where = None
            self.next = ()
            return
        B = len(rows)
        ids, pos, doc = np.zeros((B, length), np.int64), np.zeros((B, length), np.int64), np.full((B, length), -1, np.int64)
        want = np.zeros((B, length), bool)
        for r, docs in enumerate(rows):
            at = 0
            for k, (i, w, *_) in enumerate(docs):
                n = len(i)
                ids[r, at:at + n], pos[r, at:at + n], doc[r, at:at + n], want[r, at:at + n] = i, np.arange(n), k, np.array(w) > 0
                at += n
        flat = np.flatnonzero(want)
        self.where, self.next = torch.from_numpy(flat - 1), torch.from_numpy(ids.reshape(-1)[flat])
        self.ids, self.pos, self.doc = map(torch.from_numpy, (ids, pos, doc))
        self.fill = float((doc >= 0).mean())


def pack(make, rows, length, least=0):
    """Fill rows with documents (ids, wanted and what else make() gives) of least to length tokens; a few that fit nowhere
    close the batch."""
    room, out = [length] * rows, [[] for _ in range(rows)]
    misses = 0
    while misses < 8:
        d = make()
        n = len(d[0])
        if not least <= n <= length:
            continue
        fits = [r for r in range(rows) if room[r] >= n]
        if not fits:
            misses += 1
            continue
        r = min(fits, key=lambda r: room[r])
        out[r].append(d)
        room[r] -= n
    return out


class Mixture:
    def __init__(self, encoder, shares=None):
        self.encoder = encoder
        shares = shares or {k: s for k, (_, s) in MIX.items()}
        self.makers = [MIX[k][0] for k in shares]
        self.weights = list(shares.values())

    def text(self, rng, rows, length, least=0):
        def draw():
            d = rng.choices(self.makers, self.weights)[0](rng, False)
            return *respell(self.encoder, rng, *self.encoder.document(d)), d.get('kinds')
        packed = pack(draw, rows, length, least)
        b = Batch(packed, length)
        b.labels = auxiliary.labels(self.encoder, packed, length)
        return b

    def needle(self, rng, rows=3, length=640):
        draw = lambda: self.encoder.document(gen_chat.needle(rng, False))
        return Batch(pack(draw, rows, length), length)

    def batch(self, kind, rng):
        """T short documents, U longer ones, L a needle in a long text, I pictures, J many small ones, K those for the tower alone, S sounds, V videos."""
        if kind == 'T':
            return self.text(rng, 24, 128)
        if kind == 'U':
            return self.text(rng, 5, 400, 100)                     # declarations of three tools are 250 to 400 tokens
        if kind == 'L':
            return self.needle(rng)
        import media
        return media.batch(kind, self.encoder, rng)
