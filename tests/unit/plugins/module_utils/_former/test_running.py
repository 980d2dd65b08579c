# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The Gunicorns of a host that is a directory."""

from __future__ import annotations

import itertools
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former import masters as _masters
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.masters import declared
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.running import Running, _descendants, running
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd

VENV = "/srv/shop/venv"
ENVIRON = "PATH=/bin\0LANG=C.UTF-8\0INVOCATION_ID=1\0PIDFILE=/run/shop.pid\0MODE=live\0API_TOKEN=hunter2\0DB=postgres://a:b@db/x\0PORT=8000"
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0
"""


class Host:
    """Processes of a host, each with its service."""

    def __init__(self, root: Path) -> None:
        self.root, self.units = root, dict[str, str]()
        (root / "proc/net").mkdir(parents=True)
        self.write("/proc/net/tcp", TCP)

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def process(
        self, pid: int, parent: int, line: str, unit: str, sockets: Sequence[int] = (), environ: str = ""
    ) -> None:
        folder = self.root / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        for number, inode in enumerate(sockets, 3):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
        (folder / "cwd").symlink_to("/srv/shop")
        (folder / "exe").symlink_to("/usr/bin/python3.11")
        files = {
            "cmdline": line.replace(" ", "\0"),
            "environ": environ,
            "cgroup": f"0::/system.slice/{unit}",
            "stat": f"{pid} (python3) S {parent} " + "0 " * 17 + str(pid) + " 0",
            "status": "Name:\tpython3\nUid:\t1000\t1000\t1000\t1000\n",
            "smaps_rollup": "55 ---p\nRss:  90000 kB\nPss:  51200 kB\n",
        }
        for name, text in files.items():
            self.write(f"/proc/{pid}/{name}", text)
        self.units.setdefault(unit, f"/etc/systemd/system/{unit}")

    def systemctl(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        unit = command[-1]
        lines = [f"Id={unit}", "ActiveState=active", f"FragmentPath={self.units.get(unit, '')}", "MainPID=40"]
        return Completed(0, "\n".join([*lines, "TriggeredBy=shop.socket shop.timer", f"ExecStart={self.started}"]), "")

    started = ""

    def running(self, unit: str | None = None) -> list[Running]:
        return running(unit, 4, str(self.root), Systemd(self.systemctl))[0]

    def left(self, unit: str | None = None, clock: Callable[[], float] = lambda: 0.0) -> list[str]:
        """What was not looked at."""
        return running(unit, 4, str(self.root), Systemd(self.systemctl), clock)[1]

    def own(self, unit: str | None = None) -> list[str]:
        """Headcount's own services."""
        return running(unit, 4, str(self.root), Systemd(self.systemctl))[2]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    shop = SimpleNamespace(pw_name="deploy", pw_shell="/bin/bash")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: shop)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: shop)
    made = Host(tmp_path)
    line = f"{VENV}/bin/python {VENV}/bin/gunicorn -c gunicorn.conf.py shop:app"
    made.process(40, 1, line, "shop.service", [111], ENVIRON)
    made.process(41, 40, line, "shop.service", [111])
    made.process(42, 40, line, "shop.service", [111])
    made.process(50, 1, "/usr/sbin/nginx -g daemon", "nginx.service")
    made.write("/srv/shop/gunicorn.conf.py", "workers = 2\ntimeout = 90\ndef post_fork(s, w): pass\n")
    made.write(f"{VENV}/lib/python3.11/site-packages/gunicorn-22.0.0.dist-info/METADATA", "")
    made.write("/srv/shop/.git/config", '[remote "origin"]\n\turl = https://ci:token@git.example.com/shop.git\n')
    made.write("/srv/shop/.git/HEAD", "ref: refs/heads/main\n")
    made.write("/srv/shop/.git/refs/heads/main", "a" * 40 + "\n")
    made.write(
        "/etc/nginx/sites-enabled/shop", "server { server_name a.b; location / { proxy_pass http://127.0.0.1:8000; } }"
    )
    return made


