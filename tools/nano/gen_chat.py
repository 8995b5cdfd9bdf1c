# SPDX-License-Identifier: Apache-2.0
"""Conversation: greetings, small questions in English and German, instructions on style, and memory."""
from words import *

# (English questions, English answer, short, German questions, German answer, short)
FACTS = [
    (['What colour is the sky?', 'Which colour has the sky?', 'Tell me the colour of the sky.'], 'The sky is blue.', 'Blue',
     ['Welche Farbe hat der Himmel?', 'Wie ist der Himmel gefärbt?'], 'Der Himmel ist blau.', 'Blau'),
    (['What colour is grass?', 'Which colour has grass?', 'Tell me the colour of grass.'], 'Grass is green.', 'Green',
     ['Welche Farbe hat Gras?', 'Wie ist Gras gefärbt?'], 'Gras ist grün.', 'Grün'),
    (['What colour is snow?', 'Which colour has snow?', 'Tell me the colour of snow.'], 'Snow is white.', 'White',
     ['Welche Farbe hat Schnee?', 'Wie ist Schnee gefärbt?'], 'Schnee ist weiß.', 'Weiß'),
    (['What colour is a lemon?', 'Which colour has a lemon?', 'Tell me the colour of a lemon.'], 'A lemon is yellow.', 'Yellow',
     ['Welche Farbe hat eine Zitrone?', 'Wie ist eine Zitrone gefärbt?'], 'Eine Zitrone ist gelb.', 'Gelb'),
    (['How many days has a week?', 'How many days are in a week?', 'Number of days in a week?'], 'A week has seven days.', 'Seven',
     ['Wie viele Tage hat eine Woche?', 'Wie lang ist eine Woche?'], 'Eine Woche hat sieben Tage.', 'Sieben'),
    (['How many months has a year?', 'How many months are in a year?', 'Number of months in a year?'], 'A year has twelve months.', 'Twelve',
     ['Wie viele Monate hat ein Jahr?', 'Ein Jahr hat wie viele Monate?'], 'Ein Jahr hat zwölf Monate.', 'Zwölf'),
    (['How many hours has a day?', 'How many hours are in a day?', 'Number of hours in a day?'], 'A day has 24 hours.', '24',
     ['Wie viele Stunden hat ein Tag?', 'Ein Tag hat wie viele Stunden?'], 'Ein Tag hat 24 Stunden.', '24'),
    (['How many legs has a spider?', 'How many legs does a spider have?', 'Number of legs of a spider?'], 'A spider has eight legs.', 'Eight',
     ['Wie viele Beine hat eine Spinne?', 'Eine Spinne hat wie viele Beine?'], 'Eine Spinne hat acht Beine.', 'Acht'),
    (['How many legs has a dog?', 'How many legs does a dog have?', 'Number of legs of a dog?'], 'A dog has four legs.', 'Four',
     ['Wie viele Beine hat ein Hund?', 'Ein Hund hat wie viele Beine?'], 'Ein Hund hat vier Beine.', 'Vier'),
    (['What is the opposite of hot?', 'Name the opposite of hot.', 'Hot is the opposite of what?'], 'The opposite of hot is cold.', 'Cold',
     ['Was ist das Gegenteil von heiß?', 'Nenne das Gegenteil von heiß.'], 'Das Gegenteil von heiß ist kalt.', 'Kalt'),
    (['What is the opposite of big?', 'Name the opposite of big.', 'Big is the opposite of what?'], 'The opposite of big is small.', 'Small',
     ['Was ist das Gegenteil von groß?', 'Nenne das Gegenteil von groß.'], 'Das Gegenteil von groß ist klein.', 'Klein'),
    (['What is the opposite of old?', 'Name the opposite of old.', 'Old is the opposite of what?'], 'The opposite of old is new.', 'New',
     ['Was ist das Gegenteil von alt?', 'Nenne das Gegenteil von alt.'], 'Das Gegenteil von alt ist neu.', 'Neu'),
    (['What is the opposite of day?', 'Name the opposite of day.', 'Day is the opposite of what?'], 'The opposite of day is night.', 'Night',
     ['Was ist das Gegenteil von Tag?', 'Nenne das Gegenteil von Tag.'], 'Das Gegenteil von Tag ist Nacht.', 'Nacht'),
    (['What is the capital of France?', 'Name the capital of France.', 'Which city is the capital of France?'], 'The capital of France is Paris.', 'Paris',
     ['Was ist die Hauptstadt von Frankreich?', 'Nenne die Hauptstadt von Frankreich.'], 'Die Hauptstadt von Frankreich ist Paris.', 'Paris'),
    (['What is the capital of Italy?', 'Name the capital of Italy.', 'Which city is the capital of Italy?'], 'The capital of Italy is Rome.', 'Rome',
     ['Was ist die Hauptstadt von Italien?', 'Nenne die Hauptstadt von Italien.'], 'Die Hauptstadt von Italien ist Rom.', 'Rom'),
    (['What is the capital of Germany?', 'Name the capital of Germany.', 'Which city is the capital of Germany?'], 'The capital of Germany is Berlin.', 'Berlin',
     ['Was ist die Hauptstadt von Deutschland?', 'Nenne die Hauptstadt von Deutschland.'], 'Die Hauptstadt von Deutschland ist Berlin.', 'Berlin'),
    (['What is the capital of Spain?', 'Name the capital of Spain.', 'Which city is the capital of Spain?'], 'The capital of Spain is Madrid.', 'Madrid',
     ['Was ist die Hauptstadt von Spanien?', 'Nenne die Hauptstadt von Spanien.'], 'Die Hauptstadt von Spanien ist Madrid.', 'Madrid'),
    (['What is the capital of Austria?', 'Name the capital of Austria.', 'Which city is the capital of Austria?'], 'The capital of Austria is Vienna.', 'Vienna',
     ['Was ist die Hauptstadt von Österreich?', 'Nenne die Hauptstadt von Österreich.'], 'Die Hauptstadt von Österreich ist Wien.', 'Wien'),
    (['What does a cow drink?', 'What do cows drink?', 'Cows drink what?'], 'Cows drink water.', 'Water',
     ['Was trinkt eine Kuh?', 'Was trinken Kühe?'], 'Kühe trinken Wasser.', 'Wasser'),
    (['What do bees make?', 'Bees make what?', 'Tell me what bees make.'], 'Bees make honey.', 'Honey',
     ['Was machen Bienen?', 'Was stellen Bienen her?'], 'Bienen machen Honig.', 'Honig'),
    (['Which day comes after Monday?', 'What day follows Monday?', 'Name the day after Monday.'], 'Tuesday comes after Monday.', 'Tuesday',
     ['Welcher Tag kommt nach Montag?', 'Was folgt auf Montag?'], 'Nach Montag kommt Dienstag.', 'Dienstag'),
    (['Which month comes after March?', 'What month follows March?', 'Name the month after March.'], 'April comes after March.', 'April',
     ['Welcher Monat kommt nach März?', 'Was folgt auf März?'], 'Nach März kommt April.', 'April'),
    (['What is ice made of?', 'Ice is made of what?', 'Tell me what ice is made of.'], 'Ice is made of water.', 'Water',
     ['Woraus besteht Eis?', 'Aus was ist Eis?'], 'Eis besteht aus Wasser.', 'Wasser'),
    (['Where do fish live?', 'Fish live where?', 'Tell me where fish live.'], 'Fish live in water.', 'In water',
     ['Wo leben Fische?', 'Wo wohnen Fische?'], 'Fische leben im Wasser.', 'Im Wasser'),
    (['What shines at night?', 'What can we see in the sky at night?', 'Name something that shines at night.'], 'The moon shines at night.', 'The moon',
     ['Was scheint in der Nacht?', 'Was leuchtet nachts?'], 'Der Mond scheint in der Nacht.', 'Der Mond'),
    (['Who are you?', 'What are you?', 'What is your name, model?', 'Introduce yourself.'], 'I am nano, a small model.', 'Nano',
     ['Wer bist du?', 'Was bist du?', 'Stell dich vor.'], 'Ich bin nano, ein kleines Modell.', 'Nano'),
    (['What can you do?', 'What are you able to do?', 'Tell me what you can do.'], 'I can chat, calculate, work with text, see pictures and hear sounds.', 'Chat and calculate',
     ['Was kannst du?', 'Was kannst du tun?'], 'Ich kann reden, rechnen, Texte bearbeiten, Bilder sehen und hören.', 'Reden und rechnen'),
]
GREET = [('Hello', 'Hello! How can I help?'), ('Hi', 'Hi! How can I help?'), ('Hello!', 'Hello! How can I help?'), ('Hi there', 'Hi! How can I help?'),
         ('Good morning', 'Good morning! How can I help?'), ('Good evening', 'Good evening! How can I help?'), ('Hey', 'Hi! How can I help?'),
         ('Hello there!', 'Hello! How can I help?'), ('Good day', 'Good day! How can I help?')]
