# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a rollout leaves: an app that answers as it was planned, held to its limits, and keeps its secrets."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import sys

import pytest
import yaml
from headcount_scenarios import ROOT, Machine, Scenario, wait_for

sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import exposure, sandbox

EXPOSURE = 1.1
RUNNING = ["shop@1-worker.service", "shop@1.service"]
SECRET = hashlib.sha256(b"not-to-be-seen").hexdigest()


@pytest.fixture(params=["small", "large"])
def machine(scenario: Scenario, request: pytest.FixtureRequest) -> Machine:
    return scenario.machines[str(request.param)]


def test_answers_on_the_public_socket(machine: Machine) -> None:
    assert machine.get("/").status == 200
    assert machine.get("/healthz").json == {"status": "ok"}
    assert machine.get("/version").json["release"] == "first"


def test_one_generation_is_live_and_nothing_else_runs(machine: Machine) -> None:
    status = machine.status()
    assert status["live"]["generation"] == machine.live() == 1
    assert (status["intact"], status["healthy"]) == (True, True), status
    assert status["leftovers"] == []
    assert machine.running() == RUNNING
    assert machine.out("systemctl list-units --state=failed --plain --no-legend 'shop*'") == ""


def test_workers_are_as_planned(machine: Machine) -> None:
    settings = machine.settings()
    assert len(machine.workers()) == settings["workers"] == {"small": 1, "large": 2}[machine.name]
    assert settings["worker_class"] == "gevent"
    assert "gevent" in machine.get("/whoami").json["worker_class"].lower()
    assert machine.get("/whoami").json["pid"] in machine.workers()


def test_open_files_are_limited_as_planned(machine: Machine) -> None:
    planned = str(machine.settings()["limit_nofile"])
    for pid in [machine.master(), *machine.workers()]:
        line = next(line for line in machine.out(f"cat /proc/{pid}/limits").splitlines() if "open files" in line)
        assert line.split()[3:5] == [planned, planned]


def test_memory_is_limited_as_planned(machine: Machine) -> None:
    planned = machine.settings()["memory_max_mib"] * 2**20
    for pid in [machine.master(), *machine.workers()]:
        assert machine.memory_limit(pid) == planned


def test_runs_as_an_unprivileged_user(machine: Machine) -> None:
    for pid in [machine.master(), *machine.workers()]:
        assert machine.out(f"ps -o user:32= -p {pid}").strip() == "hc-shop"
        status = machine.out(f"cat /proc/{pid}/status")
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
    assert machine.out("getent passwd hc-shop").rsplit(":", 1)[1].endswith(("nologin", "false"))


def test_the_app_cannot_write_its_own_code(machine: Machine) -> None:
    # Status 1: root-only folders, and links of the virtual environment that find cannot follow.
    find = "runuser -u hc-shop -- find {} /opt/headcount/shop -writable -not -type l"
    assert machine.infra.run(find.format("-P")).stdout == ""
    # What of it leads elsewhere, so that the app can write there, leads to its data.
    led = machine.infra.run(f"{find.format('-L')} -exec readlink -f {{}} +").stdout.split()
    assert [path for path in led if not path.startswith("/var/lib/hc-shop/")] == []
    assert machine.out("stat -c '%a %U' /var/lib/hc-shop").strip() == "700 hc-shop"
    assert machine.out("find /opt/headcount -not -user root") == ""


def test_no_other_user_reads_the_release_or_the_wheels(machine: Machine) -> None:
    """The app's code may be anything but public: what Python reads, what Gunicorn reads, and the wheels themselves."""
    release = "/opt/headcount/shop/live/release"
    files = (
        f"{release}/requirements.lock /opt/headcount/shop/live/gunicorn.conf.py /var/lib/headcount/shop/ledger.jsonl"
    )
    wheel = machine.out("find /var/lib/headcount/wheels -name 'shop-*.whl' | head -1").strip()
    assert wheel
    for file in [*files.split(), wheel]:
        assert machine.infra.run(f"test -f {file}").rc == 0, file
        assert machine.infra.run(f"runuser -u nobody -- cat {file}").rc != 0, file
    assert machine.infra.run(f"runuser -u hc-shop -- cat {release}/requirements.lock").rc == 0
    assert machine.infra.run(f"runuser -u hc-shop -- cat {wheel}").rc != 0
    folders = "/opt/headcount/shop /var/lib/headcount/shop /var/lib/headcount/wheels"
    assert machine.out(f"find {folders} -maxdepth 0 -perm /o=rwx") == ""
    assert machine.out(f"stat -c '%a %U %G' {folders.split(maxsplit=1)[0]}").strip() == "750 root hc-shop"


