# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project or a host says is never a template, wherever it stands in an entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.given import declared
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._adopt import entry as adopt
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import render, templates
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.draft import Draft, Proposal, Subject
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.survey import Found
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Hints, Imported, Variable
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.variables import put_variables
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._stepaction import templated

MARKED = [
    "{{ lookup('pipe', 'touch RAN') }}",
    "a {% if lookup('pipe', 'touch RAN') %}b{% endif %}",
    "{# gone #}",
    "#jinja2: variable_start_string:'[%', variable_end_string:'%]'\n[% lookup('pipe', 'touch RAN') %]",
]


def used(text: str, folder: Path) -> Any:
    """headcount_apps of a file as a task is given it."""
    file = folder / "entry.yml"
    file.write_text(text.replace("RAN", str(folder / "ran")), encoding="utf-8")
    variables = DataLoader().load_from_file(str(file), trusted_as_template=True)
    return templated(Templar(DataLoader(), variables=variables), variables, "headcount_apps")


def told(value: Any, folder: Path) -> Any:
    """`value` as the file says it."""
    if isinstance(value, dict):
        return {key: told(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [told(item, folder) for item in value]
    return str(value).replace("RAN", str(folder / "ran"))


@pytest.mark.parametrize("marked", MARKED)
def test_nothing_of_others_is_filled_in(marked: str, tmp_path: Path) -> None:
    entry = {
        "name": "shop",
        "source": {"git": marked, "version": marked},
        "host": marked,
        "prepare": [marked, {"run": marked}],
        "processes": {"worker": marked},
        "load": {"paths": ["/", marked, {"path": marked}]},
        "environment": {"A": marked, "B": "{data}/x"},
        "gunicorn": {"access_log_format": marked},
    }
    text = render.text(Proposal(entry, {"environment.A": "why", "host": "why"}))
    assert used(text, tmp_path) == [told(entry, tmp_path)]
    assert templates.read(text)["headcount_apps"] == [entry]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("marked", MARKED)
def test_a_running_gunicorn_brings_no_template(marked: str, tmp_path: Path) -> None:
    settings = {"access_log_format": marked, "statsd_prefix": marked, "forwarded_allow_ips": [marked]}
    one = {
        "unit": "shop.service", "folder": marked, "entry_point": marked, "git": marked, "listen": [f"unix:/{marked}"],
        "settings": settings, "fronts": [{"name": marked, "https": True}], "options": [marked], "user": marked,
        "environment": {"MODE": "live", marked: "x"}, "secrets": {"TOKEN": marked}, "unread": [f"{marked} "],
    }  # fmt: skip
    (found,) = adopt.entries("web1", [one], declared(2, 2048).to_dict())
    text = render.text(found.proposal) + "vault_shop_token: here\n"
    (app,) = used(text, tmp_path)
    assert (app["secrets"], app["environment"]) == ({"TOKEN": "here"}, {"MODE": "live"})
    assert app["gunicorn"]["access_log_format"] == told(marked, tmp_path)
    assert [repr(marked) in item.text for item in found.proposal.questions if item.must][-1]
    assert not (tmp_path / "ran").exists()


def test_what_headcount_made_is_filled_in(tmp_path: Path) -> None:
    entry = {"name": "shop", "secrets": {"A": templates.variable("vault_shop_a")}}
    text = render.text(Proposal(entry)) + "vault_shop_a: here\n"
    assert used(text, tmp_path) == [{"name": "shop", "secrets": {"A": "here"}}]
    assert render.flow(templates.password("shop", "KEY")).startswith("\"{{ lookup('ansible.builtin.password'")
    assert type(templates.plain(entry)["secrets"]["A"]) is str


@pytest.mark.parametrize("name", ["a }}{{ lookup('pipe', 'id')", "x', 'y", "../x", "a b", "", "é", "a\n"])
def test_no_name_gets_into_a_template(name: str) -> None:
    for make in (templates.variable, lambda text: templates.password("shop", text)):
        with pytest.raises(ValueError, match="no name"):
            make(name)
    with pytest.raises(ValueError, match="no name"):
        templates.password(f"{name}/", "KEY")


def test_keys_that_are_none_are_left_out_and_named() -> None:
    odd = Proposal({"name": "shop", "environment": {"A": "1", "{{ x }}": "2", "a\nb": "3"}, "b": [{"{% x": 1}]})
    found = templates.without_odd_keys(odd)
    assert found.entry == {"name": "shop", "environment": {"A": "1"}, "b": [{}]}
    assert "environment '{{ x }}', environment 'a\\nb', b '{% x'" in found.questions[0].text
    with pytest.raises(ValueError, match="cannot be a key"):
        render.text(odd)


def test_variables_of_a_project_that_are_called_as_none_is() -> None:
    odd = "X' }}{{ lookup('pipe','id') }}_PASSWORD"
    app = Imported(
        "shop",
        variables=(Variable(odd, "secret"), Variable("ADMIN_PASSWORD", "secret")),
        required={odd: "x"},
        weak={"SECRET_KEY": ("known", odd)},
    )
    draft = Draft(Subject({"path": "."}, "shop", ""), Hints(), Found(app), app, entry={"name": "shop"})
    put_variables(draft, "")
    assert draft.entry["secrets"] == {"ADMIN_PASSWORD": "{{ vault_shop_admin_password }}"}
    assert [repr(odd) in question.text for question in draft.questions if question.must] == [True, False]
    assert replace(draft.app, variables=()).required == {}


def test_a_key_that_yaml_cannot_read_is_left_out() -> None:
    found = templates.without_odd_keys(Proposal({"name": "shop", "environment": {"A": "1", "x" * 1100: "2"}}))
    assert found.entry == {"name": "shop", "environment": {"A": "1"}}
    assert len(found.questions[0].text) < 400
