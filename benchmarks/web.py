"""Web steps and resets: ours against BrowserGym (as shipped and tuned) and Farama's Selenium environment for MiniWoB.

All drive the same Chromium on the same pages of the package `miniwob`, taking turns in one run; every time is a median
of wall seconds over pages and rounds. Ours emits the whole process record in every step. Clicks go to a field or box
that does not end the episode. "tuned" is BrowserGym without slow_mo and without its delay before looking.

The peers live in an environment of their own, made on the first run (about a minute) in the folder that
AGENTGYM_WEB_PEERS names, by default under ~/.cache. Farama's needs chromedriver, taken from PATH or fetched there.

    click_vs_tuned, click_vs_default   click + text observation: BrowserGym's time / ours
    shot_vs_tuned                      the same with a screenshot of ours (BrowserGym always takes one)
    full_vs_tuned                      the same with our screenshot, accessibility tree and DOM snapshot
    click_vs_selenium                  click + observation (its DOM and screenshot): Farama's time / ours in text
    reset_vs_browsergym, reset_vs_selenium   reset on a kept page: tuned BrowserGym's and Farama's time / ours
    site_reset_ms                      reset of an issue tracker (Roundup): data put back, signed in, first page read
    steps_per_s_8                      text steps a second of eight pages in one browser

A page is one of those whose reset by page script equals a fresh load.
What a peer fails at (it gives up after thirty seconds on a busy machine) is counted under failures and leaves no time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGES = {
    "login-user": "username",
    "enter-text": "tt",
    "click-checkboxes": "ch0",
    "click-option": "ch0",
    "read-table": "tt",
    "search-engine": "search-text",
    "form-sequence-2": "input-1",
    "copy-paste": "answer-input",
    "find-word": "answer-input",
    "enter-password": "password",
}
"""Page -> id of what is clicked."""
ARMS = ("browsergym", "browsergym_tuned", "selenium")
VIEWS = {
    "text": ("text", "goal", "last_action_error"),
    "shot": ("text", "goal", "last_action_error", "screenshot"),
    "full": (
        "text",
        "goal",
        "last_action_error",
        "screenshot",
        "axtree_object",
        "dom_object",
        "extra_element_properties",
    ),
}
PACKAGES = ("browsergym-core==0.14.3", "browsergym-miniwob==0.14.3", "miniwob==1.1.0")


# ------------------------------------------------------------------ the peers' side, run by their interpreter


class BrowserGymSide:
    """One BrowserGym environment."""

    def __init__(self, page: str, tuned: bool) -> None:
        import browsergym.miniwob  # noqa: F401  (registers)
        import gymnasium

        options: dict[str, Any] = {"slow_mo": 0, "pre_observation_delay": 0.0} if tuned else {}
        self.env = gymnasium.make(f"browsergym/miniwob.{page}", **options)

    def reset(self, seed: int) -> None:
        self.env.reset(seed=seed)

    def click(self, id: str) -> None:
        self.env.step(f"click('{self._bid}')")

    def aim(self, id: str) -> None:
        self._bid = self.env.unwrapped.page.evaluate(f"document.getElementById('{id}').getAttribute('bid')")

    def close(self) -> None:
        self.env.close()


class SeleniumSide:
    """One environment of Farama's."""

    def __init__(self, page: str, tuned: bool) -> None:
        import gymnasium
        import miniwob
        from miniwob.action import ActionTypes

        gymnasium.register_envs(miniwob)
        self.kind = ActionTypes.CLICK_ELEMENT
        self.env = gymnasium.make(f"miniwob/{page}-v1")

    def reset(self, seed: int) -> None:
        self.observation = self.env.reset(seed=seed)[0]

    def aim(self, id: str) -> None:
        self._ref = next(e["ref"] for e in self.observation["dom_elements"] if e["id"] == id)

    def click(self, id: str) -> None:
        self.env.step(self.env.unwrapped.create_action(self.kind, ref=self._ref))

    def close(self) -> None:
        self.env.close()


