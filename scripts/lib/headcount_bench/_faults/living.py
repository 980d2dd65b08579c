# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app has around it, over promotes and rollbacks: a real Redis queue, a timer, a real nginx, Prometheus'
counters."""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import http.client
import json
import re
import shlex
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from headcount_scripts.console import ScriptError

from .. import _engine
from .._scene import APP, Scene
from .data import KEPT
from .row import Row

JOBS: Final = """
import os
import time

def job(number):
    note("began", number)
    time.sleep(0.1)
    note("ended", number)

def note(word, number):
    with open(os.environ["STATE_DIRECTORY"] + "/jobs", "a") as stream:
        stream.write(f"{word} {number} {os.environ['HEADCOUNT_GENERATION']}\\n")
"""
ENQUEUE: Final = """
import sys
from redis import Redis
from rq import Queue
from shop.jobs import job
queue = Queue("shop", connection=Redis())
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    queue.enqueue(job, number)
"""
TICK: Final = """
import os
import time

def note(word):
    with open(os.environ["STATE_DIRECTORY"] + "/ticks", "a") as stream:
        stream.write(f"{word} {os.environ['HEADCOUNT_GENERATION']}\\n")

note("began")
time.sleep(1)
note("ended")
"""
FRONTED: Final = """
import hashlib
from flask import jsonify, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix
from .wsgi import create_app

app = create_app()

@app.post("/upload")
def upload():
    digest, size = hashlib.sha256(), 0
    while block := request.stream.read(65536):
        digest.update(block)
        size += len(block)
    return jsonify(sha256=digest.hexdigest(), size=size)

@app.get("/seen")
def seen():
    return jsonify(address=request.remote_addr, url=url_for("seen", _external=True),
                   server=request.environ["headcount.scheme"])

def as_the_server_says(environ, start):
    environ["headcount.scheme"] = environ["wsgi.url_scheme"]
    return fixed(environ, start)

fixed = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)
app.wsgi_app = as_the_server_says
"""
COUNTED: Final = """
import os
from flask import Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest, multiprocess
from .wsgi import create_app

app = create_app()
ASKED = Counter("asked", "Requests that were counted.")
UP = Gauge("up_workers", "Workers that live.", multiprocess_mode="livesum")
UP.set(1)

@app.get("/counted")
def counted():
    ASKED.inc()
    UP.set(1)
    return jsonify(pid=os.getpid())

@app.get("/metrics")
def metrics():
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
"""
CHILD_EXIT: Final = """
from prometheus_client import multiprocess

def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
"""
NGINX: Final = """
server {
    listen 8443 ssl;
    ssl_certificate /etc/nginx/front.crt;
    ssl_certificate_key /etc/nginx/front.key;
    client_max_body_size 30m;
    location / {
        proxy_pass http://unix:/run/front/front.sock;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
    }
}
"""
CERTIFICATE: Final = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=shop.example.com -keyout /etc/nginx/front.key "
    "-out /etc/nginx/front.crt 2>/dev/null"
)
PERIOD: Final = 5
BEGINS: Final = "7d4958e842da4a758f6c1cdc7b36dcc5"
"""What systemd notes in its journal when it begins to start a unit."""


def source(scene: Scene, name: str, code: str, *packages: str) -> dict[str, Any]:
    """The sample app with a module `shop.NAME` more, which needs `packages`."""
    found = scene.variant()
    folder = Path(found["path"])
    (folder / "src/shop" / f"{name}.py").write_text(code, encoding="utf-8")
    project = folder / "pyproject.toml"
    asked = json.dumps(["flask>=3.0", *packages])
    text = project.read_text(encoding="utf-8").replace('dependencies = ["flask>=3.0"]', f"dependencies = {asked}")
    project.write_text(text, encoding="utf-8")
    if packages:
        (folder / "requirements.lock").unlink()  # which has none of them
    return found


@contextmanager
def installed(scene: Scene, *packages: str) -> Iterator[None]:
    """With packages of Debian's on the host; what it did not have before goes afterwards."""
    known = "dpkg-query -W -f '${Status}'"
    new = " ".join(name for name in packages if "ok installed" not in scene.sh(f"{known} {name} 2>/dev/null"))
    apt = "DEBIAN_FRONTEND=noninteractive apt-get -qy -o DPkg::Lock::Timeout=120"
    if new:
        words = f"apt-get update -q && {apt} --no-install-recommends install {new} >&2"
        scene.engine.sh(words, check=True, timeout=400.0)
    try:
        yield
    finally:
        if new:
            scene.sh(f"{apt} purge {new}", timeout=400.0)


