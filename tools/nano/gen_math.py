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


def operands(rng, test, digits=None, products=True, signs='++++----**'):
    """(operator, a, b) with a - b not negative; products of one or two digits by one, and tables up to 12."""
    def make(r):
        o = r.choice(signs if products else '+-')
        if o == '*':
            if r.random() < 0.35:
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


def products(rng, test):
    """Products alone, for training: the held-out ones are among those of direct()."""
    return direct(rng, test, signs='*')


def direct(rng, test, digits=None, turns=None, signs='++---*****'):
    """Several questions in one conversation, no thought."""
    messages = []
    for _ in range(1 if test else turns or rng.choice((1, 1, 2, 3, 4, 6))):
        o, a, b = operands(rng, test, digits, digits is None, '++++----**' if test else signs)
        q, answer = question(rng, test, o, a, b), str(OPS[o](a, b))
        validate(o, a, b, q, answer)
        messages += [user(q), model(answer)]
    return document('math-direct', messages)


def thought(rng, test):
    o, a, b = operands(rng, test, rng.choice((1, 2, 3, 3)), signs='++++----**' if test else '++++----*****')
    q, answer = question(rng, test, o, a, b, 0.4), str(OPS[o](a, b))
    validate(o, a, b, q, answer)
    t = '\n'.join(steps(o, a, b))
    check_steps(t)
    before = []
    if not test and rng.random() < 0.1:
        o, c, d = operands(rng, test)
        before = [user(question(rng, test, o, c, d)), model(str(OPS[o](c, d)))]
    return document('math-thought', before + [user(q), model(answer, t)], thinking=True)


STORIES = {
    '+': [
        '{n} (has|owns|keeps) {a} {t}. {m} (gives|brings|hands) {n} {b} more. How many {t} does {n} have( now|)?',
        '{n} (has|owns) {a} {t} and (gets|buys|finds|wins) {b} more. How many {t} (does {n} have|are there|are that) (now|in all|together)?',
        'There are {a} {t} in (a box|a bag|the shop|the garden) and {b} in another. How many {t} are there (in all|together|in total)?',
        '{n} (finds|has|buys|collects) {a} {t} and {m} (finds|has|buys|collects) {b}. How many {t} do they have (together|in all|in total)?',
        '{n} (collects|sells|finds|makes) {a} {t} on Monday and {b} on Tuesday. How many (in total|in all|together|{t} are that together)?',
        '(A farmer|A shop|{n}) counts {a} {t} today and {b} more (tomorrow|the next day). How many {t} (is that|are that) (together|in total|in all)?',
        '{n} (puts|lays) {a} {t} on the table and {m} adds {b}. How many {t} (lie there|are there|are on the table)( now|)?',
        '(There were|There are) {a} {t}. {b} more (come|arrive|are added). How many {t} are there( now|)?',
        '{n} hat {a} Karten. {m} (gibt|bringt|legt) {b} dazu. Wie viele Karten (hat {n}|sind es) (jetzt|zusammen)?',
        '{n} hat {a} Karten und {m} hat {b}. Wie viele (sind das|haben sie) zusammen?'],
    '-': [
        '{n} has {a} {t}. {n} (gives|hands|sells) {b} to {m}. How many {t} (are left|remain|does {n} have left)?',
        '{n} (has|had|owns) {a} {t} and (loses|breaks|gives away|sells) {b}( of them|). How many {t} (remain|are left|stay)?',
        '(A shop|A farmer|A market) has {a} {t} and (sells|loses|gives away) {b}. How many {t} (are left|remain)?',
        '(There were|There are) {a} {t}. {b} (got lost|were sold|are taken away|broke). How many (are left|are still there|remain)?',
        '{n} (needs|wants) {a} {t} and has (only |){b}. How many( {t}|) are missing?',
        '(Of|From) {a} {t}, {n} takes {b}( away|). How many (stay|are left|remain)?',
        '{n} has {a} {t}, {m} has {b}. How many more( {t}|) (has {n}|does {n} have)?',
        '{n} (bakes|buys|makes) {a} {t} and (eats|uses|loses) {b}. How many {t} (are left|remain|are still there)?',
        '{n} hat {a} Karten und (gibt {m} davon|verliert|verkauft) {b}. Wie viele( Karten|) bleiben( übrig|)?',
        'Von {a} Karten nimmt {n} {b} weg. Wie viele( Karten|) bleiben( übrig|)?'],
    '*': [
        '(There are|{n} has|{n} buys) {b} (boxes|bags|rows|shelves) with {a} {t} each. How many {t} (are there|are that|is that)( in all|)?',
        '{n} (buys|has|packs|fills) {b} (bags|boxes). Each (bag|box) holds {a} {t}. How many {t} (is that|are that|are there)( in all|)?',
        '(One|Each) {s} costs {a} dollars. (How much|What) do {b}( {t}|) cost?',
        '{n} (walks|makes|takes) {a} steps (a day|each day|every day). How many steps (are that|does {n} make) in {b} days?',
        '{b} (children|people|friends) (get|have|bring) {a} {t} each. How many {t} (are that|are there|is that)( in all|)?',
        '(Each|Every) (day|week) {n} (reads|writes|fills) {a} pages. How many pages (are that|is that) (in|after) {b} (days|weeks)?',
        '{n} kauft {b} (Kisten|Säcke) mit je {a} Karten. Wie viele Karten sind das?',
        'Eine Karte kostet {a} Euro. Was kosten {b} Karten?']}


def story(rng, test, thinking=None):
    o = rng.choice('+-*')
    text = pick(rng, STORIES[o], test)

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
        thinking = rng.random() < 0.5
    lines = [f'{a}{o}{b}'] + steps(o, a, b)
    check_steps('\n'.join(lines[1:]))
    return document('story-thought' if thinking else 'story-direct',
                    [user(q), model(answer, '\n'.join(lines) if thinking else None)], thinking=thinking)
