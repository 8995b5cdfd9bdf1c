# SPDX-License-Identifier: Apache-2.0
"""Tools: declarations in Gemma's syntax, none, one or two calls with their arguments, and use of the response.

Held-out tools have other names and descriptions than those of training (their kind of request is shared with one
of the training tools, as a stranger's tools would be), other values, other templates.
"""
from words import *

# name: (description, {parameter: (type, description, enum or None)}, requests, answer from the response)
V = {
    'city': lambda r, t: city(r, t), 'name': lambda r, t: name(r, t), 'thing': lambda r, t: thing(r, t),
    'n': lambda r, t: draw(r, lambda r: r.randint(1, 10 ** r.randint(1, 3)), t), 'colour': lambda r, t: r.choice(COLOURS),
    'text': lambda r, t: ' '.join(thing(r, t) for _ in range(r.randint(1, 3)))}
S, I = 'string', 'integer'
TOOLS = {
    'get_weather': ('Weather of a city', {'city': (S, 'city')}, ['What is the weather in {city}?', 'How is the weather in {city}?', 'Weather in {city}?', 'Tell me the weather of {city}.', 'Will it rain in {city}?', 'Wie ist das Wetter in {city}?']),
    'get_time': ('Time in a city', {'city': (S, 'city')}, ['What time is it in {city}?', 'Time in {city}?', 'Tell me the time in {city}.', 'How late is it in {city}?', 'Which time has {city} now?', 'Wie spät ist es in {city}?']),
    'set_timer': ('Start a timer', {'minutes': (I, 'n')}, ['Set a timer for {minutes} minutes.', 'Start a timer of {minutes} minutes.', 'Timer: {minutes} minutes', 'Wake me in {minutes} minutes.', 'Count down {minutes} minutes.', 'Stelle einen Timer auf {minutes} Minuten.']),
    'send_message': ('Send a message to a person', {'to': (S, 'name'), 'text': (S, 'text')}, ['Send {to} the message "{text}".', 'Write to {to}: {text}', 'Tell {to} "{text}".', 'Message {to}: {text}', 'Text {to} "{text}".', 'Schreibe an {to}: {text}']),
    'play_music': ('Play a song', {'title': (S, 'text')}, ['Play "{title}".', 'Play the song {title}', 'I want to hear "{title}".', 'Start the music "{title}".', 'Put on {title}', 'Spiele "{title}".']),
    'add_item': ('Put a thing on the list', {'item': (S, 'thing'), 'count': (I, 'n')}, ['Add {count} {item} to my list.', 'Put {count} {item} on the list.', 'I need {count} {item} on the list.', 'List: {count} {item}', 'Note {count} {item} for shopping.', 'Setze {count} {item} auf die Liste.']),
    'find_person': ('Look up a person', {'name': (S, 'name')}, ['Who is {name}?', 'Find {name}.', 'Look up {name}.', 'Search for the person {name}.', 'Do you have data on {name}?', 'Wer ist {name}?']),
    'set_light': ('Set the colour of the light', {'color': (S, 'colour')}, ['Make the light {color}.', 'Set the light to {color}.', 'I want {color} light.', 'Light: {color}', 'Turn the lamp {color}.', 'Change the light to {color}.']),
    'get_price': ('Price of a thing', {'item': (S, 'thing')}, ['What does a {item} cost?', 'Price of {item}?', 'How much is the {item}?', 'Get the price of {item}.', 'Tell me what {item} costs.', 'Was kostet {item}?']),
    'book_train': ('Book a train', {'start': (S, 'city'), 'goal': (S, 'city')}, ['Book a train from {start} to {goal}.', 'I need a train from {start} to {goal}.', 'Train from {start} to {goal}, please.', 'Get me from {start} to {goal} by train.', 'Reserve a train from {start} to {goal}.', 'Buche einen Zug von {start} nach {goal}.']),
    'set_volume': ('Set the volume', {'level': (I, 'n')}, ['Set the volume to {level}.', 'Volume {level}', 'Make it volume {level}.', 'Change the volume to {level}.', 'I want volume {level}.', 'Lautstärke {level}, bitte.']),
    'call_person': ('Call a person by phone', {'name': (S, 'name')}, ['Call {name}.', 'Phone {name}.', 'Ring {name}, please.', 'I want to talk to {name} by phone.', 'Make a call to {name}.', 'Rufe {name} an.']),
    'make_note': ('Write a note', {'text': (S, 'text')}, ['Note: {text}', 'Write down "{text}".', 'Make a note: {text}', 'Take the note "{text}".', 'Jot down {text}', 'Notiere: {text}']),
    'translate_word': ('Translate a word to German', {'word': (S, 'thing')}, ['Translate {word}.', 'What is {word} in German?', 'How do you say {word} in German?', 'German for {word}?', 'Translate the word {word}, please.', 'Übersetze {word}.']),
    'get_distance': ('Distance of two cities', {'start': (S, 'city'), 'goal': (S, 'city')}, ['How far is it from {start} to {goal}?', 'Distance from {start} to {goal}?', 'Tell me the distance from {start} to {goal}.', 'How many miles are between {start} and {goal}?', 'What is the way from {start} to {goal} in miles?', 'Wie weit ist es von {start} nach {goal}?']),
    'order_food': ('Order food', {'dish': (S, 'thing'), 'count': (I, 'n')}, ['Order {count} {dish}.', 'I would like to order {count} {dish}.', 'Get us {count} {dish} to eat.', 'Please order {count} {dish} for lunch.', 'Order food: {count} {dish}', 'Bestelle {count} {dish}.']),
    'open_door': ('Open a door', {'room': (S, 'thing')}, ['Open the door of the {room} room.', 'Open the {room} door.', 'Unlock the {room} room.', 'Let me into the {room} room.', 'I need the door {room} open.', 'Öffne die Tür {room}.']),
    'read_sensor': ('Read a sensor', {'id': (I, 'n')}, ['Read sensor {id}.', 'What does sensor {id} say?', 'Value of sensor {id}?', 'Get sensor {id}.', 'Tell me what sensor {id} shows.', 'Lies Sensor {id}.']),
    'get_stock': ('How many of a thing are in stock', {'item': (S, 'thing')}, ['How many {item} are in stock?', 'Stock of {item}?', 'Do we have {item} in stock?', 'Check the stock of {item}.', 'Tell me the stock of {item}.', 'Wie viele {item} sind da?']),
    'set_alarm': ('Set an alarm', {'hour': (I, 'n')}, ['Set an alarm for {hour}.', 'Alarm at {hour}', 'Wake me at {hour}.', 'I need an alarm at {hour}.', 'Ring the alarm at {hour}, please.', 'Wecke mich um {hour}.']),
}
# each request also so; of a list every sixth is held out, so that each wording is known, if otherwise introduced
for _t in TOOLS.values():
    _t[2][:] = [w + a for a in _t[2] for w in ('', 'I ask you: ', 'One thing: ', 'Do this: ')]
