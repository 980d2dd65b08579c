# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One probe for each library: how it waits for a peer that accepts a connection and then says nothing.

Runs inside the child process, monkey-patched. A probe imports and sets up first and returns the call that waits, so
that only the wait is measured. Every wait ends by itself after a few seconds.
"""

# ruff: noqa: PLC0415  (imports are part of what a probe prepares, after monkey-patching)
from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Callable

Wait = Callable[[], Any]
WAIT_SECONDS = 3
BLOCKS, COOPERATES = "blocks", "cooperates"


class Unavailable(Exception):
    """Installed, but cannot be used on this machine; the text says why."""


@dataclass(frozen=True)
class Probe:
    """What to install, what is claimed under each hub, how to wait. `peer`: the wait must reach the stalled peer."""

    requirements: tuple[str, ...]
    claims: dict[str, str]
    prepare: Callable[[int], Wait]
    peer: bool = True
    note: str = field(default="")


def module(name: str) -> Any:
    """Import by name: the libraries are not installed where this file is checked."""
    return import_module(name)


def psycopg2(port: int) -> Wait:
    driver = module("psycopg2")

    return lambda: driver.connect(host="127.0.0.1", port=port, user="u", dbname="d", connect_timeout=WAIT_SECONDS)


def psycopg2_green(port: int) -> Wait:
    patch_psycopg = module("psycogreen.gevent").patch_psycopg

    patch_psycopg()
    return psycopg2(port)


def psycopg3(port: int) -> Wait:
    psycopg = module("psycopg")

    return lambda: psycopg.connect(host="127.0.0.1", port=port, user="u", dbname="d", connect_timeout=WAIT_SECONDS)


def pymysql(port: int) -> Wait:
    driver = module("pymysql")

    return lambda: driver.connect(host="127.0.0.1", port=port, user="u", read_timeout=WAIT_SECONDS)


def mysql_connector_pure(port: int) -> Wait:
    driver = module("mysql.connector")

    return lambda: driver.connect(
        host="127.0.0.1", port=port, user="u", password="p", use_pure=True, connection_timeout=WAIT_SECONDS
    )


def mysql_connector_c(port: int) -> Wait:
    try:
        module("_mysql_connector")
    except ImportError as error:  # the driver itself would fall back to pure Python without a word
        raise Unavailable(f"mysql-connector-python's C extension does not load on this machine: {error}") from error
    driver = module("mysql.connector")

    return lambda: driver.connect(
        host="127.0.0.1", port=port, user="u", password="p", use_pure=False, connection_timeout=WAIT_SECONDS
    )


def redis(port: int) -> Wait:
    driver = module("redis")

    wait: Wait = driver.Redis(port=port, socket_timeout=WAIT_SECONDS).ping
    return wait


def pymongo(port: int) -> Wait:
    MongoClient = module("pymongo").MongoClient

    client = MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=WAIT_SECONDS * 1000, connect=False)
    return lambda: client.admin.command("ping")


def pymemcache(port: int) -> Wait:
    Client = module("pymemcache.client.base").Client

    client = Client(("127.0.0.1", port), timeout=WAIT_SECONDS, connect_timeout=WAIT_SECONDS)
    return lambda: client.get("key")


def pylibmc(port: int) -> Wait:
    driver = module("pylibmc")

    client = driver.Client([f"127.0.0.1:{port}"], behaviors={"receive_timeout": WAIT_SECONDS * 1000000})
    return lambda: client.get("key")


def boto3(port: int) -> Wait:
    aws = module("boto3")
    Config = module("botocore.config").Config

    client = aws.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(read_timeout=WAIT_SECONDS, retries={"max_attempts": 0}),
    )
    wait: Wait = client.list_buckets
    return wait


def urllib(port: int) -> Wait:
    urlopen = module("urllib.request").urlopen

    return lambda: urlopen(f"http://127.0.0.1:{port}/", timeout=WAIT_SECONDS)


def requests(port: int) -> Wait:
    http = module("requests")

    return lambda: http.get(f"http://127.0.0.1:{port}/", timeout=WAIT_SECONDS)


def httpx(port: int) -> Wait:
    http = module("httpx")

    return lambda: http.get(f"http://127.0.0.1:{port}/", timeout=WAIT_SECONDS)


def pycurl(port: int) -> Wait:
    curl = module("pycurl")

    handle = curl.Curl()
    handle.setopt(curl.URL, f"http://127.0.0.1:{port}/")
    handle.setopt(curl.TIMEOUT, WAIT_SECONDS)
    wait: Wait = handle.perform
    return wait


def grpcio(port: int) -> Wait:
    grpc = module("grpc")

    call = grpc.insecure_channel(f"127.0.0.1:{port}").unary_unary("/service/method")
    return lambda: call(b"", timeout=WAIT_SECONDS, wait_for_ready=True)


def grpcio_green(port: int) -> Wait:
    init_gevent = module("grpc.experimental.gevent").init_gevent

    init_gevent()
    return grpcio(port)


def confluent_kafka(port: int) -> Wait:
    Producer = module("confluent_kafka").Producer

    producer = Producer({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    producer.produce("topic", b"value")
    return lambda: producer.flush(WAIT_SECONDS)


def confluent_kafka_poll(port: int) -> Wait:
    Consumer = module("confluent_kafka").Consumer

    consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "g", "log_level": 0})
    consumer.subscribe(["topic"])
    return lambda: consumer.poll(WAIT_SECONDS)


def in_thread_pool(call: Wait) -> Wait:
    """The remedy for what cannot be made cooperative: the hub's own pool of native threads."""
    if "eventlet" in sys.modules:
        execute = module("eventlet.tpool").execute
        return lambda: execute(call)
    pool = module("gevent").get_hub().threadpool
    return lambda: pool.apply(call)


