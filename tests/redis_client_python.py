#!/usr/bin/python3
"""Writes metrics to Redis with the commands that prometheus_redis_client sends, one transaction
each, and reads them as it does:  redis_client_python.py SOCKET write N | ... SOCKET read
"""
import base64
import json
import sys

import redis

GAUGE_SECONDS = 60
BUCKETS = sorted((0.1, 0.25, 0.5, 1, 2.5), reverse=True)
LABELS = {"method": "GET", "path": "/é\"\\\n\U0001f600"}
server = redis.Redis(unix_socket_path=sys.argv[1])


def key_of(name, labels, suffix=""):
    packed = base64.b64encode(json.dumps(labels, sort_keys=True).encode())
    return f"{name}{suffix}:{packed.decode()}"


def change(name, labels, *changes, suffix="", **ttl):
    """One value: (verb, number) after the key is in the group."""
    pipeline = server.pipeline()
    key = key_of(name, labels, suffix)
    pipeline.sadd(name + "_group", key)
    for verb, number in changes:
        getattr(pipeline, verb)(key, number, **ttl)
    return pipeline.execute()


def count(name, labels, number):
    change(name, labels, ("incrby", number))


def summarise(name, labels, value):
    pipeline = server.pipeline()
    sum_key, count_key = key_of(name, labels, "_sum"), key_of(name, labels, "_count")
    pipeline.sadd(name + "_group", count_key, sum_key)
    pipeline.incrbyfloat(sum_key, float(value))
    pipeline.incr(count_key)
    pipeline.execute()


def observe(name, labels, value):
    pipeline = server.pipeline()
    group = name + "_group"
    for bound in BUCKETS:
        if value > bound:
            break
        bucket = key_of(name, {**labels, "le": bound}, "_bucket")
        pipeline.sadd(group, bucket)
        pipeline.incr(bucket)
    sum_key, count_key = key_of(name, labels, "_sum"), key_of(name, labels, "_count")
    pipeline.sadd(group, sum_key, count_key)
    pipeline.incr(count_key)
    pipeline.incrbyfloat(sum_key, float(value))
    pipeline.execute()


def write(times):
    for _ in range(times):
        count("both_total", LABELS, 1)
        count("plain_total", {}, 3)
        change("level", {}, ("incrbyfloat", 2.0))
        observe("lat_seconds", LABELS, 0.3)
        summarise("size_bytes", {}, 1.5)
    count("both_total", {"method": "PUT", "path": "only python"}, 7)
    index = server.incr("GLOBAL_GAUGE_INDEX")
    change("own", {"gauge_index": index}, ("set", 12.5), ex=GAUGE_SECONDS)
    if times == 0:
        change("level", {}, ("set", 21.5), ex=None)


def samples(name):
    group = name + "_group"
    for key in server.smembers(group):
        sample, packed = key.decode().split(":", maxsplit=1)
        labels = json.loads(base64.b64decode(packed).decode())
        value = server.get(key)
        if value is None:
            server.srem(group, key)
            continue
        text = ",".join(f"{name}={labels[name]!r}" for name in sorted(labels))
        yield f"{sample}{{{text}}} {value.decode()}"


def read():
    """One line a value, as its output() has them."""
    for name in ("both_total", "plain_total", "level", "lat_seconds", "size_bytes", "own"):
        print("\n".join(sorted(samples(name))))


if sys.argv[2] == "write":
    write(int(sys.argv[3]))
else:
    read()
