#!/usr/bin/python3
"""client_python in its mode for several processes (mapped files, one for each process): the
cases of bench/processes.c, one round."""

import os
import shutil
import signal
import statistics
import tempfile
import time

SHARED = tempfile.mkdtemp(dir="/dev/shm")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = SHARED  # read when it is imported

# pylint: disable=wrong-import-position
from prometheus_client import CollectorRegistry, Counter, generate_latest  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

WHO = "client_python"
REPETITIONS = 3
PROCESSES, SERIES = 8, 1000
METHODS = ["GET", "PUT", "POST", "DELETE"]


def show(name, value):
    print(f"{name}\t{WHO}\t{value:.4g}")


def bench_inc():
    counter = Counter("inc", "What a program would measure.")
    times = []
    for _ in range(REPETITIONS):
        began = time.perf_counter_ns()
        for _ in range(50000):
            counter.inc()
        times.append((time.perf_counter_ns() - began) / 50000)
    show("file-inc", statistics.median(times))


def count(name, first, ready):
    counter = Counter(name, "What a program would measure.", ["method", "path"])
    for i in range(first, first + SERIES):
        counter.labels(METHODS[i % 4], f"/api/items/{i:06d}").inc()
    os.write(ready, b"x")
    signal.pause()


def start(name, first, ready):
    pid = os.fork()
    if pid == 0:
        try:
            count(name, first, ready)
        finally:
            os._exit(1)
    return pid


def bench_page(name, distinct):
    """Microseconds."""
    up, ready = os.pipe()
    others = [start(f"requests_{distinct:d}", i * SERIES if distinct else 0, ready)
              for i in range(PROCESSES)]
    for _ in others:
        os.read(up, 1)
    times, wanted = [], SERIES * (PROCESSES if distinct else 1)
    for _ in range(REPETITIONS):
        began = time.perf_counter_ns()
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        page = generate_latest(registry)
        times.append((time.perf_counter_ns() - began) / 1000)
        assert page.count(b"requests_%d_total{" % distinct) == wanted, "series are missing"
    for pid in others:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    show(name, statistics.median(times))
    for file in os.listdir(SHARED):
        os.unlink(os.path.join(SHARED, file))


def main():
    try:
        bench_page("file-scrape", False)
        bench_page("file-scrape-distinct", True)
        bench_inc()
    finally:
        shutil.rmtree(SHARED)


main()
