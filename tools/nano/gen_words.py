# SPDX-License-Identifier: Apache-2.0
"""Text work: copy, reverse, sort, count, extract a field, fill a JSON object."""
import json
import random
from words import *

P = '(please |could you |can you |now |so |)'
E = '(.|!|?| please.| now.|)'
COPY = [P + '(copy|repeat|write|say|echo|print|type|reproduce)( this:|:| the text| the word| exactly|) {x}( again| once more| back|)' + E, P + 'give me {x} (back|again|once more)' + E,
        '(schreibe|sage|drucke)( bitte|) {x}( noch einmal|)' + E, 'wiederhole( bitte|:|) {x}' + E, '{x} - (repeat|copy|say|write) (that|it|this)' + E]
REVERSE = [P + '(reverse|flip|turn around|mirror)( the word| the text| the letters of|:|) {x}' + E, P + '(write|spell|say|read|give me|print|type) {x} (backwards|in reverse|from right to left|the other way round)' + E,
           'what is {x} (backwards|in reverse|from right to left|the other way round)?', '(schreibe|lies|sage)( bitte|) {x} rückwärts' + E, '(backwards|reverse|in reverse|from right to left): {x}']
SORT_LETTERS = [P + '(sort|order|arrange) (the letters of|the letters in|all letters of|by letter) {x}( from a to z| alphabetically|)' + E, P + 'put the letters (of|in) {x} in (order|alphabetical order)' + E,
                'letters (of|in) {x}, (sorted|in order)' + E, '(sortiere|ordne)( bitte|) die Buchstaben (von|in) {x}' + E]
SORT_NUMBERS = [P + '(sort|order|arrange|put in order)( these numbers:| the numbers| by size:| these:|:) {x}', P + '(sort|order|arrange|put) {x} (from small to large|by size|in order|ascending)' + E,
                '(sortiere|ordne)( bitte|)( die Zahlen|:|) {x}', '(numbers|these numbers|these) (in order|sorted|by size): {x}']
SORT_WORDS = [P + '(sort|order|arrange|put in order)( these words:| the words| alphabetically:| the list:| from a to z:) {x}', P + '(sort|order|arrange|put) {x} (from a to z|alphabetically|in alphabetical order)' + E,
              '(sortiere|ordne)( bitte|)( die Wörter|:|) {x}', '(words|these words|the list) (in alphabetical order|sorted|from a to z): {x}']
COUNT_LETTERS = ['how many letters (has|are in|does it have:|are there in)( the word| the text|) {x}?', P + '(count|tell me|give me) (the letters (of|in)|how many letters are in|the length of|the number of letters (of|in)) {x}' + E,
                 'wie viele Buchstaben (hat|stehen in) {x}?', '(how long is|length of|number of letters (in|of))( the word| the text|) {x}?', P + 'tell me how long( the word|) {x} is' + E]
COUNT_ONE = ['how many( letters|) {c} (are in|are there in|has|does it have:)( the word| the text|) {x}?', 'how (often|many times) (is|does) {c} (in|occur in|stand in)( the word| the text|) {x}?',
             P + '(tell me|give me) (how many|the number of)( letters|) {c} (in|of)( the word|) {x}' + E, '(wie oft|wie viele Male) (steht|kommt) {c} in {x}( vor|)?', '(number|count) of( letters|) {c} in {x}?']
COUNT_WORDS = ['how many (words|items|things)( are here| are in the list| are listed| do you see|): {x}', P + '(count|tell me|give me) (the words|the number of words|how many words these are|the items|the things): {x}',
               'wie viele (Wörter|Dinge)( sind das| stehen hier|): {x}', '(number|count) of (words|items|things): {x}']


def q(text):
    return f'"{text}"'


def phrase(rng, test, low=2, high=5):
    return ' '.join(thing(rng, test) for _ in range(rng.randint(low, high)))


def copy(rng, test):
    k = rng.random()
    if k < 0.4:
        x = letters(rng, 3, 12, test)
    elif k < 0.6:
        x = str(draw(rng, lambda r: r.randint(0, 10 ** r.randint(1, 9)), test))
    elif k < 0.8:
        x = phrase(rng, test)
    else:
        x = ' '.join(letters(rng, 3, 7, test) for _ in range(rng.randint(2, 3)))
    ask = pick(rng, COPY, test).format(x=q(x))
    require(ask.split('"')[1] == x, ask)
    return document('copy', [user(ask), model(x)])