def _promoted(scene: Scene, what: str, **changes: Any) -> None:
    done = scene.deploy(**changes)
    scene.seen.must("failed" not in done[-1], f"{what} was refused: {done[-1]}")


def _rolled_back(scene: Scene, app: str = APP) -> None:
    said = scene.sh(f"headcount-rollback {app} 2>&1; echo code $?")
    scene.seen.must("code 0" in said, f"the rollback said {said}")


def _lines(scene: Scene, name: str) -> list[list[str]]:
    return [line.split() for line in scene.sh(f"cat {KEPT}/{name} 2>/dev/null").splitlines()]


def queue(scene: Scene) -> None:
    """Two workers of rq drain a queue of a real Redis over a promote and a rollback: each job is done, and once."""
    jobs = 160
    with installed(scene, "redis-server"):
        scene.sh(f"rm -f {KEPT}/jobs; redis-cli flushall")
        worker = {"run": "rq worker shop", "instances": 2, "memory_mib": 150, "stop_seconds": 20}
        release = {"source": source(scene, "jobs", JOBS, "rq"), "processes": {"worker": worker}}
        _promoted(scene, "a release with workers", **release)
        enqueue = f"headcount run {APP} -- python -c {shlex.quote(ENQUEUE)}"
        scene.engine.sh(f"{enqueue} 0 {jobs // 2}", check=True)
        _promoted(scene, "the next one", **release)
        scene.engine.sh(f"{enqueue} {jobs // 2} {jobs}", check=True)
        _rolled_back(scene)
        waiting = "redis-cli llen rq:queue:shop; redis-cli zcard rq:wip:shop"
        scene.awaited("the end of all jobs", lambda: scene.sh(waiting).split() == ["0", "0"], 240.0)
        lines = _lines(scene, "jobs")
        left = scene.sh("redis-cli llen rq:queue:shop; redis-cli zcard rq:failed:shop").split()
        _promoted(scene, "one without workers")  # so that the workers end before their Redis does
        scene.sh(f"rm -f {KEPT}/jobs")
    for word in ("began", "ended"):
        times = collections.Counter(int(line[1]) for line in lines if line[0] == word)
        lost, doubled = sorted(set(range(jobs)) - set(times)), [number for number, count in times.items() if count > 1]
        scene.seen.must(not lost, f"{len(lost)} jobs never {word}: {lost[:9]}")
        scene.seen.must(not doubled, f"{len(doubled)} jobs {word} twice: {doubled[:9]}")
    scene.seen.must(left == ["0", "0"], f"in the queue, and failed, are {left}")
    by = collections.Counter(line[2] for line in lines if line[0] == "ended")
    scene.seen.must(len(by) == 2, f"they were done by {dict(by)}, where both generations had work")
    scene.seen.told.append("jobs done by generation " + ", ".join(f"{one}: {count}" for one, count in by.items()))
    scene.clean()


def _runs_come(scene: Scene, count: int) -> None:
    """So many more runs of the timer begin and end, which those of the live generation are."""
    before = len(_lines(scene, "ticks"))
    scene.awaited(f"{count} runs", lambda: len(_lines(scene, "ticks")) >= before + 2 * count, 12.0 * PERIOD * count)