def test_all_that_an_entry_needs(host: Host) -> None:
    (found,) = host.running()
    assert (found.unit, found.sockets, found.file) == (
        "shop.service",
        ("shop.socket",),
        "/etc/systemd/system/shop.service",
    )
    assert (found.user, found.login, found.folder) == ("deploy", True, "/srv/shop")
    assert (found.entry_point, found.listen, found.workers) == ("shop:app", ("0.0.0.0:8000",), 2)
    assert (found.worker_mib, found.python, found.gunicorn) == (50.0, "3.11", "22.0.0")
    assert found.settings == {"workers": 2, "timeout": 90, "config": "gunicorn.conf.py"}
    assert (found.config, found.hooks, found.unread) == ("/srv/shop/gunicorn.conf.py", ("post_fork",), ())
    assert (found.git, found.commit) == ("https://git.example.com/shop.git", "a" * 40)
    assert [front.name for front in found.fronts] == ["a.b"]
    assert found.shared is False


def test_what_a_service_holds_is_read_by_itself(host: Host) -> None:
    def sizes(unit: str) -> list[tuple[int, object]]:
        found = declared(unit, 4, str(host.root), Systemd(host.systemctl))
        return [(workers, one.settings.get("timeout")) for workers, one in found]

    assert sizes("shop.service") == [(2, 90)]
    assert sizes("nginx.service") == []
    host.process(60, 1, "gunicorn -w 1 --timeout 5 till:app", "shop.service")
    assert sizes("shop.service") == [(2, 90), (0, 5)]


def test_secrets_are_kept_apart_and_are_in_no_text(host: Host) -> None:
    (found,) = host.running()
    assert found.environment == {"MODE": "live", "PORT": "8000"}
    assert found.secrets == {"API_TOKEN": "hunter2", "DB": "postgres://a:b@db/x"}
    assert "hunter2" not in repr(found)
    assert "token@" not in repr(found)


def test_one_service_alone(host: Host) -> None:
    assert [one.unit for one in host.running("shop.service")] == ["shop.service"]
    assert host.running("nginx.service") == []


def test_headcounts_own_are_left_out_and_named(host: Host) -> None:
    assert host.own() == []
    host.units["shop.service"] = "/opt/headcount/shop/live/shop@1.service"
    assert (host.running(), host.own(), host.own("x.service")) == ([], ["shop (shop.service)"], [])
    host.units["shop.service"] = "/etc/systemd/system/shop@1.service"
    file = host.root / "etc/systemd/system/shop@1.service"
    file.parent.mkdir(parents=True)
    file.symlink_to("/opt/headcount/shop/generations/1/shop@1.service")
    assert (host.running(), host.own("shop.service")) == ([], ["shop (shop.service)"])


def test_one_that_has_made_a_title_of_its_command_line_is_read_from_its_unit(host: Host) -> None:
    host.started = f"{{ path={VENV}/bin/gunicorn ; argv[]={VENV}/bin/gunicorn -w 7 till:app ; ignore_errors=no ; }}"
    for pid, title in ((40, "gunicorn: master [till:app]"), (41, "gunicorn: worker [till:app]")):
        host.write(f"/proc/{pid}/cmdline", title)
    host.write("/srv/shop/gunicorn.conf.py", "")
    (found,) = host.running()
    assert (found.entry_point, found.settings["workers"]) == ("till:app", 7)


def test_a_parent_that_runs_two_of_them_is_told(host: Host) -> None:
    host.process(60, 1, "gunicorn -w 1 till:app", "shop.service")
    found = host.running()
    assert [(one.entry_point, one.shared) for one in found] == [("shop:app", True), ("till:app", True)]


def test_a_configuration_that_is_a_module_is_not_imported(host: Host) -> None:
    host.write("/proc/40/cmdline", "gunicorn\0-c\0python:shop.conf\0shop:app")
    (found,) = host.running()
    assert (found.config, found.unread) == ("python:shop.conf", ("all that it says",))


