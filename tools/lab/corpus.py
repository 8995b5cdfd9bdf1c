#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""English text that every machine with Python has: the language's own documentation (PSF licence, not committed here).

    tools/lab/corpus.py OUT.txt [BYTES]

`pydoc_data.topics` is what help() prints: tutorial-like prose on the language. Code lines and tables of grammar
are left out, so that what remains is ordinary written English. The same Python gives the same bytes; the sha256 is
printed.
"""
import hashlib
import re
import sys


def is_prose(paragraph):
    """Keeps paragraphs of sentences: no literal blocks, no grammar, no underlines."""
    lines = paragraph.splitlines()
    if any(line.startswith(('   ', '*', '|', '+', '>>>', '.. ')) for line in lines):
        return False
    if re.search(r'::=|^[-=*~]{3,}$', paragraph, re.M) or len(paragraph) < 120:
        return False
    return paragraph.rstrip().endswith(('.', ':', ')'))


def documentation(n_bytes):
    """The first n_bytes of prose, cut at a paragraph."""
    from pydoc_data import topics
    out, size, seen = [], 0, set()
    for name in sorted(topics.topics):
        for p in re.split(r'\n\s*\n', topics.topics[name]):
            p = p.strip('\n')
            if p in seen or not is_prose(p):
                continue
            seen.add(p)
            out.append(re.sub(r'\s*\n\s*', ' ', p))
            size += len(out[-1].encode()) + 2
            if size >= n_bytes:
                return '\n\n'.join(out) + '\n'
    return '\n\n'.join(out) + '\n'


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    text = documentation(int(sys.argv[2]) if len(sys.argv) > 2 else 110_000).encode()
    with open(sys.argv[1], 'wb') as f:
        f.write(text)
    print(len(text), 'bytes, sha256', hashlib.sha256(text).hexdigest())


if __name__ == '__main__':
    main()
