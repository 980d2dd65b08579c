# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Roles have one shape, argument_specs and defaults are equal, and what is generated is up to date."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.roles import ROLE_VARIABLES
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.table import (
    APP_FIELDS,
    COMMAND_VARIABLES,
    VARIABLES,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lib"))

from headcount_docs import ROOT, generate, yamltext
from headcount_docs import __main__ as command

ROLES = sorted(path for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())
SHAPE = ("README.md", "defaults/main.yml", "meta/argument_specs.yml", "meta/main.yml", "tasks/main.yml")
FOLDERS = {"defaults", "files", "handlers", "meta", "tasks", "templates"}


def load(path: Path) -> Any:
    """A YAML file's value."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: Path) -> dict[str, Any]:
    """The variables of a role's argument_specs."""
    found: dict[str, Any] = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"] or {}
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
class TestEveryRole:
    """What holds for every role."""

    def test_has_the_one_shape(self, role: Path) -> None:
        assert [name for name in SHAPE if not (role / name).is_file()] == []
        assert {path.name for path in role.iterdir()} - FOLDERS == {"README.md"}

    def test_says_what_it_does_in_one_place_and_words(self, role: Path) -> None:
        info = load(role / "meta/main.yml")["galaxy_info"]
        spec = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]
        assert info["description"] == spec["short_description"] == generate.short_description(role)
        assert spec["description"] == generate.description(role)
        assert (role / "README.md").read_text(encoding="utf-8").startswith(f"# {role.name}\n\n")

    def test_has_the_one_meta(self, role: Path) -> None:
        mine, first = load(role / "meta/main.yml"), load(ROLES[0] / "meta/main.yml")
        mine["galaxy_info"].pop("description")
        first["galaxy_info"].pop("description")
        assert mine == first

    def test_argument_specs_and_defaults_are_equal(self, role: Path) -> None:
        specs = options(role)
        required = {name for name, spec in specs.items() if spec.get("required")}
        assert load(role / "defaults/main.yml") == {
            name: spec.get("default") for name, spec in specs.items() if name not in required
        }

    def test_has_one_example_in_its_readme(self, role: Path) -> None:
        blocks = (role / "README.md").read_text(encoding="utf-8").split("```yaml\n")[1:]
        assert len(blocks) == 1
        plays = yaml.safe_load(blocks[0].partition("```")[0])
        named = [task["name"] for play in plays for task in (play, *play.get("tasks", ()))]
        assert all(named)
        assert f"headcount.gunicorn.{role.name}\n" in blocks[0]

    def test_has_only_variables_of_the_table(self, role: Path) -> None:
        own = ROLE_VARIABLES.get(role.name, ())
        assert set(options(role)) <= {item.name for item in (*VARIABLES, *own)}
        assert all(item.name.startswith(f"{role.name}_") for item in own)
        read = [*(role / "tasks").glob("*.yml"), *(role / "templates").glob("*.j2")]
        tasks = "".join(path.read_text(encoding="utf-8") for path in read)
        assert [item.name for item in own if item.name not in tasks] == []


def test_the_examples_of_all_readmes_are_playbooks(tmp_path: Path) -> None:
    plays = []
    for role in ROLES:
        example = yaml.safe_load(
            (role / "README.md").read_text(encoding="utf-8").split("```yaml\n")[1].partition("```")[0]
        )
        plays += example if "hosts" in example[0] else [{"name": "A part of a role", "hosts": "all", "tasks": example}]
    playbook = tmp_path / "examples.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "--syntax-check", playbook],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_generated_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert (command.main(["--check"]), capsys.readouterr().err) == (0, "")


def test_the_page_names_every_variable_and_key() -> None:
    page = (ROOT / "docs/variables.md").read_text(encoding="utf-8")
    assert [
        item.name
        for item in (*VARIABLES, *COMMAND_VARIABLES, *APP_FIELDS)
        if f"`{item.name}`" not in page and f"### {item.name}" not in page
    ] == []


