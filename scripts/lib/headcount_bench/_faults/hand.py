# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Things done by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

from .._scene import APP, PIDS, Scene
from .row import HOME, STATE, Row


def next_run(scene: Scene) -> None:
    """The next run promotes a new generation and leaves nothing over."""
    done = scene.deploy()
    scene.seen.must("failed" not in done[-1], f"the next run failed: {done[-1].get('failed')}")
    scene.seen.must(scene.live() == done[-1].get("number"), "the next run's generation is not live")
    answering = scene.answering()
    scene.seen.must(answering == scene.release, f"after the next run {answering} answers, not {scene.release}")
    scene.clean()


def edited(path: str, command: str = "echo '# edited' >> {path}") -> Callable[[Scene], None]:
    """A file of the live generation is edited: seen at once, gone with the next run."""

    def work(scene: Scene) -> None:
        live = scene.live()
        file = scene.sh(f"ls {path.format(live=live)} | head -1").strip() or path.format(live=live)
        scene.sh(command.format(path=file, live=live))
        state = scene.engine.status(APP)
        scene.seen.told.append("; ".join(state.get("problems", []))[:200])
        scene.seen.must(state.get("intact") is False, "the edit was not seen")
        scene.seen.must(state.get("healthy"), "the app is not healthy any more")
        next_run(scene)

    return work


NOBODY_READS = (
    f"runuser -u nobody -- sh -c 'for f in {HOME}/releases/*/requirements.lock {HOME}/live/gunicorn.conf.py; "
    "do cat $f; done; find /var/lib/headcount/wheels -type f' 2>/dev/null | head -1"
)


def opened(scene: Scene) -> None:
    """The folders that keep other users out are opened, as they were before they were closed: seen, and closed."""
    scene.sh(f"chmod 0755 {HOME} /var/lib/headcount/wheels; chgrp root {HOME}")
    state = scene.engine.status(APP)
    scene.seen.told.append("; ".join(state.get("open", []))[:200])
    scene.seen.must(len(state.get("open", [])) == 2, f"it was not seen: {state.get('open')}")
    scene.seen.must(state.get("healthy"), "the app is not healthy any more")
    next_run(scene)
    scene.seen.must(scene.engine.status(APP).get("open") == [], "it is open still")
    read = scene.sh(NOBODY_READS)
    scene.seen.must(not read.strip(), f"another user reads {read[:80]!r}")
    group = scene.sh(f"stat -c %G {HOME}").strip()
    scene.seen.must(group == f"hc-{APP}", f"the folder belongs to the group {group}")


def socket_stopped(scene: Scene) -> None:
    """The public socket's unit is stopped; its instance goes on serving what it inherited."""
    scene.sh(f"systemctl stop {APP}.socket")
    state = scene.engine.status(APP)
    scene.seen.told.append(str(state.get("health_detail")))
    scene.seen.must(state.get("healthy") is False, "it was not seen")
    begin = time.time()
    next_run(scene)
    scene.seen.window = [begin, time.time()]


def closed_meanwhile(scene: Scene) -> None:
    """Somebody keeps users out while a run is under way: it does not let them in."""
    staged = scene.engine.steps(APP, ("stage", scene.request()), "finish", gone=scene.gone())
    number = int(staged[-1]["number"])
    begin = time.time()
    scene.sh(f"systemctl stop {APP}.socket '{APP}@*'")
    done = scene.engine.steps(APP, "promote", number=number, gone=scene.gone())
    scene.seen.told.append(str(done[-1].get("failed")))
    scene.seen.must(f"{APP}.socket was stopped" in scene.seen.told[-1], f"it was not refused: {done[-1]}")
    states = scene.sh(f"systemctl is-active {APP}.socket '{APP}@*'").split()
    scene.seen.must("active" not in states, f"after that they are {states}")
    next_run(scene)
    scene.seen.window = [begin, time.time()]


