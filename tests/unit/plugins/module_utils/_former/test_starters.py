# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What has started a server: what the host needs is told from what is the app's, and what a supervisor is to start is
known, whether it runs or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former import starters
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import UnitState

GUNICORN = "/srv/venv/bin/python\0/srv/venv/bin/gunicorn\0-w\x003\0shop:app"
CONF = "/etc/supervisor/supervisord.conf"


class Host:
    """A host that is a folder: 39 is the main program of a service, 40 the app's server."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.process(40, "gunicorn", GUNICORN, 39)

    def write(self, path: str, text: str) -> None:
        file = Path(self.root) / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, pid: int, name: str, words: str = "", parent: int = 1, cwd: str = "/", environ: str = "") -> None:
        texts = {"comm": name, "cmdline": words, "environ": environ, "stat": f"{pid} ({name}) S {parent} 1"}
        for file, text in texts.items():
            self.write(f"/proc/{pid}/{file}", text)
        link = Path(self.root) / f"proc/{pid}/cwd"
        link.unlink(missing_ok=True)
        link.symlink_to(cwd)

    def of_the_host(self, unit: str, folder: str, main: int = 39, servers: tuple[int, ...] = (40,)) -> str:
        self.write(f"{folder}/{unit}", "[Service]\nExecStart=/usr/sbin/something\n")
        state = UnitState("loaded", "active", "running", "", main, 0, 0, "/g", "", f"{folder}/{unit}")
        return starters.of_the_host(self.root, unit, state, servers)

    def configured(self, *pids: int) -> tuple[str, str]:
        return starters.configured(self.root, "supervisor.service", pids or (39,), 40)

    def programs(self) -> str:
        """Those that its supervisor is to start beside, with their files."""
        told, unread = self.configured()
        assert unread == ""
        return told.partition(" is to start ")[2].partition(" too, which would never run again")[0]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


ETC, LIB, USR = "/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"


@pytest.mark.parametrize(
    ("unit", "name", "folder"),
    [
        ("cron.service", "cron", LIB),
        ("crond.service", "crond", USR),
        ("atd.service", "atd", LIB),
        ("ssh.service", "sshd", USR),
        ("inetd.service", "inetd", USR),
        ("user@1000.service", "systemd", USR),
        ("docker.service", "dockerd", USR),
        ("puppet.service", "puppet", USR),
        ("monit.service", "monit", ETC),
        ("ssh-alt.service", "sshd", ETC),
    ],
)
def test_what_the_host_needs_is_refused_by_its_name_with_the_fix(host: Host, unit: str, name: str, folder: str) -> None:
    host.process(39, name)
    assert host.of_the_host(unit, folder) == (
        f"{unit} is the host's own, and not the app's: {name} (39), its main program, would end with the app's server, "
        "and no boot would start it again; have the app started by a service of its own first, and declare that as "
        "`former`"
    )


def test_it_stays_the_hosts_where_its_whole_unit_was_edited(host: Host) -> None:
    host.process(39, "puppet")
    host.write(f"{LIB}/puppet.service", "[Service]\n")
    assert "puppet (39)" in host.of_the_host("puppet.service", ETC)


@pytest.mark.parametrize(
    ("unit", "name", "folder"),
    [
        ("supervisor.service", "supervisord", LIB),
        ("circus.service", "circusd", USR),
        ("runit.service", "runsvdir", LIB),
        ("shop.service", "sh", ETC),
        ("shop.service", "mlflow", ETC),
    ],
)
def test_what_starts_the_app_alone_is_the_apps(host: Host, unit: str, name: str, folder: str) -> None:
    host.process(39, name)
    assert host.of_the_host(unit, folder) == ""


def test_a_package_whose_program_is_the_server_is_the_apps(host: Host) -> None:
    assert host.of_the_host("shop.service", USR, main=40) == ""
    host.process(39, "nginx")
    assert host.of_the_host("nginx.service", USR, servers=(39, 41)) == ""


def test_what_a_package_started_once_is_the_hosts_but_for_a_gunicorn(host: Host) -> None:
    assert host.of_the_host("cloud-final.service", LIB, main=0).startswith(
        "cloud-final.service is the host's own, and not the app's: what it starts would end with the app's server"
    )
    assert host.of_the_host("shop.service", ETC, main=0) == ""
    host.write(f"{ETC}/shop.service", "[Service]\nExecStart=/srv/venv/bin/gunicorn --daemon\n")
    host.write(f"{LIB}/shop.service", "[Service]\nExecStart=/usr/bin/gunicorn --daemon\n")
    state = UnitState("loaded", "active", "running", "", 0, 0, 0, "/g", "", f"{ETC}/shop.service")
    assert starters.of_the_host(host.root, "shop.service", state, [40]) == ""


def supervised(host: Host, words: str = f"-n\0-c\0{CONF}", environ: str = "") -> None:
    host.process(39, "supervisord", f"/usr/bin/python3\0/usr/bin/supervisord\0{words}")
    host.process(40, "gunicorn", GUNICORN, 39, environ=environ)


OWN = "[program:shop]\ncommand=/srv/venv/bin/gunicorn -w 3 shop:app\n"
ENVIRON = "A=b\0SUPERVISOR_PROCESS_NAME=shop\0SUPERVISOR_GROUP_NAME=shop"


def test_programs_of_a_supervisor_that_do_not_run_are_named_with_their_files(host: Host) -> None:
    supervised(host, environ=ENVIRON)
    host.write(
        CONF,
        "; comment\n[unix_http_server]\nfile=/run/s.sock\n[supervisord] ; main\nlogfile=/x\n"
        "[eventlistener:crashmail]\ncommand=crashmail\n[group:all]\nprograms=shop\n"
        "[include]\nfiles = conf.d/*.conf  ; more\n  %(here)s/more/*.ini\n",
    )
    host.write("/etc/supervisor/conf.d/shop.conf", OWN)
    host.write("/etc/supervisor/conf.d/nightly.conf", "[program:nightly-digest]\nautostart=false\n;[program:old]\n")
    host.write("/etc/supervisor/conf.d/nightly.conf.bak", "[program:bak]\n")
    host.write("/etc/supervisor/more/fcgi.ini", "[fcgi-program:php]\ncommand=php\n")
    folder = "/etc/supervisor"
    assert host.programs() == (
        f"crashmail ({CONF}), nightly-digest ({folder}/conf.d/nightly.conf), php ({folder}/more/fcgi.ini)"
    )
    told, _ = host.configured()
    assert told.endswith("have it run by a service of its own first, or take it out of there")


@pytest.mark.parametrize("words", [f"-c{CONF}", f"--configuration={CONF}", "--configuration\0conf.d/s", "-n"])
def test_its_file_is_found_as_it_finds_it(host: Host, words: str) -> None:
    text = f"[supervisord]\n{OWN}[program:queue]\n"
    path = "/srv/conf.d/s" if "conf.d" in words else CONF
    host.write(path, text)
    host.process(39, "supervisord", f"/usr/bin/python3\0/usr/bin/supervisord\0{words}", cwd="/srv")
    assert host.programs() == f"queue ({path})"


def test_the_file_beside_its_environment_is_found(host: Host) -> None:
    host.write("/srv/venv/etc/supervisord.conf", f"[supervisord]\n{OWN}[program:queue]\n")
    host.process(39, "supervisord", "/srv/venv/bin/python\0/srv/venv/bin/supervisord")
    assert host.programs() == "queue (/srv/venv/etc/supervisord.conf)"


@pytest.mark.parametrize(
    ("process", "group", "own", "others"),
    [
        ("shop", "shop", OWN, ["queue"]),
        ("shop_00", "shop", f"{OWN}process_name=%(program_name)s_%(process_num)02d\n", ["queue"]),
        ("web", "all", f"{OWN}process_name=web\n", ["queue"]),
        ("shop", "shop", f"{OWN}[program:shop2]\ncommand=gunicorn -w 3 shop:app\n", ["queue", "shop2"]),
        ("gone", "gone", OWN, ["queue", "shop"]),
        ("", "", OWN, ["queue"]),
        ("", "", "[program:web]\ncommand=/srv/start.sh\n", ["queue", "web"]),
    ],
)
def test_the_servers_own_program_is_known(host: Host, process: str, group: str, own: str, others: list[str]) -> None:
    environ = f"SUPERVISOR_PROCESS_NAME={process}\0SUPERVISOR_GROUP_NAME={group}" if process else ""
    supervised(host, environ=environ)
    host.write(CONF, f"[supervisord]\n{own}[program:queue]\ncommand=celery -A shop\n")
    assert host.programs() == ", ".join(f"{name} ({CONF})" for name in others)


def test_a_program_by_a_shell_that_stays_is_known_by_its_words(host: Host) -> None:
    host.process(39, "supervisord", f"/usr/bin/supervisord\0-c\0{CONF}")
    host.process(38, "sh", "/bin/sh\0/srv/start.sh", 39)
    host.process(40, "gunicorn", GUNICORN, 38)
    host.write(CONF, "[supervisord]\n[program:web]\ncommand=/bin/sh /srv/start.sh\n[program:queue]\ncommand=celery\n")
    assert host.programs() == f"queue ({CONF})"


def test_one_that_is_alone_is_the_servers(host: Host) -> None:
    supervised(host)
    host.write(CONF, "[supervisord]\n[program:web]\ncommand=/srv/start.sh\n")
    assert host.configured() == ("", "")


def test_watchers_of_circus_that_do_not_run_are_named(host: Host) -> None:
    host.process(39, "circusd", "/usr/bin/python3\0/usr/bin/circusd\0--daemon\0etc/circus.ini", cwd="/srv")
    host.write(
        "/srv/etc/circus.ini",
        "[circus]\ninclude = more/*.more.ini\ninclude_dir = all\n"
        "[watcher:web]\ncmd = gunicorn\nargs = -w 3\n shop:app\n",
    )
    host.write("/srv/etc/more/a.more.ini", "[watcher:digest]\ncmd = digest\nautostart = false\n")
    host.write("/srv/etc/all/b.ini", "[watcher:queue]\ncmd = celery\n")
    host.write("/srv/etc/all/b.txt", "[watcher:none]\ncmd = celery\n")
    assert host.programs() == "digest (/srv/etc/more/a.more.ini), queue (/srv/etc/all/b.ini)"


def test_what_cannot_be_read_is_told(host: Host) -> None:
    supervised(host)
    told = "supervisord (39) of supervisor.service starts what {} names, which could not be read"
    assert host.configured() == ("", told.format("its configuration"))
    host.write(CONF, f"[supervisord]\n{OWN}[include]\nfiles = pipe %(ENV_HOME)s/s.conf\n")
    os.mkfifo(f"{host.root}/etc/supervisor/pipe")
    assert host.configured() == ("", told.format("/etc/supervisor/pipe and /etc/supervisor/%(ENV_HOME)s/s.conf"))


def test_other_programs_have_no_such_files(host: Host) -> None:
    host.process(39, "sh", f"sh\0{CONF}")
    host.write(CONF, "[supervisord]\n[program:queue]\n")
    assert host.configured(39, 40, 4711) == ("", "")