CARRY = [P + '(copy|repeat|write|say|list) (these|the) words {how}( again|): {x}', '(the|these) words {how}: {x}', '(schreibe|wiederhole)( bitte|) die Wörter, {how}: {x}']
BETWEEN = {' ': ('with spaces', 'side by side', 'in a row'), ', ': ('with commas', 'as a list'), '\n': ('one a line', 'in lines', 'below each other')}


def carry(rng, test):
    """Words by the dozen, for training: "x" behind a space and "x" alone are other pieces, and each must be known as the other."""
    words = [invented(rng, 0.9) for _ in range(rng.randint(4, 8))]
    words = [w.capitalize() if rng.random() < 0.4 else w for w in words]
    given, wanted = rng.choice((' ', ', ', '\n', '\n')), rng.choice(list(BETWEEN))
    mark = '"' if rng.random() < 0.4 else ''                    # no space before a word in quotes
    ask = pick(rng, CARRY, test).format(how=rng.choice(BETWEEN[wanted]), x=given.join(mark + w + mark for w in words))
    if rng.random() < 0.3:
        ask, words = ask + ' (backwards)', words[::-1]
    require(sorted(words) == sorted(w.strip('"') for w in ask.split(': ', 1)[1].removesuffix(' (backwards)').split(given)), ask)
    return document('carry', [user(ask), model(wanted.join(words))])


def reverse(rng, test):
    x = letters(rng, 2, 9, test) if rng.random() < 0.8 else str(draw(rng, lambda r: r.randint(10, 10 ** r.randint(2, 8)), test))
    ask = pick(rng, REVERSE, test).format(x=q(x))
    answer = ''.join(reversed(x))
    require(answer[::-1] == ask.split('"')[1], ask, answer)
    return document('reverse', [user(ask), model(answer)])


def sort(rng, test):
    k = rng.random()
    if k < 0.35:
        x = letters(rng, 3, 6, test)
        if not test and rng.random() < 0.35:                    # with equal letters, and of any length that a word has
            some = [rng.choice(LETTERS) for _ in range(rng.randint(2, 5))]
            x = draw(rng, lambda r: ''.join(r.choice(some) for _ in range(r.randint(3, 8))), test)
        ask, answer = pick(rng, SORT_LETTERS, test).format(x=q(x)), ''.join(sorted(x))
        require(sorted(answer) == sorted(ask.split('"')[1]) and list(answer) == sorted(answer), ask, answer)
        return document('sort', [user(ask), model(answer)])
    if k < 0.65:
        n = draw(rng, lambda r: tuple(r.sample(range(100 if r.random() < 0.8 else 10), r.randint(3, 5))), test)
        ask, answer = pick(rng, SORT_NUMBERS, test).format(x=', '.join(map(str, n))), ', '.join(map(str, sorted(n)))
        found = [int(t) for t in answer.split(', ')]
        require(all(a < b for a, b in zip(found, found[1:])) and set(found) == set(n), ask, answer)
        return document('sort', [user(ask), model(answer)])
    words, n = [], rng.randint(3, 4)
    while len(words) < n:
        w = thing(rng, test)
        if w[0] not in [x[0] for x in words]:
            words.append(w)
    ask, answer = pick(rng, SORT_WORDS, test).format(x=', '.join(words)), ', '.join(sorted(words))
    found = answer.split(', ')
    require(all(a < b for a, b in zip(found, found[1:])) and set(found) == set(words), ask, answer)
    return document('sort', [user(ask), model(answer)])


def how_often(rng, test, x, c):
    """A question for the occurrences of c in x, and the answer."""
    ask, n = pick(rng, COUNT_ONE, test).format(x=q(x), c=q(c)), x.count(c)
    require(n == sum(l == c for l in x), ask)
    return ask, n


def occurrences(rng):
    """How often letters occur in words, several times over: what a single question a conversation did not teach."""
    def word(r, c):                                             # each count as often as the others
        n, few = r.randint(0, 4), [r.choice(LETTERS.replace(c, '')) for _ in range(3)]
        x = [c] * n + [r.choice(few) for _ in range(r.randint(max(0, 3 - n), 7 - n))]
        r.shuffle(x)
        return ''.join(x)

    messages = []
    for _ in range(rng.randint(2, 5)):
        if rng.random() < 0.6:
            c = rng.choice(LETTERS)
            x = draw(rng, lambda r: word(r, c), False)
        else:
            x = letters(rng, 3, 7, False)
            c = rng.choice(x) if rng.random() < 0.75 else rng.choice(LETTERS)
        ask, n = how_often(rng, False, x, c)
        messages += [user(ask), model(str(n))]
    return document('count', messages)