def test_every_table_row_has_all_columns() -> None:
    page = (ROOT / "docs/variables.md").read_text(encoding="utf-8")
    rows = [line.replace("\\|", "") for line in page.splitlines() if line.startswith("|")]
    assert [row for row in rows if row.count("|") != 6] == []


def role_at(path: Path, tasks: str, readme: str = "# hello\n\nSays hello.\n") -> Path:
    """A role with one task file."""
    (path / "tasks").mkdir(parents=True)
    (path / "tasks/main.yml").write_text(tasks, encoding="utf-8")
    (path / "README.md").write_text(readme, encoding="utf-8")
    return path


def test_a_role_has_the_variables_that_its_files_mention(tmp_path: Path) -> None:
    role = role_at(
        tmp_path / "hello", "- debug: {msg: '{{ headcount_retain }} {{ headcount_apps }} {{ headcount__run.id }}'}\n"
    )
    variables = generate.variables_of(role)
    assert [item.name for item in variables] == ["headcount_apps", "headcount_retain"]
    assert generate.defaults(variables).splitlines()[2:] == ["headcount_retain: 3"]
    specs = yaml.safe_load(generate.argument_specs(role, variables))["argument_specs"]["main"]
    assert specs["short_description"] == "Says hello"
    assert specs["options"]["headcount_apps"] == {
        "type": "list",
        "elements": "dict",
        "required": True,
        "description": ["The apps of the host.", "Allowed is a list of apps, at least one."],
    }


def test_a_role_is_described_by_what_its_readme_says_before_the_first_section(tmp_path: Path) -> None:
    told = "# hello\n\nSays hello.\n\nTo [you](../you), in\n`C`.\n\nTwice.\n\n## Example\n\nNone.\n"
    role = role_at(tmp_path / "hello", "[]\n", readme=told)
    assert generate.short_description(role) == "Says hello"
    assert generate.description(role) == ["To you, in 'C'.", "Twice."]
    short = role_at(tmp_path / "short", "[]\n", readme="# short\n\nSays hello.\n\n## Example\n")
    assert generate.description(short) == ["Says hello."]


def test_the_collections_own_names_are_no_variables(tmp_path: Path) -> None:
    role = role_at(
        tmp_path / "hello", "- headcount.gunicorn.host_info:\n- import_role: {name: headcount.gunicorn.plan}\n"
    )
    assert generate.variables_of(role) == []
    assert generate.defaults([]).splitlines()[2:] == ["{}"]


def test_a_role_that_mentions_an_unknown_variable_cannot_be_generated(tmp_path: Path) -> None:
    role = role_at(tmp_path / "hello", "- debug: {var: headcount_retian}\n")
    with pytest.raises(generate.GenerateError) as refused:
        generate.variables_of(role)
    assert str(refused.value) == (
        f"{role}/tasks/main.yml mentions headcount_retian, which plugins/module_utils/_declaration/table.py does not"
        f" have:"
        " add it there, or begin the name with headcount__ when the role sets it itself"
    )


def test_a_role_without_a_sentence_cannot_be_generated(tmp_path: Path) -> None:
    role = role_at(tmp_path / "hello", "[]\n", readme="hello\n")
    with pytest.raises(generate.GenerateError) as refused:
        generate.short_description(role)
    assert str(refused.value).endswith("begin with a heading and one sentence that says what the role does")


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"b": [1, 2.5, "3", None, True], "c": {}, "d": []}},
        {"text": "colon: and # hash", "yes": "no", "empty": "", "quote": 'say "hi"', "star": "*x", "brace": "{{ a }}"},
        {"long": "word " * 60 + "end: of # it", "percent": "10%", "tilde": "~", "date": "2026-01-01"},
    ],
)
def test_yaml_is_read_back_as_it_was(value: dict[str, Any]) -> None:
    text = yamltext.dump(value)
    assert yaml.safe_load(text) == value
    assert max(len(line) for line in text.splitlines()) <= 120
