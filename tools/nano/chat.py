# SPDX-License-Identifier: Apache-2.0
"""Gemma 4's chat format (the template of the small releases), for making training data quickly.

`render()` gives (text, wanted) pieces: wanted text is what the model itself writes, and what training scores.
test_chat.py holds it, and chat_template.jinja, against the golden renderings.
"""
QUOTE = '<|"|>'
STRIP = ''.join(map(chr, [*range(0x09, 0x0e), *range(0x1c, 0x21), 0x85, 0xa0, 0x1680, *range(0x2000, 0x200b),
                          0x2028, 0x2029, 0x202f, 0x205f, 0x3000]))
MEDIA = {'image': '<|image|>', 'image_url': '<|image|>', 'audio': '<|audio|>', 'input_audio': '<|audio|>',
         'video': '<|video|>'}


def quote(text):
    return QUOTE + str(text) + QUOTE


def ordered(mapping):
    return sorted(mapping.items(), key=lambda kv: kv[0].lower())


def value(v, quoted_keys=False):
    if isinstance(v, bool):
        return 'true' if v else 'false'
    if v is None:
        return 'null'
    if isinstance(v, (int, float)):
        return str(v)
    if isinstance(v, dict):
        return '{' + ','.join((quote(k) if quoted_keys else k) + ':' + value(x, quoted_keys) for k, x in ordered(v)) + '}'
    if isinstance(v, (list, tuple)):
        return '[' + ','.join(value(x, quoted_keys) for x in v) + ']'
    return quote(v)


def item_fields(items):
    out = []
    for k, v in ordered(items):
        if v is None:
            continue
        if k == 'properties':
            out.append('properties:{' + (properties(v) if isinstance(v, dict) else '') + '}')
        elif k == 'required':
            out.append('required:[' + ','.join(map(quote, v)) + ']')
        elif k == 'type':
            out.append('type:' + (quote(v.upper()) if isinstance(v, str) else '[' + ','.join(quote(t.upper()) for t in v) + ']'))
        else:
            out.append(k + ':' + value(v, True))
    return ','.join(out)


def properties(props):
    out = []
    for k, p in ordered(props):
        kind, fields = str(p.get('type') or '').upper(), []
        if p.get('description'):
            fields.append('description:' + quote(p['description']))
        if kind == 'STRING' and p.get('enum'):
            fields.append('enum:' + value(p['enum'], True))
        if kind == 'ARRAY' and p.get('items'):
            fields.append('items:{' + item_fields(p['items']) + '}')
        if p.get('nullable'):
            fields.append('nullable:true')
        if kind == 'OBJECT':
            if 'properties' not in p:
                raise ValueError('objects without properties are not used here')
            fields.append('properties:{' + properties(p['properties']) + '}')
            if p.get('required'):
                fields.append('required:[' + ','.join(map(quote, p['required'])) + ']')
        fields.append('type:' + quote(kind))
        out.append(k + ':{' + ','.join(fields) + '}')
    return ','.join(out)


def declaration(tool):
    f = tool['function']
    if 'response' in f:
        raise ValueError('declared responses are not used here')
    out = 'declaration:' + f['name'] + '{description:' + quote(f.get('description', ''))
    params = f.get('parameters')
    if params:
        out += ',parameters:{'
        if params.get('properties'):
            out += 'properties:{' + properties(params['properties']) + '},'
        if params.get('required'):
            out += 'required:[' + ','.join(map(quote, params['required'])) + '],'
        out += 'type:' + quote(params['type'].upper()) + '}'
    return '<|tool>' + out + '}<tool|>'


def call(c):
    f = c['function']
    return '<|tool_call>call:' + f['name'] + value(f['arguments'] or {}) + '<tool_call|>'


def result(name, content):
    body = value(content) if isinstance(content, dict) else '{value:' + value(content) + '}'
    return '<|tool_response>response:' + name + body + '<tool_response|>'


def strip_thoughts(text):
    return ''.join(piece.split('<|channel>')[0] for piece in text.split('<channel|>')).strip(STRIP)


def content_text(content, assistant=False):
    if not content:
        return ''
    trim = strip_thoughts if assistant else lambda t: t.strip(STRIP)
    if isinstance(content, str):
        return trim(content)
    return ''.join(trim(p['text']) if p['type'] == 'text' else MEDIA.get(p['type'], '') for p in content)


def render(messages, tools=None, generate=True, thinking=False):
    """Pieces (text, wanted). Raises ValueError on what the generators have no business making."""
    out, messages = [('<bos>', False)], list(messages)
    if any(m.get('tool_responses') or m['role'] == 'tool' and not isinstance(m['content'], (str, int, float)) for m in messages):
        raise ValueError('such tool results are not used here')
    put = lambda text, wanted=False: out.append((text, wanted)) if text else None
    first = messages[0]['role'] if messages else ''
    if thinking or tools or first in ('system', 'developer'):
        put('<|turn>system\n' + ('<|think|>\n' if thinking else ''))
        if first in ('system', 'developer'):
            put(messages.pop(0)['content'].strip(STRIP))
        put(''.join(map(declaration, tools or [])) + '<turn|>\n')
    last_user = max((i for i, m in enumerate(messages) if m['role'] == 'user'), default=-1)
    state, before = '', ''
    for i, m in enumerate(messages):
        role = m['role']
        if role == 'tool':
            continue
        assistant = role == 'assistant'
        if not (assistant and before == 'assistant'):
            put('<|turn>' + ('model' if assistant else role) + '\n')
        before, state = role, ''
        want = assistant and not (thinking and i < last_user)
        reasoning = m.get('reasoning') or m.get('reasoning_content')
        if reasoning and i > last_user:
            put('<|channel>thought\n', want)
            put(reasoning + '\n<channel|>', want)
        calls = m.get('tool_calls') or []
        if calls:
            put(''.join(map(call, calls)), want)
            state = 'call'
            j = i + 1
            while j < len(messages) and messages[j]['role'] == 'tool':
                r = messages[j]
                named = [c['function']['name'] for c in calls if c.get('id') == r.get('tool_call_id')]
                text = result(named[-1] if named else r.get('name', 'unknown'), r['content'])
                if state == 'call':                           # the model's stop token opens the first result
                    put('<|tool_response>', want)
                    text = text[len('<|tool_response>'):]
                put(text)
                state, j = 'result', j + 1
        text = content_text(m.get('content'), assistant)
        if calls and text:
            raise ValueError('content beside calls is not used here')
        put(text, want)
        later = [x['role'] for x in messages[i + 1:] if x['role'] != 'tool']
        if state == 'call':
            put('<|tool_response>', want)
        elif assistant and later[:1] == ['assistant'] or state == 'result' and not later:
            pass
        else:
            put('<turn|>', want)
            put('\n')
    if generate and not (state == 'call'):
        if state == 'result':
            put('<|channel>thought\n' if thinking else '')
        else:
            put('<|turn>model\n')
    return out


def prompt(*args, **kw):
    return ''.join(t for t, _ in render(*args, **kw))
