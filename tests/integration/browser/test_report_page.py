# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of a run in Chromium, as a person uses it: read, sort, filter, open, print, on a phone, in the dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output import report
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output.page import page
from headcount_bench import _chromium, _fleet_report
from headcount_bench._chromium import Browser, Opened
from headcount_scripts import tools
from playwright.sync_api import Page, expect

PROGRAM = tools.chromium(install=False)
HOSTS = 150
ROWS = "#fleet > tbody > tr:not(.detail)"
PHONE = {"width": 390, "height": 844}
READABLE = 4.5
"""The least contrast of text that WCAG 2.2 asks for (1.4.3)."""

expect.set_options(timeout=_chromium.PATIENCE_MS)
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=f"none of {', '.join(tools.CHROMIUMS)} is on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with _chromium.chromium(PROGRAM) as found:
        yield found


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What report.json would hold. One host has words that HTML would read as its own."""
    found = _fleet_report.of_run(HOSTS)
    found["rows"][0]["reasons"] = ["<img src=x onerror=alert(1)> changed"]
    return found


@pytest.fixture(scope="module")
def file(told: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("report") / "report.html"
    made.write_text(page(told), encoding="utf-8")
    return made


@pytest.fixture
def visit(browser: Browser, file: Path) -> Iterator[Opened]:
    """The report, open; nothing may have complained, and nobody may have been asked, when the test is over."""
    with _chromium.opened(browser, file) as found:
        found.page.locator(ROWS).first.wait_for()  # the script has done its work
        yield found
        assert found.complaints == []
        assert found.asked == [file.as_uri()]


def column(shown: Page, name: str) -> list[str]:
    """The cells of a column, as they stand."""
    place = report.HEADER.index(name) + 1
    return shown.locator(f"{ROWS} > td:nth-child({place})").all_inner_texts()


def sort_by(shown: Page, name: str) -> str | None:
    """Click on a heading; which way the column is sorted then."""
    head = shown.locator("#fleet > thead th").nth(report.HEADER.index(name))
    head.get_by_role("button").click()
    return head.get_attribute("aria-sort")


def filter_by(shown: Page, words: str) -> None:
    shown.get_by_role("searchbox", name="Filter").fill(words)


def counted(shown: Page) -> str:
    return shown.get_by_role("status").inner_text()


def test_it_opens_with_what_came_of_the_run(visit: Opened, told: dict[str, Any]) -> None:
    assert visit.page.title() == f"Headcount: run {told['run']['id']}"
    expect(visit.page.get_by_role("heading", level=1)).to_have_text(visit.page.title())
    expect(visit.page.get_by_text(told["summary"])).to_be_visible()
    expect(visit.page.locator("p.bad")).to_have_text(told["first_cause"])
    assert visit.page.locator("#fleet > thead th").all_inner_texts() == list(report.HEADER)
    assert visit.page.locator(ROWS).first.locator("td").all_inner_texts() == report.cells(told["rows"][0])
    assert counted(visit.page) == f"{2 * HOSTS} rows"


def test_a_heading_sorts_both_ways_and_numbers_as_numbers(visit: Opened) -> None:
    assert sort_by(visit.page, "p95 ms") == "ascending"
    upwards = [float(cell.split(" / ")[0]) for cell in column(visit.page, "p95 ms")]
    assert upwards == sorted(upwards)
    assert sort_by(visit.page, "p95 ms") == "descending"
    downwards = [float(cell.split(" / ")[0]) for cell in column(visit.page, "p95 ms")]
    assert downwards == sorted(downwards, reverse=True)
    assert downwards[0] > upwards[0]
    assert sort_by(visit.page, "host") == "ascending"
    assert column(visit.page, "host")[:4] == ["web001", "web001", "web002", "web002"]
    assert visit.page.locator("th[aria-sort]").count() == 1


def test_words_and_a_status_filter(visit: Opened, told: dict[str, Any]) -> None:
    failed = [row["host"] for row in told["rows"] if row["status"] == "failed"]
    filter_by(visit.page, "FAILED shop")
    assert counted(visit.page) == f"{len(failed)} of {2 * HOSTS} rows"
    assert column(visit.page, "host") == failed
    filter_by(visit.page, "web007 billing")
    assert column(visit.page, "host") == ["web007"]
    filter_by(visit.page, "nobody has this name")
    assert (counted(visit.page), visit.page.locator(ROWS).count()) == (f"0 of {2 * HOSTS} rows", 0)
    filter_by(visit.page, "")
    visit.page.get_by_role("combobox", name="Status").select_option("failed")
    assert sort_by(visit.page, "host") == "ascending"
    assert sort_by(visit.page, "host") == "descending"
    assert column(visit.page, "host") == sorted(failed, reverse=True), "sorted within what is filtered"


def test_rows_are_made_when_they_are_seen_and_the_last_one_is_there(visit: Opened) -> None:
    made = visit.page.locator(ROWS)
    assert made.count() < HOSTS
    made.last.scroll_into_view_if_needed()
    expect(made).to_have_count(120)
    visit.page.keyboard.press("End")
    expect(made).to_have_count(2 * HOSTS)
    expect(made.last).to_be_in_viewport()
    assert column(visit.page, "host")[-1] == f"web{HOSTS}"


def test_a_row_opens_and_closes_by_the_keyboard_alone(visit: Opened) -> None:
    visit.page.keyboard.press("/")
    expect(visit.page.get_by_role("searchbox", name="Filter")).to_be_focused()
    visit.page.keyboard.type("web050 shop")
    button = visit.page.get_by_role("button", name="web050")
    expect(button).to_have_attribute("aria-expanded", "false")
    for _ in range(3 + len(report.HEADER)):
        visit.page.keyboard.press("Tab")
        if button.evaluate("found => found === document.activeElement"):
            break
    visit.page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    below = visit.page.locator("tr.detail")
    expect(below.get_by_role("heading", level=3)).to_have_text(
        [
            *("Latency, ms", "Checks of the verdict", "Paths that failed, asked again", "Memory under load", "Paths"),
            *("Load tests", "Plan", "What it started from", "Steps", "History before this run"),
        ]
    )
    expect(below.get_by_text("KeyError: 'price'", exact=True)).to_be_visible()
    visit.page.keyboard.press("Enter")
    expect(below).to_have_count(0)


def test_what_hosts_say_is_text(visit: Opened) -> None:
    visit.page.locator(ROWS).first.get_by_role("button").click()
    expect(visit.page.get_by_text("<img src=x onerror=alert(1)> changed")).to_be_visible()
    assert visit.page.locator("img").count() == 0


def test_the_run_over_time_is_drawn_when_it_is_opened(visit: Opened) -> None:
    assert visit.page.locator("#course svg").count() == 0
    visit.page.get_by_text("The run over time").click()
    expect(visit.page.get_by_role("img", name="Steps of each host by batch over time")).to_be_visible()
    assert visit.page.locator("#course rect.failed").count() == HOSTS // _fleet_report.FAILED_EVERY


def test_an_address_leads_to_a_row(browser: Browser, file: Path) -> None:
    with _chromium.opened(browser, file, f"#web{HOSTS:03d}/billing") as found:
        button = found.page.locator(f'[id="web{HOSTS:03d}/billing"]').get_by_role("button")
        expect(button).to_have_attribute("aria-expanded", "true")
        expect(button).to_be_in_viewport()
        assert found.complaints == []


def test_printed_it_has_every_row(visit: Opened) -> None:
    assert visit.page.pdf().startswith(b"%PDF")
    expect(visit.page.locator(ROWS)).to_have_count(2 * HOSTS)


def test_on_a_phone_only_tables_and_pictures_move_sideways(browser: Browser, file: Path) -> None:
    with _chromium.opened(browser, file, viewport=PHONE, has_touch=True, is_mobile=True) as found:
        button = found.page.locator(ROWS).first.get_by_role("button")
        button.tap()
        expect(button).to_have_attribute("aria-expanded", "true")
        found.page.get_by_text("The run over time").tap()
        width = found.page.evaluate("document.documentElement.scrollWidth")
        assert width == found.page.evaluate("window.innerWidth") == PHONE["width"]
        below = found.page.locator("tr.detail > td > div")
        expect(below.get_by_role("heading", name="Plan")).to_be_attached()
        assert below.bounding_box()["width"] < PHONE["width"], "what is opened is read without moving the table"
        for picture in found.page.locator("svg").all():
            shown = picture.evaluate("found => found.getBoundingClientRect().width / found.viewBox.baseVal.width")
            assert shown == 1, "a picture keeps its size, so that its words can be read"
        assert found.complaints == []


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)", as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read(browser: Browser, file: Path, scheme: str) -> None:
    with _chromium.opened(browser, file, color_scheme=scheme) as found:
        filter_by(found.page, "web050")
        found.page.get_by_role("button", name="web050").first.click()
        back = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (luminance(back) < 0.1) == (scheme == "dark")
        band = found.page.locator("tr.detail").evaluate("row => getComputedStyle(row).backgroundColor")
        texts = ("h1", "p.aside", "p.bad", "th button", ".bad > .verdict", ".good > .verdict", "a", ".outcome-fail")
        for text in texts:
            colour = found.page.locator(text).first.evaluate("found => getComputedStyle(found).color")
            for ground in (back, band):
                assert contrast(colour, ground) >= READABLE, f"{text}: {colour} on {ground}"
        assert found.complaints == []


def test_without_a_script_there_is_the_table(browser: Browser, file: Path) -> None:
    with _chromium.opened(browser, file, java_script_enabled=False) as found:
        assert found.page.locator("tbody tr").count() == 2 * HOSTS


def test_a_file_that_was_damaged_shows_the_table(browser: Browser, file: Path, tmp_path: Path) -> None:
    text = file.read_text(encoding="utf-8")
    begin = text.index('id="data">') + 200
    damaged = tmp_path / "damaged.html"
    damaged.write_text(text[:begin] + text[begin + 1000 :], encoding="utf-8")
    with _chromium.opened(browser, damaged) as found:
        expect(found.page.locator("tbody tr")).to_have_count(2 * HOSTS)
        assert len(found.complaints) == 1


def test_a_row_that_was_damaged_says_so_and_the_others_open(browser: Browser, file: Path, tmp_path: Path) -> None:
    text = file.read_text(encoding="utf-8")
    begin = text.index('id="rows-0">') + 200
    damaged = tmp_path / "damaged.html"
    damaged.write_text(text[:begin] + text[begin + 1000 :], encoding="utf-8")
    with _chromium.opened(browser, damaged) as found:
        found.page.get_by_role("button", name="web001").first.click()
        expect(found.page.locator("tr.detail")).to_have_text(
            "This part of the file cannot be read: it was cut or damaged."
        )
        found.page.get_by_role("button", name="web030").first.click()
        expect(found.page.locator("tr.detail").get_by_role("heading", name="Plan")).to_be_attached()
        assert len(found.complaints) == 1


def test_rows_of_every_part_open_with_what_is_theirs(visit: Opened, told: dict[str, Any]) -> None:
    for row in (told["rows"][1], told["rows"][2 * HOSTS - 1]):
        filter_by(visit.page, f"{row['host']} {row['app']}")
        visit.page.get_by_role("button", name=row["host"]).click()
        below = visit.page.locator("tr.detail")
        expect(below.get_by_text(row["verdict_cause"], exact=True).first).to_be_attached()
        steps = below.get_by_role("table").filter(has_text="secondscame to").locator("tbody tr td:nth-child(2)")
        assert steps.all_inner_texts() == [f"{step['seconds']:g}" for step in row["steps"]]
        visit.page.get_by_role("button", name=row["host"]).click()
        expect(below).to_have_count(0)


def test_a_row_that_is_closed_at_once_stays_closed(visit: Opened) -> None:
    button = visit.page.locator(ROWS).first.get_by_role("button")
    button.evaluate("found => { found.click(); found.click(); }")
    expect(button).to_have_attribute("aria-expanded", "false")
    visit.page.locator(ROWS).nth(1).get_by_role("button").click()
    expect(visit.page.locator("tr.detail")).to_have_count(1)
