"""Saved pages and what is known of them: a small strict reader of the text format 0.0.4, which
shares nothing with any other reader, and the expectations that tests/page.h writes beside pages."""

import os
import re
import struct
import sys
from typing import NamedTuple


class Family(NamedTuple):
    name: str
    type: str
    help: str  # '' where there is none


class Sample(NamedTuple):
    name: str
    labels: dict
    value: float


class Page(NamedTuple):
    families: list
    samples: list


class BadPage(Exception):
    pass


COMMENT = re.compile(r'# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*)(?: (.*))?\Z', re.DOTALL)
NAME = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="')
BRACE = re.compile(r'}')
REST = re.compile(r' (NaN|[+-]Inf|-?[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]{2,3})?)(?: -?[0-9]+)?\Z')


IN_HELP = (('\\n', '\n'),)
IN_LABEL = (('\\n', '\n'), ('\\"', '"'))


def unescape(text, escapes):
    """Undoes double backslashes and these escapes; nothing else may follow a backslash."""
    def between(piece):
        for escape, character in escapes:
            piece = piece.replace(escape, character)
        if '\\' in piece:
            raise BadPage(f'an escape that does not exist: {piece!r:.100}')
        return piece
    return '\\'.join(map(between, text.split('\\\\')))


def expect(match, line):
    if not match:
        raise BadPage(f'line {line!r:.200}')
    return match


def parse_sample(line):
    # Of the same length, so that places in it are places in the line.
    without_escapes = line.replace('\\\\', '..').replace('\\"', '..')
    match = expect(NAME.match(line), line)
    name, at, labels = match[0], match.end(), {}
    while line[at:at + 1] == (',' if labels else '{'):
        label = expect(LABEL.match(line, at + 1), line)
        end = without_escapes.find('"', label.end())
        if end < 0 or label[1] in labels:
            raise BadPage(f'label {label[1]} without an end, or twice: {line!r:.200}')
        labels[label[1]] = unescape(line[label.end():end], IN_LABEL)
        at = end + 1
    if labels:
        at = expect(BRACE.match(line, at), line).end()
    return Sample(name, labels, float(expect(REST.match(line, at), line)[1]))


def parse_comment(line, families):
    kind, name, text = expect(COMMENT.match(line), line).groups()
    help_ = unescape(text or '', IN_HELP) if kind == 'HELP' else ''
    if kind == 'TYPE' and families and families[-1] == Family(name, '', families[-1].help):
        help_ = families.pop().help
    families.append(Family(name, text if kind == 'TYPE' else '', help_))


def parse(page):
    """The families and samples on the page, in order."""
    families, samples = [], []
    lines = page.decode('utf-8').split('\n')
    if lines.pop():
        raise BadPage('no line feed at the end')
    for line in lines:
        if line.startswith('#'):
            parse_comment(line, families)
        else:
            samples.append(parse_sample(line))
    return Page(families, samples)


def parse_expectation(text):
    """What the test put in: lines as tests/page.h describes them."""
    families, samples = [], []
    def word(text):
        return bytes.fromhex(text).decode('utf-8')
    for kind, *fields in (line.split(' ') for line in text.splitlines()):
        if kind == 'F':
            families.append(Family(word(fields[0]), fields[1], word(fields[2][1:])))
        else:
            labels = dict(map(word, pair.split('=')) for pair in fields[2:])
            value, = struct.unpack('>d', bytes.fromhex(fields[0]))
            samples.append(Sample(word(fields[1]), labels, value))
    return Page(families, samples)


def bits(value):
    """Equal for the same double only; any NaN is as good as another."""
    return 'NaN' if value != value else struct.pack('>d', value).hex()


def series(sample):
    """What tells a sample from others: empty labels are as good as none."""
    return sample.name, frozenset((n, v) for n, v in sample.labels.items() if v)


def saved_pages(folder):
    """The paths of all pages in the folder; an empty or missing folder is an error of its own."""
    names = sorted(n for n in os.listdir(folder) if not n.endswith('.expect'))
    if not names:
        sys.exit(f'{folder}: no pages')
    return [os.path.join(folder, name) for name in names]


def read(path):
    with open(path, 'rb') as file:
        return file.read()


def known(path):
    """What ought to be read from the page: what the test put in, or else what the page says."""
    expectation = os.path.splitext(path)[0] + '.expect'
    if os.path.exists(expectation):
        return parse_expectation(read(expectation).decode('ascii'))
    return parse(read(path))


def finish(num_passed, num_failed):
    print(f'{num_passed} passed, {num_failed} failed')
    sys.exit(num_failed > 0)