def timer(scene: Scene) -> None:
    """A timer that is due every few seconds, over promotes and rollbacks: no moment has two runs, and no run begins
    before the one before it has ended."""
    scene.sh(f"rm -f {KEPT}/ticks")
    tick = {"run": "python -m shop.tick", "schedule": f"*:*:0/{PERIOD}", "seconds": 60, "memory_mib": 64}
    release = {"source": source(scene, "tick", TICK), "processes": {"tick": tick}}
    since = scene.sh("date +%s").strip()
    for number in range(2):
        _promoted(scene, f"release {number} with a timer", **release)
        _runs_come(scene, 2)
        _promoted(scene, f"the one after release {number}", **release)
        _runs_come(scene, 1)
        _rolled_back(scene)
        _runs_come(scene, 1)
    _promoted(scene, "one without a timer")
    noted = scene.sh(f"journalctl -q -o json --since=@{since} MESSAGE_ID={BEGINS}")
    begun = []
    for line in noted.splitlines():
        entry = json.loads(line)
        if re.fullmatch(rf"{APP}@\d+-tick\.service", str(entry.get("UNIT"))):
            begun.append((int(entry["__REALTIME_TIMESTAMP"]) / 1e6, str(entry["UNIT"])))
    said = [line[0] for line in _lines(scene, "ticks")]
    scene.seen.must(len(begun) > 10, f"it ran {len(begun)} times")
    scene.seen.must(said == ["began", "ended"] * len(begun), f"of {len(begun)} runs it said {said}")
    moments = collections.Counter(int(at // PERIOD) for at, _ in begun)
    twice = [(round(at, 2), unit) for at, unit in begun if moments[int(at // PERIOD)] > 1]
    scene.seen.must(not twice, f"a moment has two runs: {twice}")
    units = len({unit for _, unit in begun})
    scene.seen.must(units >= 4, f"{units} generations ran it")
    scene.seen.told.append(f"{len(begun)} runs by {units} generations, each at a moment of its own")
    scene.sh(f"rm -f {KEPT}/ticks")
    scene.clean()


@contextmanager
def _fronted(scene: Scene) -> Iterator[None]:
    """A real nginx that takes https off and leads to the unix socket of an app `front`."""
    with installed(scene, "nginx-light", "openssl"):
        config = f"printf %s {shlex.quote(NGINX)} > /etc/nginx/sites-enabled/default"
        scene.engine.sh(f"{config} && {CERTIFICATE} && systemctl restart nginx", check=True)
        try:
            yield
        finally:
            scene.engine.steps("front", ("remove", {"everything": True}), gone=scene.gone())
            scene.sh("rm -rf /etc/nginx /var/lib/headcount/front /run/front")


def _front(scene: Scene, found: Mapping[str, Any]) -> dict[str, Any]:
    scene.serial += 1
    return _engine.shop(
        "front",
        source=dict(found),
        entry_point="shop.fronted:app",
        listen="unix:/run/front/front.sock",
        listen_group="www-data",
        scheme="https",
        host="shop.example.com",
        buffering_proxy=True,
        environment={"SHOP_RELEASE": f"front-{scene.serial}"},
        share={"memory_mib": 250},
    )


def _front_promoted(scene: Scene, found: Mapping[str, Any]) -> None:
    request = scene.engine.request(_front(scene, found))
    done = scene.engine.steps("front", ("stage", request), "finish", "promote", gone=scene.gone())
    if "failed" in done[-1]:
        raise ScriptError(f"the app behind nginx was refused: {done[-1]['failed']}")


def https(address: str, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any], str]:
    """(status, the JSON of the answer, the address that the client had) of one request through nginx."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(address, 8443, context=trusting, timeout=90)
    try:
        connection.request(method, path, body=body, headers={"Host": "shop.example.com"})
        mine = str(connection.sock.getsockname()[0])
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return answer.status, json.loads(text) if text.startswith("{") else {"text": text[:200]}, mine
    finally:
        connection.close()


def front(scene: Scene) -> None:
    """A real nginx in front: uploads of 20 MB over a promote and a rollback, the client's address, and https."""
    address = str(scene.address[0])
    body = b"0123456789abcdef" * (20 * 1024 * 1024 // 16)
    wanted = hashlib.sha256(body).hexdigest()
    ended = threading.Event()
    wrong: list[str] = []
    sent = 0

    def uploads() -> None:
        nonlocal sent
        while not ended.is_set():
            try:
                status, said, _ = https(address, "POST", "/upload", body)
            except (OSError, http.client.HTTPException) as error:
                status, said = 0, {"error": f"{type(error).__name__}: {error}"}
            sent += 1
            if status != 200 or said.get("sha256") != wanted:
                wrong.append(f"{status} {said}")

    with _fronted(scene):
        found = source(scene, "fronted", FRONTED)
        _front_promoted(scene, found)
        status, said, mine = https(address, "GET", "/seen")
        scene.seen.must(status == 200, f"through nginx it answered {status} {said}")
        scene.seen.must(said.get("address") == mine, f"it took the client {mine} for {said.get('address')}")
        scene.seen.must(said.get("url") == "https://shop.example.com/seen", f"its own address is {said.get('url')}")
        scene.seen.must(said.get("server") == "https", f"the server took it for {said.get('server')}")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            asking = [pool.submit(uploads) for _ in range(2)]
            try:
                _front_promoted(scene, found)
                _rolled_back(scene, "front")
            finally:
                ended.set()
            for one in asking:
                one.result()
        scene.seen.must(sent > 2, f"{sent} uploads were made")
        scene.seen.must(not wrong, f"{len(wrong)} of {sent} uploads were not well: {wrong[:2]}")
        scene.seen.told.append(f"{sent} uploads of 20 MB over a promote and a rollback; client {mine}, https")
    scene.clean()


def _metrics(scene: Scene) -> dict[str, float]:
    """The figures that the app tells Prometheus."""
    text = scene.sh("curl -s -m 10 http://127.0.0.1:8000/metrics")
    return {name: float(value) for name, value in re.findall(r"(?m)^(\w+?)(?:\{\})? ([\d.e+]+)$", text)}


def _ask_counted(scene: Scene, count: int) -> set[int]:
    """Which workers answered `count` requests, a connection each."""
    text = scene.sh(f"for i in $(seq {count}); do curl -s -m 10 http://127.0.0.1:8000/counted; done")
    return {int(pid) for pid in re.findall(r'"pid":\s*(\d+)', text)}


def counters(scene: Scene) -> None:
    """prometheus_client counts over two workers, one of which dies; each generation begins anew."""
    release: dict[str, Any] = {
        "source": source(scene, "counted", COUNTED, "prometheus_client"),
        "entry_point": "shop.counted:app",
        "worker_class": "gthread",
        "settings": {"workers": 2, "threads": 4},
        "environment": {"PROMETHEUS_MULTIPROC_DIR": "/tmp"},
    }

    def promote(what: str) -> None:
        request = scene.request(**release)
        for app in (request["app"], *(one for one in request["planning"]["apps"] if one["name"] == APP)):
            # What the preflight makes of the file that `gunicorn.hooks` names.
            app["gunicorn"] = {"hooks": "hooks.py", "hooks_text": CHILD_EXIT}
        done = scene.engine.steps(APP, ("stage", request), "finish", "promote", gone=scene.gone())
        scene.seen.must("failed" not in done[-1], f"{what} was refused: {done[-1]}")

    def count(when: str, requests: int, before: int = 0) -> set[int]:
        pids = _ask_counted(scene, requests)
        told = _metrics(scene)
        asked = told.get("asked_total")
        scene.seen.must(asked == before + requests, f"{when} {asked} are counted, not {before + requests}")
        return pids

    promote("a release that counts")
    pids = count("with the first generation", 60)
    scene.seen.must(len(pids) == 2, f"{len(pids)} workers answered")
    up = _metrics(scene).get("up_workers")
    scene.seen.must(up == 2, f"{up} workers are told, not 2")
    if pids:
        # Who is with that worker loses the request: that is the fault's own.
        begin = time.time()
        scene.sh(f"kill -KILL {min(pids)}")
        scene.seen.window = [begin, time.time()]
        asked = 60

        def replaced() -> bool:
            nonlocal asked
            asked += 10
            return len(_ask_counted(scene, 10) - {min(pids)}) == 2

        scene.awaited("another worker", replaced)
        now = count("after the end of a worker", 40, before=asked)
        scene.seen.must(len(now) == 2 and min(pids) not in now, f"the workers are {now}, after {pids}")
        up = _metrics(scene).get("up_workers")
        scene.seen.must(up == 2, f"after the end of a worker {up} are told, not 2")
    promote("the next one")
    count("after a promote", 30)
    _rolled_back(scene)
    count("after the rollback", 20)
    scene.seen.told.append("60, 40 more after the end of a worker, 30 after a promote, 20 after the rollback")
    _promoted(scene, "one that does not count")
    scene.clean()


LIVING: Final[Sequence[Row]] = [
    Row(
        "life/queue",
        "two workers drain a queue of a real Redis while a release is promoted and rolled back",
        "each job is done, and once; both generations had work",
        queue,
    ),
    Row(
        "life/timer",
        f"a timer that is due every {PERIOD} s, while releases are promoted and rolled back",
        "no moment has two runs, and no run begins before the one before it has ended",
        timer,
    ),
    Row(
        "life/nginx",
        "a real nginx takes https off before a unix socket; clients upload 20 MB while a release is promoted and "
        "rolled back",
        "each upload arrives whole; the app sees the client's address, and https",
        front,
    ),
    Row(
        "life/prometheus-multiprocess",
        "prometheus_client counts over two workers; one of them is killed, a release is promoted and rolled back",
        "all requests of a generation are counted, dead workers are none that live, each generation begins anew",
        counters,
    ),
]
