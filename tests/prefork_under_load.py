#!/usr/bin/python3
"""A prefork server under the load of wrk, scraped by a real Prometheus through whichever worker
answers, while workers are killed:

    tests/prefork_under_load.py build/gcc/prefork [SECONDS]

The server's totals are the requests that were answered (a killed worker may have counted one whose
answer nobody got, and wrk hangs up while its last ones are answered), no scrape shows less than the
one before it, and the rate has no dip below half of its median."""

import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

KILLS_EACH_SECOND = 3
CONNECTIONS = 8
# What wrk waits before each request, in ms: where two CPUs have time left, a dip is the server's.
PACE = 'function delay() return 2 end\n'


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def get(port, path, timeout=10):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}{path}', timeout=timeout) as answer:
        return answer.read().decode()


def start_prometheus(folder, target, port):
    with open(folder + '/config.yml', 'w', encoding='utf-8') as config:
        config.write('global: {scrape_interval: 500ms}\nscrape_configs:\n- job_name: prefork\n'
                     f"  static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n")
    return subprocess.Popen(
        ['prometheus', f'--config.file={folder}/config.yml', f'--storage.tsdb.path={folder}/data',
         f'--web.listen-address=127.0.0.1:{port}'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def workers_of(process):
    with open(f'/proc/{process}/task/{process}/children', encoding='ascii') as children:
        return [int(pid) for pid in children.read().split()]


def scraped(port, seconds):
    """[(time, total)] of each scrape."""
    query = urllib.parse.urlencode({'query': f'http_requests_total[{seconds}s]'})
    result = json.loads(get(port, '/api/v1/query?' + query))['data']['result']
    return [(t, float(v)) for t, v in result[0]['values']]


def load(server, port, folder, seconds):
    """How many requests were answered, and how many workers killed meanwhile."""
    with open(folder + '/pace.lua', 'w', encoding='utf-8') as pace:
        pace.write(PACE)
    wrk = subprocess.Popen(
        ['wrk', '-t2', f'-c{CONNECTIONS}', f'-d{seconds:.0f}s', '--timeout', '10s',
         '-s', folder + '/pace.lua', f'http://127.0.0.1:{port}/'],
        stdout=subprocess.PIPE, text=True)
    killed = 0
    while wrk.poll() is None:
        time.sleep(1 / KILLS_EACH_SECOND)
        os.kill(random.choice(workers_of(server.pid)), signal.SIGKILL)
        killed += 1
    told = wrk.stdout.read()
    return int(re.search(r'(\d+) requests in', told).group(1)), killed


def main():
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 15
    folder = tempfile.mkdtemp()
    shared = tempfile.mkdtemp(dir='/dev/shm')
    port, own_port = free_port(), free_port()
    server = subprocess.Popen([sys.argv[1], str(port), shared], stdout=subprocess.DEVNULL)
    prometheus = start_prometheus(folder, port, own_port)
    failed = []
    try:
        time.sleep(3)  # until the first scrapes
        answered, killed = load(server, port, folder, seconds)
        time.sleep(2)
        total = float(re.search(r'http_requests_total\{path="/"\} (\d+)',
                                get(port, '/metrics')).group(1))
        values = scraped(own_port, int(seconds) + 10)
        totals = [v for _, v in values]
        changing = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(values, values[1:])
                    if a[1] > 0 and b[1] < total]
        print(f'{killed} workers killed, {answered} requests answered, {total:.0f} counted, '
              f'{len(values)} scrapes, rates {min(changing):.0f} to {max(changing):.0f}')
        if not answered <= total <= answered + killed + CONNECTIONS:
            failed.append('the total is not what was answered')
        if totals != sorted(totals):
            failed.append('a total went down')
        if min(changing) < statistics.median(changing) / 2:
            failed.append('a dip')
        if totals[-1] != total:
            failed.append('the last scrape shows another total')
    finally:
        for process in (server, prometheus):
            process.terminate()
            process.wait()
        shutil.rmtree(folder)
        shutil.rmtree(shared)
    for what in failed:
        print('prefork_under_load:', what)
    print(f'{4 - len(failed)} passed, {len(failed)} failed')
    return 1 if failed else 0


sys.exit(main())
