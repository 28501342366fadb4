"""Make the pictures of the documentation from a run folder: its report, photographed in Chromium.

    python docs/make_pictures.py runs/quickstart

Writes docs/report.png, docs/report-dark.png and docs/report-episode.png.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from agentgym.agents.evaluate.report import write_report
from agentgym.errors import MissingExtra, UsageError
from agentgym.runs import Run

WIDTH, HEIGHT = 1280, 900


def photograph(report: Path, out: Path) -> list[Path]:
    """Picture the top of a report in light and in dark, and its episode viewer; returns the files."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingExtra("playwright", "web") from error
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise UsageError("needs Chromium, which is not installed; on Debian: apt-get install chromium")
    made = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for name, scheme in (("report", "light"), ("report-dark", "dark")):
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=2, color_scheme=scheme
            )
            page.goto(report.resolve().as_uri())
            page.screenshot(path=out / f"{name}.png")
            made.append(out / f"{name}.png")
            viewer = page.locator(".episodes")
            if scheme == "light" and viewer.count():
                page.keyboard.press("ArrowRight")
                viewer.scroll_into_view_if_needed()
                viewer.screenshot(path=out / "report-episode.png")
                made.append(out / "report-episode.png")
        browser.close()
    return made


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the pictures")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report = write_report(Run.open(options.run), Path(folder) / "report.html")
        for path in photograph(report, options.out):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
