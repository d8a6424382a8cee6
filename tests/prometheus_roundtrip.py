#!/usr/bin/python3
"""Lets a real Prometheus server scrape saved pages and asks it for every sample:

    tests/prometheus_roundtrip.py build/pages [NUMBER]

Of the pages in the folder NUMBER (50) are taken, evenly spread over those in text and those in
OpenMetrics, and served from here, each as a target of its own, some of them compressed. What the
server's query API gives back has to be what is known of each page: every series, every label value,
every exemplar, every value to the bit, and no series else; and each target is up. The server keeps
its data in a temporary folder and listens on the loopback interface only."""

import collections
import gzip
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

sys.dont_write_bytecode = True
import strict_page
from strict_page import bits, series

PAGE_LABEL = 'served_page'  # tells the targets apart; no page has a label of this name
OF_THE_SERVER = {'up', 'scrape_duration_seconds', 'scrape_samples_post_metric_relabeling',
                 'scrape_samples_scraped', 'scrape_series_added'}


IN_TEXT = 'text/plain; version=0.0.4; charset=utf-8'
IN_OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'


class Pages(http.server.BaseHTTPRequestHandler):
    paths = []

    def do_GET(self):
        number = int(self.path[1:])
        path = self.paths[number]
        text = strict_page.read(path)
        compressed = number % 3 == 0 and 'gzip' in self.headers.get('Accept-Encoding', '')
        if compressed:
            text = gzip.compress(text)
        try:
            self.send_response(200)
            self.send_header('Content-Type',
                             IN_TEXT if strict_page.is_text(path) else IN_OPENMETRICS)
            if compressed:
                self.send_header('Content-Encoding', 'gzip')
            self.send_header('Content-Length', str(len(text)))
            self.end_headers()
            self.wfile.write(text)
        except ConnectionError:
            pass  # a scrape that was given up: the next one counts

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def serve(paths):
    Pages.paths = paths
    server = Server(('127.0.0.1', 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def seconds_between_scrapes(num_pages):
    """Enough for a busy machine: the first scrapes are spread over as much time."""
    return 5 + num_pages // 50


def configuration(port, num_pages):
    """JSON, which is YAML too. Labels of a page stay as they are where a target has them too."""
    interval = f'{seconds_between_scrapes(num_pages)}s'
    targets = [{'targets': [f'127.0.0.1:{port}'],
                'labels': {'__metrics_path__': f'/{i}', PAGE_LABEL: str(i)}}
               for i in range(num_pages)]
    return json.dumps({
        'global': {'scrape_interval': interval, 'scrape_timeout': interval},
        'storage': {'exemplars': {'max_exemplars': 1000000}},
        'scrape_configs': [{'job_name': 'pages', 'honor_labels': True, 'honor_timestamps': False,
                            'static_configs': targets}]})


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Prometheus:
    def __init__(self, folder, config, deadline):
        self.deadline = deadline
        self.address = f'127.0.0.1:{free_port()}'
        self.log_path = os.path.join(folder, 'log')
        config_path = os.path.join(folder, 'prometheus.yml')
        with open(config_path, 'w', encoding='ascii') as file:
            file.write(config)
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(
                ['prometheus', f'--config.file={config_path}', '--log.level=warn',
                 '--enable-feature=exemplar-storage',
                 f'--storage.tsdb.path={folder}/data', f'--web.listen-address={self.address}'],
                stdout=log, stderr=log, cwd=folder)

    def ask(self, path, **fields):
        data = urllib.parse.urlencode(fields).encode() if fields else None
        url = f'http://{self.address}/api/v1/{path}'
        with urllib.request.urlopen(url, data=data, timeout=20) as answer:
            return json.load(answer)['data']

    def query(self, expression):
        return self.ask('query', query=expression)['result']

    def exemplars(self, expression):
        return self.ask('query_exemplars', query=expression, start='-100000000',
                        end=str(time.time() + 86400 * 365 * 10))

    def up(self):
        """Page number to the value of up, as text."""
        return {int(result['metric'][PAGE_LABEL]): result['value'][1]
                for result in self.query('up{' + PAGE_LABEL + '!=""}')}

    def targets(self):
        try:
            return self.ask('targets')['activeTargets']
        except (urllib.error.URLError, ConnectionError):
            return []  # not listening yet

    def wait_for_scrapes(self, num_pages):
        """Until each page has been scraped or refused. Yields page numbers to refusals."""
        while time.monotonic() < self.deadline and self.process.poll() is None:
            done = [target for target in self.targets() if is_done(target)]
            if len(done) == num_pages:
                return {int(target['labels'][PAGE_LABEL]): target['lastError']
                        for target in done if target['lastError']}
            time.sleep(0.2)
        sys.exit('not all pages were scraped:\n' + strict_page.read(self.log_path).decode())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def is_done(target):
    """A page that did not arrive in time is scraped again."""
    return target['health'] == 'up' or \
        target['health'] == 'down' and not target['lastError'].startswith('Get "http')


def stored(server):
    """Page number to the samples that the server has of it: name, labels, bits of the value."""
    found = collections.defaultdict(list)
    for result in server.query('{' + PAGE_LABEL + '!=""}'):
        labels = result['metric']
        name, page = labels.pop('__name__'), int(labels.pop(PAGE_LABEL))
        if name not in OF_THE_SERVER:
            found[page].append((name, labels, bits(float(result['value'][1]))))
    return found


def stored_exemplars(server):
    """Page number to the exemplars that the server has of it: name, labels, labels of the exemplar,
    bits of its value."""
    found = collections.defaultdict(list)
    for result in server.exemplars('{' + PAGE_LABEL + '!=""}'):
        labels = result['seriesLabels']
        name, page = labels.pop('__name__'), int(labels.pop(PAGE_LABEL))
        for exemplar in result['exemplars']:
            found[page].append((name, labels, content(exemplar['labels'], exemplar['value'])))
    return found


def content(labels, value):
    """An exemplar: the server drops labels that are empty."""
    return frozenset((n, v) for n, v in labels.items() if v), bits(float(value))


def escaped(labels):
    return {name: value.replace('\\', '\\\\').replace('\n', '\\n').replace('"', '\\"')
            for name, value in labels.items()}


def without_escapes(stored, known):
    """The server (2.42) keeps the labels of exemplars as they stand on the page."""
    on_page = {content(escaped(exemplar.labels), exemplar.value): content(*exemplar)
               for exemplar in known}
    return [(name, labels, on_page.get(it, it)) for name, labels, it in stored]


def without_target_labels(labels, address):
    """The server gives job and instance to series that have none of their own."""
    given = {('job', 'pages'), ('instance', address)}
    return frozenset(pair for pair in labels.items() if pair not in given)


def difference(wanted, found, address):
    """Of series to what is stored with them, and a list of name, labels and the same."""
    values = {(name, without_target_labels(labels, address)): value
              for name, labels, value in found}
    for key in wanted.keys() | values.keys():
        if wanted.get(key) != values.get(key):
            yield f'{key!r:.300}: {values.get(key)} stored, {wanted.get(key)} expected'


def complaints(path, samples, exemplars, address):
    try:
        page = strict_page.known(path)
    except (strict_page.BadPage, ValueError) as error:
        yield f'{type(error).__name__}: {error!s:.300}'
        return
    yield from difference({series(sample): bits(sample.value) for sample in page.samples},
                          samples, address)
    with_exemplar = [sample for sample in page.samples if sample.exemplar]
    yield from difference(
        {series(sample): content(*sample.exemplar) for sample in with_exemplar},
        without_escapes(exemplars, [sample.exemplar for sample in with_exemplar]), address)


def choose(paths, number):
    """As many of the pages in text as of the others, if there are as many."""
    texts = [path for path in paths if strict_page.is_text(path)]
    others = [path for path in paths if not strict_page.is_text(path)]
    half = spread(others, number // 2)
    return spread(texts, number - len(half)) + half


def spread(paths, number):
    number = min(number, len(paths))
    return [paths[i * len(paths) // number] for i in range(number)]


def judge(server, paths, address):
    """Path to complaints, for each page that has some."""
    refused, bad = server.wait_for_scrapes(len(paths)), {}
    found, exemplars, up = stored(server), stored_exemplars(server), server.up()
    for i, path in enumerate(paths):
        said = [refused[i]] if i in refused else \
            list(complaints(path, found[i], exemplars[i], address))
        if not said and up.get(i) != '1':
            said = [f'up is {up.get(i)}']
        if said:
            bad[path] = said
    return bad


def main(folder, number=50):
    paths = choose(strict_page.saved_pages(folder), int(number))
    deadline = time.monotonic() + 35 + 3 * seconds_between_scrapes(len(paths))
    port = serve(paths)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data:
        server = Prometheus(data, configuration(port, len(paths)), deadline)
        try:
            bad = judge(server, paths, f'127.0.0.1:{port}')
        finally:
            server.stop()
    for path, said in bad.items():
        for complaint in said[:5]:
            print(f'{path}: {complaint}')
    strict_page.finish(len(paths) - len(bad), len(bad))


main(*sys.argv[1:])
