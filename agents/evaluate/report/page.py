"""The page: one HTML document that needs nothing but itself.

Everything that a run brings is hostile until escaped: Python puts it in through `html.escape`, the script through
``textContent``; the data block is JSON with ``<`` written as an escape, so no text can close it. A content security
policy lets exactly our one script run, and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from agentgym.agents.evaluate.report.charts import COLOURS, curves, interval
from agentgym.agents.evaluate.report.content import Content, Contrast, Group, Panel, Row
from agentgym.agents.evaluate.scores import METRICS
from agentgym.agents.evaluate.stats import Interval, wilson

__all__ = ["page"]

_COLUMNS = (
    "success",
    "progress",
    "milestones",
    "danger_rate",
    "completion_under_policy",
    "grounded",
    "steps",
    "tokens",
)


def page(content: Content, episodes: list[dict[str, Any]]) -> str:
    """The whole document."""
    here = files("agentgym.agents.evaluate.report")
    style, script = (here.joinpath(name).read_text("utf-8") for name in ("style.css", "script.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    colours = {arm: k for k, arm in enumerate(content.arms)}
    data = {"panels": [_panel_data(p, colours) for p in content.panels], "episodes": episodes}
    title = _title(content)
    body = "".join(
        (
            _header(content, title),
            _finding(content, colours),
            _curves(content, colours),
            _environments(content, colours),
            _episodes(episodes),
            _config(content),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n'
        f'<main>{body}</main>\n<script type="application/json" id="data">{_embedded(data)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _embedded(value: Any) -> str:
    """JSON that no HTML parser and no old script engine can trip over."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for char in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _panel_data(panel: Panel, colours: Mapping[str, int]) -> dict[str, Any]:
    def known(values: Iterable[float]) -> list[float | None]:
        return [v if math.isfinite(v) else None for v in values]

    return {
        "share": panel.share,
        "series": [
            {
                "arm": s.arm,
                "phase": s.phase,
                "colour": colours[s.arm] % COLOURS,
                "x": s.x,
                "y": s.y,
                "low": known(s.low),
                "high": known(s.high),
            }
            for s in panel.series
        ],
    }


# ---------------------------------------------------------------------- header


def _title(content: Content) -> str:
    envs = list(dict.fromkeys(e for g in content.groups for e in g.scores.env.tolist()))
    config = content.run.config
    if not envs and isinstance(config.get("env"), str):
        envs = [config["env"]]
    if len(envs) == 1:
        return str(envs[0]).removeprefix("agentgym/")
    if isinstance(config.get("suite"), str) and config["suite"]:
        return f"Suite {config['suite']}"
    return f"{len(envs)} environments" if envs else content.run.kind.capitalize()


def _header(content: Content, title: str) -> str:
    run = content.run
    total = sum(len(g.scores) for g in content.groups)
    broken = sum(int((~g.scores.ok).sum()) for g in content.groups)
    config = run.config
    facts = [
        ("recipe", config.get("recipe")),
        ("policy", config.get("policy") or config.get("model")),
        ("updates", config.get("updates")),
        ("episodes stored", total or None),
        ("seed", config.get("seed")),
    ]
    shown = "".join(f"<span>{escape(k)} <b>{escape(str(v))}</b></span>" for k, v in facts if v not in (None, ""))
    if broken:
        shown += f'<span class="bad">{broken} broken</span>'
    day = run.created[:16].replace("T", " ")
    return (
        f'<header><div class="top"><p class="kicker">{escape(run.kind.capitalize())}, {escape(day)} UTC</p>'
        '<button class="theme" type="button" aria-label="Switch between light and dark">Dark</button></div>'
        f'<h1>{escape(title)}</h1><div class="facts">{shown}</div></header>'
    )


# ---------------------------------------------------------------------- the finding


