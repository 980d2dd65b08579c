# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
from __future__ import annotations

from pathlib import Path

import pytest
from headcount_scripts import aptsources
from headcount_scripts.aptsources import DEFAULT_KEYRING, Source
from headcount_scripts.console import ScriptError

DEB822 = """\
# The distribution
Types: deb deb-src
URIs: http://mirror.example/debian
 http://second.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/own.gpg

Types: deb
URIs: http://mirror.example/debian-security
# a comment within
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""


def test_deb822() -> None:
    suites = ("bookworm", "bookworm-updates", "bookworm-backports")
    keyring = "/usr/share/keyrings/own.gpg"
    assert aptsources.parse_deb822(DEB822) == [
        Source("http://mirror.example/debian", suites, ("main", "contrib"), keyring),
        Source("http://second.example/debian", suites, ("main", "contrib"), keyring),
        Source("http://mirror.example/debian-security", ("bookworm-security",), ("main",), None),
    ]


@pytest.mark.parametrize(
    ("line", "sources"),
    [
        ("deb http://m/debian bookworm main", [Source("http://m/debian", ("bookworm",), ("main",))]),
        (
            "deb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm main contrib # ours",
            [Source("http://m/debian", ("bookworm",), ("main", "contrib"), "/k.gpg")],
        ),
        ("# deb http://m/debian bookworm main", []),
        ("deb-src http://m/debian bookworm main", []),
        ("", []),
    ],
)
def test_one_line(line: str, sources: list[Source]) -> None:
    assert aptsources.parse_one_line(line) == sources


def test_lines_for_another_release_on_the_same_mirror() -> None:
    lines = aptsources.lines_for("trixie", "bookworm", aptsources.parse_deb822(DEB822))
    assert lines == [
        "deb [signed-by=/usr/share/keyrings/own.gpg] http://mirror.example/debian trixie main",
        "deb [signed-by=/usr/share/keyrings/own.gpg] http://mirror.example/debian trixie-updates main",
        "deb [signed-by=/usr/share/keyrings/own.gpg] http://second.example/debian trixie main",
        "deb [signed-by=/usr/share/keyrings/own.gpg] http://second.example/debian trixie-updates main",
        f"deb [signed-by={DEFAULT_KEYRING}] http://mirror.example/debian-security trixie-security main",
    ]


def test_of_an_old_release_the_base_is_taken_alone() -> None:
    lines = aptsources.lines_for("bullseye", "bookworm", aptsources.parse_deb822(DEB822), base_alone=True)
    assert lines == [
        "deb [signed-by=/usr/share/keyrings/own.gpg] http://mirror.example/debian bullseye main",
        "deb [signed-by=/usr/share/keyrings/own.gpg] http://second.example/debian bullseye main",
    ]


@pytest.mark.parametrize(
    ("own", "sources"),
    [
        (None, [Source("http://archive.example/ubuntu", ("noble",), ("main",))]),
        ("bookworm", []),
        ("bookworm", [Source("http://third.example", ("stable",), ("extra",))]),
        ("bookworm", [Source("cdrom:[Debian 12]/", ("bookworm",), ("main",))]),
    ],
)
def test_lines_for_without_a_debian_mirror(own: str | None, sources: list[Source]) -> None:
    with pytest.raises(ScriptError, match=r"name no mirror with .* main, .* add one to /etc/apt/sources\.list"):
        aptsources.lines_for("bookworm", own, sources)


def test_read_takes_both_formats_and_nothing_else(tmp_path: Path) -> None:
    parts = tmp_path / "apt" / "sources.list.d"
    parts.mkdir(parents=True)
    (tmp_path / "apt" / "sources.list").write_text("deb http://a/debian bookworm main\n")
    (parts / "b.sources").write_text("Types: deb\nURIs: http://b/debian\nSuites: bookworm\nComponents: main\n")
    (parts / "c.list").write_text("deb http://c/debian bookworm main\n")
    (parts / "d.list.disabled").write_text("deb http://d/debian bookworm main\n")
    assert [source.uri for source in aptsources.read(tmp_path)] == [
        "http://a/debian",
        "http://b/debian",
        "http://c/debian",
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID="12"\n', "bookworm"),
        ("ID=ubuntu\nVERSION_CODENAME=noble\n", None),
        (None, None),
    ],
)
def test_codename(tmp_path: Path, text: str | None, name: str | None) -> None:
    if text is not None:
        (tmp_path / "os-release").write_text(text)
    assert aptsources.codename(tmp_path) == name
