# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the roles take that are called by themselves, and the names that only Headcount uses."""

from __future__ import annotations

from typing import Final

from . import checks
from .fields import REQUIRED, Field


def _app(variable: str) -> Field:
    return Field(
        variable, "str", "Name of the app.", REQUIRED, "shop", allowed="the name of an app", check=checks.app_name
    )


ROLE_VARIABLES: Final[dict[str, tuple[Field, ...]]] = {
    "history": (
        Field(
            "history_apps",
            "list",
            "Names of the apps; an empty list means all.",
            [],
            ["shop"],
            items=Field("", "str", "A name.", REQUIRED, "shop", allowed="the name of an app", check=checks.app_name),
        ),
        Field("history_last", "int", "How many events are printed.", 20, 50, minimum=1, maximum=1_000_000),
    ),
    "plan": (
        Field(
            "plan_mode",
            "str",
            "What the plan is for: a rollout, a retune (only what the hosts themselves did counts), or a report alone.",
            "rollout",
            "retune",
            choices=("rollout", "retune", "plan", "drift"),
        ),
    ),
    "pull": (
        Field(
            "pull_url",
            "str",
            "The repository, a checkout of Headcount with your inventory in it.",
            REQUIRED,
            "https://git.example.com/fleet.git",
            check=checks.plain,
        ),
        Field("pull_version", "str", "A branch, a tag or a commit.", "main", "stable", check=checks.plain),
        Field(
            "pull_inventory",
            "str",
            "The inventory, as a path in the repository.",
            REQUIRED,
            "inventories/production",
            check=checks.relative,
        ),
        Field(
            "pull_playbook",
            "str",
            "The playbook, as a path in the repository.",
            "site.yml",
            "playbooks/retune.yml",
            check=checks.relative,
        ),
        Field(
            "pull_calendar", "str", "When, as a calendar event of systemd.", "hourly", "*-*-* 04:00", check=checks.plain
        ),
        Field(
            "pull_splay_seconds",
            "int",
            "Each host waits its own part of this, the same each time.",
            1800,
            3600,
            "seconds",
            minimum=0,
            maximum=86_400,
        ),
        Field(
            "pull_packages",
            "list",
            "What pip installs for it.",
            ["ansible-core>=2.16", "uv", "packaging"],
            ["ansible-core==2.19.14", "uv", "packaging"],
            items=Field("", "str", "A requirement.", REQUIRED, "uv", check=checks.plain),
        ),
        Field(
            "pull_pip_options",
            "str",
            "More options of pip for that.",
            "",
            "--index-url https://packages.example.org/simple",
            check=checks.plain,
        ),
        Field(
            "pull_options",
            "list",
            "More options of ansible-pull.",
            [],
            ["--vault-password-file=/root/vault-password"],
            items=Field("", "str", "A word of the command line.", REQUIRED, "--diff", check=checks.plain),
        ),
    ),
    "remove": (
        _app("remove_app"),
        Field("remove_data", "bool", "Whether the app's data goes too.", False, True),
    ),
    "report": (
        Field(
            "report_path",
            "str",
            "Where the JSON goes; beside it lies a page for a browser, with the ending `.html`.",
            example="report.json",
            default_help="`report.json` in `headcount_work_dir`",
            check=checks.plain,
        ),
    ),
    "rollback": (
        _app("rollback_app"),
        Field(
            "rollback_to",
            "int",
            "Number of the generation.",
            minimum=1,
            maximum=1_000_000_000,
            example=7,
            default_help="the good one before the live one",
        ),
        Field(
            "rollback_to_former",
            "bool",
            "Whether the address goes back to the service that the app was taken over from (`former`).",
            False,
            True,
        ),
        Field(
            "rollback_further",
            "bool",
            "Whether every host goes one generation back, also those that do not have what was promoted last, and those"
            " that went back already.",
            False,
            True,
        ),
    ),
}
"""Parameters of single roles, which their callers set; by the role's name, which they begin with."""

INTERNAL_PREFIXES: Final = ("headcount__", "headcount_lab_")
"""Variables that are no inputs: what the roles themselves set, and what a lab's inventory says about the lab."""
