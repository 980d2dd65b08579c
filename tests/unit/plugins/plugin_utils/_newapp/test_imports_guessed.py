# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which distributions the code of a project imports, by what is known and by guess."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import imports


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("mysql.connector", "mysql-connector-python"),
        ("mysql.connector.errors", "mysql-connector-python"),
        ("google.cloud.storage", "google-cloud-storage"),
        ("google.cloud.storage.blob", "google-cloud-storage"),
        ("bs4", "beautifulsoup4"),
        ("Crypto.Cipher", "pycryptodome"),
        ("flask_login", "flask-login"),
        ("acme.tills", "acme"),
    ],
)
def test_what_a_module_is_distributed_as(module: str, distribution: str) -> None:
    assert imports.distribution_of(module) == distribution


def test_a_folder_that_is_called_like_a_distribution_is_no_module(tmp_path: Path) -> None:
    text = "import flask, shop.models, till\nfrom google.cloud import storage\n"
    names = ("flask/server.py", "shop/models.py", "till/__init__.py", "till/a.py")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert imports.distributions(tmp_path, names) == ["flask", "google-cloud-storage"]


def test_what_only_the_name_of_an_import_says_is_a_guess() -> None:
    assert imports.guessed(["flask", "flask-login<1", "mysql-connector-python", "acme<2"]) == ["acme"]