def confluent_kafka_pool(port: int) -> Wait:
    return in_thread_pool(confluent_kafka(port))


def kafka_python(port: int) -> Wait:
    Producer = module("kafka").KafkaProducer

    return lambda: Producer(bootstrap_servers=f"127.0.0.1:{port}", bootstrap_timeout_ms=WAIT_SECONDS * 1000)


def python_tds(port: int) -> Wait:
    driver = module("pytds")

    return lambda: driver.connect("127.0.0.1", "d", "u", "p", port=port, login_timeout=WAIT_SECONDS)


def pymssql_pool(port: int) -> Wait:
    return in_thread_pool(pymssql(port))


def pymssql(port: int) -> Wait:
    driver = module("pymssql")

    return lambda: driver.connect(
        server="127.0.0.1", port=str(port), user="u", password="p", login_timeout=WAIT_SECONDS
    )


def oracledb_thin(port: int) -> Wait:
    oracledb = module("oracledb")

    return lambda: oracledb.connect(user="u", password="p", dsn=f"127.0.0.1:{port}/x", tcp_connect_timeout=WAIT_SECONDS)


def pyzmq(port: int) -> Wait:
    zmq = module("zmq")

    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, WAIT_SECONDS * 1000)
    socket.connect(f"tcp://127.0.0.1:{port}")
    wait: Wait = socket.recv
    return wait


def pyzmq_green(port: int) -> Wait:
    zmq = module("zmq.green")

    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, WAIT_SECONDS * 1000)
    socket.connect(f"tcp://127.0.0.1:{port}")
    wait: Wait = socket.recv
    return wait


def pyzmq_eventlet(port: int) -> Wait:
    zmq = module("eventlet.green.zmq")

    socket = zmq.Context().socket(zmq.SUB)
    socket.connect(f"tcp://127.0.0.1:{port}")
    wait: Wait = socket.recv
    return wait


def pika(port: int) -> Wait:
    amqp = module("pika")

    parameters = amqp.ConnectionParameters("127.0.0.1", port, blocked_connection_timeout=1, stack_timeout=WAIT_SECONDS)
    return lambda: amqp.BlockingConnection(parameters)


def ldap3(port: int) -> Wait:
    ldap = module("ldap3")

    connection = ldap.Connection(ldap.Server("127.0.0.1", port), "cn=u", "p", receive_timeout=WAIT_SECONDS)
    wait: Wait = connection.bind
    return wait