# held out: name -> (training tool it resembles, description)
OTHERS = {'fetch_forecast': ('get_weather', 'Forecast for a place'), 'start_countdown': ('set_timer', 'Begin a countdown'), 'mail_to': ('send_message', 'Send mail to a person'),
          'query_cost': ('get_price', 'Cost of a product'), 'lookup_contact': ('find_person', 'Find a contact'), 'reserve_ride': ('book_train', 'Reserve a ride'),
          'paint_lamp': ('set_light', 'Change the lamp'), 'store_memo': ('make_note', 'Store a memo'), 'poll_meter': ('read_sensor', 'Poll a meter'), 'dial_up': ('call_person', 'Dial a person')}
# other descriptions, for training: what a tool is for is to be understood, its name only carried over
OTHERWISE = {
    'get_weather': 'What the weather is like|Look up the weather|Weather report of a town|Rain and sun in a city',
    'get_time': 'What time it is somewhere|The clock of a city|Local time|Tell the time of a town',
    'set_timer': 'Count down some minutes|Run a timer|Wait some minutes and ring|A timer of minutes',
    'send_message': 'Write to somebody|Text a person|Send words to somebody|Message a friend by name',
    'play_music': 'Play music|Start a song by its title|Put on some music|Let a song be heard',
    'add_item': 'Extend the shopping list|Put things on the shopping list|List of things to buy|Write something on the list',
    'find_person': 'Search for people|Who a person is|Data on a person|Look for somebody by name',
    'set_light': 'Colour of a light|Turn the light to a colour|Light control|Make the light green or red',
    'get_price': 'What a thing costs|How much a thing is|The price list|Tell a price',
    'book_train': 'Book a ticket for the train|Buy a train ticket|Travel by train|A seat in a train from city to city',
    'set_volume': 'Make it loud or quiet|Change how loud it is|The volume of the speaker|How loud to be',
    'call_person': 'Phone somebody|Ring a person|Make a phone call|Talk to somebody by phone',
    'make_note': 'Write something down|Take a note|Keep a text as a note|Note a few words',
    'translate_word': 'Say a word in German|German for a word|English to German|Find the German word',
    'get_distance': 'How far two cities are apart|Miles from city to city|Measure the way between towns|The way from one city to another',
    'order_food': 'Order something to eat|Get food brought|Food for lunch|Buy a meal',
    'open_door': 'Unlock a room|Let somebody into a room|Doors of rooms|Make a door open',
    'read_sensor': 'Value of a sensor|What a sensor shows|Get the number of a sensor|Look at a sensor',
    'get_stock': 'Count what is there|What the shop has|Check if a thing is there|The stock of the shop',
    'set_alarm': 'Wake somebody at an hour|Ring at an hour|An alarm for the morning|Alarm clock'}