GREET_DE = [('Hallo', 'Hallo! Wie kann ich helfen?'), ('Guten Tag', 'Guten Tag! Wie kann ich helfen?'), ('Guten Morgen', 'Guten Morgen! Wie kann ich helfen?'),
            ('Hallo!', 'Hallo! Wie kann ich helfen?'), ('Guten Abend', 'Guten Abend! Wie kann ich helfen?'), ('Servus', 'Hallo! Wie kann ich helfen?')]
CLOSE = [('Thanks', 'You are welcome!'), ('Thank you!', 'You are welcome!'), ('Bye', 'Goodbye!'), ('Goodbye', 'Goodbye!'), ('Many thanks.', 'You are welcome!'), ('See you', 'Goodbye!')]
CLOSE_DE = [('Danke', 'Gern geschehen!'), ('Vielen Dank!', 'Gern geschehen!'), ('Tschüss', 'Auf Wiedersehen!'), ('Auf Wiedersehen', 'Auf Wiedersehen!'), ('Danke sehr.', 'Gern geschehen!'), ('Bis bald', 'Auf Wiedersehen!')]
UPPER = ['(please |always |now |)(answer|write|reply|speak|respond|say everything)( only|) in (upper case|capital letters|capitals)(.|!|, please.|)', '(use only|only use|use) (capital letters|upper case|capitals)(.|!|)', '(everything|all) (you say|you write) is in (upper case|capital letters)(.|)', '(please |)shout(: all capital letters|, in capital letters|)(.|!)', 'you (write|answer) in (capital letters|upper case)(.|)']
LOWER = ['(please |always |now |)(answer|write|reply|speak|respond|say everything)( only|) in (lower case|small letters)(.|!|, please.|)', '(use only|only use|use) (small letters|lower case)(.|!|)', '(everything|all) (you say|you write) is in (lower case|small letters)(.|)', 'no (capital letters|capitals|upper case)(, please.|.|)', 'you (write|answer) in (small letters|lower case)(.|)']
SHORT = ['(please |always |now |)(answer|reply|speak|respond|say it) (in one or two words|in a word or two|briefly|as short as possible|with few words)(.|!|, please.|)', '(be|keep it) (brief|short|very short)(.|!|, please.|)', '(keep|make) (answers|your answers|every answer) (short|brief|very short)(.|)', '(no sentences, |)(only|just) the answer(.|, please.)', '(short|brief) answers( only|)(.|, please.|)']
GERMAN = ['(please |always |now |)(answer|write|reply|speak|respond)( only|) (in German|German)(.|!|, please.|)', '(antworte|schreibe|sprich|rede)( immer| bitte| nur|) (auf Deutsch|deutsch)(.|!|)', '(your|the) language is German(.|)', 'you (speak|write|answer in) German(.|)']
ENGLISH = ['(please |always |now |)(answer|write|reply|speak|respond)( only|) (in English|English)(.|!|, please.|)', '(antworte|schreibe|sprich|rede)( immer| bitte| nur|) (auf Englisch|englisch)(.|!|)', '(your|the) language is English(.|)', 'you (speak|write|answer in) English(.|)']
PLAIN = ['You are a helpful assistant.', 'You are nano.', 'Be helpful.', 'You are a friendly helper.', 'Answer the questions.', 'You help people.']


