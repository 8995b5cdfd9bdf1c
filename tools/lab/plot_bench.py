#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what `gemmule bench --json` measured, as SVG.

    tools/lab/plot_bench.py OUT.svg RESULT.json ...
    tools/lab/plot_bench.py OUT.svg --run PROGRAM MODEL --prompts 128,512,2048 [--generate 32]
    tools/lab/plot_bench.py OUT.svg --run PROGRAM MODEL --threads 1,2,4 [--generate 32]

The horizontal axis is what differs between the results: the length of the prompt, the threads, or the sessions. Medians
as lines, the range of the samples as bars; speed of the prompt above, of generating below. Standard library only.
"""
import argparse
import json
import math
import subprocess
import sys

AXES = [('n_prompt', 'tokens of the prompt'), ('threads', 'threads'), ('sessions', 'sessions')]
PANELS = [('prompt_tokens_per_second', 'prompt, tokens/s'), ('generate_tokens_per_second', 'generating, tokens/s')]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 260, 64, 16, 28, 40


def measure(a):
    option, values = ('-p', a.prompts) if a.prompts else ('-t', a.threads)
    for value in values.split(','):
        command = [a.run[0], 'bench', '--json', '-n', str(a.generate), option, value, a.run[1]]
        print(' '.join(command), file=sys.stderr, flush=True)
        yield json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def axis_of(results):
    """The one key in which the results differ, and its label."""
    differing = [(k, label) for k, label in AXES if len({r[k] for r in results}) > 1]
    if len(differing) > 1:
        sys.exit(f'results differ in more than one thing: {", ".join(k for k, _ in differing)}')
    return differing[0] if differing else AXES[0]


def ticks(top):
    """Round numbers from 0 to a little above `top`."""
    step = 10 ** math.floor(math.log10(top / 2))
    step *= next(m for m in (1, 2, 5, 10) if top / (step * m) <= 6)
    return [i * step for i in range(math.ceil(top / step) + 1)]


def escape(text):
    return text.replace('&', '&amp;').replace('<', '&lt;')


def text(x, y, what, anchor='middle'):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(what)}</text>'


def panel(results, key, label, axis, axis_label, offset):
    points = [(r[axis], r[key]) for r in results if key in r]
    if not points:
        return []
    xs, marks = [math.log2(x) for x, _ in points], ticks(max(v['max'] for _, v in points))
    low, span = min(xs), max(xs) - min(xs) or 1

    def place(x, y):
        return (LEFT + (math.log2(x) - low) / span * (WIDTH - LEFT - RIGHT),
                offset + HEIGHT - BOTTOM - y / marks[-1] * (HEIGHT - TOP - BOTTOM))

    out = [text(LEFT, offset + 18, label, 'start')]
    for y in marks:
        _, py = place(points[0][0], y)
        out.append(f'<line x1="{LEFT}" y1="{py:.1f}" x2="{WIDTH - RIGHT}" y2="{py:.1f}" stroke="#ddd"/>')
        out.append(text(LEFT - 6, py + 4, f'{y:g}', 'end'))
    for x, v in points:
        px, py = place(x, v['median'])
        _, least = place(x, v['min'])
        _, most = place(x, v['max'])
        out.append(f'<line x1="{px:.1f}" y1="{least:.1f}" x2="{px:.1f}" y2="{most:.1f}" stroke="#9bd"/>')
        out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="#057"/>')
        out.append(text(px, offset + HEIGHT - BOTTOM + 16, str(x)))
    line = ' '.join('{:.1f},{:.1f}'.format(*place(x, v['median'])) for x, v in points)
    out.append(f'<polyline points="{line}" fill="none" stroke="#057" stroke-width="1.5"/>')
    out.append(text((LEFT + WIDTH - RIGHT) / 2, offset + HEIGHT - 6, axis_label))
    return out


def draw(results):
    axis, axis_label = axis_of(results)
    results = sorted(results, key=lambda r: r[axis])
    first = results[0]
    title = f'{first["size"] or first["model"]}, {first["cpu"]}, {first["precision"]}'
    body = [text(WIDTH / 2, 16, title)]
    for i, (key, label) in enumerate(PANELS):
        body += panel(results, key, label, axis, axis_label, 20 + i * HEIGHT)
    height = 20 + HEIGHT * len(PANELS)
    return '\n'.join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                      f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
                      '<rect width="100%" height="100%" fill="white"/>', *body, '</svg>', ''])


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('out')
    a.add_argument('results', nargs='*')
    a.add_argument('--run', nargs=2, metavar=('PROGRAM', 'MODEL'))
    a.add_argument('--prompts')
    a.add_argument('--threads')
    a.add_argument('--generate', type=int, default=32)
    a = a.parse_args()
    if bool(a.results) == bool(a.run) or (a.run and bool(a.prompts) == bool(a.threads)):
        sys.exit('either results, or --run with one of --prompts and --threads')
    results = list(measure(a)) if a.run else [json.load(open(p, encoding='utf-8')) for p in a.results]
    with open(a.out, 'w', encoding='utf-8') as f:
        f.write(draw(results))


if __name__ == '__main__':
    main()