def _newest_good_but(scene: Scene, live: int | None) -> int:
    """The newest good generation that is not live: what a rollback may name."""
    good = (one["number"] for one in scene.engine.status(APP)["generations"] if one["status"] == "good")
    return int(max(number for number in good if number != live))


def rollback_to_edited(scene: Scene) -> None:
    """The target of a rollback was edited: it is not gone back to."""
    next_run(scene)
    before = scene.live()
    target = _newest_good_but(scene, before)
    scene.sh(f"echo '# edited' >> {HOME}/generations/{target}/gunicorn.conf.py")
    said = scene.sh(f"headcount-rollback {APP} {target} 2>&1; echo code $?")
    scene.seen.told.append(said.strip()[:200])
    scene.seen.must("code 1" in said and "edited" in said, f"it said {said}")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    scene.sh(f"sed -i '$d' {HOME}/generations/{target}/gunicorn.conf.py")
    scene.clean()


def rollback_sick(line: str) -> Callable[[Scene], None]:
    """The target of a rollback does not come up, for this line of its environment: it is not kept, nothing flaps."""
    return lambda scene: _rollback_sick(scene, line)


def private_socket_gone(scene: Scene) -> None:
    """The private socket's file of the live generation is deleted: users are served, so it is not called broken."""
    next_run(scene)
    live = scene.live()
    scene.sh(f"rm -f /run/headcount/{APP}/{live}.sock")
    state = scene.engine.status(APP)
    scene.seen.told.append("; ".join(state.get("problems", []))[:200])
    scene.seen.must(state.get("healthy"), f"it is called broken: {state.get('health_detail')}")
    scene.seen.must("cannot be asked by itself" in str(state.get("problems")), "it was not seen")
    target = max(one["number"] for one in state["generations"] if one["status"] == "good" and one["number"] != live)
    scene.sh(f"cp -p {STATE}/{target}.env /root/env; echo 'SHOP_FAULTS=wrong_health' >> {STATE}/{target}.env")
    said = scene.sh(f"headcount-rollback {APP} {target} 2>&1; echo code $?")
    scene.sh(f"cp -p /root/env {STATE}/{target}.env")
    scene.seen.must("code 1" in said and "not kept" in said, f"it went back to a sick one: {said}")
    scene.seen.must(scene.live() == live, f"live is {scene.live()}, not {live}")
    next_run(scene)


def public_file_gone(scene: Scene) -> None:
    """The file of a public unix socket is deleted: seen, and opened again by the next run."""
    path, begin = "/run/shop-users.sock", time.time()
    ask = f"curl -s -m 10 -o /dev/null -w '%{{http_code}}' --unix-socket {path} http://localhost/healthz"
    scene.deploy(listen=f"unix:{path}")
    scene.sh(f"rm -f {path}")
    state = scene.engine.status(APP)
    scene.seen.told.append(str(state.get("health_detail")))
    scene.seen.must(state.get("healthy") is False, "it was not seen")
    done = scene.deploy(listen=f"unix:{path}")
    scene.seen.must("failed" not in done[-1], f"the new release is blamed for it: {done[-1].get('failed')}")
    scene.seen.must(scene.sh(ask).strip() == "200", "nobody reaches it")
    next_run(scene)  # on its port again
    scene.seen.window = [begin, time.time()]


def drop_in_after_trial(scene: Scene) -> None:
    """A drop-in that comes between trial and promote: what was tried is not what would start."""
    before = scene.live()
    done = scene.engine.steps(APP, ("stage", scene.request()), "finish", gone=scene.gone())
    folder = f"/etc/systemd/system/{APP}@.service.d"
    scene.sh(f"mkdir -p {folder}; (echo '[Service]'; echo 'Environment=A=b') > {folder}/late.conf")
    done = scene.engine.steps(APP, "promote", number=done[-1]["number"], gone=scene.gone())
    scene.sh(f"rm -r {folder}; systemctl daemon-reload")
    scene.seen.told.append(str(done[-1].get("failed"))[:200])
    scene.seen.must("late.conf" in str(done[-1].get("failed")), f"it was promoted: {done[-1]}")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    scene.clean()


