"""The report in a real Chromium: it opens from disk without an error, can be stepped through, and trusts no text."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentgym.agents.evaluate.compare import compare
from agentgym.agents.evaluate.report import write_report
from agentgym.agents.evaluate.stats import wilson
from agentgym.errors import RunError
from agentgym.runs import Run
from agentgym.steps import StepTable, TrajectoryTable
from tests.agents.evaluate.example_run import ENV, episodes, training_run

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<!--<script> ]]> &lt;b&gt; \u2028\u2029 ' \" ` ${1} \ud800 \x00 \x1b[31m <svg onload=alert(1)>"
)


@pytest.fixture(scope="module")
def chromium(need: Any) -> Iterator[Any]:
    """A headless browser without a network."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    need(path, "Chromium", "run `apt-get install chromium`")
    need(importlib.util.find_spec("playwright"), "the package playwright", 'run `pip install -e ".[web]"`')
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page that fails the test for any error, warning or attempt to load something."""
    page = chromium.new_page(viewport={"width": 1240, "height": 900})
    faults: list[str] = []
    page.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: faults.append(f"exception: {e}"))
    page.on(
        "request", lambda r: faults.append(f"request: {r.url}") if not r.url.startswith(("file:", "data:")) else None
    )
    page.on("dialog", lambda d: faults.append(f"dialog: {d.message}"))
    yield page
    page.close()
    assert faults == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a training run."""
    return write_report(training_run(tmp_path_factory.mktemp("report") / "run"))


# ---------------------------------------------------------------------- what it shows


def test_the_headline_has_before_after_and_contrast(page: Any, trained: Path) -> None:
    page.goto(trained.as_uri())
    assert page.title() == "Grid-DoorKey-8x8-v0"
    assert page.locator(".tile").count() == 3
    rows = page.locator(".finding table").first.locator("tbody tr").all_inner_texts()
    assert [re.sub(r"\s+", " ", row).split(" %")[0] for row in rows] == [
        "process rewards before training 8.0",
        "process rewards after training 92.0",
        "process rewards after training, greedy 93.0",
        "outcomes only after training 15.0",
    ]
    contrasts = page.locator(".contrasts").first.locator("tbody tr").all_inner_texts()
    assert len(contrasts) == 2
    assert "+77.0" in contrasts[1]


def test_two_arms_tested_on_the_same_tasks_are_compared_task_by_task(page: Any, run_folder: Path) -> None:
    """The other arm's episodes lie in a run of its own inside; its task seeds are those of the first."""
    run = training_run(run_folder, updates=10)
    other = Run.create(run_folder / "outcome-only", "train", {})
    other.append(
        episodes(10_000, 100, np.random.default_rng(3), skill=0.15), phase="test", arm="outcomes only", update=10,
        label="after", greedy=False,
    )  # fmt: skip
    page.goto(write_report(run).as_uri())

    after = {"phase": "test", "label": "after"}
    expected = compare(other, run, where=after).metrics["success"].difference
    low, high = (f"{v * 100:+.1f}".replace("-", "−") for v in (expected.low, expected.high))  # noqa: RUF001
    assert page.locator(".tile .sub").last.inner_text() == f"{low} to {high} at 95 %, task by task"
    assert "Episodes are paired" in page.locator(".contrasts .lede").first.inner_text()
    table = page.locator("section", has=page.get_by_role("heading", name="Environments")).locator("table").first
    assert table.locator("tbody tr").count() == 2
    assert "hidden" not in table.inner_text(), "it is the outcome again, so there is nothing to show"
    # one figure has one interval, wherever it stands
    headline = page.locator(".finding tbody tr", has_text="outcomes only").first.locator(".ci").inner_text()
    wanted = wilson(int(other.steps().trajectories.success.sum()), 100)
    assert table.locator("tbody tr").last.locator(".ci").inner_text() == " to ".join(f"{v * 100:.1f}" for v in wanted)
    assert headline == "9.0 to 23.0", "the headline shows what was logged"
    assert "outcomes only, after training" in page.locator(".list h3").all_inner_texts()


def test_curves_have_a_line_for_every_arm_and_a_tip(page: Any, trained: Path) -> None:
    page.goto(trained.as_uri())
    success = page.locator("figure").first
    assert success.locator("polyline").count() == 4, "training and validation of two arms"
    assert success.locator("polygon.band").count() == 2
    assert success.locator("text.name").all_inner_texts() != []
    success.locator("svg").hover()
    tip = success.locator(".tip")
    assert tip.is_visible()
    assert "process rewards" in tip.inner_text()


