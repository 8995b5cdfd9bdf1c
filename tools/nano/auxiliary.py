# SPDX-License-Identifier: Apache-2.0
"""Auxiliary losses of training: what a layer in the middle must know for the answer to be found at all, asked of it directly.
Their heads are thrown away, as those of towers.py; in the model nothing changes.

The name of a tool is found in two steps: where it is to be written, a layer of global attention must look at the
declaration whose kind is that of the request, and find there what the name begins with. From the answers alone that was
not learned in 90 million tokens: all declarations were looked at alike, and their names mixed ("mookup_contact").
So, before the first global layer, the parts of a declaration in KNOWS must say with what the name of the tool begins, the
later ones also of what kind the tool is, and where a name is to be written, up to its third letter, the kind that is wanted;
and there one head of each global layer must look at the later parts of the right declaration. With that it was learned in
ten minutes. (Asked before the first letter only, names that begin alike were mixed after it: "lood_rate".)

Words: "banana" in quotes is six pieces, and " banana" behind a space begins with the piece " ba". What follows a word
without a space, such as the quotes, must say with what piece it would begin behind a space, and where the model is to write
it there, the same heads of attention must look at what follows it. (Asked of each letter instead, copying of letters suffered.)
"""
import re
import torch
import torch.nn.functional as F
import arch
import model
from words import require

HEADS = {'head.kind': 24, 'head.wanted': 24, 'head.letters': 3 * 27, 'head.spaced': 800}     # rows: kinds of tools
                                        # (gen_tools.TOOLS), for three letters a to z and anything else, pieces that begin with a space
LOOKS = arch.HEADS - 1                  # the head of attention that looks
KNOWS = ('parameters:', 'required:', '<tool|>')
BEFORE = re.compile(r'(^|call:|Use | and )$')


class Labels:
    """Flat positions in a batch and what they must say: what is behind words (spaced: rows of head.spaced); places where
    the model writes a word after a space that stood without one before (source: the column of what was behind it); parts of
    declarations (three and name: the first three letters, and the piece it begins with behind a space) and the later ones (kind);
    places before the pieces of a name (wanted: a kind; right: columns of the later parts of the right declaration, -1 where there is no
    choice)."""

    def __init__(self):
        self.behind, self.spaced = [], []
        self.words, self.source = [], []
        self.parts, self.three, self.name = [], [], []
        self.later, self.kind = [], []
        self.places, self.wanted, self.right = [], [], []

    def add_words(self, encoder, ids, wanted, row, column):
        pieces, word, found = [encoder.pieces[t] for t in ids], '', {}       # word: without a space, so far; found: what is behind each
        for k, p in enumerate(pieces):
            if len(word) > len(pieces[k - 1]) and not p.isalpha() and not p.startswith('▁'):    # of two pieces at least
                self.behind.append(row + column + k)
                self.spaced.append(spaced(encoder, word))
                found[word] = column + k
            word = word + p if inner(p) and (word or not k or not pieces[k - 1][-1].isalpha()) else ''
            if wanted[k] and p.startswith('▁'):
                end = next((j for j in range(k + 1, len(ids)) if not inner(pieces[j])), len(ids))
                source = found.get(''.join(pieces[k:end])[1:])
                if source is not None:
                    self.words.append(row + column + k - 1)
                    self.source.append([source])

    def add_tools(self, encoder, ids, wanted, kinds, row, column):
        pieces, at = [encoder.pieces[t] for t in ids], row + column
        tools = declared(pieces)
        for name, parts in tools.items():
            self.parts += [at + k for k in parts]
            self.three += [[letter(c) for c in (name + '__')[:3]]] * len(parts)
            self.name += [spaced(encoder, name)] * len(parts)
            self.later += [at + k for k in parts[1:]]
            self.kind += [kinds[name]] * len(parts[1:])
        for k, name in named(pieces, wanted, tools):
            self.places.append(at + k - 1)
            self.wanted.append(kinds[name])
            self.right.append([column + j if len(tools) > 1 else -1 for j in tools[name][1:]])


def labels(encoder, rows, length):
    """For rows of documents as in data.Batch, with the kinds of their tools by name."""
    out = Labels()
    for r, docs in enumerate(rows):
        at = 0
        for ids, wanted, kinds in docs:
            out.add_words(encoder, ids, wanted, r * length, at)
            if kinds:
                out.add_tools(encoder, ids, wanted, kinds, r * length, at)
            at += len(ids)
    for name, values in vars(out).items():
        setattr(out, name, torch.tensor(values, dtype=torch.long))
    return out


