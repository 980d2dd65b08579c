# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Has a host build what exists only as source, and keeps the wheels.

The documentation is in plugins/modules/build.py.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..module_utils._declaration.digests import digest
from ..module_utils._release.hostbuild import BUILD_SECONDS
from ..plugin_utils._display.reminder import Reminder
from ..plugin_utils._display.terminal import display
from ..plugin_utils._display.text import listed
from ..plugin_utils._display.unreached import connection_words
from ..plugin_utils._edge import Json, Result, Variables
from ..plugin_utils._fleet import builds
from ..plugin_utils._fleet.declared import declaration, plain
from ..plugin_utils._fleet.runs import Notes, RunError
from ..plugin_utils._stepaction import in_words, send, this_run
from ..plugin_utils._wheels.tools import WheelhouseError
from ..plugin_utils._wheels.wheelhouse import keep_built, pack


class ActionModule(ActionBase):
    """One copy, one module call. Whatever becomes of a build is noted, for the plan that follows."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = False
    _VALID_ARGS = frozenset({"seconds"})

    def run(self, tmp: None = None, task_vars: Variables | None = None) -> Result:
        """What was built, and what could not be."""
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        if self._task.check_mode:
            result.update(skipped=True, changed=False, msg="not done in check mode")
            return result
        notes = this_run(variables, "build")[2]
        host = str(variables["inventory_hostname"])
        try:
            requests = builds.asked(notes, host)
            answers = self._answers(host, requests, notes, variables)
            result["built"], result["failed_builds"] = [], {}
            for request, answer in zip(requests, answers):
                cause = answer["lost"] if "lost" in answer else self._keep(host, request, answer, notes, variables)
                if cause:
                    state = builds.LOST if "lost" in answer else builds.FAILED
                    builds.note(notes, host, request.key, state, cause, log=answer.get("log", ""))
                    result["failed_builds"][request.what] = cause
                else:
                    result["built"].append(request.what)
        except RunError as error:
            raise AnsibleActionFail(f"build: {error}") from error
        result["changed"] = bool(result["built"])
        return result

    def _answers(self, host: str, requests: list[builds.Request], notes: Notes, variables: Variables) -> list[Result]:
        """The host's answer to each request; all the same, with `lost`, when it gave none."""
        files = [item for request in requests for item in request.files]
        archive = notes.path / "builds" / f"{digest(sorted({item.sha256 for item in files}))[:16]}.tar"
        pack(files, archive)
        seconds = float(self._task.args.get("seconds") or BUILD_SECONDS)
        what = f"{host}: compiling {listed([request.what for request in requests])}"
        display(f"{what} from source, which may take up to {seconds / 60:.0f} min each")
        try:
            with Reminder(display) as reminder:
                reminder.step(host, what)
                result = self._built(archive, requests, seconds, variables)
        except AnsibleConnectionFailure as error:
            said = connection_words(getattr(error, "message", error))
            return [{"lost": f"the connection to {host} was lost: {said}"}] * len(requests)
        finally:
            archive.unlink(missing_ok=True)
        if result.get("failed") or "answers" not in result:
            return [{"lost": in_words("", "build", result)["cause"]}] * len(requests)
        return [{**answer, "limit": seconds} for answer in result["answers"]]

    def _built(self, archive: Path, requests: list[builds.Request], seconds: float, variables: Variables) -> Result:
        """What the module build says."""
        result: Result = self._execute_module(
            module_name="headcount.gunicorn.build",
            module_args={
                "archive": send(self, archive),
                "builds": [request.for_host() for request in requests],
                "python": declaration(variables, self._templar).variables["headcount_python"],
                "seconds": seconds,
            },
            task_vars=variables,
        )
        return result

    def _keep(self, host: str, request: builds.Request, answer: Json, notes: Notes, variables: Variables) -> str:
        """Keep the wheel of an answer, or return why there is none."""
        if not answer["filename"]:
            system = builds.system_of((plain(variables.get("headcount__probe")) or {}).get("facts", {}))
            said = (answer["result"], answer["log"], answer["limit"])
            return builds.failure(request, host, *said, system, answer.get("compiler") or "")
        origin = {
            "host": host,
            "run": notes.id,
            "compiler": answer["compiler"] or None,
            "seconds": answer["seconds"],
            "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        cache = notes.work / "wheelhouse"
        scratch = cache / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            wheel = Path(folder) / Path(str(answer["filename"])).name
            try:
                wheel.write_bytes(base64.b64decode(answer["content"], validate=True))
                kept = keep_built(cache, request.platform, request.build.sdist, wheel, origin)
            except (WheelhouseError, OSError, binascii.Error) as error:
                return str(error)
            if kept.sha256 != answer["sha256"]:
                return f"{wheel.name} came damaged from {host}: run again"
        builds.note(notes, host, request.key, builds.BUILT, origin=origin)
        display(f"{host}: built {kept.filename} in {answer['seconds']:g} s; it is kept for {request.where}")
        return ""
