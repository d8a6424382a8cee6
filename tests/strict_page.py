"""Saved pages and what is known of them: a small strict reader of the text format 0.0.4 and of
OpenMetrics 1.0.0, which shares nothing with any other reader, and the expectations that
tests/page.h writes beside pages."""

import os
import re
import struct
import sys
from typing import NamedTuple


class Family(NamedTuple):
    name: str
    type: str
    help: str  # '' where there is none
    unit: str = ''


class Exemplar(NamedTuple):
    labels: dict
    value: float


class Sample(NamedTuple):
    name: str
    labels: dict
    value: float
    exemplar: Exemplar = None


class Page(NamedTuple):
    families: list
    samples: list


class BadPage(Exception):
    pass


COMMENT = re.compile(r'# (HELP|TYPE|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*)(?: (.*))?\Z', re.DOTALL)
NAME = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="')
BRACE = re.compile(r'}')
VALUE = re.compile(r' (NaN|[+-]Inf|-?[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]{2,3})?)')
MILLISECONDS = re.compile(r'(?: -?[0-9]+)?\Z')
SECONDS = re.compile(r'(?: -?[0-9]+(?:\.[0-9]+)?)?')
EXEMPLAR = re.compile(r' # (?={)')
EOF = b'# EOF\n'


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


def parse_labels(line, at):
    """The labels in the braces, if there are some, and where they end."""
    # Of the same length, so that places in it are places in the line.
    without_escapes = line.replace('\\\\', '..').replace('\\"', '..')
    labels = {}
    if line[at:at + 2] == '{}':
        return labels, at + 2
    while line[at:at + 1] == (',' if labels else '{'):
        label = expect(LABEL.match(line, at + 1), line)
        end = without_escapes.find('"', label.end())
        if end < 0 or label[1] in labels:
            raise BadPage(f'label {label[1]} without an end, or twice: {line!r:.200}')
        labels[label[1]] = unescape(line[label.end():end], IN_LABEL)
        at = end + 1
    if labels:
        at = expect(BRACE.match(line, at), line).end()
    return labels, at


def parse_exemplar(line, at):
    labels, at = parse_labels(line, at)
    value = expect(VALUE.match(line, at), line)
    if expect(SECONDS.match(line, value.end()), line).end() != len(line):
        raise BadPage(f'more after an exemplar: {line!r:.200}')
    return Exemplar(labels, float(value[1]))


def exemplar_at(line, at):
    """Where an exemplar's brace is, if the value ends here; None if there is no exemplar."""
    at = expect(SECONDS.match(line, at), line).end()
    return None if at == len(line) else expect(EXEMPLAR.match(line, at), line).end()


def parse_sample(line, in_text):
    name = expect(NAME.match(line), line)
    labels, at = parse_labels(line, name.end())
    value = expect(VALUE.match(line, at), line)
    exemplar = None
    if in_text:
        expect(MILLISECONDS.match(line, value.end()), line)
    else:
        at = exemplar_at(line, value.end())
        exemplar = None if at is None else parse_exemplar(line, at)
    return Sample(name[0], labels, float(value[1]), exemplar)


def parse_comment(line, families, in_text):
    kind, name, text = expect(COMMENT.match(line), line).groups()
    family = Family(name, '', '')
    if families and families[-1].name == name:
        family = families.pop()
    if kind == 'TYPE':
        family = family._replace(type=text)
    elif kind == 'HELP':
        family = family._replace(help=unescape(text or '', IN_HELP if in_text else IN_LABEL))
    else:
        family = family._replace(unit=text)
    families.append(family)


def lines_of(page, in_text):
    if not in_text:
        if not page.endswith(EOF):
            raise BadPage('no # EOF at the end')
        page = page[:-len(EOF)]
    lines = page.decode('utf-8').split('\n')
    if lines.pop():
        raise BadPage('no line feed at the end')
    return lines


def parse(page, in_text=True):
    """The families and samples on the page, in order."""
    families, samples = [], []
    for line in lines_of(page, in_text):
        if line.startswith('#'):
            parse_comment(line, families, in_text)
        else:
            samples.append(parse_sample(line, in_text))
    return Page(families, samples)


def parse_expectation(text):
    """What the test put in: lines as tests/page.h describes them."""
    families, samples = [], []
    def word(text):
        return bytes.fromhex(text).decode('utf-8')
    def number(text):
        return struct.unpack('>d', bytes.fromhex(text))[0]
    def labels(pairs):
        return dict(map(word, pair.split('=')) for pair in pairs)
    for kind, *fields in (line.split(' ') for line in text.splitlines()):
        if kind == 'F':
            families.append(Family(word(fields[0]), fields[1], word(fields[2][1:]),
                                   word(fields[3][1:])))
        elif kind == 'S':
            samples.append(Sample(word(fields[1]), labels(fields[2:]), number(fields[0])))
        else:
            exemplar = Exemplar(labels(fields[1:]), number(fields[0]))
            samples[-1] = samples[-1]._replace(exemplar=exemplar)
    return Page(families, samples)


def bits(value):
    """Equal for the same double only; any NaN is as good as another."""
    return 'NaN' if value != value else struct.pack('>d', value).hex()


def series(sample):
    """What tells a sample from others: empty labels are as good as none."""
    return sample.name, frozenset((n, v) for n, v in sample.labels.items() if v)


def is_text(path):
    """Whether the page is in the text format; the others are in OpenMetrics."""
    return not path.endswith('.om')


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
    if os.path.exists(path + '.expect'):
        return parse_expectation(read(path + '.expect').decode('ascii'))
    return parse(read(path), is_text(path))


def finish(num_passed, num_failed):
    print(f'{num_passed} passed, {num_failed} failed')
    sys.exit(num_failed > 0)
