# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Writes the entries of apps that a host runs already. The documentation is in plugins/modules/adopt.py."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..module_utils._former.sealed import unseal
from ..plugin_utils._adopt.entry import Adopted, entries, secrets_text
from ..plugin_utils._display.terminal import display
from ..plugin_utils._display.text import listed, plural
from ..plugin_utils._display.unreached import known_words
from ..plugin_utils._edge import Result, Variables
from ..plugin_utils._newapp.proposal import questions_text
from ..plugin_utils._newapp.render import text
from ..plugin_utils._newapp.templates import plain

OWNER_ONLY = 0o600
_SECRETS = "*.secrets.yml"


class ActionModule(ActionBase):
    """One read-only call to the host. No secret is in its result, or printed."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"unit", "dest", "name", "force", "python"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """The entries and the files that were written."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        host = str(variables.get("inventory_hostname") or "host")
        asked = {key: self._task.args[key] for key in ("unit", "python") if self._task.args.get(key)}
        read = self._read(asked, variables)
        if read.get("failed") or read.get("unreachable"):
            # What the module wrote besides may have secrets in it.
            msg = known_words(read) or read.get("msg")
            return {**result, **{key: read[key] for key in ("failed", "unreachable") if key in read}, "msg": msg}
        name = str(self._task.args.get("name") or "")
        found = entries(host, read["running"], read["facts"], name)
        if not found:
            display(f"{host}: {_nothing(asked.get('unit'), read.get('own') or ())}")
        left = _told(host, read)
        told = [self._keep(host, one) for one in found]
        return {**result, "changed": any(one["changed"] for one in told), "apps": told, "not_looked_at": left}

    def _read(self, asked: Result, variables: Variables) -> Result:
        """What the module tells of the host. Sealed on its way: with -vvv Ansible prints what comes from hosts."""
        key = token_hex(32)
        try:
            read: Result = self._execute_module(
                module_name="headcount.gunicorn.former_info", module_args={**asked, "key": key}, task_vars=variables
            )
        except AnsibleError as error:
            words = known_words({"msg": error.message})
            if not words:
                raise
            return {"failed": True, "msg": words}
        if "sealed" in read:
            read["running"] = json.loads(unseal(str(read.pop("sealed")), key))
        return read

    def _keep(self, host: str, one: Adopted) -> Result:
        """Write one entry, and tell what there is to say of it; a file that is there is a person's, and stays."""
        folder = Path(str(self._task.args.get("dest") or "adopted")) / host
        path, vault = folder / f"{one.name}.yml", folder / f"{one.name}.secrets.yml"
        questions = questions_text(one.proposal.questions)
        there = [file for file in (path, vault) if os.path.lexists(file)]
        stays = bool(there) and not boolean(self._task.args.get("force", False))
        unkept = ""
        if not stays and not self._task.check_mode:
            _write(path, text(one.proposal), 0o644)
            if one.secrets:
                unkept = _keep_from_git(folder.parent)
                _write(vault, secrets_text(one.secrets), OWNER_ONLY)
        written = _stay(there) if stays else self._written(path, vault, len(one.secrets))
        lines = [
            one.summary,
            *(f"  {line}" for line in one.comparison),
            *questions,
            written,
            *([unkept] if unkept else []),
        ]
        display("\n".join(lines))
        return {
            "name": one.name,
            "changed": not stays,
            "dest": str(path),
            "secrets": str(vault) if one.secrets else "",
            "entry": plain(one.proposal.entry),
            "comparison": list(one.comparison),
            "questions": questions,
        }

    def _written(self, path: Path, vault: Path, secrets: int) -> str:
        has = "would have" if self._task.check_mode else "has"
        held = f", {vault} the values of {plural(secrets, 'secret')} (ansible-vault encrypt)" if secrets else ""
        return f"{path} {has} its entry{held}"


def _nothing(unit: str | None, own: Sequence[str]) -> str:
    """Why there is nothing to adopt. `own`: services of the host that are Headcount's own already."""
    if own:
        return f"nothing to adopt: what runs Gunicorn there is Headcount's own already, {listed(own)}"
    return f"{unit} is no service that runs a Gunicorn" if unit else "no service runs a Gunicorn"


def _told(host: str, read: Result) -> list[str]:
    """What was not looked at on the host, which is printed."""
    left = [str(words) for words in read.get("not_looked_at") or ()]
    for words in left:
        display(f"{host}: {words}")
    return left


def _stay(there: Sequence[Path]) -> str:
    """What is said of files that are a person's."""
    kept = "is there already and is left as it is" if len(there) == 1 else "are there already and are left as they are"
    return f"{' and '.join(map(str, there))} {kept}; nothing is written (adopt_force writes both anew)"


def _keep_from_git(folder: Path) -> str:
    """Have git pass over the files with secrets, which nobody has encrypted yet; a list that is there is a person's,
    and what it lacks is said."""
    ignored = folder / ".gitignore"
    if not ignored.exists():
        _write(ignored, f"# Values of secrets, until ansible-vault has encrypted them.\n{_SECRETS}\n", 0o644)
        return ""
    try:
        lines = ignored.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    if _SECRETS in (line.strip() for line in lines):
        return ""
    return f"{ignored} does not keep {_SECRETS} from git: add that line, or encrypt them before anything is committed"


def _write(path: Path, content: str, mode: int) -> None:
    """Whole or not at all, and with that mode from the beginning."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as stream:
            stream.write(content)
        scratch.replace(path)
    except (OSError, ValueError) as error:  # a name may hold a NUL
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise AnsibleActionFail(f"adopt: {str(path)[:200]!r} cannot be written: {why}") from error