OTHERWISE = {k: v.split('|') for k, v in OTHERWISE.items()}
LEAD = ['', '', '', '', 'Please: ', 'Hi. ', 'Now: ', 'OK. ', 'Can you do this? ', 'Next: ', 'Hello, ', 'Bitte: ']
RENAMES = ['{v}_{n}', '{n}_{v}', '{v}{N}', '{v}_{n}', '{n}']
VERB = 'get set run make find read send check load show pick call ask use do fetch'.split()
NOUN = 'data info job task item page file note user city word time rate plan form unit area test log map'.split()
GREETINGS = [('Hello', 'Hello! How can I help?'), ('Hi', 'Hi! How can I help?'), ('Thanks', 'You are welcome!'), ('Good morning', 'Good morning! How can I help?'), ('Bye', 'Goodbye!'), ('Thank you!', 'You are welcome!')]


def declare(tool, args, desc, described):
    props = {}
    for k, (kind, _) in args.items():
        props[k] = {'type': kind}
        if described:
            props[k]['description'] = k.capitalize()
    f = {'name': tool, 'description': desc}
    if props:
        f['parameters'] = {'type': 'object', 'properties': props, 'required': list(args)}
    return {'type': 'function', 'function': f}


def new_name(rng, test):
    def make(r):
        v, n = r.choice(VERB), r.choice(NOUN)
        if not test:                                            # names are to be carried over, whatever they are
            v, n = (invented(r) if r.random() < 0.65 else w for w in (v, n))
        return r.choice(RENAMES).format(v=v, n=n, N=n.capitalize())
    return draw(rng, make, test)


def blurred(rng, desc):
    """Without one of its words, or with one that says nothing: a stranger's tools are described with words never seen."""
    words = desc.split()
    i = rng.randrange(len(words))
    words[i:i + 1] = [invented(rng)] * (len(words) == 1 or rng.random() < 0.6)
    return words[0][0].upper() + ' '.join(words)[1:]


def choose(rng, test, k):
    """k different tools as (name, kind of request, description)."""
    out, used = [], set()
    while len(out) < k:
        if test and rng.random() < 0.6:
            n = rng.choice(list(OTHERS))
            like, desc = OTHERS[n]
        else:
            like = rng.choice(list(TOOLS))
            n, desc = like, TOOLS[like][0]
            if not test and rng.random() < 0.7:
                desc = rng.choice(OTHERWISE[like])
            if not test and rng.random() < 0.35:
                desc = blurred(rng, desc)
            if rng.random() < (0.4 if test else 0.9):
                n = new_name(rng, test)
        if like in used or n in [o[0] for o in out]:
            continue
        used.add(like)
        out.append((n, like, desc))
    return out


def request(rng, test, like):
    _, args, asks = TOOLS[like]
    values = {}
    for k, (kind, source) in args.items():
        while True:
            v = V[source](rng, test)
            if v not in values.values():
                break
        values[k] = v
    ask = rng.choice(LEAD) + pick(rng, asks, test).format(**values)
    require(all(str(v) in ask for v in values.values()), ask, values)
    return ask, values


