# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rows of the fault catalogue about what an app keeps: whatever happens to its generations, its records are there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from .._scene import APP, Scene
from .hand import next_run
from .row import Row, refused

KEPT = f"/var/lib/hc-{APP}"


def records(scene: Scene, method: str = "GET") -> int | None:
    """How many records the app says that it keeps; with POST, after one more."""
    text = scene.sh(f"curl -s -m 10 -X {method} http://127.0.0.1:8000/records")
    return int(json.loads(text)["records"]) if text.startswith("{") else None


def _must_keep(scene: Scene, wanted: int | None, when: str) -> None:
    found = records(scene)
    scene.seen.must(wanted and found == wanted, f"{when} there are {found} records, not {wanted}")


def kept(scene: Scene) -> None:
    """Records that users made with one generation are there with the next, after the way back, and after a prune."""
    wanted = records(scene, "POST")
    scene.seen.must(wanted, "no record could be made")
    next_run(scene)
    _must_keep(scene, wanted, "after a promote")
    wanted = records(scene, "POST")
    said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
    scene.seen.must("code 0" in said, f"the rollback said {said}")
    _must_keep(scene, wanted, "after the rollback")
    pruned: list[int] = []
    for _ in range(4):
        pruned += scene.deploy()[-1].get("pruned", [])
    scene.seen.must(pruned, "nothing was pruned")
    _must_keep(scene, wanted, f"after generations {pruned} were pruned")
    mode = scene.sh(f"stat -c '%a %U' {KEPT}").strip()
    scene.seen.must(mode == f"700 hc-{APP}", f"the data has {mode}")
    scene.seen.told.append(f"{wanted} records through promote, rollback and prune")
    scene.clean()


def outlives_the_app(scene: Scene) -> None:
    """The app is removed: its records stay, and it is said where. It comes back to them; removed by request they go."""
    wanted = records(scene, "POST")
    begin = time.time()
    scene.seen.window = [begin - 0.1, begin + 240.0]
    done = scene.engine.steps(APP, "remove", gone=scene.gone())[-1]
    scene.seen.must(list(done.get("kept", {})) == [KEPT], f"it does not say that its data stays: {done}")
    left = scene.sh(f"find / -xdev -name '*{APP}*' -not -path '/proc/*' -not -path '/root/*' 2>/dev/null; ls {KEPT}")
    scene.seen.must("instance" in left, f"its data is gone: {left}")
    scene.seen.must(f"/opt/headcount/{APP}" not in left.split(), f"there is left: {left}")
    scene.deploy()
    _must_keep(scene, wanted, "after it came back")
    done = scene.engine.steps(APP, ("remove", {"everything": True}), gone=scene.gone())[-1]
    scene.seen.must(done.get("gone") == [KEPT], f"its data did not go: {done}")
    scene.seen.must(scene.sh(f"test -e {KEPT} || echo gone").strip() == "gone", "its data is there still")
    scene.deploy()
    scene.deploy()
    scene.seen.must(records(scene) == 0, "it begins with records of before")
    scene.seen.window[1] = time.time()
    scene.clean()


def another_account(scene: Scene) -> None:
    """The app gets another account, as the docs say, and goes back: the records are there both times, and nobody's data
    is taken from it while it serves."""
    wanted, before = records(scene, "POST"), scene.live()
    begin = time.time()
    scene.seen.window = [begin - 0.1, begin + 240.0]
    scene.sh(
        f"useradd --system --no-create-home --shell /usr/sbin/nologin till-two; systemctl stop {APP}.socket "
        f"{APP}@{before}.service; chown -R till-two: {KEPT}"
    )
    done = scene.deploy(user="till-two")
    scene.seen.must("failed" not in done[-1], f"it did not get the account: {done[-1].get('failed')}")
    _must_keep(scene, wanted, "with the other account")
    scene.seen.window[1] = time.time()
    wanted = records(scene, "POST")
    scene.seen.must(wanted, "no record could be made with the other account")
    said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
    scene.seen.must("code 0" in said, f"the rollback said {said}")
    scene.seen.must("leaves before generation" in said and "belongs to till-two" in said, f"it does not say so: {said}")
    _must_keep(scene, wanted, "after the rollback")
    scene.seen.must(records(scene, "POST"), "no record could be made after the rollback")
    mode = scene.sh(f"stat -c '%a %U' {KEPT}").strip()
    scene.seen.must(mode == f"700 hc-{APP}", f"the data has {mode}")
    scene.seen.told.append(said.strip()[:300])
    scene.clean()
    for _ in range(2):
        scene.deploy()
    scene.sh("userdel till-two")


