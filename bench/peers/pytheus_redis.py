#!/usr/bin/python3
"""python3-redis sending what pytheus' Redis backend sends, one round of bench/redis.c."""

import json
import os
import time

import redis

WHO = "python3-redis as pytheus"
BUCKETS = (.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
server = redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"], decode_responses=True)


def field(i):
    return json.dumps({"method": "GET", "path": f"/api/items/{i:06}"})


def inc(key, name, value):
    server.hincrbyfloat(key, name, value)
    server.expire(key, 3600)


def observe(name, value):
    inc("h:sum", name, value)
    for bound in BUCKETS:
        if value <= bound:
            inc(f"h:{bound}", name, 1)
    inc("h:+Inf", name, 1)
    inc("h:count", name, 1)


def tell(case, run, parts):
    times = []
    for _ in range(3):
        began = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - began)
    print(f"{case}\t{WHO}\t{sorted(times)[1] / parts:.4g}", flush=True)


def count_many():
    for i in range(1000):
        inc("http_requests_total", field(i), 1)


def observe_many():
    for i in range(100):
        observe(field(0), (i % 64) * 0.17)


def scrape():
    pipeline = server.pipeline()
    pipeline.expire("http_requests_total", 3600)
    pipeline.hgetall("http_requests_total")
    lines = []
    for name, value in pipeline.execute()[1].items():
        labels = ",".join(f'{k}="{v}"' for k, v in json.loads(name).items())
        lines.append(f"http_requests_total{{{labels}}} {float(value)}")
    return "\n".join(lines)


tell("redis-inc", count_many, 1000)
tell("redis-observe", observe_many, 100)
tell("redis-scrape-1000", scrape, 1000)
server.flushall()
