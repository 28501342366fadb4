"""Rules about what the signals mean: progress and anchors."""

from __future__ import annotations

from collections import defaultdict

from agentgym.check.report import Broken, NotApplicable, Rule
from agentgym.check.subject import Subject, looked, records
from agentgym.check.trace import Trace

__all__ = ["RULES"]


def progress_ends(subject: Subject) -> str:
    for trace, step, moment, record in records(subject):
        if (record["progress"] == 1) != bool(moment.success):
            raise trace.broken(
                step,
                "progress 1 exactly when success",
                f"progress {record['progress']!r}, success {moment.success}",
                "keep progress below 1 until solved",
            )
    return looked(subject)


def progress_start(subject: Subject) -> str:
    for trace, step, _, record in records(subject):
        if step == 0 and record["progress"] != 0:
            raise trace.broken(
                0, "progress 0 at an untouched start", repr(record["progress"]), "measure the change since `ep.start`"
            )
    return f"{len(subject.traces)} resets"


def progress_no_echo(subject: Subject) -> str:
    """Progress that takes one value per set of milestones, though more states than sets were visited, is their echo."""
    by_task: dict[str, list[Trace]] = defaultdict(list)
    for trace in subject.traces:
        if trace.task is not None and trace.task.progress_kind == "exact" and trace.task.milestones:
            by_task[trace.task.id].append(trace)
    if not by_task:
        raise NotApplicable("progress is not declared exact, or there are no milestones")
    for task, traces in by_task.items():
        values: dict[tuple[int, int], set[float]] = defaultdict(set)
        states: dict[int, set[int]] = defaultdict(set)
        for trace in traces:
            for record in (m.record for m in trace.moments if m.record is not None):
                values[trace.seed, record["milestones"]].add(record["progress"])
                states[trace.seed].add(record["anchor"])
        masks = {seed: sum(s == seed for s, _ in values) for seed in states}
        if all(len(v) == 1 for v in values.values()) and any(len(states[s]) > masks[s] + 1 for s in states):
            raise Broken(
                "progress that tells more than the milestones, as `exact` promises",
                f"one value for each set of milestones: { {bin(k): v for (_, k), v in values.items()} }",
                f"measure the distance in task {task}, or declare progress_kind 'proxy'",
            )
    return f"{len(by_task)} task(s)"


def progress_none(subject: Subject) -> str:
    judged = False
    for trace, step, _, record in records(subject):
        if trace.task is None or trace.task.progress_kind != "none":
            continue
        judged = True
        if record["progress"] not in (0, 1):
            raise trace.broken(
                step, "progress 0 or 1, as `none` promises", repr(record["progress"]), "declare 'proxy' or 'bound'"
            )
    if not judged:
        raise NotApplicable("the task has a progress")
    return looked(subject)


def anchor_view(subject: Subject) -> str:
    anchors: dict[bytes, int] = {}
    views: dict[int, bytes] = {}
    for trace, step, moment, record in records(subject):
        if moment.view is None:
            continue
        anchor = record["anchor"]
        if anchors.setdefault(moment.view, anchor) != anchor or views.setdefault(anchor, moment.view) != moment.view:
            raise trace.broken(
                step,
                "equal views to have equal anchors, and different ones different",
                f"view {moment.view[:100]!r}, anchor {anchor}",
                "hash the view with agentgym.anchor",
            )
    if not anchors:
        raise NotApplicable("the environment has no anchor view to compare with")
    return f"{len(anchors)} different views"


def anchor_varies(subject: Subject) -> str:
    changing: list[Trace] = []
    for trace in subject.traces:
        records = [m.record for m in trace.moments if m.record is not None]
        seen = {(m.observation, (m.record or {}).get("progress")) for m in trace.moments if not m.error}
        if len({r.get("anchor") for r in records}) > 1:  # whatever the agent saw of it: they are not all one
            return f"{len(changing) + 1} episode(s) until a second anchor"
        if len(seen) > 1:
            changing.append(trace)
    if not changing:
        raise NotApplicable("no observation ever changed")
    raise Broken(
        "states that look different to have different anchors",
        f"one anchor in each of {len(changing)} episodes although the observations changed",
        "put into `anchor_view` all that affects what happens next",
        seed=changing[0].seed,
    )


def anchor_fixes_progress(subject: Subject) -> str:
    values: dict[tuple[str, int, int], float] = {}
    for trace, step, _, record in records(subject):
        key = (trace.task.id if trace.task is not None else "", trace.seed, record["anchor"])
        if values.setdefault(key, record["progress"]) != record["progress"]:
            raise trace.broken(
                step,
                f"progress {values[key]} again where the anchor is again {record['anchor']}",
                repr(record["progress"]),
                "progress is a function of state and episode; `anchor_view` holds all that affects it",
            )
    return f"{len(values)} states"


RULES = (
    Rule("progress/ends", "Progress is 1 exactly when the task is solved.", progress_ends),
    Rule("progress/start", "Progress is 0 at an untouched start.", progress_start),
    Rule("progress/no-echo", "Exact progress tells more than the milestones.", progress_no_echo),
    Rule("progress/none", "A task without progress says 0 until success.", progress_none),
    Rule("anchor/equals-view", "Equal views have equal anchors, different views different ones.", anchor_view),
    Rule("anchor/varies", "States that look different do not all share one anchor.", anchor_varies),
    Rule(
        "anchor/fixes-progress",
        "Equal anchors in one episode mean equal progress.",
        anchor_fixes_progress,
        ("anchor/varies",),
    ),
)