def test_milestones_are_a_funnel(page: Any, trained: Path) -> None:
    page.goto(trained.as_uri())
    table = page.locator(".contrasts", has_text="Milestones").locator("tbody tr")
    assert [row.split("\t")[0] for row in table.all_inner_texts()] == ["has key", "door open", "at goal"]


def test_an_episode_is_walked_with_the_keyboard(page: Any, trained: Path) -> None:
    page.goto(trained.as_uri())
    where = page.locator(".where")
    assert where.inner_text().startswith("Step 1 of ")
    assert page.locator(".back").is_disabled()
    last = int(where.inner_text().split()[-1])
    page.keyboard.press("ArrowLeft")
    assert where.inner_text() == f"Step 1 of {last}"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert where.inner_text() == f"Step 3 of {last}"
    page.locator(".viewer").focus()
    page.keyboard.press("End")
    assert where.inner_text() == f"Step {last} of {last}"
    assert page.locator(".next").is_disabled()
    assert "100 %" in page.locator(".signals").inner_text(), "a success ends with all of the progress"
    page.keyboard.press("Home")
    page.locator(".next").click()
    assert where.inner_text() == f"Step 2 of {last}"
    timeline = page.locator(".timeline svg")
    box = timeline.bounding_box()
    timeline.click(position={"x": box["width"] * 0.97, "y": box["height"] / 2})
    assert where.inner_text() == f"Step {last} of {last}"


def test_every_episode_can_be_reached_and_says_why_it_is_there(page: Any, trained: Path) -> None:
    page.goto(trained.as_uri())
    buttons = page.locator(".list button")
    reasons = buttons.all_inner_texts()
    for reason in ("First success", "First failure", "Closest failure", "Most danger", "Broken"):
        assert any(reason in text for text in reasons), reason
    current = page.locator('.list button[aria-current="true"]')
    before = current.inner_text()
    page.keyboard.press("]")
    assert current.inner_text() != before
    page.keyboard.press("[")
    assert current.inner_text() == before
    for k in range(buttons.count()):
        buttons.nth(k).click()
        assert current.count() == 1


def test_a_broken_episode_shows_why_even_without_a_step(page: Any, trained: Path) -> None:
    page.goto(trained.as_uri())
    page.locator(".list button", has_text=", 0 steps").first.click()
    assert page.locator(".pill").inner_text() == "broken"
    assert "WorldTimeout" in page.locator(".broken").inner_text()
    assert not page.locator(".timeline").is_visible()
    page.keyboard.press("ArrowRight")


def test_signals_are_marked(page: Any, run_folder: Path) -> None:
    """A step with a milestone, one with danger, one that was not grounded; credit up and down."""
    run = Run.create(run_folder, "eval", {})
    heads = TrajectoryTable.from_columns(id=[0], env=[ENV], seed=[7], success=[True], outcome=[1.0])
    columns = {
        "progress_before": [0.0, 0.2, 0.2],
        "progress": [0.2, 0.2, 1.0],
        "milestones_before": [0, 1, 1],
        "milestones": [1, 1, 7],
        "danger": [False, True, False],
        "grounded": [True, True, False],
    }
    extras = {"text": ["a", "b", "c"], "action_text": ["x", "y", "z"], "advantage": [0.5, -1.0, 0.25]}
    run.append(StepTable.from_columns(trajectory=[0, 0, 0], trajectories=heads, extras=extras, **columns))
    page.goto(write_report(run).as_uri())
    for mark, n in ((".flag", 2), ("path.danger", 1), (".ungrounded", 1), (".plus", 2), (".minus", 1)):
        assert page.locator(f".timeline {mark}").count() == n, mark
    signals = page.locator(".signals")
    assert "has_key" in signals.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("dd.badly").inner_text() == "yes"
    assert page.locator("dd.neg").inner_text() == "\N{MINUS SIGN}1.000"
    assert page.locator("pre.text").inner_text() == "b"
    page.keyboard.press("ArrowRight")
    assert page.locator("dd.warned").inner_text() == "no"
    assert "door_open, at_goal" in signals.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_button(chromium: Any, trained: Path, scheme: str) -> None:
    page = chromium.new_page(color_scheme=scheme)
    page.goto(trained.as_uri())

    def brightness() -> float:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return float(np.mean([int(v) for v in re.findall(r"\d+", colour)[:3]]))

    assert (brightness() > 128) == (scheme == "light")
    page.locator(".theme").click()
    assert (brightness() > 128) == (scheme == "dark")
    page.close()