def _rollback_sick(scene: Scene, line: str) -> None:
    next_run(scene)
    next_run(scene)
    before = scene.live()
    target = _newest_good_but(scene, before)
    scene.sh(f"cp -p {STATE}/{target}.env /root/env; echo '{line}' >> {STATE}/{target}.env")
    said = scene.sh(f"headcount-rollback {APP} {target} 2>&1; echo code $?")
    scene.sh(f"cp -p /root/env {STATE}/{target}.env")
    scene.seen.told.append(said.strip()[:200])
    scene.seen.must("code 1" in said and "not kept" in said, f"it said {said}")
    scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
    last = scene.engine.ledger(APP)[-1]
    scene.seen.must(last["event"] == "rollback_failed", f"the ledger's last word is {last['event']}")
    scene.clean()


def rollback_to_unlinked(scene: Scene) -> None:
    """The units of the generation to go back to were disabled, which takes their links away: they are linked again."""
    target = _newest_good_but(scene, scene.live())
    scene.sh(f"systemctl disable {APP}@{target}.service {APP}-trial@{target}.socket")
    said = scene.sh(f"headcount-rollback {APP} {target} 2>&1; echo code $?")
    scene.seen.told.append(said.strip()[:200])
    scene.seen.must("code 0" in said and f"linked {APP}@{target}.service again" in said, f"it said {said}")
    scene.seen.must(scene.live() == target, f"live is {scene.live()}, not {target}")
    scene.clean()


NO_PROCESS_LEFT = (
    f"before=$(cat {PIDS}.max); echo $(($(cat {PIDS}.current) + {{spare}})) > {PIDS}.max; "
    f"headcount-rollback {APP} {{target}} 2>&1; echo code $?; echo $before > {PIDS}.max"
)


def rollback_without(spare: int) -> Callable[[Scene], None]:
    """`spare` processes and threads may still be begun: what runs is not taken for dead because nobody can be asked,
    and what is gone back to does not come to users, nor take from the live one, what it has no room for."""

    def work(scene: Scene) -> None:
        before = scene.live()
        with scene.generators_kept():
            said = scene.sh(NO_PROCESS_LEFT.format(spare=spare, target=_newest_good_but(scene, before)))
        scene.seen.told.append(said.strip()[:300])
        scene.seen.must("code 1" in said and "Traceback" not in said, f"it said {said}")
        why = ("could not begin", "has no room for generation")
        scene.seen.must(any(words in said for words in why), f"it did not say why: {said}")
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
        next_run(scene)

    return work


def rollback_nowhere(scene: Scene) -> None:
    """Asking for what is not there gets the list of what is."""
    before = scene.live()
    said = scene.sh(f"headcount-rollback {APP} 9999 2>&1; echo code $?; headcount-rollback nosuch 2>&1; echo code $?")
    scene.seen.told.append(said.strip()[:300])
    scene.seen.must(f"{before} (live)" in said and "code 1" in said, f"it said {said}")
    scene.seen.must("there are: shop" in said and "code 2" in said, f"it said {said}")
    scene.clean()


def rollback_offline(scene: Scene) -> None:
    """No network, no wheels, no controller: the host goes back by itself."""
    next_run(scene)  # so that the generation before the live one is as it was laid down
    next_run(scene)
    before = scene.live()
    said = scene.sh(
        f"mv /var/lib/headcount/wheels /root/wheels; unshare --net headcount status {APP} > /dev/null; "
        f"headcount-rollback {APP} 2>&1; echo code $?; mv /root/wheels /var/lib/headcount/wheels"
    )
    scene.seen.told.append(said.strip()[:200])
    scene.seen.must("code 0" in said, f"it said {said}")
    scene.seen.must(scene.live() != before, "nothing changed")
    scene.seen.must(scene.engine.ledger(APP)[-1]["event"] == "rolled_back", "the ledger does not say so")
    scene.clean()


