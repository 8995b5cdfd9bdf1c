# SPDX-License-Identifier: Apache-2.0
"""Arithmetic: directly, with a thought that works digit by digit, and short word problems."""
import re
from words import *

OPS = {'+': lambda a, b: a + b, '-': lambda a, b: a - b, '*': lambda a, b: a * b}
BARE = ['{a}{o}{b}', '{a} {o} {b}', '{a}{o}{b}=', '{a} {o} {b} =', '{a}{o}{b}=?', '{a} {o} {b} = ?', '{a} {o} {b}?']
P = '(please |could you |can you |now |so |)'
E = '(.|!|?| please.| now.|)'
ASKED = {
    '+': [P + '(calculate|compute|work out|tell me|give me|solve)( the sum of|) {a} (+|plus|and) {b}' + E, '(what is|how much is|what do you get for)( the sum of|) {a} (+|plus|and) {b}?', P + 'add {a} (and|to|plus) {b}' + E,
          '(was ist|wie viel ist|was ergibt|wie viel macht) {a} (+|plus|und) {b}?', '(rechne|berechne|addiere)( bitte|) {a} (+|plus|und) {b}' + E],
    '-': [P + '(calculate|compute|work out|tell me|give me|solve) {a} (-|minus) {b}' + E, '(what is|how much is|what do you get for) {a} (-|minus) {b}?', P + '(subtract|take) {b} from {a}' + E, '(what is|tell me|give me) the difference (of|between) {a} and {b}' + E,
          '(was ist|wie viel ist|was ergibt|wie viel macht) {a} (-|minus) {b}?', '(rechne|berechne)( bitte|) {a} (-|minus) {b}' + E],
    '*': [P + '(calculate|compute|work out|tell me|give me|solve)( the product of|) {a} (*|times) {b}' + E, '(what is|how much is|what do you get for) {a} (*|times) {b}?', P + 'multiply {a} (and|by|with) {b}' + E, '(what is|tell me|give me) the product of {a} and {b}' + E,
          '(was ist|wie viel ist|was ergibt|wie viel macht) {a} (*|mal) {b}?', '(rechne|berechne)( bitte|) {a} (*|mal) {b}' + E]}


def number(rng, digits):
    return rng.randint(0 if digits == 1 else 10 ** (digits - 1), 10 ** digits - 1)


def operands(rng, test, digits=None, products=True):
    """(operator, a, b) with a - b not negative; products of one or two digits by one, and tables up to 12."""
    def make(r):
        o = r.choice('++++----*' if products else '+-')
        if o == '*':
            if r.random() < 0.5:
                return o, r.randint(0, 12), r.randint(0, 12)
            return o, r.randint(10, 99), r.randint(2, 9)
        n = digits or r.choice((1, 2, 2, 2, 3, 3))
        a, b = number(r, n), number(r, n if r.random() < 0.7 else r.randint(1, n))
        if r.random() < 0.5:
            a, b = b, a
        return (o, max(a, b), min(a, b)) if o == '-' else (o, a, b)
    return draw(rng, make, test)


def steps(o, a, b):
    """Written arithmetic from the last digit on; after the colon what has been found so far."""
    x, y = str(a)[::-1], str(b)[::-1]
    lines, done, carry = [], '', 0
    if o == '*':
        if len(y) > 1:
            if len(x) > 1:
                return [f'{a}*{b}={a * b}']
            x, y = y, x
        for d in x:
            n = int(d) * int(y) + carry
            lines.append(f'{d}*{y}+{carry}={n}')
            done, carry = str(n % 10) + done, n // 10
            lines[-1] += ':' + done
    for i in range(max(len(x), len(y)) if o != '*' else 0):
        p, q = int(x[i]) if i < len(x) else 0, int(y[i]) if i < len(y) else 0
        if o == '+':
            n = p + q + carry
            lines.append(f'{p}+{q}+{carry}={n}')
            done, carry = str(n % 10) + done, n // 10
        else:
            n = p - q - carry
            lines.append(f'{p}-{q}-{carry}={n}' + (f'+10={n + 10}' if n < 0 else ''))
            done, carry = str(n % 10) + done, int(n < 0)
        lines[-1] += ':' + done
    if carry and o != '-':
        lines.append(f'{carry}:{carry}{done}')
    require(int(lines[-1].split(':')[-1].split('=')[-1]) == OPS[o](a, b), o, a, b, lines)
    return lines