def _finding(content: Content, colours: Mapping[str, int]) -> str:
    rows = content.rows
    if not rows:
        return (
            '<section><h2>Success</h2><p class="empty">No test and no episodes are stored in this run yet. '
            "Train or evaluate into it, then write the report again.</p></section>"
        )
    arms = list(dict.fromkeys(row.arm for row in rows))
    tiles = "".join(_tile(rows, arm, colours[arm]) for arm in arms)
    if len(arms) == 2:
        tiles += _difference_tile(content.contrasts[-1])
    lines = "".join(
        f'<tr><td class="s{colours[r.arm] % COLOURS}">{_arm(r.arm)}<span class="when">{escape(r.when)}</span></td>'
        f'<td class="n">{_share(r.success.value)}<span class="ci">{_bounds(r.success)}</span></td>'
        f'<td class="plot">{interval(r.success, colours[r.arm])}</td></tr>'
        for r in rows
    )
    tested = sorted({r.success.n for r in rows if r.success.n})
    over = f" over {' to '.join(map(str, dict.fromkeys((tested[0], tested[-1]))))} episodes" if tested else ""
    return (
        f'<section class="finding"><div class="tiles">{tiles}</div><h2>Success</h2>'
        f'<p class="lede">Share of episodes solved{over}; the bar is the 95 % interval.</p><div class="scroll"><table>'
        f'<thead><tr><th>policy</th><th class="n">success</th><th class="plot">{_axis("0 %", "50 %", "100 %")}</th>'
        f"</tr></thead><tbody>{lines}</tbody></table></div>{_contrasts(content)}</section>"
    )


def _tile(rows: list[Row], arm: str, colour: int) -> str:
    own = [r for r in rows if r.arm == arm]
    first, last = own[0], next((r for r in own[::-1] if r.key != "greedy"), own[-1])
    value = _share(last.success.value).replace(".0 %", " %").replace(" %", "<small>%</small>")
    sub = f"from {_share(first.success.value)} {escape(first.when)}" if first is not last else escape(last.when)
    return (
        f'<div class="tile s{colour % COLOURS}"><p class="who">{escape(arm or "success")}</p>'
        f'<p class="big">{value}</p><p class="sub">{sub}</p></div>'
    )


def _difference_tile(contrast: Contrast) -> str:
    found = contrast.difference
    return (
        '<div class="tile plain"><p class="who">difference</p>'
        f'<p class="big">{_points(found.value).removesuffix(".0")}<small>points</small></p>'
        f'<p class="sub">{_bounds(found, points=True)} at 95 %{", task by task" if contrast.paired else ""}</p></div>'
    )


def _contrasts(content: Content) -> str:
    if not content.contrasts:
        return ""
    lines = "".join(
        f"<tr><td>{escape(c.name)}</td>"
        f'<td class="n">{_points(c.difference.value)}<span class="ci">{_bounds(c.difference, points=True)}</span></td>'
        f'<td class="plot">{interval(c.difference, 0, -1.0, 1.0)}</td></tr>'
        for c in content.contrasts
    )
    paired = [c.paired for c in content.contrasts]
    how = (
        "Episodes are paired by environment and task seed."
        if all(paired)
        else "Intervals are of independent episodes."
        if not any(paired)
        else "Where both were played on the same tasks episodes are paired, elsewhere they are taken as independent."
    )
    return (
        '<div class="contrasts"><h2>Differences</h2>'
        f'<p class="lede">In percentage points. {how} A bar that crosses the middle line leaves the sign open.</p>'
        '<div class="scroll"><table><thead><tr><th>contrast</th><th class="n">difference</th>'
        f'<th class="plot">{_axis("&minus;100", "0", "+100")}</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div></div>"
    )


# ---------------------------------------------------------------------- curves


def _curves(content: Content, colours: Mapping[str, int]) -> str:
    if not content.panels:
        return ""
    large, small = "", ""
    for k, panel in enumerate(content.panels):
        chart = curves(panel, colours)
        drawn = f'<figure data-panel="{k}"><h3>{escape(panel.title)}</h3>{chart}</figure>'
        large, small = (large + drawn, small) if panel.large else (large, small + drawn)
    banded = any(math.isfinite(v) for p in content.panels for s in p.series for v in s.low)
    words = "Each line is one arm, over updates."
    if banded:
        words += " Circles are tests and shades are validation, both with 95 % intervals; thin lines are training."
    return (
        f'<section><h2>Learning</h2><p class="lede">{words}</p><div class="panels">{large}</div>'
        + (f'<div class="panels few">{small}</div>' if small else "")
        + "</section>"
    )


