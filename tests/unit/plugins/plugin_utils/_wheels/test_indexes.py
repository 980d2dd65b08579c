# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One answer for uv and pip: which indexes are asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import indexes
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.indexes import Index, Indexes
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadSource

CONFIG = """:env:.find-links='/opt/wheels'
:env:.timeout='180'
global.cert='/etc/ssl/x.crt'
global.extra-index-url='file:///srv/one\\nhttps://me:pw@two.example/simple'
global.index-url='https://mirror.example/simple'
install.index-url='https://install.example/simple'
list.index-url='https://no.example'
"""


def environment(settings: dict[str, str], project: Indexes | None = None, **environ: str) -> dict[str, str]:
    environ = {"HOME": "/nonexistent", **environ}
    return indexes.gathered(project or Indexes(), environ, settings).environment(environ)


def test_what_pip_goes_by_is_told_to_uv() -> None:
    settings = indexes.read_pip_config(CONFIG)
    assert settings == {
        "find-links": "/opt/wheels",
        "extra-index-url": "file:///srv/one https://me:pw@two.example/simple",
        "index-url": "https://install.example/simple",
    }
    found = environment(settings)
    assert found["UV_DEFAULT_INDEX"] == found["PIP_INDEX_URL"] == "https://install.example/simple"
    assert found["UV_INDEX"] == found["PIP_EXTRA_INDEX_URL"] == "file:///srv/one https://me:pw@two.example/simple"
    assert found["UV_FIND_LINKS"] == found["PIP_FIND_LINKS"] == "/opt/wheels"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"  # as pip does it
    assert "UV_INDEX_STRATEGY" not in environment(settings, UV_INDEX_STRATEGY="first-index")


def test_what_uv_goes_by_is_told_to_pip() -> None:
    found = environment({}, UV_INDEX="inner=https://inner.example/simple", UV_INDEX_INNER_USERNAME="me",
                        UV_INDEX_INNER_PASSWORD="p/w", UV_DEFAULT_INDEX="https://mirror.example/simple")  # fmt: skip
    assert found["PIP_EXTRA_INDEX_URL"] == "https://me:p%2Fw@inner.example/simple"
    assert found["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert "UV_INDEX_STRATEGY" not in found


def test_uv_toml_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv/uv.toml").write_text('[[index]]\nurl = "https://inner.example/simple"\n', encoding="utf-8")
    found = environment({}, XDG_CONFIG_HOME=str(tmp_path))
    assert found["PIP_EXTRA_INDEX_URL"] == "https://inner.example/simple"


def test_who_comes_first() -> None:
    project = Indexes(
        default=Index("https://project.example", "project"), extra=(Index("https://extra.example", "project"),)
    )
    settings = {"index-url": "https://pip.example", "extra-index-url": "https://more.example https://extra.example"}
    found = environment(settings, project)
    assert found["PIP_INDEX_URL"] == "https://project.example"
    assert found["UV_INDEX"] == "https://extra.example https://more.example"
    assert "UV_INDEX_STRATEGY" not in found
    assert (
        environment(settings, project, UV_DEFAULT_INDEX="https://env.example")["PIP_INDEX_URL"] == "https://env.example"
    )
    assert environment({}) == {}


PIP_CONF = {"extra-index-url": "https://pip.example"}
IN_REQUIREMENTS = Indexes(extra=(Index("https://extra.example", "requirements.txt, line 1", as_pip=True),))
IN_UV = Indexes(extra=(Index("https://extra.example", "[tool.uv] of pyproject.toml"),))


@pytest.mark.parametrize(
    ("project", "environ", "strategy"),
    [
        pytest.param(IN_REQUIREMENTS, {}, "unsafe-best-match", id="both as pip does it"),
        pytest.param(IN_UV, {}, None, id="one as uv does it"),
        pytest.param(
            Indexes(extra=(Index("https://x.example", "project", "x", explicit=True),)),
            {}, "unsafe-best-match", id="one that is asked for some packages alone",
        ),
        pytest.param(
            Indexes(variables={"UV_INDEX_STRATEGY": "unsafe-first-match"}), {}, "unsafe-first-match", id="said"
        ),
        pytest.param(
            Indexes(variables={"UV_INDEX_STRATEGY": "x"}), {"UV_INDEX_STRATEGY": "y"}, None, id="a variable says it"
        ),
    ],
)  # fmt: skip
def test_whose_meaning_of_several_indexes_counts(
    project: Indexes, environ: dict[str, str], strategy: str | None
) -> None:
    assert environment(PIP_CONF, project, **environ).get("UV_INDEX_STRATEGY") == strategy


def test_two_meanings_of_several_indexes_are_told() -> None:
    home = {"HOME": "/nonexistent"}
    found = indexes.gathered(IN_UV, home, PIP_CONF)
    assert found.mixed(home).startswith(
        "https://extra.example ([tool.uv] of pyproject.toml) and https://pip.example (pip's settings) are asked one "
        "after the other, as uv does it, and the first that has a package counts; pip would take the best "
        "version of all"
    )
    assert found.mixed({"UV_INDEX_STRATEGY": "first-index"}) == ""
    assert indexes.gathered(IN_REQUIREMENTS, home, PIP_CONF).mixed(home) == ""


def test_how_a_project_has_uv_ask(tmp_path: Path) -> None:
    told = {"index-strategy": "unsafe-best-match", "prerelease": "allow", "keyring-provider": "subprocess", "x": 1}
    found = environment({}, indexes.of_uv(told, "pyproject.toml", tmp_path), UV_PRERELEASE="never")
    assert found == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_KEYRING_PROVIDER": "subprocess",
        "PIP_KEYRING_PROVIDER": "subprocess",
        "PIP_NO_INPUT": "0",
    }


