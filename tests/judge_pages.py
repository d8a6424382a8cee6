#!/usr/bin/python3
"""Reads every saved page in a folder with prometheus_client's parsers and compares families, names,
labels, help texts, units, exemplars and values, these to the bit, with what the test put in (the
.expect file beside the page) or, where that was not kept, with what the page says:

    tests/judge_pages.py build/pages

Its parser of OpenMetrics (0.16) is strict, but takes the first closing brace in an exemplar for the
end of its labels: there it gets another character instead. It reads -0 as an integer, which is 0.

Three things come out of its parser of text (0.16) otherwise than they stand on the page, and are
expected so:
- It strips each line and splits it at white space, so that a help text loses the white space around
  it (in Python's sense: U+0085, U+00A0, U+2028 and the like are white space too).
- It gives counters OpenMetrics names: the family loses a final _total, and samples of a counter
  that has none get one.
- It calls an untyped family unknown."""

import sys

sys.dont_write_bytecode = True
import strict_page
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from strict_page import Exemplar, Family, Page, Sample, bits, series


def expected_family(family):
    name, type_, help_, _ = family
    if type_ == 'counter' and name.endswith('_total'):
        name = name[:-len('_total')]
    escaped = help_.replace('\\', '\\\\').replace('\n', '\\n').strip()
    help_ = strict_page.unescape(escaped, strict_page.IN_HELP)
    return Family(name, 'unknown' if type_ == 'untyped' else type_, help_)


def expected_sample(sample, short_counters):
    return sample._replace(name=sample.name + '_total') if sample.name in short_counters else sample


def expected_of(page):
    short_counters = {f.name for f in page.families
                      if f.type == 'counter' and not f.name.endswith('_total')}
    return Page([expected_family(family) for family in page.families],
                [expected_sample(sample, short_counters) for sample in page.samples])


INSTEAD_OF_BRACE = '!'


def without_braces(text):
    """The page with no brace in an exemplar's labels."""
    def mend(line):
        if ' # {' not in line or line.startswith('#'):
            return line
        name = strict_page.NAME.match(line)
        _, at = strict_page.parse_labels(line, name.end())
        at = strict_page.exemplar_at(line, strict_page.VALUE.match(line, at).end())
        if at is None:
            return line
        _, end = strict_page.parse_labels(line, at)
        return line[:at] + line[at:end - 1].replace('}', INSTEAD_OF_BRACE) + line[end - 1:]
    return '\n'.join(map(mend, text.split('\n')))


def expected_in_openmetrics(sample):
    exemplar = sample.exemplar
    if exemplar:
        labels = {n: v.replace('}', INSTEAD_OF_BRACE) for n, v in exemplar.labels.items()}
        exemplar = Exemplar(labels, exemplar.value + 0.0)
    return sample._replace(value=sample.value + 0.0, exemplar=exemplar)


def exemplar_of(sample):
    return Exemplar(sample.exemplar.labels, sample.exemplar.value) if sample.exemplar else None


def pages_in_text(path):
    """As read by the client, as expected."""
    metrics = list(text_string_to_metric_families(strict_page.read(path).decode('utf-8')))
    return (Page([Family(m.name, m.type, m.documentation) for m in metrics],
                 [Sample(s.name, s.labels, s.value) for m in metrics for s in m.samples]),
            expected_of(strict_page.known(path)))


def pages_in_openmetrics(path):
    text = without_braces(strict_page.read(path).decode('utf-8'))
    metrics = list(openmetrics_parser.text_string_to_metric_families(text))
    known = strict_page.known(path)
    return (Page([Family(m.name, m.type, m.documentation, m.unit) for m in metrics],
                 [Sample(s.name, s.labels, s.value, exemplar_of(s))
                  for m in metrics for s in m.samples]),
            known._replace(samples=list(map(expected_in_openmetrics, known.samples))))


def short(thing):
    text = repr(thing)
    return text if len(text) < 300 else text[:300] + '...'


def families_that_differ(read, expected):
    if sorted(read) != sorted(expected):
        for family in set(read) ^ set(expected):
            yield f'family {"read" if family in read else "expected"}: {short(family)}'


def content(sample):
    exemplar = sample.exemplar
    return bits(sample.value), exemplar and (exemplar.labels, bits(exemplar.value))


def samples_that_differ(read, expected):
    values = {series(sample): content(sample) for sample in read}
    wanted = {series(sample): content(sample) for sample in expected}
    if len(values) != len(read) or len(wanted) != len(expected):
        yield 'a series twice'
    for key in values.keys() | wanted.keys():
        if values.get(key) != wanted.get(key):
            yield f'{short(key)}: {values.get(key)} read, {wanted.get(key)} expected'


def complaints(path):
    try:
        read, expected = (pages_in_text if strict_page.is_text(path)
                          else pages_in_openmetrics)(path)
    except Exception as error:
        return [f'{type(error).__name__}: {short(error)}']
    return [*families_that_differ(read.families, expected.families),
            *samples_that_differ(read.samples, expected.samples)]


def main(folder):
    num_passed = num_failed = 0
    for path in strict_page.saved_pages(folder):
        found = complaints(path)
        for complaint in found[:5]:
            print(f'{path}: {complaint}')
        num_failed += bool(found)
        num_passed += not found
    strict_page.finish(num_passed, num_failed)


main(sys.argv[1])
