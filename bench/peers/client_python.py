#!/usr/bin/python3
"""client_python: the cases of the benchmark that it has, one round. Threads take turns in Python,
so there are none here."""

import math
import os
import random
import statistics
import sys
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

WHO = "client_python"
REPETITIONS = 3
SECONDS_MOST = 1
BOUNDS_11 = [.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10]
BOUNDS_50 = [0.001 * 1.25 ** i for i in range(50)]
METHODS = ["GET", "PUT", "POST", "DELETE"]


# What harness.h does for the programs in C and C++, and for the same reasons.

def waited():
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            return float(file.read().split()[1])
    except OSError:
        return 0.0


def time_one(run):
    """NaN: disturbed."""
    waited_before, began = waited(), time.perf_counter_ns()
    run()
    ns = time.perf_counter_ns() - began
    lost = waited() - waited_before
    if lost <= 0.03 * ns:
        return ns
    return ns - lost if ns > 1e8 else math.nan


def show(name, value):
    if math.isnan(value):
        print(f"{WHO}: {name}: no undisturbed repetition", file=sys.stderr)
    else:
        print(f"{name}\t{WHO}\t{value:.4g}")


def show_median(name, repeat):
    good = []
    began = time.perf_counter()
    while len(good) < REPETITIONS and time.perf_counter() - began < SECONDS_MOST:
        ns = repeat()
        if not math.isnan(ns):
            good.append(ns)
    show(name, statistics.median(good) if good else math.nan)


def measure(name, call, arguments):
    """An argument list makes each call; the loop itself is a part of what a program pays."""
    def run():
        for each in arguments:
            call(each)
    show_median(name, lambda: time_one(run) / len(arguments))


def values_for(bounds):
    low, high = math.log(bounds[0] / 2), math.log(bounds[-1] * 2)
    return [math.exp(random.uniform(low, high)) for _ in range(20000)]


def bench_operations():
    counter = Counter("c", "c", registry=None)
    gauge = Gauge("g", "g", registry=None)
    measure("inc", counter.inc, [1] * 20000)
    measure("add-fraction", counter.inc, [1.5] * 20000)
    measure("gauge-add", gauge.inc, [1.5] * 20000)
    measure("gauge-set", gauge.set, [42] * 20000)
    for name, bounds in ("observe-11", BOUNDS_11), ("observe-50", BOUNDS_50):
        histogram = Histogram("h", "h", buckets=bounds, registry=None)
        measure(name, histogram.observe, values_for(bounds))


def paths(n):
    return [f"/api/items/{i:06d}" for i in range(n)]


def all_labels(n):
    return [(METHODS[i % 4], path) for i, path in enumerate(paths(n))]


def new_metric(kind, registry=None):
    more = {"buckets": BOUNDS_11} if kind is Histogram else {}
    return kind("http_requests", "Requests.", ["method", "path"], registry=registry, **more)


def bench_labels(n):
    counter = new_metric(Counter)
    labels = all_labels(n)
    for each in labels:
        counter.labels(*each)
    measure(f"labels-{n}", lambda each: counter.labels(*each).inc(),
            [random.choice(labels) for _ in range(20000)])


def change(metric, each):
    child = metric.labels(*each)
    if isinstance(metric, Counter):
        child.inc(random.randrange(1, 100000))
    elif isinstance(metric, Gauge):
        child.set(1000 * random.random())
    else:
        child.observe(math.exp(random.uniform(-6, 3)))


def bench_page(name, kind, n):
    registry = CollectorRegistry()
    metric = new_metric(kind, registry)
    labels = all_labels(n)
    pages = 1000 // n or 1
    page = b""

    def repeat():
        nonlocal page
        for each in labels:
            change(metric, each)

        def run():
            nonlocal page
            for _ in range(pages):
                page = generate_latest(registry)
        ns = time_one(run) / pages
        return ns / sum(1 for line in page.split(b"\n") if line and line[:1] != b"#")
    show_median(f"text-{name}-{n}", repeat)


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def bench_growth():
    for name, kind, n in ("counter", Counter, 100000), ("histogram", Histogram, 20000):
        labels = all_labels(n)
        metric = new_metric(kind)
        before, began = resident(), time.thread_time_ns()
        for each in labels:
            metric.labels(*each)
        ns = time.thread_time_ns() - began
        show(f"memory-{name}", (resident() - before) / n)
        if kind is Counter:
            show(f"making-{n}", ns / n)


def main():
    bench_growth()
    bench_operations()
    for n in 1, 1000, 100000:
        bench_labels(n)
    for n in 100, 1000, 10000, 100000:
        bench_page("counter", Counter, n)
    for n in 1000, 100000:
        bench_page("gauge", Gauge, n)
    bench_page("histogram", Histogram, 1000)


main()
