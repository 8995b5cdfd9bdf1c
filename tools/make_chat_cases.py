# SPDX-License-Identifier: Apache-2.0
"""Random conversations rendered by the published chat templates, for tests/golden/chat/random.jsonl.

    make_chat_cases.py LARGE.jinja SMALL.jinja [SEED [COUNT]] > random.jsonl

The templates are those of Gemma 4's repositories (2026-07-09; digests below); they are not part of this project. Needs
jinja2, with the settings that transformers uses. Odd on purpose: unknown roles, results without calls, keywords as names, text
that spells control tokens. What a template refuses is left out."""
import hashlib
import json
import random
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

DIGESTS = ['ae53464bf3be25802b3a5b37def7fd89667067d7577049b3b2d74c4d8de4c6d4',
           '0a2c8073c878ab1da004bee933a998606537bbb62016310352c7285c3f01c5b5']
WORDS = ['a', 'Hello', ' ', '\n', 'x y', '  lead', 'trail \n', 'é', '日本', '\u00a0', '\u3000', '\u200b', '<|channel>',
         '<channel|>', '<|"|>', '{', '}', ':', '"', "'", '\\', '<|turn>', 'thought\n', '\x1f', '\u2028']
KEYS = ['a', 'B', 'b', 'A', 'c', 'Z1', '_z', 'é', 'É', '10', '9', 'ß', 'Ω', 'ω', 'Ꭰ', 'ꭰ', 'x-y', 'type', 'description',
        'required', 'nullable', 'properties', 'items', 'enum']
TYPES = ['string', 'number', 'integer', 'boolean', 'array', 'object', 'STRING', 'Object', 'null']
PARTS = ['image', 'image_url', 'audio', 'input_audio', 'video', 'file']


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def chance(self, p):
        return self.r.random() < p

    def one(self, *choices):
        return self.r.choice(choices)

    def text(self):
        return ''.join(self.r.choice(WORDS) for _ in range(self.r.randint(0, 5)))

    def object(self, depth):
        return {self.r.choice(KEYS): self.value(depth) for _ in range(self.r.randint(0, 4))}

    def value(self, depth=0):
        kind = self.r.randint(0, 8 if depth < 3 else 5)
        if kind == 0:
            return self.text()
        if kind == 1:
            return self.one(0, -1, 3, 10 ** 20, 2 ** 63)
        if kind == 2:
            return self.one(1.0, 0.1, 1e20, 1e-7, -0.0, 1.5e300, 123456.75, 1e16, 1e15, 0.0001)
        if kind == 3:
            return self.one(True, False, None)
        if kind in (4, 5):
            return self.one('', 'x', 'true', '12')
        return self.object(depth + 1) if kind < 8 else [self.value(depth + 1) for _ in range(self.r.randint(0, 3))]

    def schema(self, depth=0):
        s = {}
        if self.chance(.9):
            s['type'] = self.r.choice(TYPES) if self.chance(.9) else self.one(['string', 'null'], ['array'], None)
        for key, p, choices in (('description', .5, [self.text(), 'd', '']), ('nullable', .2, [True, False]),
                                ('enum', .3, [['a', 'b'], [1, 2], [], ['x', None, True]]),
                                ('required', .3, [['a'], ['a', 'B'], []])):
            if self.chance(p):
                s[key] = self.r.choice(choices)
        if depth < 3 and self.chance(.5):
            s['properties'] = {self.r.choice(KEYS): self.schema(depth + 1) for _ in range(self.r.randint(0, 3))}
        if depth < 3 and self.chance(.5):
            s['items'] = self.schema(depth + 1) if self.chance(.9) else {}
        if self.chance(.3):
            s[self.one('title', 'minimum', 'format', 'additionalProperties', 'default', 'anyOf')] = \
                self.one('T', 3, False, None, {'type': 'string'}, [{'type': 'string'}], 1.5)
        return s

    def tool(self):
        f = {'name': self.one('f', 'get_x', 'a.b-c')}
        if self.chance(.8):
            f['description'] = self.one(self.text(), 'D', '', None)
        if self.chance(.9):
            p = f['parameters'] = {'type': 'object'} if self.chance(.9) else {}
            if self.chance(.9):
                p['properties'] = {self.r.choice(KEYS): self.schema() for _ in range(self.r.randint(0, 4))}
            if self.chance(.5):
                p['required'] = self.one(['a'], [])
        if self.chance(.2):
            f['response'] = self.one({'type': 'object'}, {'type': 'string'}, {}, {'description': 'r', 'type': 'OBJECT'},
                                     {'description': 'r'})
        return {'type': 'function', 'function': f}

    def content(self):
        if self.chance(.6):
            return self.text()
        return self.one(None, [{'type': 'text', 'text': self.text()} if self.chance(.5) else {'type': self.r.choice(PARTS)}
                               for _ in range(self.r.randint(0, 3))])

    def call(self):
        call = {'function': {'name': self.one('f', 'g'), 'arguments': self.object(1) if self.chance(.8) else None}}
        if self.chance(.8):
            call['id'] = self.one('c1', 'c2', None)
        return call

    def message(self):
        role = self.one('user', 'assistant', 'assistant', 'tool', 'tool', 'system', 'developer', 'critic')
        m = {'role': role}
        if self.chance(.9):
            m['content'] = self.content()
        if role == 'assistant' or self.chance(.02):
            if self.chance(.4):
                m[self.one('reasoning', 'reasoning_content')] = self.text()
            if self.chance(.5):
                m['tool_calls'] = [self.call() for _ in range(self.r.randint(0, 3))]
            if self.chance(.1):
                m['tool_responses'] = [{'name': self.one('f', '', None), 'response': self.value(1)}
                                       for _ in range(self.r.randint(0, 2))]
        if role == 'tool':
            if self.chance(.8):
                m['tool_call_id'] = self.one('c1', 'c2', None)
            if self.chance(.3):
                m['name'] = self.one('f', 'h', '')
            if self.chance(.2):
                m['content'] = self.one(3, 2.5, True, None)
        return m

    def case(self):
        messages = [self.message() for _ in range(self.r.randint(0, 6))]
        if self.chance(.3):
            content = self.one(self.text(), None, [{'type': 'text', 'text': self.text()} for _ in range(2)])
            messages.insert(0, {'role': 'system', 'content': content})
        return {'messages': messages, 'tools': [self.tool()] if self.chance(.4) else self.one(None, []),
                'add_generation_prompt': self.chance(.7), 'enable_thinking': self.chance(.5),
                'preserve_thinking': self.chance(.3)}


def refuse(message):
    raise ValueError(message)


def main():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals['raise_exception'] = refuse
    templates = []
    for path, digest in zip(sys.argv[1:3], DIGESTS):
        with open(path, 'rb') as file:
            data = file.read()
        assert hashlib.sha256(data).hexdigest() == digest, f'{path} is another template'
        templates.append(environment.from_string(data.decode()))
    maker = Maker(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    for _ in range(int(sys.argv[4]) if len(sys.argv) > 4 else 400):
        case = maker.case()
        try:
            case['expected'], case['expected_small'] = (t.render(bos_token='<bos>', **case) for t in templates)
        except Exception as error:  # whatever the template stumbles over
            print(error, file=sys.stderr)
            continue
        if case['expected'] == case['expected_small']:
            del case['expected_small']
            case['small_is_same'] = True
        print(json.dumps(case, ensure_ascii=False, separators=(',', ':')))


if __name__ == '__main__':
    main()