def exchange(rng, test, style):
    """One question and its answer under a style: (language, short, letters); language None follows the question."""
    lang, brief, case = style
    german = rng.random() < (0.4 if lang is None else 0.35)
    speaks = german if lang is None else lang == 'de'
    k = rng.random()
    i = rng.randrange(len(GREET_DE))
    plain = style == (None, False, '')
    if (k < 0.2 or k > 0.93) and test == (not plain and held('greeting', k < 0.2, i, german, style)):
        pairs = (GREET_DE if german else GREET) if k < 0.2 else (CLOSE_DE if german else CLOSE)
        ask = pairs[i][0]
        answer = ((GREET_DE if speaks else GREET) if k < 0.2 else (CLOSE_DE if speaks else CLOSE))[i][1]
        if brief:
            answer = answer.split('!')[0] + '!'
    else:
        while True:
            i = rng.randrange(len(FACTS))
            asks = FACTS[i][3 if german else 0]
            j = rng.randrange(len(asks))
            if held('fact', i, german, j, lang, brief, case) == test:
                break
        ask = asks[j]
        answer = FACTS[i][(4 if speaks else 1) + (1 if brief else 0)]
    answer = {'u': answer.upper().replace('ß', 'SS') if 'ß' in answer else answer.upper(), 'l': answer.lower(), '': answer}[case]
    return ask, answer