def rollback_full_disk(scene: Scene) -> None:
    """The disk is full when a person wants to go back."""
    next_run(scene)
    next_run(scene)
    before = scene.live()
    with scene.small_disk(STATE, 6):
        scene.sh(f"head -c 1G /dev/zero > {STATE}/filler")
        said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
        scene.seen.told.append(said.strip()[:200])
        scene.seen.must("code 0" in said, f"it said {said}")
        last = scene.engine.ledger(APP)[-1]
        scene.seen.must(last["event"] == "rolled_back", f"the ledger's last word is {last['event']}")
    scene.seen.must(scene.live() != before, "nothing changed")
    scene.clean()


def pruned(scene: Scene) -> None:
    """Six deployments with retain.good = 2: the live one, its predecessor, two good ones, the last bad one stay."""
    scene.whole("crash_import")
    for _ in range(4):
        done = scene.deploy(retain={"good": 2})
        scene.seen.must("failed" not in done[-1], f"a deployment failed: {done[-1].get('failed')}")
    state = scene.engine.status(APP)
    kept = {one["number"]: one["status"] for one in state["generations"]}
    scene.seen.told.append(str(kept))
    good = [number for number, status in kept.items() if status == "good"]
    scene.seen.must(len(good) == 2 and scene.live() in good, f"kept are {kept}")
    scene.seen.must(list(kept.values()).count("bad") == 1, f"kept are {kept}")
    units = scene.sh(f"find /etc/systemd/system -maxdepth 1 -type l -name '{APP}*@*' | wc -l").strip()
    scene.seen.must(units == str(4 * len(kept)), f"{units} unit links for {len(kept)} generations")
    scene.clean()


UNITS = "/etc/systemd/system"


def edit_unit(scene: Scene, unit: str, source: str) -> str:
    """What `systemctl edit --full` leaves: a regular file with a line more where the link was."""
    path = f"{UNITS}/{unit}"
    scene.sh(f"cp --remove-destination {source} {path}; echo '# edited' >> {path}; systemctl daemon-reload")
    return path


def unit_replaced(scene: Scene) -> None:
    """The live service and the public socket were edited as a whole: neither a rollback nor a rollout minds."""
    for act in ("rollback", "rollout"):
        next_run(scene)
        live = scene.live()
        own = f"{HOME}/generations/{live}"
        service = edit_unit(scene, f"{APP}@{live}.service", f"{own}/{APP}@{live}.service")
        edit_unit(scene, f"{APP}.socket", f"{own}/{APP}.socket")
        state = scene.engine.status(APP)
        scene.seen.must(state.get("healthy"), f"it is called unhealthy: {state.get('health_detail')}")
        scene.seen.must(state.get("clashes") == [], f"it is called somebody else's: {state.get('clashes')}")
        if act == "rollback":
            said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
            scene.seen.told.append(" ".join(said.split())[:300])
            scene.seen.must("code 0" in said and ".headcount-saved-" in said, f"it said {said}")
            scene.clean()
        else:
            next_run(scene)
        saved = scene.sh(f"tail -n 1 {UNITS}/{APP}.socket.headcount-saved-*; tail -n 1 {service}")
        scene.seen.must(saved.count("# edited") == 2, f"an edit was lost: {saved}")
        scene.sh(f"rm {UNITS}/{APP}.socket.headcount-saved-* {service}; systemctl daemon-reload")


def socket_disabled(scene: Scene) -> None:
    """The public socket is disabled, which removes its links and reloads; its instance serves on."""
    scene.sh(f"systemctl disable {APP}.socket")
    state = scene.engine.status(APP)
    scene.seen.must(state.get("clashes") == [], f"it is called somebody else's: {state.get('clashes')}")
    begin = time.time()
    next_run(scene)
    scene.seen.window = [begin, time.time()]