def test_an_index_for_some_packages_is_not_asked_for_others() -> None:
    project = Indexes(
        extra=(Index("https://inner.example", "project", "inner", explicit=True),), bound={"own": "inner"}
    )
    found = environment({}, project)
    assert "UV_INDEX" not in found
    assert found["PIP_EXTRA_INDEX_URL"] == "https://inner.example"
    assert "explicit = true" in (project.project() or "")
    assert Indexes().project() is None


def test_without_an_index() -> None:
    found = indexes.gathered(Indexes(), {"HOME": "/nonexistent"}, {"no-index": "true", "find-links": "/srv/wheels"})
    assert found.no_index
    assert found.environment({})["PIP_NO_INDEX"] == "1"
    assert found.told() == "/srv/wheels (find-links)"


def test_who_was_asked_is_told_without_credentials() -> None:
    found = indexes.gathered(
        Indexes(), {"HOME": "/nonexistent"}, {"extra-index-url": "https://me:pw@two.example/simple"}
    )
    assert found.told() == (
        "https://***@two.example/simple (pip's settings), the public index that uv and pip know by themselves"
    )


def test_variables_in_a_url() -> None:
    assert indexes.expand("https://${TOKEN}@h", {"TOKEN": "x"}, "l") == "https://x@h"
    with pytest.raises(BadSource, match="l: the environment variable TOKEN is not set"):
        indexes.expand("https://${TOKEN}@h", {}, "l")


def test_sources_of_a_pipfile(monkeypatch: pytest.MonkeyPatch) -> None:
    public = "https://packages.example.org/simple"
    monkeypatch.setattr(indexes, "public_index", lambda: public)
    source = {"source": [{"url": f"{public}/", "name": "public"}]}
    assert indexes.of_pipfile(source, "Pipfile", {}) == Indexes()
    source["source"].append({"url": "https://${HOST}/simple", "name": "inner"})
    found = indexes.of_pipfile(source, "Pipfile", {"HOST": "inner.example"})
    assert found.default == Index(f"{public}/", "Pipfile", "public")
    assert found.extra == (Index("https://inner.example/simple", "Pipfile", "inner"),)
    del source["source"][0]
    alone = indexes.of_pipfile(source, "Pipfile", {"HOST": "inner.example"})
    assert alone.default == Index("https://inner.example/simple", "Pipfile", "inner")


def test_the_public_index_is_what_pip_says_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    indexes.public_index.cache_clear()
    found = indexes.public_index()
    assert found.startswith("https://")
    assert found.endswith("/simple")
    assert "mirror.example" not in found


def test_a_pip_that_does_not_tell_its_index() -> None:
    assert indexes.read_public_index("  -i, --index-url <url>   Base URL.\n  --extra-index-url <url> (default x)") == ""


@pytest.mark.parametrize(
    ("environ", "settings", "expected"),
    [
        ({"UV_KEYRING_PROVIDER": "subprocess"}, {}, {"PIP_KEYRING_PROVIDER": "subprocess", "PIP_NO_INPUT": "0"}),
        ({"UV_KEYRING_PROVIDER": "subprocess"}, {"keyring-provider": "import"}, {"PIP_NO_INPUT": "0"}),
        ({"UV_KEYRING_PROVIDER": "disabled"}, {"keyring-provider": "import"}, {"PIP_NO_INPUT": "0"}),
        ({}, {"keyring-provider": "import"}, {"UV_KEYRING_PROVIDER": "subprocess", "PIP_NO_INPUT": "0"}),
        ({}, {"keyring-provider": "disabled"}, {}),
    ],
)
def test_uv_and_pip_ask_the_same_keyring(
    environ: dict[str, str], settings: dict[str, str], expected: dict[str, str]
) -> None:
    assert environment(settings, **environ) == expected
