# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import generations, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.generations import Generation
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.files import make_directory, write_file
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout("shop", str(tmp_path))
    make_directory(made.release("abc"))
    make_directory(made.state, 0o700)
    return made


def lay_down(layout: Layout, number: int, finish: bool = True) -> None:
    store.begin(layout, number, "abc")
    files = dict.fromkeys([*layout.instance_units(number), layout.public_socket_unit, "gunicorn.conf.py"], "x\n")
    store.write(layout, number, files, {"number": number, "release": "abc", "created": "now"})
    write_file(layout.environment(number), "", 0o600)
    store.link_units(layout, number)
    if finish:
        store.finish(layout, number)


def test_a_generation_counts_only_when_it_is_finished(layout: Layout) -> None:
    lay_down(layout, 1, finish=False)
    assert not generations.finished(layout, 1)
    assert generations.describe(layout, 1).status == "unfinished"
    with pytest.raises(ValueError, match="generation 1 of shop is unfinished"):
        store.activate(layout, 1)
    store.finish(layout, 1)
    assert generations.describe(layout, 1).status == "candidate"


def test_a_finished_generation_is_never_written_again(layout: Layout) -> None:
    lay_down(layout, 1)
    with pytest.raises(ValueError, match="generation 1 of shop is finished and is never written again"):
        store.write(layout, 1, {"gunicorn.conf.py": "y"}, {})


def test_live_moves_by_one_link(layout: Layout) -> None:
    lay_down(layout, 1)
    lay_down(layout, 2)
    assert generations.live(layout) is None
    store.activate(layout, 1)
    assert generations.live(layout) == 1
    store.activate(layout, 2)
    assert os.readlink(layout.live) == "generations/2"


def test_an_intact_generation_has_no_problems(layout: Layout) -> None:
    lay_down(layout, 1)
    assert generations.problems(layout, 1) == []


def test_what_was_changed_by_hand_is_named(layout: Layout) -> None:
    lay_down(layout, 1)
    path = layout.generation(1)
    Path(path, "gunicorn.conf.py").write_text("workers = 99\n")
    Path(path, "shop.socket").unlink()
    Path(path, "notes.txt").write_text("hello")
    Path(layout.unit("shop@1.service")).unlink()
    override = Path(layout.unit("shop@1.service") + ".d")
    override.mkdir()
    (override / "memory.conf").write_text("[Service]\n")
    Path(layout.environment(1)).unlink()
    assert set(generations.problems(layout, 1)) == {
        f"{path}/gunicorn.conf.py was edited",
        f"{path}/shop.socket is missing",
        f"{path}/notes.txt is not part of the generation",
        f"{layout.unit('shop@1.service')} does not lead to generation 1",
        f"{override}/memory.conf overrides the unit",
        f"{layout.environment(1)} is missing",
    }


def test_the_outcome_is_no_change_of_the_generation(layout: Layout) -> None:
    lay_down(layout, 1)
    store.set_outcome(layout, 1, "bad", "too slow")
    assert generations.problems(layout, 1) == []
    assert generations.describe(layout, 1).cause == "too slow"


def test_the_record_is_for_root_alone(layout: Layout) -> None:
    lay_down(layout, 1)
    mode = stat.S_IMODE(os.stat(os.path.join(layout.generation(1), "generation.json")).st_mode)
    assert mode == 0o600


def test_the_public_socket_is_linked_through_live(layout: Layout) -> None:
    lay_down(layout, 1)
    store.activate(layout, 1)
    assert generations.public_problems(layout) != []
    assert store.link_public(layout) is True
    assert store.link_public(layout) is False
    assert generations.public_problems(layout) == []
    assert os.readlink(layout.unit("shop.socket")) == "/opt/headcount/shop/live/shop.socket"
    store.unlink_public(layout)
    assert len(generations.public_problems(layout)) == 2


def test_removal_takes_units_and_environment_along(layout: Layout) -> None:
    lay_down(layout, 1)
    overrides = generations.drop_ins(layout, "shop@1.service")
    for directory in overrides:
        make_directory(directory)
        write_file(os.path.join(directory, "over.conf"), "[Service]\nNice=5\n")
    (said,) = store.remove(layout, 1)
    assert said.startswith(f"moved {overrides[0]}, which is somebody's")
    assert generations.numbers(layout) == []
    assert not os.path.lexists(layout.unit("shop@1.service"))
    assert not any(map(os.path.exists, overrides))
    assert not os.path.exists(layout.environment(1))


def test_the_live_generation_is_not_removed(layout: Layout) -> None:
    lay_down(layout, 1)
    store.activate(layout, 1)
    with pytest.raises(ValueError, match="generation 1 of shop is live"):
        store.remove(layout, 1)


def test_a_generation_that_cannot_be_finished_does_not_become_live(layout: Layout) -> None:
    lay_down(layout, 1, finish=False)
    assert generations.problems(layout, 1) == ["generation 1 is unfinished"]


def gen(number: int, status: str) -> Generation:
    return Generation(number, status, "abc", None)


@pytest.mark.parametrize(
    ("known", "live", "before", "keep", "gone"),
    [
        ([gen(n, "good") for n in range(1, 8)], 7, 6, 3, [1, 2, 3, 4]),
        ([gen(1, "good"), gen(2, "good"), gen(3, "good")], 3, 1, 1, [2]),
        ([gen(1, "good"), gen(2, "bad"), gen(3, "bad"), gen(4, "good")], 4, 1, 1, [2]),
        ([gen(1, "good"), gen(2, "unfinished"), gen(3, "good")], 3, 1, 2, [2]),
        ([gen(5, "good")], 5, None, 0, []),
    ],
)
def test_what_is_pruned(known: list[Generation], live: int, before: int | None, keep: int, gone: list[int]) -> None:
    assert store.to_prune(known, live, before, keep) == gone


def test_what_somebody_went_back_from_is_kept_behind_all_others() -> None:
    known = [Generation(number, "good", "abc", None) for number in (1, 2, 3, 4, 5)]
    assert store.to_prune(known, 5, 4, 3) == [1, 2]
    assert store.to_prune(known, 5, 4, 3, {3}) == [1, 3]
    assert store.to_prune(known, 5, 4, 5, {3}) == []


def test_releases_that_nothing_uses_are_found(layout: Layout) -> None:
    make_directory(layout.release("old"))
    lay_down(layout, 1)
    assert store.unused_releases(layout) == ["old"]