def sqlite3(port: int) -> Wait:
    import sqlite3 as driver

    path = os.path.join(tempfile.mkdtemp(), "locked.db")
    holder = driver.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    waiter = driver.connect(path, timeout=WAIT_SECONDS)

    def wait() -> None:
        try:
            waiter.execute("BEGIN IMMEDIATE")
        finally:
            holder.rollback()

    return wait


def cpu_loop(port: int) -> Wait:
    import time

    def wait() -> None:
        deadline = time.perf_counter() + WAIT_SECONDS
        while time.perf_counter() < deadline:
            pass

    return wait


def sleep(port: int) -> Wait:
    import time

    return lambda: time.sleep(WAIT_SECONDS)


def both(verdict: str) -> dict[str, str]:
    return {"gevent": verdict, "eventlet": verdict}


PROBES = {
    "psycopg2-binary": Probe(("psycopg2-binary",), {"gevent": BLOCKS, "eventlet": COOPERATES}, psycopg2),
    "psycopg2-binary+psycogreen": Probe(("psycopg2-binary", "psycogreen"), {"gevent": COOPERATES}, psycopg2_green),
    "psycopg": Probe(("psycopg[binary]",), both(COOPERATES), psycopg3),
    "pymysql": Probe(("PyMySQL",), both(COOPERATES), pymysql),
    "mysql-connector-python pure": Probe(("mysql-connector-python",), both(COOPERATES), mysql_connector_pure),
    "mysql-connector-python C": Probe(("mysql-connector-python",), both(BLOCKS), mysql_connector_c),
    "redis": Probe(("redis",), both(COOPERATES), redis),
    "pymongo": Probe(("pymongo",), both(COOPERATES), pymongo),
    "pymemcache": Probe(("pymemcache",), both(COOPERATES), pymemcache),
    "pylibmc": Probe(("pylibmc",), both(BLOCKS), pylibmc),
    "boto3": Probe(("boto3",), both(COOPERATES), boto3),
    "urllib": Probe((), both(COOPERATES), urllib),
    "requests": Probe(("requests",), both(COOPERATES), requests),
    "httpx": Probe(("httpx",), both(COOPERATES), httpx),
    "pycurl": Probe(("pycurl",), both(BLOCKS), pycurl),
    "grpcio": Probe(("grpcio",), both(BLOCKS), grpcio),
    "grpcio+init_gevent": Probe(("grpcio",), {"gevent": COOPERATES}, grpcio_green),
    "confluent-kafka flush": Probe(("confluent-kafka",), both(BLOCKS), confluent_kafka),
    "confluent-kafka poll": Probe(("confluent-kafka",), both(BLOCKS), confluent_kafka_poll),
    "confluent-kafka flush+thread pool": Probe(("confluent-kafka",), both(COOPERATES), confluent_kafka_pool),
    "kafka-python": Probe(("kafka-python",), both(COOPERATES), kafka_python),
    "python-tds": Probe(("python-tds",), both(COOPERATES), python_tds),
    "pymssql+thread pool": Probe(("pymssql",), both(COOPERATES), pymssql_pool),
    "pymssql": Probe(("pymssql",), both(BLOCKS), pymssql),
    "oracledb": Probe(("oracledb",), both(COOPERATES), oracledb_thin),
    "pyzmq": Probe(("pyzmq",), both(BLOCKS), pyzmq),
    "pyzmq+zmq.green": Probe(("pyzmq",), {"gevent": COOPERATES}, pyzmq_green),
    "pyzmq+eventlet.green.zmq": Probe(("pyzmq",), {"eventlet": COOPERATES}, pyzmq_eventlet),
    "pika": Probe(("pika",), both(COOPERATES), pika),
    "ldap3": Probe(("ldap3",), both(COOPERATES), ldap3),
    "sqlite3": Probe((), both(BLOCKS), sqlite3, peer=False, note="the wait for another connection's lock"),
    "cpu loop": Probe((), both(BLOCKS), cpu_loop, peer=False),
    "time.sleep": Probe((), both(COOPERATES), sleep, peer=False),
}