def style(rng, test):
    lang = rng.choice((None, None, 'de', 'en'))
    brief = rng.random() < 0.3
    case = rng.choice(('', '', 'u', 'l'))
    parts = []
    if lang:
        parts.append(pick(rng, GERMAN if lang == 'de' else ENGLISH, test))
    if brief:
        parts.append(pick(rng, SHORT, test))
    if case:
        parts.append(pick(rng, UPPER if case == 'u' else LOWER, test))
    rng.shuffle(parts)
    return (lang, brief, case), ' '.join(parts)


def talk(rng, test):
    if rng.random() < 0.35:
        s, text = (None, False, ''), rng.choice(PLAIN) if rng.random() < 0.4 else ''
    else:
        s, text = style(rng, test)
    messages = [system(text)] if text else []
    for _ in range(1 if test else rng.randint(1, 4)):
        ask, answer = exchange(rng, test, s)
        require(s[2] != 'u' or answer == answer.upper(), answer)
        messages += [user(ask), model(answer)]
    return document('style' if text else 'talk', messages)


# what to remember: (tells, acknowledgement, asks, answer)
KEEP = {
    'name': (['(hello, |hi, |so, |)(my name is|I am|this is|people call me|I am called|you can call me|call me) {x}(.|!|)'],
             'Nice to meet you, {x}!', ['(what is|tell me|do you know|can you say|say|and what is) my name( again|)(?|.)', '(who am I|what am I called|how am I called)(?| again?)'], 'Your name is {x}.'),
    'number': (['(please |)(remember|keep in mind|note|store|keep) (the number|this number:|my number) {x}(.|!|)', '(my|the|our) number is {x}(.|!|)'],
               'I will remember {x}.', ['(what was|what is|tell me|do you know|can you say|say|and what was) (the|my) number( again|)(?|.)', '(which number was it|which number did I give)?', '(the|my) number(, please.|?)'], 'The number is {x}.'),
    'city': (['(I live in|my home is|I am from|I come from|my city is|I have a flat in|my house is in) {x}(.|!|)'],
             '{x} is a nice place.', ['where (do I live|am I from|do I come from|is my home|is my house)( again|)?', '(what is|which is|tell me|name|say|do you know) my (city|home)(?|.)'], 'You live in {x}.'),
    'pet': (['(my dog is called|I have a dog named|the name of my dog is|I call my dog|we named our dog|our dog is called|my dog is) {x}(.|!|)'],
            '{x} is a good name.', ['(what is|tell me|do you know|can you say|say) the name of my dog( again|)(?|.)', '(what is my dog called|how do I call my dog|name my dog|who is my dog)(?| again?)'], 'Your dog is called {x}.'),
    'word': (['(please |)(remember|keep in mind|note|store|keep) (the word|this word:|my word|the secret word) {x}(.|!|)', '(my|the|our) (word|secret word) is {x}(.|!|)'],
             'I will remember {x}.', ['(what was|what is|tell me|do you know|can you say|say|and what was) (the|my) (word|secret word)( again|)(?|.)', '(which word was it|which word did I give)?', '(the|my) word(, please.|?)'], 'The word is {x}.'),
    'name_de': (['(hallo, |also, |)(ich heiße|mein Name ist|ich bin|man nennt mich|nenn mich) {x}(.|!|)'],
                'Freut mich, {x}!', ['(wie heiße ich|wie ist mein Name|wer bin ich|was ist mein Name)( noch|)?', '(kennst du|sag mir|weißt du|nenne) meinen Namen( noch|)(?|.)'], 'Du heißt {x}.'),
    'number_de': (['(bitte |)(merke dir|behalte|notiere) (die Zahl|diese Zahl:|meine Zahl) {x}(.|!|)', '(die|meine|unsere) Zahl ist {x}(.|!|)'],
                  'Ich merke mir {x}.', ['(wie war|was war|was ist|nenne|sag mir|weißt du) (die|meine) Zahl( noch|)(?|.)', '(welche Zahl war es|welche Zahl habe ich genannt)?', '(die|meine) Zahl(, bitte.|?)'], 'Die Zahl ist {x}.')}