def test_every_number_has_its_reason_on_the_host(machine: Machine) -> None:
    plan = machine.out("headcount plan shop")
    for setting in ("worker_class", "workers", "worker_connections", "memory_max_mib", "timeout", "backlog"):
        assert setting in plan
    assert any(line.startswith("  > cores: ") for line in plan.splitlines()), "the limit that won is marked"
    lines = machine.out("cat /opt/headcount/shop/live/gunicorn.conf.py").splitlines()
    numbers = [
        index for index, line in enumerate(lines) if line.startswith(("workers", "threads", "timeout", "backlog"))
    ]
    assert len(numbers) == 4
    assert all(lines[index - 1].startswith("# ") for index in numbers)


def test_the_ledger_has_who_what_and_the_verdict(machine: Machine) -> None:
    events = [event for event in machine.ledger() if event["event"] not in ("data_made", "prepared")]
    assert [event["event"] for event in events] == ["staged", "promoted"]
    assert (events[1].get("from"), events[1]["to"], events[1]["verdict"]) == (None, 1, "pass")
    assert events[1]["user"]
    assert events[1]["controller"]


def test_a_command_prepared_the_release_once_for_the_fleet(scenario: Scenario) -> None:
    ran = {
        name: one.out("cat /var/lib/hc-shop/prepared 2>/dev/null || true") for name, one in scenario.machines.items()
    }
    (line,) = "".join(ran.values()).splitlines()
    assert line.startswith("prepare in /opt/headcount/shop/releases/")
    first = next(name for name, said in ran.items() if said)
    entries = {name: [one["event"] for one in each.ledger()] for name, each in scenario.machines.items()}
    assert [name for name, events in entries.items() if "prepared" in events] == [first]
    assert entries[first].index("staged") < entries[first].index("prepared") < entries[first].index("promoted")


def test_a_further_process_has_what_the_server_has(machine: Machine) -> None:
    unit = "shop@1-worker.service"
    shown = dict(
        line.split("=", 1)
        for line in machine.out(f"systemctl show {unit} -p MainPID -p User -p MemoryMax -p NRestarts").splitlines()
    )
    assert (shown["User"], shown["MemoryMax"], shown["NRestarts"]) == ("hc-shop", str(32 * 2**20), "0")
    environment = machine.out(f"tr '\\0' '\\n' </proc/{shown['MainPID']}/environ").splitlines()
    assert {f"SHOP_TOKEN={SECRET}", "HEADCOUNT_ROLE=process", "HEADCOUNT_PROCESS=worker"} <= set(environment)
    assert "NoNewPrivs:\t1" in machine.out(f"cat /proc/{shown['MainPID']}/status")
    said = machine.out(f"systemd-analyze security --no-pager {unit} shop@1.service")
    levels = [float(line.split(": ")[1].split()[0]) for line in said.splitlines() if "Overall exposure" in line]
    assert levels == [EXPOSURE, EXPOSURE]
    assert "processes: worker runs, " in machine.out("headcount status shop")