def serve(arm: str) -> None:
    """Answer commands on standard input with seconds on the real standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side: Any = None
    for line in sys.stdin:
        verb, *args = json.loads(line)
        started = time.perf_counter()
        try:
            if verb == "open":
                tuned = arm.endswith("tuned")
                side = SeleniumSide(args[0], False) if arm == "selenium" else BrowserGymSide(args[0], tuned)
            else:
                getattr(side, verb)(*args)
            answer: float | str = time.perf_counter() - started
        except Exception as error:  # noqa: BLE001  (whatever their code raises: the other side counts it)
            answer = f"{type(error).__name__}: {str(error)[:200]}"
        print(json.dumps(answer), file=answers, flush=True)


# ------------------------------------------------------------------ ours


class PeerFailed(Exception):
    """A peer could not do what it was asked for."""


class Peer:
    """The other side of `serve`."""

    def __init__(self, python: Path, arm: str, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [str(python), __file__, "--serve", arm],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **env},
            start_new_session=True,
        )

    def ask(self, *command: Any) -> float:
        """Seconds that a command took there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the peer died at {command}")
        told = json.loads(answer)
        if isinstance(told, str):
            raise PeerFailed(f"{command}: {told}")
        return float(told)

    def end(self) -> None:
        """Close it, and end what it left running: Farama's environment leaves its browser, which goes on drawing."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                session = int(stat.read_text().rpartition(")")[2].split()[3])
                if session == self._process.pid:
                    os.kill(int(stat.parent.name), signal.SIGKILL)
            except OSError:
                continue  # it has ended meanwhile


class Ours:
    """One environment of ours, with the same face."""

    def __init__(self, view: str) -> None:
        self._view = view
        self._env: Any = None

    def ask(self, verb: str, *args: Any) -> float:
        """Seconds that a command took."""
        import gymnasium

        import agentgym  # noqa: F401  (registers)

        started = time.perf_counter()
        if verb == "open":
            self._env = gymnasium.make(
                f"agentgym/MiniWoB-{args[0]}-v0", observation=VIEWS[self._view], max_steps=10_000
            )
        elif verb == "reset":
            self._env.reset(seed=args[0])
        elif verb == "aim":
            self._action = f"click('{self._env.unwrapped.peek().find(id=args[0]).bid}')"
        elif verb == "click":
            info = self._env.step(self._action)[-1]
            assert info["process"]["grounded"], info["error"]
        else:
            self._env.close()
        return time.perf_counter() - started


def peers_home() -> Path:
    """The folder of the peers' environment; it has a file ``ready`` when that is whole."""
    return Path(os.environ.get("AGENTGYM_WEB_PEERS") or Path.home() / ".cache" / "agentgym" / "web-peers")


