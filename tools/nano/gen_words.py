# SPDX-License-Identifier: Apache-2.0
"""Text work: copy, reverse, sort, count, extract a field, fill a JSON object."""
import json
import random
from words import *

COPY = ['Copy this: {x}', 'Repeat: {x}', 'Say {x}', 'Write {x} again.', 'Repeat exactly: {x}', 'Copy {x}', 'Please repeat {x}',
        'Schreibe ab: {x}', 'Wiederhole: {x}', 'Echo {x}', 'Give me back {x}', 'Print {x}']
REVERSE = ['Reverse {x}', 'Write {x} backwards.', 'Spell {x} backwards.', 'Reverse the word {x}.', 'What is {x} backwards?', 'Turn {x} around.',
           'Schreibe {x} rückwärts.', 'Reverse the letters of {x}', 'Read {x} from right to left.', 'Flip {x}', 'Give {x} in reverse.', 'Backwards: {x}']
SORT_LETTERS = ['Sort the letters of {x}.', 'Put the letters of {x} in order.', 'Order the letters in {x} from a to z.', 'Letters of {x}, sorted?',
                'Arrange the letters of {x} alphabetically.', 'Sortiere die Buchstaben von {x}.', 'Sort letters: {x}', 'Sort the word {x} by letter.']
SORT_NUMBERS = ['Sort {x}', 'Sort these numbers: {x}', 'Put in order: {x}', 'Order these from small to large: {x}', 'Arrange by size: {x}',
                'Sortiere {x}', 'Sort ascending: {x}', 'Numbers in order, please: {x}']
SORT_WORDS = ['Sort these words: {x}', 'Sort from a to z: {x}', 'Put these words in order: {x}', 'Order alphabetically: {x}', 'Arrange the words by the alphabet: {x}',
              'Sortiere diese Wörter: {x}', 'Alphabetical order of {x}', 'Sort the list {x}']
COUNT_LETTERS = ['How many letters has {x}?', 'How many letters are in {x}?', 'Count the letters of {x}.', 'Length of {x}?', 'Tell me how long the word {x} is.',
                 'Wie viele Buchstaben hat {x}?', 'How long is {x}?', 'Count the letters in {x}']
COUNT_ONE = ['How many {c} are in {x}?', 'How often is {c} in {x}?', 'Count {c} in {x}.', 'How many times does {c} occur in {x}?', 'Number of {c} in {x}?',
             'Wie oft steht {c} in {x}?', 'Count how many {c} are in {x}', 'How many letters {c} has {x}?']
COUNT_WORDS = ['How many words: {x}', 'Count the words: {x}', 'How many items are in the list {x}?', 'Number of words in: {x}', 'Tell me the number of words: {x}',
               'Wie viele Wörter: {x}', 'How many things are listed: {x}', 'Count: {x}']


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


def reverse(rng, test):
    x = letters(rng, 2, 9, test) if rng.random() < 0.8 else str(draw(rng, lambda r: r.randint(10, 10 ** r.randint(2, 8)), test))
    ask = pick(rng, REVERSE, test).format(x=q(x))
    answer = ''.join(reversed(x))
    require(answer[::-1] == ask.split('"')[1], ask, answer)
    return document('reverse', [user(ask), model(answer)])


def sort(rng, test):
    k = rng.random()
    if k < 0.35:
        x = letters(rng, 3, 7, test)
        ask, answer = pick(rng, SORT_LETTERS, test).format(x=q(x)), ''.join(sorted(x))
        require(sorted(answer) == sorted(ask.split('"')[1]) and list(answer) == sorted(answer), ask, answer)
        return document('sort', [user(ask), model(answer)])
    if k < 0.65:
        n = draw(rng, lambda r: tuple(r.sample(range(100 if r.random() < 0.8 else 10), r.randint(3, 6))), test)
        ask, answer = pick(rng, SORT_NUMBERS, test).format(x=', '.join(map(str, n))), ', '.join(map(str, sorted(n)))
        found = [int(t) for t in answer.split(', ')]
        require(all(a < b for a, b in zip(found, found[1:])) and set(found) == set(n), ask, answer)
        return document('sort', [user(ask), model(answer)])
    words = rng.sample(THINGS_TEST if test else THINGS, rng.randint(3, 5))
    ask, answer = pick(rng, SORT_WORDS, test).format(x=', '.join(words)), ', '.join(sorted(words))
    found = answer.split(', ')
    require(all(a < b for a, b in zip(found, found[1:])) and set(found) == set(words), ask, answer)
    return document('sort', [user(ask), model(answer)])


def count(rng, test):
    k = rng.random()
    if k < 0.35:
        x = letters(rng, 2, 10, test)
        ask, n = pick(rng, COUNT_LETTERS, test).format(x=q(x)), len(x)
        require(n == len(ask.split('"')[1]), ask)
    elif k < 0.7:
        x = letters(rng, 3, 10, test)
        c = rng.choice(x) if rng.random() < 0.8 else rng.choice(LETTERS)
        if rng.random() < 0.3:
            x = ''.join(rng.choice(x[:3] + c) for _ in range(rng.randint(4, 9)))
        ask, n = pick(rng, COUNT_ONE, test).format(x=q(x), c=q(c)), x.count(c)
        require(n == sum(l == c for l in x), ask)
    else:
        words = [thing(rng, test) for _ in range(rng.randint(2, 9))]
        ask, n = pick(rng, COUNT_WORDS, test).format(x=', '.join(words) if rng.random() < 0.5 else ' '.join(words)), len(words)
    return document('count', [user(ask), model(str(n))])


FIELDS = {
    'name': lambda r, t: name(r, t), 'age': lambda r, t: r.randint(18, 90), 'city': lambda r, t: city(r, t),
    'id': lambda r, t: draw(r, lambda r: r.randint(100, 9999), t), 'color': lambda r, t: r.choice(COLOURS),
    'item': lambda r, t: thing(r, t), 'price': lambda r, t: draw(r, lambda r: r.randint(1, 999), t),
    'count': lambda r, t: r.randint(1, 40), 'paid': lambda r, t: r.random() < 0.5, 'room': lambda r, t: r.randint(1, 300)}
EXTRACT = ['What is the {f}?', 'Give me the {f}.', '{f}?', 'Extract the {f}.', 'Which {f} is given?', 'Tell me the {f}', 'Return only the {f}.', 'The {f}, please.']
JSON_ASK = ['Fill this JSON object: {s}', 'Answer as JSON with {s}', 'Give a JSON object with the fields {s}', 'Make JSON: {s}', 'Write JSON following {s}',
            'Return JSON like {s}', 'Convert to JSON {s}', 'As a JSON object {s}']
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