def test_exposure_is_as_low_as_told_and_each_key_costs_what_is_told(machine: Machine) -> None:
    """The table of docs/operations.md by the systemd of both hosts: the app's own unit, whole and with one key bent."""
    docs = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+: [^|]*)`[^|]* \|.*\| ([\d.]+) \| ([\d.]+) \|$", docs, re.MULTILINE)
    keys = [{}, *(yaml.safe_load(cell) for cell, _, _ in rows)]
    assert {key for bent in keys for key in bent} == set(exposure.MEANINGS)
    unit, whole = machine.out("cat /opt/headcount/shop/live/shop@1.service"), "\n".join(sandbox.lines({"name": "shop"}))
    assert whole in unit
    units = [unit.replace(whole, "\n".join(sandbox.lines({"name": "shop", "sandbox": bent}))) for bent in keys]
    look = "systemd-analyze security --no-pager --offline=true $f"
    script = "\n".join(["f=$(mktemp --suffix=.service)", *(f"cat >$f <<'END'\n{text}\nEND\n{look}" for text in units)])
    packed = base64.b64encode(gzip.compress(f"export LC_ALL=C.UTF-8\n{script}\nrm $f".encode())).decode()
    said = machine.out(f"bash -c 'base64 -d <<<{packed} | gunzip | bash'")
    totals = [float(word) for word in re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)]
    open_lines = [dict(re.findall(r"^✗ (\S+) .* ([\d.]+) *$", part, re.MULTILINE)) for part in said.split("Overall")]
    costs = [
        sum(float(found[name]) for name in found if name not in open_lines[0]) for found in open_lines[: len(keys)]
    ]
    assert len(open_lines[0]) > 5
    told = [(0.0, EXPOSURE), *((float(cost), float(alone)) for _, cost, alone in rows)]
    assert list(zip([round(cost, 1) for cost in costs], totals, strict=True)) == told


def test_the_report_has_the_evidence(scenario: Scenario, machine: Machine) -> None:
    row = next(row for row in scenario.report()["rows"] if row["host"] == machine.name)
    assert row["status"] == "unchanged"
    assert row["generation"] == 1
    assert row["url"] == f"http://{machine.address}:8000/"
    page = scenario.report_path.with_suffix(".html").read_text(encoding="utf-8")
    assert f"<td>{machine.name}</td>" in page
    assert f"<td>http://{machine.address}:8000/</td>" in page


def test_the_local_fact_says_what_is_live(scenario: Scenario, machine: Machine) -> None:
    facts = machine.infra.ansible("setup", "filter=ansible_local", check=False)["ansible_facts"]
    assert facts["ansible_local"]["headcount"]["shop"]["generation"] == 1


def test_the_app_has_its_secret(machine: Machine) -> None:
    environment = machine.out(f"tr '\\0' '\\n' </proc/{machine.workers()[0]}/environ")
    assert f"SHOP_TOKEN={SECRET}" in environment.splitlines()


def test_secrets_are_in_one_file_of_root(machine: Machine) -> None:
    # The secret goes in by standard input, so that this test's own command line and log do not hold it.
    folders = "/etc /opt /usr/local /var /run /tmp /home /root /srv"
    look = (
        "f=$(mktemp /dev/shm/XXXXXX); base64 -d >$f <<<" + base64.b64encode(SECRET.encode()).decode() + "; "
        f"grep -rlsFf $f {folders}; rm $f"
    )
    found = machine.infra.run(f"bash -c '{look}'")
    assert found.stdout.split() == ["/var/lib/headcount/shop/1.env"]
    assert machine.out("stat -c '%a %U' /var/lib/headcount/shop/1.env /var/lib/headcount/shop") == "600 root\n700 root"


def test_secrets_are_in_no_process_list_and_no_journal(machine: Machine) -> None:
    assert SECRET not in machine.out("ps -eww -o args")
    assert SECRET not in machine.out("journalctl --no-pager --output=export")
    assert SECRET not in machine.out("systemctl show 'shop*'")
    everything = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | base64 --wrap=0 || true"
    seen = base64.b64decode(machine.out(f"runuser -u nobody -- sh -c '{everything}'"))
    assert b"/sbin/init" in seen
    assert SECRET.encode() not in seen


def test_secrets_are_in_no_notes_of_the_controller() -> None:
    notes = list((ROOT / ".headcount" / "test" / "work" / "runs").rglob("*.json"))
    assert notes
    assert [path for path in notes if SECRET in path.read_text(encoding="utf-8")] == []


def test_a_power_cut_brings_it_back(scenario: Scenario, machine: Machine) -> None:
    before = machine.master()
    boot = machine.out("cat /proc/sys/kernel/random/boot_id; systemctl show --property UserspaceTimestampMonotonic")
    scenario.lab("power", machine.name, "cycle")
    wait_for("an answer after the power cut", lambda: machine.get("/").status == 200)
    assert machine.running() == RUNNING
    assert machine.get("/version").json["release"] == "first"
    assert (machine.master(), boot) != (before, "")
    assert machine.out("systemctl is-enabled shop.socket") in ("enabled", "linked")