def mounted(folder: str) -> Callable[[Scene], None]:
    """A folder is mounted at the app's data, or below it, which is to go: nothing goes before it is unmounted."""

    def work(scene: Scene) -> None:
        theirs, point = "/srv/photos", f"{KEPT}{folder}"
        scene.sh(f"mkdir -p {theirs} {point} && echo theirs > {theirs}/1.jpg && mount --bind {theirs} {point}")
        try:
            done = scene.engine.steps(APP, ("remove", {"everything": True}), gone=scene.gone())
            refused(scene, done, f"umount {point}", "remove", bad_kept=False)
            scene.seen.must(scene.sh(f"cat {theirs}/1.jpg").strip() == "theirs", "what was mounted is gone")
            scene.clean("after the refusal")
        finally:
            scene.sh(f"umount {point}")
        begin = time.time()
        scene.seen.window = [begin - 0.1, begin + 240.0]
        done = scene.engine.steps(APP, ("remove", {"everything": True}), gone=scene.gone())
        scene.seen.must(done[-1].get("gone") == [KEPT], f"once it is unmounted, its data does not go: {done[-1]}")
        scene.seen.must(
            scene.sh(f"cat {theirs}/1.jpg; rm -r {theirs}").strip() == "theirs", "what was mounted went then"
        )
        scene.deploy()
        scene.deploy()
        scene.seen.window[1] = time.time()
        scene.clean()

    return work


def left_in_tmp(scene: Scene) -> None:
    """The live generation has users' files in its private /tmp: it is told before they go, and by the promote."""
    unit = f"{APP}@{scene.live()}.service"
    inside = f"nsenter -m -t $(systemctl show --value -p MainPID {unit}) setpriv --reuid hc-{APP} --clear-groups"
    scene.sh(f"{inside} sh -c 'echo theirs > /tmp/Ab3.data; echo theirs > /tmp/Ab3.meta; echo x > /tmp/tmpabcd1234'")
    told = f"2 files in the private /tmp of generation {scene.live()}"
    before = str(scene.engine.status(APP).get("losing"))
    scene.seen.must(before.startswith(told), f"it is not told before: {before}")
    done = scene.deploy()[-1]
    scene.seen.must(any(told in line for line in done.get("told", [])), f"the promote does not say so: {done}")
    # Pruning what is not retained any more may have come after it.
    entry = [line for line in scene.engine.ledger(APP) if line["event"] == "promoted"][-1]
    scene.seen.must(told in str(entry.get("told")), f"the ledger does not say so: {entry}")
    scene.seen.told.append(before[:200])
    scene.clean()


def not_through_a_link(scene: Scene) -> None:
    """The app owns a folder and has a link to /etc in it: root makes nothing there, and gives nothing of it away."""
    scene.sh(f"mkdir -p /srv/media && chown hc-{APP}: /srv/media && ln -sfn /etc /srv/media/up")
    try:
        done = scene.deploy(data={"outside": [{"path": "/srv/media/up/thumbs"}]})
        refused(scene, done, "root makes no folder there, as /srv/media belongs to", "stage", bad_kept=False)
        left = scene.sh("ls -d /etc/thumbs 2>/dev/null").strip()
        scene.seen.must(not left, f"{left} was made")
    finally:
        scene.sh("rm -rf /srv/media /etc/thumbs")


DATA = [
    Row(
        "data/kept",
        "records are made; then a promote, a rollback and prunes",
        "each record is there after each of them",
        kept,
    ),
    Row(
        "data/outlives-the-app",
        "the app is removed, comes back, and is removed with its data",
        "its data stays until somebody says that it goes; it is said where it is",
        outlives_the_app,
    ),
    Row(
        "data/another-account",
        "the app gets another account, and goes back to a generation with the one before",
        "the records are there both times; the live one leaves before its data is given to the other, which is told",
        another_account,
    ),
    Row(
        "data/mounted-at",
        "somebody's folder is mounted at the app's data, and the app is removed with its data",
        "nothing is removed; the mount is named with the command that takes it away",
        mounted(""),
    ),
    Row(
        "data/mounted-below",
        "somebody's folder is mounted below the app's data, and the app is removed with its data",
        "nothing is removed; the mount is named with the command that takes it away",
        mounted("/photos"),
    ),
    Row(
        "data/left-in-tmp",
        "the live generation has users' files in its private /tmp, and another one is promoted",
        "they are named before, by the promote and in the ledger",
        left_in_tmp,
    ),
    Row(
        "data/not-through-a-link",
        "a missing folder of `data.outside` lies below one that the app owns, where its link leads to /etc",
        "refused before anything is laid down, with the fix; root makes nothing there",
        not_through_a_link,
    ),
]