def value_of(kind, rng, test):
    if kind.startswith('number'):
        return str(draw(rng, lambda r: r.randint(10, 10 ** r.randint(2, 5)), test))
    if kind == 'city':
        return city(rng, test)
    if kind == 'word':
        return thing(rng, test) if rng.random() < 0.5 else letters(rng, 3, 7, test)
    return name(rng, test)


def memory(rng, test):
    import gen_math
    kinds = rng.sample(list(KEEP), rng.choice((1, 2, 2, 3)))
    if 'name' in kinds and 'name_de' in kinds:
        kinds.remove('name_de')
    if 'number' in kinds and 'number_de' in kinds:
        kinds.remove('number_de')
    known, messages = {}, []
    for k in kinds:
        known[k] = value_of(k, rng, test)
        tells, ack, _, _ = KEEP[k]
        messages += [user(pick(rng, tells, test).format(x=known[k])), model(ack.format(x=known[k]))]
        for _ in range(rng.choice((0, 0, 1, 2))):
            if rng.random() < 0.3:
                o, a, b = gen_math.operands(rng, False, 1)
                messages += [user(gen_math.question(rng, False, o, a, b)), model(str(gen_math.OPS[o](a, b)))]
            else:
                ask, answer = exchange(rng, False, (None, False, ''))
                messages += [user(ask), model(answer)]
    for k in [rng.choice(kinds)] if test else rng.sample(kinds, rng.randint(1, len(kinds))):
        _, _, asks, answer = KEEP[k]
        text = answer.format(x=known[k])
        require(any(known[k] in m['content'] for m in messages if m['role'] == 'user'), text)
        messages += [user(pick(rng, asks, test)), model(text)]
    return document('memory', messages)


FILLER = ['The {a} stands beside the {b}.', 'A {a} lies on the {b}.', '{n} puts the {a} into the {b}.', '{n} sees a {a} near {c}.', 'In {c} there is a {a}.',
          'The {a} is {k}.', '{n} bought a {k} {a}.', 'Nobody needs the {a}.', '{n} went to {c} with {m}.', 'There are {d} {p} in {c}.', '{n} likes the {k} {a}.', 'It was late in {c}.']
NEEDLE = [('The code of the {a} is {x}.', 'What is the code of the {a}?'), ('The key of the {a} has the number {x}.', 'Which number has the key of the {a}?'),
          ('The password for {c} is {w}.', 'What is the password for {c}?'), ('{n} keeps the number {x}.', 'Which number does {n} keep?'),
          ('{n} hides a {w} in the {a}.', 'What does {n} hide in the {a}?'), ('The secret word of {n} is {w}.', 'What is the secret word of {n}?'),
          ('The phone number of {n} is {x}.', 'What is the phone number of {n}?')]


def needle(rng, test, low=150, high=440):
    """A fact in a text of several windows; low and high are in tokens, roughly."""
    size, text, length = rng.randint(low, high), [], 0
    while length < size:
        n, m = rng.sample(NAMES, 2)
        a, b = rng.sample(THINGS, 2)
        s = rng.choice(FILLER).format(a=a, b=b, n=n, m=m, c=rng.choice(CITIES), k=rng.choice(COLOURS), d=rng.randint(2, 99), p=plural(a))
        text.append(s)
        length += len(s.split()) + 3
    fact, ask = NEEDLE[rng.choice(range(len(NEEDLE)))]
    v = dict(a=rng.choice(COLOURS) + ' ' + thing(rng, test), c=city(rng, test), n=name(rng, test), w=thing(rng, test),
             x=str(draw(rng, lambda r: r.randint(100, 99999), test)))
    answer = v['w'] if '{w}' in fact else v['x']
    line = fact.format(**v)
    require(answer in line, line)
    text.insert(rng.randint(0, len(text)), line)
    body, ask = ' '.join(text), ask.format(**v)
    return document('needle', [user(body + '\n' + ask), model(answer)])