def generations_moved(scene: Scene) -> None:
    """What runs is left alone where its files are gone, and the words say what is missing."""
    before = scene.sh(f"systemctl show -P MainPID '{APP}@*.service'")
    scene.sh(f"mv {HOME}/generations /root/moved")
    done = scene.deploy()
    said = str(done[-1].get("failed"))
    back = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
    scene.seen.told.append(said[:200])
    for words in (said, back):
        scene.seen.must(f"{HOME}/generations is missing" in words, f"it said {words}")
    scene.seen.must(scene.sh(f"systemctl show -P MainPID '{APP}@*.service'") == before, "what ran was stopped")
    scene.sh(f"mv /root/moved {HOME}/generations")
    next_run(scene)


def live_elsewhere(scene: Scene) -> None:
    """`live` leads into another tree, to a number that is there too."""
    scene.sh(f"mkdir -p /opt/other/generations/1; ln -sfn /opt/other/generations/1 {HOME}/live")
    state = scene.engine.status(APP)
    scene.seen.told.append("; ".join(state.get("leftovers", []))[:200])
    scene.seen.must("leads to /opt/other" in " ".join(state.get("leftovers", [])), "it was not seen")
    next_run(scene)


def account_gone(scene: Scene) -> None:
    """The account is deleted under the app: seen, and made again by a rollback."""
    next_run(scene)
    scene.sh(f"userdel --force hc-{APP}")
    state = scene.engine.status(APP)
    scene.seen.must("is gone" in "; ".join(state.get("problems", [])), f"it was not seen: {state.get('problems')}")
    said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?; id hc-{APP}")
    scene.seen.told.append(" ".join(said.split())[:200])
    scene.seen.must("code 0" in said and f"(hc-{APP})" in said, f"it said {said}")
    scene.clean()


def ledger_torn(scene: Scene) -> None:
    """The last line of the ledger is torn, as a power cut can leave it."""
    scene.sh(f'printf \'{{"time":"2026-01-01T00:00:00.000Z","event":"prom\' >> {STATE}/ledger.jsonl')
    before = scene.sh(f"headcount history {APP} -n 3")
    scene.seen.must(before.strip(), "the history cannot be read")
    next_run(scene)


