#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hold chat.py and models/nano/chat_template.jinja against the golden renderings of the released small template.

    GEM_SHARED=... python tools/nano/test_chat.py
"""
import glob
import json
import os
import sys
import chat

HERE = os.path.dirname(os.path.abspath(__file__))


def jinja():
    path = os.path.join(HERE, '../../models/nano/chat_template.jinja')
    if not os.path.exists(path):
        return None
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def fail(message):
        raise ValueError(message)
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.globals['raise_exception'] = fail
    return env.from_string(open(path).read())


def main():
    template, bad, n, other, m = jinja(), 0, 0, 0, 0
    for path in sorted(glob.glob(os.path.join(os.environ['GEM_SHARED'], 'golden/chat/[0-9]*.json'))):
        c = json.load(open(path))
        want = c.get('expected_small') or c.get('expected')
        if template:
            try:
                got = template.render(bos_token='<bos>', **{k: c[k] for k in ('messages', 'tools', 'add_generation_prompt',
                                      'enable_thinking', 'preserve_thinking') if c.get(k) is not None})
            except Exception as e:
                got = None if c.get('error') else f'{type(e).__name__}: {e}'
            n += 1
            if got != (None if c.get('error') else want):
                bad += 1
                print('jinja', os.path.basename(path), '\n  want', repr(want), '\n  got ', repr(got))
        if c.get('error') or c.get('preserve_thinking'):
            continue
        try:
            got = chat.prompt(c['messages'], c.get('tools'), c['add_generation_prompt'], c['enable_thinking'])
        except (ValueError, KeyError, AttributeError, TypeError) as e:
            got = None
        m += 1
        if got is not None and got != want:
            other += 1
            print('chat.py', os.path.basename(path), '\n  want', repr(want)[-500:], '\n  got ', repr(got)[-500:])
    print(f'chat_template.jinja: {n - bad} of {n} equal; chat.py: {m - other} of {m} equal or refused')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