def test_a_phone_needs_no_sideways_scrolling(chromium: Any, trained: Path) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    page.goto(trained.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


# ---------------------------------------------------------------------- what it must survive


def test_hostile_text_is_only_text(page: Any, run_folder: Path) -> None:
    """Observations, actions, names, errors, settings: none of it runs, and what it says can be read."""
    file = write_report(training_run(run_folder, text=HOSTILE, updates=10, n=20))
    page.goto(file.as_uri())
    assert page.title() == "Grid-DoorKey-8x8-v0"
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    assert "<img src=x onerror=" in page.locator("pre.text").inner_text()
    assert "</script>" in page.locator("pre.action").inner_text()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("]")
    page.locator("summary").first.click()
    assert page.title() == "Grid-DoorKey-8x8-v0"
    assert "</script><script>document" not in file.read_text("utf-8")


def test_a_script_that_were_smuggled_in_would_not_run(chromium: Any, trained: Path, tmp_path: Path) -> None:
    """The content security policy is the second wall: even markup inside the page stays dead."""
    broken_into = tmp_path / "report.html"
    injected = "<main><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    broken_into.write_text(trained.read_text("utf-8").replace("<main>", injected, 1), "utf-8")
    page = chromium.new_page()
    page.goto(broken_into.as_uri())
    assert page.title() == "Grid-DoorKey-8x8-v0"
    page.close()


def test_a_run_without_episodes(page: Any, run_folder: Path) -> None:
    page.goto(write_report(Run.create(run_folder, "train", {})).as_uri())
    assert page.title() == "Train"
    assert page.locator(".empty").count() == 2


def test_a_run_with_curves_alone(page: Any, run_folder: Path) -> None:
    run = Run.create(run_folder, "train", {"env": ENV})
    for k in range(3):
        run.log(phase="train", arm="gigpo", update=k, success=k / 4, danger_rate=0.0, loss=float("nan"))
    page.goto(write_report(run).as_uri())
    assert page.locator("figure").count() == 1, (
        "nothing is drawn of danger that never was, or of a loss that is missing"
    )


def test_a_run_whose_episodes_all_broke(page: Any, run_folder: Path) -> None:
    run = Run.create(run_folder, "eval", {})
    heads = TrajectoryTable.from_columns(id=[0, 1], env=[ENV] * 2, status=["error"] * 2, error=["gone", ""])
    run.append(StepTable.from_columns(trajectory=np.empty(0, np.int64), trajectories=heads), phase="test")
    page.goto(write_report(run).as_uri())
    assert page.locator(".pill").inner_text() == "broken"
    assert "2" in page.locator("td.bad").inner_text()


def test_an_evaluation_of_several_environments(page: Any, run_folder: Path) -> None:
    run = Run.create(run_folder, "eval", {"suite": "mine"})
    rng = np.random.default_rng(0)
    for k, env in enumerate((ENV, "agentgym/Grid-Empty-8x8-v0", "someone/Else-v3")):
        run.append(episodes(100 * k, 10, rng, skill=0.5, env=env, advantage=False), phase="test")
    page.goto(write_report(run).as_uri())
    assert page.title() == "Suite mine"
    names = page.locator("section", has_text="Environments").first.locator("table").first.locator("tbody tr")
    assert names.count() == 3
    assert page.locator(".plus").count() == 0, "no credit was stored, so there is no lane for it"


def test_the_file_stays_small_however_long_the_texts(run_folder: Path) -> None:
    run = Run.create(run_folder, "eval", {})
    steps = episodes(0, 40, np.random.default_rng(0), skill=0.5, text="An observation of some length. " * 2000)
    run.append(steps, phase="test")
    assert write_report(run).stat().st_size < 2_000_000


def test_it_goes_where_it_is_told(run_folder: Path, tmp_path: Path) -> None:
    run = Run.create(run_folder, "eval", {})
    assert write_report(run) == run_folder / "report.html"
    assert write_report(run, tmp_path / "mine.html").read_text("utf-8").startswith("<!doctype html>")
    with pytest.raises(RunError, match="cannot write"):
        write_report(run, tmp_path / "mine.html" / "below.html")


def test_nothing_of_this_machine_is_in_it(trained: Path) -> None:
    text = trained.read_text("utf-8")
    assert str(trained.parent) not in text
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in text