def check_steps(text):
    for line in text.split('\n'):
        left = line.split(':')[0].split('=')
        if len(left) > 1 and re.fullmatch(r'[-+*0-9]+', left[0]):
            v = [eval(p) for p in left]                     # digits and + - * only, by the pattern above
            require(v[0] == (v[1] if len(v) == 2 else v[2] - 10), line)


def question(rng, test, o, a, b, bare=0.6):
    t = pick(rng, BARE if rng.random() < bare else ASKED[o], test)
    sign = rng.choice('x×*') if o == '*' and rng.random() < 0.3 else o
    q = t.format(a=a, b=b, o=sign)
    return q.replace(' * ', f' {sign} ') if o == '*' else q


def validate(o, a, b, q, answer):
    n = sorted(int(t) for t in re.findall(r'\d+', q))
    require(n == sorted((a, b)) and answer == str(OPS[o](a, b)), q, answer)


def direct(rng, test, digits=None, turns=None):
    """Several questions in one conversation, no thought."""
    messages = []
    for _ in range(1 if test else turns or rng.choice((1, 1, 2, 3, 4, 6))):
        o, a, b = operands(rng, test, digits, products=digits is None)
        q, answer = question(rng, test, o, a, b), str(OPS[o](a, b))
        validate(o, a, b, q, answer)
        messages += [user(q), model(answer)]
    return document('math-direct', messages)


def thought(rng, test):
    o, a, b = operands(rng, test, rng.choice((1, 2, 3, 3)))
    q, answer = question(rng, test, o, a, b, 0.4), str(OPS[o](a, b))
    validate(o, a, b, q, answer)
    t = '\n'.join(steps(o, a, b))
    check_steps(t)
    before = []
    if not test and rng.random() < 0.1:
        o, c, d = operands(rng, test)
        before = [user(question(rng, test, o, c, d)), model(str(OPS[o](c, d)))]
    return document('math-thought', before + [user(q), model(answer, t)], thinking=True)


STORIES = [
    ('+', '{n} has {a} {t}. {m} gives {n} {b} more. How many {t} does {n} have?'),
    ('-', '{n} has {a} {t}. {n} gives {b} to {m}. How many {t} are left?'),
    ('+', 'There are {a} {t} in a box and {b} in another. How many {t} are there in all?'),
    ('-', 'A shop has {a} {t} and sells {b}. How many {t} are left?'),
    ('+', '{n} finds {a} {t} and {m} finds {b}. How many {t} do they have together?'),
    ('-', 'There were {a} {t}. {b} got lost. How many are still there?'),
    ('*', 'There are {b} boxes with {a} {t} each. How many {t} are there?'),
    ('*', '{n} buys {b} bags. Each bag holds {a} {t}. How many {t} is that?'),
    ('+', '{n} hat {a} Karten. {m} gibt {b} dazu. Wie viele Karten hat {n} jetzt?'),
    ('-', '{n} hat {a} Karten und gibt {m} davon {b}. Wie viele Karten bleiben?'),
    ('-', '{n} had {a} {t} and lost {b} of them. How many {t} remain?'),
    ('+', '{n} collects {a} {t} on Monday and {b} on Tuesday. How many in total?'),
    ('*', 'One {s} costs {a} dollars. How much do {b} cost?'),
    ('-', '{n} needs {a} {t} and has {b}. How many are missing?'),
    ('+', 'A farmer counts {a} {t} today and {b} more tomorrow. How many {t} is that together?'),
    ('*', '{n} walks {a} steps a day. How many steps are that in {b} days?'),
    ('-', 'Of {a} {t}, {n} takes {b}. How many stay?')]


def story(rng, test, thinking=None):
    o, text = pick(rng, STORIES, test)

    def make(r):
        if o == '*':
            return r.randint(2, 40), r.randint(2, 9)
        n = r.choice((1, 2, 2, 3))
        a, b = number(r, n) + 2, number(r, n) + 2
        return (max(a, b) + 1, min(a, b)) if o == '-' else (a, b)
    a, b = draw(rng, make, test)
    n, m = rng.sample(NAMES_TEST if test else NAMES, 2)
    t = thing(rng, test)
    q = text.format(a=a, b=b, n=n, m=m, t=plural(t), s=t)
    answer = str(OPS[o](a, b))
    require(sorted(int(x) for x in re.findall(r'\d+', q)) == sorted((a, b)), q)
    if thinking is None:
        thinking = rng.random() < 0.75
    lines = [f'{a}{o}{b}'] + steps(o, a, b)
    check_steps('\n'.join(lines[1:]))
    return document('story-thought' if thinking else 'story-direct',
                    [user(q), model(answer, '\n'.join(lines) if thinking else None)], thinking=thinking)