def peers() -> tuple[Path, dict[str, str]]:
    """The interpreter of the peers' environment (made when it is not there), and the variables they need."""
    from agentgym.envs.web.chromium import find_chromium
    from agentgym.envs.web.miniwob.make import html_root

    home = peers_home()
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        print(f"making the peers' environment in {home}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (home / "ready").touch()
    chromium = find_chromium()
    variables = {
        "PLAYWRIGHT_BROWSERS_PATH": str(home / "browsers"),
        "MINIWOB_URL": f"file://{html_root()}/miniwob/",
        "MINIWOB_CHROME_BINARY": chromium,
    }
    # BrowserGym opens a second browser, for its chat, which only the place that Playwright looks in can give it.
    where = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    told = subprocess.run(
        [str(python), "-c", where], check=True, capture_output=True, text=True, env={**os.environ, **variables}
    )
    place = Path(told.stdout.strip())
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(chromium)
    if driver := chromedriver(home):
        variables["MINIWOB_CHROMEDRIVER"] = driver
    return python, variables


def chromedriver(home: Path) -> str | None:
    """Chromium's driver: on PATH, or unpacked from Debian's package into the peers' folder; None when neither works."""
    if found := shutil.which("chromedriver"):
        return found
    inside = home / "chromedriver" / "usr" / "bin" / "chromedriver"
    if not inside.exists() and shutil.which("apt-get"):
        inside.parents[2].mkdir(parents=True, exist_ok=True)
        download = ["apt-get", "download", "chromium-driver"]
        done = subprocess.run(download, cwd=inside.parents[2], check=False, capture_output=True)
        for package in inside.parents[2].glob("*.deb") if done.returncode == 0 else ():
            subprocess.run(["dpkg", "-x", str(package), str(inside.parents[2])], check=True)
    return str(inside) if inside.exists() else None


def measure(pages: dict[str, str], rounds: int, clicks: int) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """Arm -> what -> seconds, and what peers failed at; on every page all arms take turns in every round."""
    python, variables = peers()
    theirs = [arm for arm in ARMS if arm != "selenium" or "MINIWOB_CHROMEDRIVER" in variables]
    names = [*(f"ours_{view}" for view in VIEWS), *theirs]
    times: dict[str, dict[str, list[float]]] = {arm: {"reset": [], "click": []} for arm in names}
    failures: list[str] = []
    for number, (page, id) in enumerate(pages.items()):
        arms: dict[str, Any] = {f"ours_{view}": Ours(view) for view in VIEWS}
        arms |= {arm: Peer(python, arm, variables) for arm in theirs}
        for arm in arms.values():
            arm.ask("open", page)
        for round in range(-1, rounds):  # the first warms up and is not counted
            for name, arm in arms.items():
                try:
                    reset = arm.ask("reset", 1000 * number + max(0, round))
                    arm.ask("aim", id)
                    done = [arm.ask("click", id) for _ in range(clicks)]
                except PeerFailed as failed:
                    failures.append(f"{name} on {page}: {failed}")
                    continue
                if round >= 0:
                    times[name]["reset"].append(reset)
                    times[name]["click"] += done
        for arm in arms.values():
            arm.ask("close")
            if isinstance(arm, Peer):
                arm.end()
        last = {name: 1e3 * statistics.median(t["click"]) for name, t in times.items() if t["click"]}
        print(f"{page}, ms a click so far: " + ", ".join(f"{name} {value:.0f}" for name, value in last.items()))
    return times, failures


def site_resets(count: int) -> list[float]:
    """Seconds of resets of the issue tracker, each after a page of it was changed."""
    import gymnasium

    import agentgym  # noqa: F401  (registers)

    env = gymnasium.make("agentgym/Site-Roundup-set-status-v0")
    base: Any = env.unwrapped
    times = []
    for seed in range(count + 1):
        started = time.perf_counter()
        env.reset(seed=seed)
        times.append(time.perf_counter() - started)
        for action in base.oracle():
            if any(env.step(action)[2:4]):
                break
    env.close()
    return times[1:]  # the first starts the browser and the tracker


def together(count: int, seconds: float) -> float:
    """Text steps a second of ``count`` pages in one browser, each stepped by a thread."""
    import gymnasium

    import agentgym  # noqa: F401  (registers)

    pages = [*PAGES.items()]
    envs = [gymnasium.make(f"agentgym/MiniWoB-{pages[k][0]}-v0", max_steps=10_000) for k in range(count)]
    actions = []
    for k, env in enumerate(envs):
        env.reset(seed=k)
        base: Any = env.unwrapped
        actions.append(f"click('{base.peek().find(id=pages[k][1]).bid}')")
    steps = [0] * count
    end = time.perf_counter() + seconds

    def work(k: int) -> None:
        while time.perf_counter() < end:
            envs[k].step(actions[k])
            steps[k] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = sum(steps) / (time.perf_counter() - started)
    for env in envs:
        env.close()
    return rate


def ratios(times: dict[str, dict[str, list[float]]]) -> Iterator[tuple[str, float | None]]:
    """The figures by their keys; None where a peer was not there."""

    def median(arm: str, what: str) -> float | None:
        return statistics.median(times[arm][what]) if arm in times and times[arm][what] else None

    def over(peer: str, ours: str, what: str) -> float | None:
        theirs, mine = median(peer, what), median(ours, what)
        return round(theirs / mine, 1) if theirs is not None and mine is not None else None

    yield "click_vs_tuned", over("browsergym_tuned", "ours_text", "click")
    yield "click_vs_default", over("browsergym", "ours_text", "click")
    yield "shot_vs_tuned", over("browsergym_tuned", "ours_shot", "click")
    yield "full_vs_tuned", over("browsergym_tuned", "ours_full", "click")
    yield "click_vs_selenium", over("selenium", "ours_text", "click")
    yield "reset_vs_browsergym", over("browsergym_tuned", "ours_text", "reset")
    yield "reset_vs_selenium", over("selenium", "ours_text", "reset")
    for arm in times:
        for what in ("click", "reset"):
            value = median(arm, what)
            yield f"{arm}_{what}_ms", None if value is None else round(1e3 * value, 2)


def main() -> None:
    """Measure and report."""
    from common import finish, parser

    options = parser(__doc__ or "").parse_args()
    pages = dict([*PAGES.items()][: 3 if options.quick else None])
    load = os.getloadavg()[0]
    times, failures = measure(pages, rounds=2 if options.quick else 3, clicks=3 if options.quick else 5)
    figures: dict[str, Any] = dict(ratios(times))
    figures["failures"] = failures
    figures["site_reset_ms"] = round(1e3 * statistics.median(site_resets(5 if options.quick else 20)), 1)
    figures["steps_per_s_8"] = round(together(8, 5.0 if options.quick else 15.0), 1)
    figures["load_before"] = round(load, 1)
    for name, value in figures.items():
        print(f"{name:28} {value}")
    finish("web", figures, options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main()
