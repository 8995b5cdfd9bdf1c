# SPDX-License-Identifier: Apache-2.0
"""The manual: questions about gemmule from facts.tsv, and questions it must refuse."""
import os
import re
from words import *

HERE = os.path.dirname(os.path.abspath(__file__))
IDK = 'I do not know that.'


LEAD = ['', '', '', 'Please tell me: ', 'A question: ', 'I wonder: ', 'Hi. ', 'I want to know: ', 'Quick question: ', 'Tell me: ', 'Now: ', 'Hello! ', 'Please: ', 'Next: ']
TAIL = ['', '', '', ' Thanks.', ' Please.', ' Thank you!']
FORMS = ['Tell me about {o}.', 'Describe {o}.', 'What is {o}?', 'What does {o} mean?', 'How does {o} work?', 'Help on {o}.', 'I need help with {o}.', 'What happens with {o}?', 'Say something about {o}.', '{o}?', 'Was macht {o}?', 'Erkläre {o}.', 'What can {o} do?', 'Why use {o}?']


# a question that begins so is also asked so: held-out forms are then new as a whole, but their words are not
ALSO = [('How do I ', ('How can I ', 'How could I ', 'What must I do to ', 'In which way do I ', 'Show me how I ')), ('Which option ', ('What option ', 'Which switch ', 'Tell me which option ', 'Do you know which option ')),
        ('Which command ', ('What command ', 'Tell me which command ', 'Do you know which command ')), ('Which exit code ', ('What exit code ', 'Tell me which exit code ')),
        ('What is ', ('Tell me what is ', 'Do you know what is ', 'What exactly is ')), ('What does ', ('Tell me what ', 'Do you know what ', 'And what does ')), ('How ', ('Tell me how ', 'And how ')), ('Which ', ('Tell me which ', 'And which ')),
        ('Who ', ('Tell me who ', 'Do you know who ', 'And who ')), ('Where ', ('Tell me where ', 'Do you know where ', 'And where ')), ('Why ', ('Tell me why ', 'And why ')),
        ('Explain ', ('Please explain ', 'Can you explain ')), ('Can ', ('Tell me: can ', 'And can ')), ('When ', ('Tell me when ', 'And when ')), ('What ', ('Tell me what ', 'And what '))]


def variants(ask):
    for start, others in ALSO:
        if ask.startswith(start):
            return [o + ask[len(start):] for o in others]
    return []


def load():
    rows = []
    for line in open(os.path.join(HERE, 'facts.tsv'), encoding='utf-8'):
        if line.startswith('#') or not line.strip():
            continue
        topic, asks, answer = line.rstrip('\n').split('\t')
        rows.append((topic, asks.split('|'), answer))
    for _, qs, _ in rows:                               # more forms for what has a name of its own
        m = re.fullmatch(r'What does (--[a-z0-9-]+|gemmule [a-z]+|exit code [0-9]+) (do|mean)\?', qs[0])
        if m:
            qs += [f.format(o=m.group(1)) for f in FORMS if f.format(o=m.group(1)) not in qs]
        qs += [v for q in list(qs) for v in variants(q)]
    asks = [q for _, qs, _ in rows for q in qs]
    require(len(asks) == len(set(asks)), 'two facts share a question', [q for q in asks if asks.count(q) > 1][:3])
    return rows


FACTS = load()
KNOWN = {w.strip('.,?') for _, qs, _ in FACTS for q in qs for w in q.split() if w.startswith('-')}
COMMANDS = {'run', 'chat', 'tokenize', 'inspect', 'bench', 'ppl', 'probe', 'version', 'help'}
STRANGE = ['What does --{w} do?', 'What is the option --{w} for?', 'Explain --{w}.', 'What does gemmule {w} do?', 'How do I {v} a {t} with gemmule?', 'What is the default of --{w}?',
           'What does exit code {d} mean?', 'Explain the {w} command.', 'When do I need --{w}?', 'Can gemmule {v} my {t}?', 'Which option makes the {t} {k}?', 'What is gemmule {w} for?',
           'Who {e} the {t}?', 'Where is the {t} of {n}?', 'When was {n} born?', 'How old is {n}?', 'What does {n} eat?', 'Why is the {t} {k}?',
           'Who won in {c}?', 'What is the weather in {c}?', 'How far is {c}?', 'How tall is the {t} of {c}?', 'What is the price of a {t}?', 'Who is the mayor of {c}?',
           'What did {n} say?', 'Which {t} is the best?', 'How many people live in {c}?', 'When does the train to {c} leave?', 'What is the name of the {t}?', 'Who lives in {c}?']
STRANGE += [v for s in STRANGE for v in variants(s)]
VERBS = 'paint cook sell wash fly fix buy draw eat ride lift burn plant print train mail open move feed clean cut build'.split()
PAST = 'invented built wrote painted found sold made lost broke bought'.split()


def strange_word(rng, test):
    while True:
        w = thing(rng, test) if rng.random() < 0.5 else letters(rng, 3, 8, test)
        if '--' + w not in KNOWN and '-' + w not in KNOWN and w not in COMMANDS:
            return w


def strange(rng, test):
    def code(r):
        return r.choice([n for n in range(5, 250) if n not in (130, 141)])
    if rng.random() < 0.45:
        form = draw(rng, lambda r: (r.choice(FORMS + ['What does {o} do?', 'Explain {o}.', 'What is {o} for?', 'When do I need {o}?']), r.choice(('--{w}', '--{w}', 'gemmule {w}', 'exit code {d}'))), test)
        ask = form[0].format(o=form[1])
    else:
        ask = pick(rng, STRANGE, test)
    ask = rng.choice(LEAD) + ask + rng.choice(TAIL)
    return ask.format(w=strange_word(rng, test), v=rng.choice(VERBS), e=rng.choice(PAST), t=thing(rng, test), k=rng.choice(COLOURS),
                                           d=draw(rng, code, test), n=name(rng, test), c=city(rng, test))


def known(rng, test):
    """One form of a fact's questions in about six is held out."""
    while True:
        i = rng.randrange(len(FACTS))
        topic, asks, answer = FACTS[i]
        j = rng.randrange(len(asks))
        if (j % 6 == (i * 5 + 2) % 6) == test:
            return rng.choice(LEAD) + asks[j] + rng.choice(TAIL), answer


def manual(rng, test):
    messages, skill = [], None
    if rng.random() < 0.2:
        messages.append(system('You answer questions about gemmule.'))
    for _ in range(1 if test else rng.choice((1, 2, 3))):
        if rng.random() < 0.35:
            ask, answer, kind = strange(rng, test), IDK, 'refuse'
        else:
            ask, answer = known(rng, test)
            kind = 'manual'
        skill = skill or kind
        messages += [user(ask), model(answer)]
    return document(skill, messages)
