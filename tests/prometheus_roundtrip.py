#!/usr/bin/python3
"""Lets a real Prometheus server scrape saved pages and asks it for every sample:

    tests/prometheus_roundtrip.py build/pages [NUMBER]

Of the pages in the folder NUMBER (50) are taken, evenly spread, and served from here, each as a
target of its own. What the server's query API gives back has to be what is known of each page:
every series, every label value, every value to the bit, and no series else. The server keeps its
data in a temporary folder and listens on the loopback interface only."""

import collections
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


class Pages(http.server.BaseHTTPRequestHandler):
    texts = []

    def do_GET(self):
        text = self.texts[int(self.path[1:])]
        try:
            self.send_response(200)
            self.send_header('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
            self.send_header('Content-Length', str(len(text)))
            self.end_headers()
            self.wfile.write(text)
        except ConnectionError:
            pass  # a scrape that was given up: the next one counts

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def serve(texts):
    Pages.texts = texts
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
                 f'--storage.tsdb.path={folder}/data', f'--web.listen-address={self.address}'],
                stdout=log, stderr=log, cwd=folder)

    def ask(self, path, **fields):
        data = urllib.parse.urlencode(fields).encode() if fields else None
        url = f'http://{self.address}/api/v1/{path}'
        with urllib.request.urlopen(url, data=data, timeout=20) as answer:
            return json.load(answer)['data']

    def query(self, expression):
        return self.ask('query', query=expression)['result']

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


def without_target_labels(labels, address):
    """The server gives job and instance to series that have none of their own."""
    given = {('job', 'pages'), ('instance', address)}
    return frozenset(pair for pair in labels.items() if pair not in given)


def complaints(path, samples, address):
    try:
        page = strict_page.known(path)
    except (strict_page.BadPage, ValueError) as error:
        yield f'{type(error).__name__}: {error!s:.300}'
        return
    wanted = {series(sample): bits(sample.value) for sample in page.samples}
    values = {(name, without_target_labels(labels, address)): value
              for name, labels, value in samples}
    for key in wanted.keys() | values.keys():
        if wanted.get(key) != values.get(key):
            yield f'{key!r:.300}: {values.get(key)} stored, {wanted.get(key)} expected'


def choose(paths, number):
    number = min(number, len(paths))
    return [paths[i * len(paths) // number] for i in range(number)]


def judge(server, paths, address):
    """Path to complaints, for each page that has some."""
    refused, found, bad = server.wait_for_scrapes(len(paths)), stored(server), {}
    for i, path in enumerate(paths):
        said = [refused[i]] if i in refused else list(complaints(path, found[i], address))
        if said:
            bad[path] = said
    return bad


def main(folder, number=50):
    paths = choose(strict_page.saved_pages(folder), int(number))
    deadline = time.monotonic() + 35 + 3 * seconds_between_scrapes(len(paths))
    port = serve([strict_page.read(path) for path in paths])
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