# ---------------------------------------------------------------------- environments


def _environments(content: Content, colours: Mapping[str, int]) -> str:
    final = content.final
    if not final:
        return ""
    shown = [m for m in _COLUMNS if any(m in g.result.metrics for g in final)]
    if any(_hides(g) for g in final):
        shown.append("hidden_performance")
    several = len(content.arms) > 1
    head = "".join(f'<th class="n" title="{escape(METRICS[m].meaning)}">{m.replace("_", " ")}</th>' for m in shown)
    lines = "".join(_environment_rows(g, shown, colours.get(g.arm, 0), several=several) for g in final)
    when = ", ".join(dict.fromkeys(g.when for g in final))
    return (
        f'<section><h2>Environments</h2><p class="lede">Stored episodes, {escape(when)}; means, with 95 % intervals '
        "for success. Broken episodes are left out of the means and counted on their own.</p>"
        f'<div class="scroll"><table><thead><tr>{"<th>policy</th>" if several else ""}'
        f'<th>environment</th><th class="n">episodes</th>{head}'
        f'<th class="n">broken</th></tr></thead><tbody>{lines}</tbody></table></div>'
        f"{_milestones(content, colours)}</section>"
    )


def _hides(group: Group) -> bool:
    """Whether the hidden performance is known, and something else than the outcome again."""
    hidden, outcome = (group.scores.values[k][group.scores.ok] for k in ("hidden_performance", "outcome"))
    return bool(np.any((hidden != outcome) & ~np.isnan(hidden)))


def _environment_rows(group: Group, shown: list[str], colour: int, *, several: bool) -> str:
    out = []
    for env, found in group.result.by_env.items():
        rows = group.scores.env == env
        broken = int((~group.scores.ok[rows]).sum())
        policy = f'<td class="s{colour % COLOURS}">{_arm(group.arm)}</td>' if several else ""
        cells = "".join(f'<td class="n">{_cell(m, found.get(m))}</td>' for m in shown)
        out.append(
            f'<tr>{policy}<td class="env">{escape(str(env).removeprefix("agentgym/"))}</td>'
            f'<td class="n">{int(rows.sum())}</td>{cells}'
            f'<td class="n{" bad" if broken else ""}">{broken}</td></tr>'
        )
    return "".join(out)


def _milestones(content: Content, colours: Mapping[str, int]) -> str:
    """How far episodes got, by milestone: the funnel before and after."""
    rows = []
    for env, names in content.milestones.items():
        groups = [g for g in content.groups if (g.scores.env[g.scores.ok] == env).any()]
        for bit, name in enumerate(names):
            cells = "".join(f"<td>{_meter(_reached(g, env, bit), colours.get(g.arm, 0))}</td>" for g in groups)
            label = escape(name.replace("_", " "))
            where = (
                f'<span class="ci">{escape(env.removeprefix("agentgym/"))}</span>'
                if len(content.milestones) > 1
                else ""
            )
            rows.append((tuple(id(g) for g in groups), groups, f"<tr><td>{label}{where}</td>{cells}</tr>"))
    # One table for the environments that the same groups played.
    out = ""
    for key in dict.fromkeys(k for k, _, _ in rows):
        groups = next(g for k, g, _ in rows if k == key)
        several = len({g.arm for g in groups}) > 1
        head = "".join(f"<th>{escape(f'{g.arm}, {g.when}' if several else g.when)}</th>" for g in groups)
        body = "".join(line for k, _, line in rows if k == key)
        out += f"<table><thead><tr><th>milestone</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    if not out:
        return ""
    return (
        '<div class="contrasts"><h2>Milestones</h2><p class="lede">Share of episodes that reached each of them.</p>'
        f'<div class="scroll">{out}</div></div>'
    )


def _reached(group: Group, env: str, bit: int) -> float:
    steps = group.steps
    played = (group.scores.env == env) & group.scores.ok
    ends = steps.ends[played[steps.trajectory_rows]]
    return float((steps.milestones[ends] >> bit & 1).mean()) if len(ends) else 0.0