def test_the_processes_of_people_are_no_services(host: Host) -> None:
    host.write("/proc/40/cgroup", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service")
    for pid in (41, 42):
        host.write(f"/proc/{pid}/cgroup", "0::/user.slice/session-3.scope")
    assert host.running() == []
    assert host.left() == [
        "not looked at: the Gunicorn 40 of deploy, which no service of the system runs (a session, an account's own "
        "service manager, a container): have one run it first"
    ]
    assert host.left("shop.service") == []


def test_nothing_is_read_that_no_person_wrote(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_masters.conffile, "MOST_BYTES", 10)
    (found,) = host.running()
    assert found.settings == {"config": "gunicorn.conf.py"}


@pytest.mark.parametrize("name", ["gunicorn.conf.py", ".git/config", ".git/HEAD", ".git/refs/heads/main"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "large"])
def test_what_is_no_plain_file_is_not_waited_for(host: Host, name: str, kind: str) -> None:
    file = host.root / "srv/shop" / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.write_text("# " + "x" * 2**21)
    (found,) = host.running()
    if name == "gunicorn.conf.py":
        assert found.settings == {"config": "gunicorn.conf.py"}
        assert found.unread == ("the whole file, which is no plain file, or is longer than 32 KiB",)
    else:
        assert "" in (found.git, found.commit)


def test_a_checkout_without_a_remote_has_its_commit_alone(host: Host) -> None:
    host.write("/srv/shop/.git/config", "[core]\n\tbare = false\n")
    (found,) = host.running()
    assert (found.git, found.commit) == ("", "a" * 40)


def test_a_remote_by_another_name_and_a_packed_branch_are_read(host: Host) -> None:
    host.write("/srv/shop/.git/config", '[remote "upstream"]\n\turl = https://git.example.com/shop.git\n')
    (host.root / "srv/shop/.git/refs/heads/main").unlink()
    host.write("/srv/shop/.git/packed-refs", f"# pack-refs with: peeled\n{'b' * 40} refs/heads/main\n^{'c' * 40}\n")
    (found,) = host.running()
    assert (found.git, found.commit) == ("https://git.example.com/shop.git", "b" * 40)


UNIX = "0000000000000000: 00000002 00000000 00010000 0001 01 {} {}\n"


@pytest.mark.parametrize(
    ("path", "option", "listens"),
    [
        ("/home/deploy/.gunicorn/gunicorn.ctl", "", False),
        ("/run/user/1000/gunicorn.ctl", "", False),
        ("/run/shop/orders.sock", "--control-socket /run/shop/orders.sock", False),
        ("/run/user/1000/orders.sock", "--control-socket=orders.sock", False),
        ("/run/shop/a.sock", "--control-socket /run/shop/orders.sock", True),
        ("/run/shop/orders.sock", "", True),
    ],
)
def test_where_gunicorn_takes_commands_is_no_address_of_users(
    host: Host, path: str, option: str, listens: bool
) -> None:
    host.write("/proc/net/unix", "Num RefCount Protocol Flags Type St Inode Path\n" + UNIX.format(222, path))
    (host.root / "proc/40/fd/9").symlink_to("socket:[222]")
    line = f"{VENV}/bin/gunicorn {option} shop:app".split()
    host.write("/proc/40/cmdline", "\0".join(line))
    (found,) = host.running()
    assert found.listen == (("0.0.0.0:8000", f"unix:{path}") if listens else ("0.0.0.0:8000",))


def test_a_release_that_a_link_leads_to_is_read(host: Host) -> None:
    file = host.root / "srv/shop/gunicorn.conf.py"
    file.rename(host.root / "srv/shop/real.py")
    file.symlink_to("real.py")
    (found,) = host.running()
    assert found.settings["timeout"] == 90


def test_what_gunicorn_itself_puts_into_the_environment(host: Host) -> None:
    host.write("/proc/40/cmdline", "gunicorn\0-e\0MODE=tried\0--env\0STRIPE_KEY=sk_live_1\0-e\0LANG=de\0shop:app")
    (found,) = host.running()
    assert found.environment == {"MODE": "tried", "PORT": "8000", "LANG": "de"}
    assert found.secrets["STRIPE_KEY"] == "sk_live_1"
    assert "raw_env" not in found.settings
    assert "sk_live_1" not in repr(found)
    host.write("/proc/40/cmdline", "gunicorn\0shop:app")
    host.write("/srv/shop/gunicorn.conf.py", "raw_env = ['A=1', 'TZ=Europe/Berlin']")
    (found,) = host.running()
    assert (found.environment["A"], found.environment["TZ"]) == ("1", "Europe/Berlin")


def test_numbers_that_are_none(host: Host) -> None:
    host.write("/proc/40/cmdline", "gunicorn\0-w\0" + "9" * 5000 + "\0--threads\0²\0shop:app")
    (found,) = host.running()
    assert found.settings["threads"] == "²"
    assert found.options == ("threads", "workers")


def test_one_service_with_many_does_not_hide_the_others(host: Host) -> None:
    for pid in range(1000, 1060):
        host.process(pid, 1, "gunicorn -w 1 till:app", "a.service")
    found = host.running()
    assert [one.unit for one in found] == ["a.service"] * 49 + ["shop.service"]
    (words,) = host.left()
    assert words == (
        "not looked at: a.service: 11 of the 60 Gunicorns that it runs; at most 50 Gunicorns are, and for 10 seconds "
        "(adopt_unit names the one service that is looked at)"
    )
    assert host.left("shop.service") == []
    assert host.left("a.service")[0].endswith(
        "10 of the 60 Gunicorns that it runs; at most 50 Gunicorns are, and for 10 seconds"
    )


def test_headcounts_own_take_nobodys_room(host: Host) -> None:
    for pid in range(1000, 1060):
        host.process(pid, 1, "gunicorn -w 1 till:app", f"own@{pid}.service")
        host.units[f"own@{pid}.service"] = "/opt/headcount/own/live/own.service"
    assert [one.unit for one in host.running()] == ["shop.service"]
    assert host.left() == []


def test_services_that_are_left_out_are_counted(host: Host) -> None:
    for pid in range(1000, 1057):
        host.process(pid, 1, "gunicorn -w 1 till:app", f"a{pid}.service")
    left = host.left()
    assert left[0].startswith("not looked at: a1049.service: 1 of the 1 Gunicorns that it runs; ")
    assert left[-1].startswith("not looked at: those of 3 more services; ")
    assert len(left) == 6


def test_it_ends_in_time(host: Host) -> None:
    steps = itertools.count()
    assert host.left(clock=lambda: next(steps) * 6.0)[0].startswith("not looked at: some of the processes; ")
    moments = iter([0.0] * 5 + [99.0] * 9)  # as the processes have been looked at
    (words,) = host.left(clock=lambda: next(moments))
    assert words.startswith("not looked at: shop.service: 1 of the 1 Gunicorns that it runs; ")


def test_the_version_is_looked_for_in_real_folders_of_a_python_alone(host: Host) -> None:
    lib = host.root / VENV.lstrip("/") / "lib"
    (lib / "python3.11").rename(lib / "real")
    for number in range(10):
        (lib / f"python3.{number}").symlink_to("real")
    assert host.running()[0].gunicorn == ""
    (lib / "python3.0").unlink()
    (lib / "real").rename(lib / "python3.0")
    assert host.running()[0].gunicorn == "22.0.0"
    (lib / "python3.9").unlink()
    (lib / "python3.0").rename(lib / "python3.9")
    for number in range(9):
        (lib / f"python3.{number}").unlink(missing_ok=True)
        (lib / f"python3.{number}").mkdir()
    assert host.running()[0].gunicorn == ""


SITE = f"{VENV}/lib/python3.11/site-packages"


def test_one_that_is_installed_and_has_no_folder(host: Host) -> None:
    (host.root / "srv/shop/.git/config").unlink()
    host.write(f"{SITE}/shop.py", "")
    host.write(f"{SITE}/my_shop-1.4.dist-info/RECORD", "shop.py,sha256=x,1\n")
    host.write(f"{SITE}/my_shop-1.4.dist-info/METADATA", "Name: my-shop\nVersion: 1.4\n\n")
    (found,) = host.running()
    assert found.installed is not None
    assert (found.installed.name, found.installed.version, found.installed.origin) == ("my-shop", "1.4", "index")
    # A file of the project goes before what is installed, as it does for Python.
    host.write("/srv/shop/shop.py", "")
    assert host.running()[0].installed is None


def test_the_folder_of_the_code_is_where_python_finds_it(host: Host) -> None:
    host.write("/srv/code/shop.py", "")
    host.write("/srv/code/.git/config", '[remote "origin"]\n\turl = https://git.example.com/code.git\n')
    line = f"{VENV}/bin/gunicorn\0--pythonpath\0/srv/lib,/srv/code\0shop:app"
    host.write("/proc/40/cmdline", line)
    (found,) = host.running()
    assert (found.code, found.git) == ("/srv/code", "https://git.example.com/code.git")
    host.write("/srv/shop/src/shop.py", "")
    host.write("/proc/40/cmdline", f"{VENV}/bin/gunicorn\0--pythonpath\0src\0shop:app")
    assert host.running()[0].code == "/srv/shop"


@pytest.mark.parametrize(
    ("program", "environ"),
    [
        ("venv/bin/gunicorn", ""),
        ("gunicorn", f"VIRTUAL_ENV={VENV}"),
        ("gunicorn", f"PATH=/none:{VENV}/bin:/usr/bin"),
        (f"{VENV}/bin/python\0-m\0gunicorn", ""),
    ],
)
def test_its_python_is_found_by_its_program(host: Host, program: str, environ: str) -> None:
    host.write(f"{VENV}/bin/gunicorn", "")
    host.write("/proc/40/cmdline", f"{program}\0shop:app")
    host.write("/proc/40/environ", environ)
    assert host.running()[0].gunicorn == "22.0.0"


def test_what_it_keeps_is_named_and_of_no_other_service(host: Host) -> None:
    host.write("/srv/shop/shop.py", "")
    host.write("/srv/shop/access.log", "")
    host.write("/srv/shop/gunicorn.conf.py", "accesslog = 'access.log'\n")
    for pid, target in ((41, "/srv/data/a.db"), (42, "/srv/shop/access.log"), (50, "/srv/data/nginx.db")):
        host.write(f"/proc/{pid}/fdinfo/9", "flags:\t02\n")
        (host.root / f"proc/{pid}/fd/9").symlink_to(target)
    assert [(one.path, one.how) for one in host.running()[0].kept.found] == [("/srv/data/a.db", "open")]


def test_what_starts_it_has_files_of_its_own(host: Host) -> None:
    """supervisord keeps its own logs open, and its other programs theirs; what a worker has started is the app's."""
    host.write("/srv/shop/shop.py", "")
    host.write("/proc/40/stat", "40 (python3) S 30 " + "0 " * 17 + "40 0")
    everything = {
        30: "/srv/logs/supervisord",
        31: "/srv/queue/jobs.db",
        40: "",
        41: "",
        42: "",
        43: "/srv/data/out.png",
    }
    for pid, above, line in ((30, 1, "/usr/bin/supervisord"), (31, 30, "/bin/queue"), (43, 41, "/bin/convert")):
        host.process(pid, above, line, "shop.service")
        host.write(f"/proc/{pid}/fdinfo/9", "flags:\t02\n")
        (host.root / f"proc/{pid}/fd/9").symlink_to(everything[pid])
    assert _descendants(str(host.root), 40, list(everything)) == [40, 41, 42, 43]