def inner(piece):
    """Whether a piece is letters that go on a word or begin one without a space."""
    return piece.isalpha() and not piece.startswith('▁')


def letter(c):
    """As a row of head.letters."""
    return ord(c.lower()) - ord('a') if c.isascii() and c.isalpha() else 26


def spaced(encoder, word):
    """The piece with which a word begins behind a space, as a row of head.spaced."""
    if not hasattr(encoder, 'spaced'):
        rows = sorted(p for p in encoder.vocab if p.startswith('▁'))
        require(len(rows) <= HEADS['head.spaced'], len(rows))
        encoder.spaced = {encoder.vocab[p]: k for k, p in enumerate(rows)}
    return encoder.spaced[encoder.piece(' ' + word)[0]]


def declared(pieces):
    """name -> where its declaration has the parts of KNOWS (where there is none, the end)."""
    out, at = {}, None
    for i, p in enumerate(pieces):
        if p == 'declaration:':
            at = i
        elif p == '<tool|>' and at is not None:
            name = ''.join(pieces[at + 1:pieces.index('{', at)])
            out[name] = [next((j for j in range(at, i) if pieces[j] == part), i) for part in KNOWS]
            at = None
    return out


def named(pieces, wanted, names):
    """(index, name) of the tokens that begin in the first three letters of each name in what the model writes."""
    i, n = 0, len(pieces)
    while i < n:
        end = i
        while end < n and wanted[end]:
            end += 1
        text, owner = '', []
        for k in range(i, end):
            text += pieces[k].replace('▁', ' ')
            owner += [k] * len(pieces[k])
        for name in names:
            for m in re.finditer(r'(?<!\w)' + re.escape(name) + r'(?!\w)', text):
                if BEFORE.search(text[:m.start()]):
                    yield from ((k, name) for k in sorted(set(owner[m.start():m.start() + 3])))
        i = max(end, i + 1)


def look(P, i, x, keys, b, place, right):
    """-log of how much one head of layer i looks from each of n places at its columns right [n,c]. x: what the layer is
    given; keys [B,T,D]."""
    T = b.pos.shape[1]
    row, column = place // T, place % T
    w = {s: P[f'language_model.layers.{i}.{model.SHORT[s]}'] for s in ('in', 'q', 'q_norm')}
    cos, sin = model.rope('full_attention', b.pos[row, column][None])
    q = model.linear(model.rms(x[row, column], w['in']), w['q']).view(-1, arch.HEADS, w['q_norm'].shape[0])[:, LOOKS:LOOKS + 1]
    q = model.rotate(model.rms(q, w['q_norm']), cos[0], sin[0])
    s = torch.bmm(q.to(model.COMPUTE), keys[row].transpose(1, 2)).float()[:, 0]
    seen = (b.doc[row] == b.doc[row, column][:, None]) & (torch.arange(T) <= column[:, None])
    return -torch.logsumexp(torch.log_softmax(s.masked_fill(~seen, -1e9), -1).gather(1, right), -1).mean()


def loss(P, b, entered, kept):
    """entered: what each global layer was given [B,T,H]; kept: keys and values by layer. The parts of the loss by name."""
    l, x = b.labels, model.rms(entered[min(entered)]).reshape(-1, arch.HIDDEN)
    guess = lambda at, head, label: F.cross_entropy(model.linear(x[at], P[head]).float(), label)
    parts = {'spaced': guess(l.behind, 'head.spaced', l.spaced)} if len(l.behind) else {}
    if len(l.places):
        parts.update(kind=guess(l.later, 'head.kind', l.kind), wanted=guess(l.places, 'head.wanted', l.wanted), name=guess(l.parts, 'head.spaced', l.name))
        for k in range(len(KNOWS)):
            z = model.linear(x[l.parts[k::len(KNOWS)]], P['head.letters']).float()
            parts[f'letters{k}'] = F.cross_entropy(z.view(-1, 27), l.three[k::len(KNOWS)].reshape(-1))
    choice = l.right[:, 0] >= 0 if len(l.places) else []
    for what, place, right in (('look', l.places[choice], l.right[choice]), ('word', l.words, l.source)):
        if len(place):
            parts.update({f'{what}{i}': look(P, i, h, kept[arch.donor(i)][0], b, place, right) for i, h in entered.items()})
    return parts


def total(parts):
    """Words count less: their losses fall slowly, and stronger than that of the next token they would spoil what is known."""
    return sum((0.25 if n.startswith(('spaced', 'name', 'word')) else 1.0) * l for n, l in parts.items())
