#!/usr/bin/python3
"""Writes metrics to Redis with the commands that pytheus' MultiProcessRedisBackend sends, one round
trip each, and reads them as it does:  redis_python.py SOCKET write N | redis_python.py SOCKET read
"""
import json
import sys

import redis

EXPIRE = 3600
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LABELS = {"method": "GET", "path": "/é\"\\\n\U0001f600"}
server = redis.Redis(unix_socket_path=sys.argv[1], decode_responses=True)


def keys_of_histogram(name):
    return [name + ":sum", name + ":count"] + [f"{name}:{b}" for b in BUCKETS] + [name + ":+Inf"]


def create(key, field=None):
    if field is None:
        if not server.exists(key):
            server.incrbyfloat(key, 0.0)
    elif not server.hexists(key, field):
        server.hincrbyfloat(key, field, 0.0)
    server.expire(key, EXPIRE)


def inc(key, field, value):
    if field is None:
        server.incrbyfloat(key, value)
    else:
        server.hincrbyfloat(key, field, value)
    server.expire(key, EXPIRE)


def put(key, value):
    server.set(key, value)
    server.expire(key, EXPIRE)


def observe(name, field, value):
    inc(name + ":sum", field, value)
    for bound in BUCKETS:
        if value <= bound:
            inc(f"{name}:{bound}", field, 1)
    inc(name + ":+Inf", field, 1)
    inc(name + ":count", field, 1)


def write(times):
    field = json.dumps(LABELS)
    create("both_total", field)
    create("plain_total")
    create("level")
    for key in keys_of_histogram("lat_seconds"):
        create(key, field)
    for key in ("size_bytes:sum", "size_bytes:count"):
        create(key)
    for _ in range(times):
        inc("both_total", field, 1)
        inc("plain_total", None, 0.5)
        inc("level", None, 2)
        observe("lat_seconds", field, 0.3)
        inc("size_bytes:sum", None, 1.5)
        inc("size_bytes:count", None, 1)
    inc("both_total", json.dumps({"method": "PUT", "path": "only python"}), 7)
    if times == 0:
        put("level", 21.5)


def read():
    """One line a value, sorted, as the scrape of pytheus sees them: one transaction."""
    hashes = ["both_total"] + keys_of_histogram("lat_seconds")
    strings = ["plain_total", "level", "size_bytes:sum", "size_bytes:count"]
    pipeline = server.pipeline()
    for key in hashes:
        pipeline.expire(key, EXPIRE).hgetall(key)
    for key in strings:
        pipeline.expire(key, EXPIRE).get(key)
    answers = pipeline.execute()[1::2]
    for key, fields in zip(hashes, answers):
        for field, value in sorted(fields.items()):
            print(key, json.dumps(json.loads(field)), float(value))
    for key, value in zip(strings, answers[len(hashes):]):
        print(key, float(value or 0))


if sys.argv[2] == "write":
    write(int(sys.argv[3]))
else:
    read()