def count(rng, test):
    if not test and rng.random() < 0.5:
        return occurrences(rng)
    k = rng.random()
    if k < 0.35:
        x = letters(rng, 2, 8, test)
        ask, n = pick(rng, COUNT_LETTERS, test).format(x=q(x)), len(x)
        require(n == len(ask.split('"')[1]), ask)
    elif k < 0.7:
        x = letters(rng, 3, 7, test)
        c = rng.choice(x) if rng.random() < 0.8 else rng.choice(LETTERS)
        if rng.random() < (0.3 if test else 0.6):
            x = ''.join(rng.choice(x[:3] + c) for _ in range(rng.randint(3, 7)))
        if not test and rng.random() < 0.25:
            c = rng.choice(LETTERS)
        ask, n = how_often(rng, test, x, c)
    else:
        words = [thing(rng, test) for _ in range(rng.randint(2, 6))]
        ask, n = pick(rng, COUNT_WORDS, test).format(x=', '.join(words)), len(words)
    return document('count', [user(ask), model(str(n))])


FIELDS = {
    'name': lambda r, t: name(r, t), 'age': lambda r, t: r.randint(18, 90), 'city': lambda r, t: city(r, t),
    'id': lambda r, t: draw(r, lambda r: r.randint(100, 9999), t), 'color': lambda r, t: r.choice(COLOURS),
    'item': lambda r, t: thing(r, t), 'price': lambda r, t: draw(r, lambda r: r.randint(1, 999), t),
    'count': lambda r, t: r.randint(1, 40), 'paid': lambda r, t: r.random() < 0.5, 'room': lambda r, t: r.randint(1, 300)}
EXTRACT = [P + '(give me|tell me|return|extract|find|name|show)( only|) the {f}' + E, '(what|which) is the {f}?', '(which|what) {f} (is given|is it|is there|is named)?', '(and |so |now |)(the |){f}( please| now|, please|)?', '(the|only the|just the) {f}' + E, '(wie ist|was ist|nenne|gib mir) {f}' + E]
JSON_ASK = [P + '(fill|make|write|return|give me|build)( this|) (JSON|JSON object|a JSON object)( like| with| following| of|:| for the fields) {s}', '(answer|reply|convert)( this|) (as|in|to) JSON( with| like| following|:) {s}', '(JSON|as JSON|in JSON|JSON, please): {s}']
SENTENCES = {'name': 'The name is {}.', 'age': 'The age is {}.', 'city': 'The city is {}.', 'id': 'The id is {}.', 'color': 'The color is {}.',
             'item': 'The item is {}.', 'price': 'The price is {}.', 'count': 'The count is {}.', 'paid': 'Paid: {}.', 'room': 'The room is {}.'}


def shown(v):
    return {True: 'yes', False: 'no'}[v] if isinstance(v, bool) else str(v)


def record(rng, test, low=2, high=5):
    keys = rng.sample(list(FIELDS), rng.randint(low, high))
    return {k: FIELDS[k](rng, test) for k in keys}


def written(rng, data, test):
    style = rng.choice('cesl') if not test else rng.choice('cesl')
    if style == 'c':
        return ', '.join(f'{k}: {shown(v)}' for k, v in data.items())
    if style == 'e':
        return '; '.join(f'{k}={shown(v)}' for k, v in data.items())
    if style == 's':
        return ' '.join(SENTENCES[k].format(shown(v)) for k, v in data.items())
    return '\n'.join(f'{k}: {shown(v)}' for k, v in data.items())


def extract(rng, test):
    data = record(rng, test)
    f = rng.choice(list(data))
    ask, body = pick(rng, EXTRACT, test).format(f=f), written(rng, data, test)
    require(shown(data[f]) in body, body)
    text = f'{body}\n{ask}' if rng.random() < 0.7 else f'{ask}\n{body}'
    return document('extract', [user(text), model(shown(data[f]))])


TYPES = {str: 'string', int: 'integer', bool: 'boolean'}


def fill_json(rng, test):
    data = record(rng, test, 2, 4)
    keys = rng.sample(list(data), rng.randint(1, len(data)))
    kind = rng.random()
    if kind < 0.5:
        schema = '{' + ', '.join(f'"{k}": {TYPES[type(data[k])]}' for k in keys) + '}'
    elif kind < 0.8:
        schema = '{' + ', '.join(f'"{k}"' for k in keys) + '}'
    else:
        schema = ', '.join(keys)
    answer = json.dumps({k: data[k] for k in keys})
    require(json.loads(answer) == {k: data[k] for k in keys}, answer)
    body = written(rng, data, test)
    return document('json', [user(f'{body}\n{pick(rng, JSON_ASK, test).format(s=schema)}'), model(answer)])