def _meter(share: float, colour: int) -> str:
    return (
        f'<span class="meter s{colour % COLOURS}"><svg viewBox="0 0 84 5" aria-hidden="true">'
        f'<rect width="{share * 84:.1f}" height="5" rx="2.5"/></svg></span>{_share(share)}'
    )


# ---------------------------------------------------------------------- episodes


def _episodes(episodes: list[dict[str, Any]]) -> str:
    if not episodes:
        return (
            '<section><h2>Episodes</h2><p class="empty">No episodes are stored in this run, so there is nothing to '
            "step through.</p></section>"
        )
    return (
        '<section><h2>Episodes</h2><p class="lede">A few telling ones, step by step: what the agent saw, what it did, '
        "what the environment said about it, and the credit the step was given.</p>"
        '<div class="episodes"><nav class="list" aria-label="Episodes"></nav>'
        '<article class="viewer" tabindex="0" aria-label="One episode">'
        '<div class="head"><div class="title"><strong class="name"></strong><span class="pill"></span></div>'
        '<div class="meta"></div></div><div class="broken" hidden></div><div class="timeline"></div>'
        '<div class="controls"><button type="button" class="back" aria-label="Previous step">←</button>'
        '<span class="where" aria-live="polite"></span>'
        '<button type="button" class="next" aria-label="Next step">→</button>'
        '<span class="keys"><kbd>←</kbd> <kbd>→</kbd> steps &nbsp; <kbd>[</kbd> <kbd>]</kbd> episodes</span></div>'
        '<div class="detail"><div><h3>What the agent saw</h3><pre class="text"></pre></div>'
        '<div><h3>What it did</h3><pre class="action"></pre>'
        '<div class="saidbox" hidden><h3>What the model said</h3><pre class="said"></pre></div>'
        '<div class="faultbox" hidden><h3>What the environment answered</h3><pre class="fault"></pre></div>'
        '<h3>What came of it</h3><dl class="signals"></dl></div></div></article></div>'
        "<noscript><p class='note'>Stepping through episodes needs JavaScript; nothing is loaded from elsewhere.</p>"
        "</noscript></section>"
    )


# ---------------------------------------------------------------------- the rest


def _config(content: Content) -> str:
    run = content.run
    summary = run.summary()
    blocks = [("Settings", run.config)] + ([("Summary", summary)] if summary else [])
    shown = "".join(
        f'<details><summary>{name}</summary><div class="config">'
        f"{escape(json.dumps(value, indent=2, ensure_ascii=False).encode('utf-8', 'replace').decode())}</div></details>"
        for name, value in blocks
    )
    packages = ", ".join(f"{escape(k)} {escape(str(v))}" for k, v in run.packages.items())
    return f"<section><h2>How it was made</h2>{shown}</section><footer>{packages}</footer>"


def _arm(arm: str) -> str:
    return f'<span class="arm">{escape(arm)}</span> ' if arm else ""


def _axis(*labels: str) -> str:
    return '<div class="axis">' + "".join(f"<span>{label}</span>" for label in labels) + "</div>"


def _share(value: float) -> str:
    return f"{value * 100:.1f} %" if math.isfinite(value) else "–"  # noqa: RUF001  (a dash for nothing)


def _points(value: float) -> str:
    return f"{value * 100:+.1f}".replace("-", "−")  # noqa: RUF001  (a true minus sign)


def _bounds(found: Interval, *, points: bool = False) -> str:
    if not (math.isfinite(found.low) and math.isfinite(found.high)) or not found.n:
        return ""
    if points:
        return f"{_points(found.low)} to {_points(found.high)}"
    return f"{found.low * 100:.1f} to {found.high * 100:.1f}"


def _cell(metric: str, found: Interval | None) -> str:
    if found is None:
        return '<span class="ci">–</span>'  # noqa: RUF001  (a dash for nothing)
    if metric == "success":
        # of a share, as in the table above: a bootstrap would give the same figure another interval
        low, high = wilson(found.value * found.n, found.n)
        found = Interval(found.value, float(low), float(high), found.n, "wilson")
        return f'{_share(found.value)}<span class="ci">{_bounds(found)}</span>'
    if METRICS[metric].share:
        return _share(found.value)
    return f"{found.value:.3g}" if abs(found.value) < 1000 else f"{found.value:.0f}"