HAND = [
    Row(
        "hand/unit-edited",
        "a line is added to the live unit file",
        "seen as drift; gone with the next run",
        edited(f"{HOME}/generations/{{live}}/{APP}@{{live}}.service"),
        quick=True,
    ),
    Row(
        "hand/unit-overridden",
        "a drop-in overrides the live unit",
        "seen as drift; gone with the next run",
        edited(
            f"/etc/systemd/system/{APP}@{{live}}.service.d/over.conf",
            "mkdir -p /etc/systemd/system/shop@{live}.service.d; "
            "printf '[Service]\\nNice=5\\n' > /etc/systemd/system/shop@{live}.service.d/over.conf; "
            "systemctl daemon-reload",
        ),
    ),
    Row(
        "hand/public-socket-unlinked",
        "the link of the public socket's unit is removed",
        "seen as drift; put back by the next run",
        edited(f"/etc/systemd/system/{APP}.socket", "rm {path}"),
    ),
    Row(
        "hand/units-replaced",
        "the live service and the public socket are edited as a whole (`systemctl edit --full`)",
        "in the way of neither a rollback nor a rollout; the edits are kept, and told",
        unit_replaced,
    ),
    Row(
        "hand/public-socket-disabled",
        "the public socket is disabled",
        "the instance serves on; the next run puts the socket back, with a gap",
        socket_disabled,
    ),
    Row(
        "hand/generations-moved",
        "the folder of the generations is moved away under what runs",
        "refused, naming what is missing; what runs serves on; whole again once the folder is back",
        generations_moved,
    ),
    Row(
        "hand/live-elsewhere",
        "`live` leads into another tree",
        "named; the next run sets it right",
        live_elsewhere,
    ),
    Row(
        "hand/account-gone",
        "the app's account is deleted",
        "seen; a rollback makes it again",
        account_gone,
    ),
    Row(
        "hand/public-socket-stopped",
        "the public socket's unit is stopped",
        "the instance serves on; the next run opens the socket again, with a gap",
        socket_stopped,
    ),
    Row(
        "hand/closed-meanwhile",
        "socket and instance are stopped by hand while a run is under way",
        "the run does not let users in and says why; the next one does",
        closed_meanwhile,
    ),
    Row(
        "hand/release-edited",
        "a line is added to the app's own code in the live release",
        "seen as drift; the next run restores the file",
        edited(f"{HOME}/generations/{{live}}/release/venv/lib/python3*/site-packages/shop/work.py"),
        quick=True,
    ),
    Row(
        "hand/release-file-removed",
        "a file of the live release is removed",
        "seen as drift; the next run restores it",
        edited(f"{HOME}/generations/{{live}}/release/venv/lib/python3*/site-packages/flask/views.py", "rm {path}"),
    ),
    Row(
        "hand/opened",
        "the app's folder and the wheel store are made readable by everyone",
        "seen as drift; the next run closes them, and the app serves on",
        opened,
        quick=True,
    ),
    Row(
        "hand/rollback-to-edited",
        "the generation to go back to was edited",
        "it is not gone back to",
        rollback_to_edited,
    ),
    Row(
        "hand/rollback-to-sick",
        "the generation to go back to does not come up",
        "it is not kept; nothing flaps",
        rollback_sick("SHOP_FAULTS=crash_import"),
        quick=True,
    ),
    Row(
        "hand/rollback-to-dead",
        "the Python of the generation to go back to dies at once",
        "it is not kept; the live one, which has the same socket, serves on",
        rollback_sick("PYTHONHOME=/nowhere"),
    ),
    Row(
        "hand/rollback-to-unlinked",
        "the units of the generation to go back to were disabled, which takes their links away",
        "linked again, and gone back to",
        rollback_to_unlinked,
    ),
    Row(
        "hand/rollback-without-processes",
        "the host can begin three more processes or threads when somebody goes back",
        "not done, with the reason; what is live serves on, and nobody loses a request",
        rollback_without(3),
    ),
    Row(
        "hand/rollback-with-few-processes",
        "the host can begin forty more processes or threads when somebody goes back",
        "refused before anything is started, with the count and the limit; what is live serves on",
        rollback_without(40),
    ),
    Row(
        "hand/private-socket-gone",
        "the file of the live generation's private socket is deleted",
        "it is judged by what users get, and not replaced by a sick one; the next run is whole again",
        private_socket_gone,
    ),
    Row(
        "hand/public-file-gone",
        "the file of a public unix socket is deleted",
        "seen; the next run opens it again and does not blame the new release",
        public_file_gone,
    ),
    Row(
        "hand/drop-in-after-trial",
        "a drop-in for the app comes between trial and promote",
        "what was not tried is not promoted",
        drop_in_after_trial,
    ),
    Row(
        "hand/rollback-to-nothing",
        "a generation and an app that are not there",
        "the list of what is there",
        rollback_nowhere,
    ),
    Row(
        "hand/rollback-on-its-own",
        "no wheels, no controller",
        "the host goes back by itself",
        rollback_offline,
        quick=True,
    ),
    Row(
        "hand/rollback-on-a-full-disk",
        "the disk is full when somebody goes back",
        "it goes back, and the ledger has it",
        rollback_full_disk,
    ),
    Row("hand/prune", "four more deployments with retain.good = 2", "only what is promised is kept", pruned),
    Row(
        "hand/ledger-torn", "the ledger's last line is torn", "no other line is lost; the next run goes on", ledger_torn
    ),
]