RESULTS = [lambda r, t: str(r.randint(2, 900)), lambda r, t: r.choice(['sunny', 'rainy', 'windy', 'cloudy', 'done', 'ok', 'sent', 'closed', 'late', 'free']),
           lambda r, t: f'{r.choice(["sunny", "rainy", "cold", "warm"])}, {r.randint(1, 35)}C', lambda r, t: f'{r.randint(0, 23)}:{r.randint(10, 59)}', lambda r, t: thing(r, t),
           lambda r, t: r.randint(1, 999), lambda r, t: name(r, t)]
WORDS = [lambda r, t: thing(r, t), lambda r, t: name(r, t), lambda r, t: city(r, t)]     # what is harder to carry over than numbers


def call(n, values, i):
    return {'id': f'c{i}', 'type': 'function', 'function': {'name': n, 'arguments': values}}


def marked(d, test, picked):
    """With the kinds of its tools, for training (auxiliary.py)."""
    if not test:
        d['kinds'] = {n: list(TOOLS).index(like) for n, like, _ in picked}
    return d


WHICH = ['(which|what) tool (is for|does|is|do I use for|do you use for|would you call for) this: {x}', '(name|tell me|say) the tool for( this|): {x}', '(the|which) tool: {x}', 'welches Werkzeug( ist das|): {x}']


def which(rng, test):
    """The names of tools by what they are for, for training: the name must be found from what stands behind it."""
    picked = choose(rng, test, rng.choice((2, 3, 3)))
    messages = []
    for _ in range(rng.randint(3, 8 - len(picked))):
        n, like, desc = rng.choice(picked)
        x = desc if rng.random() < 0.6 else request(rng, test, like)[0]
        messages += [user(pick(rng, WHICH, test).format(x=x)), model(n)]
    return marked(document('which-tool', messages, tools=[declare(n, TOOLS[l][1], d, False) for n, l, d in picked]), test, picked)


def tools(rng, test):
    picked = choose(rng, test, rng.choice((1, 2, 2, 3)))
    described = rng.random() < 0.4
    decls = [declare(n, TOOLS[l][1], d, described) for n, l, d in picked]
    thinking = rng.random() < (0.25 if test else 0.5)
    messages = [system('Use the tools.')] if rng.random() < 0.1 else []
    for _ in range(1 if test or thinking else min(rng.choice((1, 2, 2, 3)), 5 - len(picked))):
        k = rng.random()
        if k < 0.22:
            if rng.random() < 0.4:
                ask, answer = rng.choice(GREETINGS)
            else:                                       # arithmetic needs no tool
                a, b = rng.randint(1, 9), rng.randint(1, 9)
                ask, answer = f'What is {a} + {b}?', str(a + b)
            messages += [user(ask), model(answer, 'No tool.' if thinking else None)]
            continue
        which = rng.sample(picked, 2) if k > 0.75 and len(picked) > 1 else [rng.choice(picked)]
        asks, calls = [], []
        for i, (n, like, _) in enumerate(which):
            ask, values = request(rng, test, like)
            asks.append(ask)
            calls.append(call(n, values, i))
        sep = rng.choice((' ', ' ', ' And: ', '\n'))
        m = {'role': 'assistant', 'content': None, 'tool_calls': calls}
        if thinking:
            m['reasoning'] = 'Use ' + ' and '.join(c['function']['name'] for c in calls) + '.'
        messages += [user(sep.join(asks)), m]
        if rng.random() < 0.65:
            results = [rng.choice(RESULTS if test or rng.random() < 0.5 else WORDS)(rng, test) for _ in calls]
            for c, r in zip(calls, results):
                messages.append({'role': 'tool', 'tool_call_id': c['id'], 'content': r})
            answer = 'The answer is ' + ' and '.join(str(r) for r in results) + '.'
            messages.append(model(answer, 'I have it.' if thinking else None))
        else:
            break
    require(all(c['function']['name'] in [p[0] for p in picked] for m in messages for c in m.get('tool_calls') or []), 'unknown tool')
    return marked(document('tools', messages, tools=decls, thinking=thinking), test, picked)
