"""Rules about what is written at every step: declarations, observations, records, rewards and endings."""

from __future__ import annotations

from collections import defaultdict

from agentgym.check.report import Broken, NotApplicable, Rule
from agentgym.check.subject import Subject, looked, moments, records
from agentgym.process import FIELDS, MAX_BITS, names

__all__ = ["RULES"]


def declares(subject: Subject) -> str:
    env = subject.process_env
    if env is None:
        raise Broken(
            "env.unwrapped to be a ProcessEnv with `task`",
            type(subject.make().unwrapped).__name__,
            "build it from a World and a Task, or with agentgym.add_process",
        )
    for task in env.tasks:
        milestones = [m.name for m in task.milestones]
        if task.progress_kind not in ("exact", "bound", "proxy", "none"):
            raise Broken("progress_kind exact, bound, proxy or none", repr(task.progress_kind), f"mend task {task.id}")
        if task.horizon < 1:
            raise Broken("a horizon of at least 1", repr(task.horizon), f"mend task {task.id}")
        if not all(name.isidentifier() for name in (*milestones, *(c.replace("-", "_") for c in task.dangers))):
            raise Broken("short identifiers as names", f"{milestones}, {list(task.dangers)}", f"mend task {task.id}")
    return f"{len(env.tasks)} task(s): " + ", ".join(task.id for task in env.tasks[:3])


def observed(subject: Subject) -> str:
    for trace, step, moment in moments(subject):
        if not moment.in_space:
            raise trace.broken(
                step,
                "an observation of the observation space",
                moment.observation,
                "widen the space or mend the observation",
            )
    return looked(subject)


def present(subject: Subject) -> str:
    for trace, step, moment in moments(subject):
        wanted = {"process", "success", "events", "error"} | ({"task", "goal"} if step == 0 else set())
        if missing := wanted - moment.info.keys():
            raise trace.broken(step, f"info with {sorted(wanted)}", f"none of {sorted(missing)}", "build on ProcessEnv")
        if moment.record is None or list(moment.record) != list(FIELDS):
            raise trace.broken(step, f"info['process'] with {list(FIELDS)}", str(moment.record), "build on ProcessEnv")
    return looked(subject)


def types(subject: Subject) -> str:
    for trace, step, moment in moments(subject):
        found = {**{k: (moment.record or {}).get(k) for k in FIELDS if k in (moment.record or {})}}
        kinds: dict[str, type] = {**FIELDS}
        found |= {"success": moment.success, "terminated": moment.terminated, "truncated": moment.truncated}
        kinds |= {"success": bool, "terminated": bool, "truncated": bool}
        for name, value in found.items():
            if value is not None and type(value) is not kinds[name]:
                raise trace.broken(
                    step,
                    f"{name} of exact type {kinds[name].__name__}",
                    f"{type(value).__name__} {value!r}",
                    f"convert with {kinds[name].__name__}(…): vectors take a column's dtype from the first row",
                )
    return looked(subject)


def ranges(subject: Subject) -> str:
    for trace, step, _, record in records(subject):
        count = len(trace.task.milestones) if trace.task is not None else MAX_BITS
        faults = {
            f"milestones in [0, 2**{count})": not 0 <= record["milestones"] < 1 << count,
            "progress in [0, 1]": not 0.0 <= record["progress"] <= 1.0,
            "anchor in [-2**63, 2**63)": not -(2**63) <= record["anchor"] < 2**63,
        }
        for expected, wrong in faults.items():
            if wrong:
                raise trace.broken(step, expected, str(dict(record)), "mend the task; never clamp")
    return looked(subject)


def at_reset(subject: Subject) -> str:
    for trace, step, _, record in records(subject):
        if step == 0 and (record["danger"] or not record["grounded"]):
            raise trace.broken(0, "danger False and grounded True at reset", str(dict(record)), "a reset is not a step")
    return f"{len(subject.traces)} resets"


def latched(subject: Subject) -> str:
    held: dict[int, int] = defaultdict(int)
    for trace, step, _, record in records(subject):
        before, now = held[id(trace)], record["milestones"]
        if before & ~now:
            raise trace.broken(step, f"bits of {before:b} to stay set", f"{now:b}", "milestones latch for the episode")
        held[id(trace)] = now
    return looked(subject)


def events(subject: Subject) -> str:
    held: dict[int, int] = {}
    for trace, step, moment, record in records(subject):
        if trace.task is None or not isinstance(moment.events, tuple):
            continue
        new = record["milestones"] & ~held.get(id(trace), 0)
        held[id(trace)] = record["milestones"]
        expected = {f"milestone:{name}" for name in names([m.name for m in trace.task.milestones], new)}
        got = set(moment.events)
        dangers = {code for code in got if code.startswith("danger:")}
        if (
            got - dangers != expected
            or bool(dangers) != bool(record["danger"])
            or not got <= set(trace.task.event_codes)
        ):
            raise trace.broken(
                step,
                f"events that name {sorted(expected)} and the dangers, with danger={record['danger']}",
                str(moment.events),
                "let ProcessEnv write the events",
            )
    return looked(subject)


def grounded_admissible(subject: Subject) -> str:
    looked = 0
    for trace, step, moment, record in records(subject):
        if moment.admissible is None:
            continue
        looked += 1
        if (listed := moment.action in moment.admissible) != record["grounded"]:
            raise trace.broken(
                step,
                f"grounded {listed} for {moment.action!r:.80}, which is {'' if listed else 'not '}listed",
                f"grounded {record['grounded']}",
                "list exactly the applicable actions",
            )
    if not looked:
        raise NotApplicable("the world lists no admissible actions")
    return f"{looked} steps"


def reward_outcome(subject: Subject) -> str:
    env = subject.process_env
    if env is None or env.reward_mode == "world":
        raise NotApplicable("the environment keeps the world's own reward")
    for trace in subject.traces:
        solved = False
        for step, moment in enumerate(trace.moments):
            due = 1.0 if moment.success and not solved and step else 0.0
            solved = solved or bool(moment.success)
            if moment.reward != due:
                raise trace.broken(step, f"reward {due}", repr(moment.reward), "the reward is the outcome alone")
    return looked(subject)


def ends(subject: Subject) -> str:
    if subject.spec is not None and subject.spec.max_episode_steps is not None:
        raise Broken(
            "no TimeLimit: only ProcessEnv truncates",
            f"max_episode_steps={subject.spec.max_episode_steps}",
            "register with agentgym.register",
        )
    env = subject.process_env
    for trace in subject.traces:
        last = len(trace.actions)
        if env is not None and trace.task is not None and trace.moments:
            horizon = env.horizon if len(env.tasks) == 1 else max(task.horizon for task in env.tasks)
            if last > horizon or (last == horizon and not trace.ended):
                raise trace.broken(
                    last, f"an end after {horizon} steps", f"{last} steps and no end", "let ProcessEnv truncate"
                )
        if trace.moments and trace.moments[-1].terminated and trace.moments[-1].truncated:
            raise trace.broken(last, "terminated or truncated", "both", "a terminated episode is not truncated")
    return looked(subject)


RULES = (
    Rule("task/declares", "The task declares its milestones, kind of progress and horizon.", declares),
    Rule("observation/in-space", "Every observation lies in the observation space.", observed),
    Rule("record/present", "Every reset and step carries the five fields, success, events and error.", present),
    Rule("record/types", "Fields and flags have exact Python types.", types),
    Rule("record/ranges", "Fields lie in their ranges.", ranges),
    Rule("record/reset", "A reset is neither dangerous nor ungrounded.", at_reset),
    Rule("record/latched", "A milestone once reached stays reached.", latched),
    Rule("record/events", "Events name the new milestones and the dangers.", events, ("record/latched",)),
    Rule("record/admissible", "An action is grounded exactly when it is listed as admissible.", grounded_admissible),
    Rule("reward/outcome", "The reward is 1 once, on success.", reward_outcome),
    Rule("episode/ends", "Episodes end by the task or at its horizon, and only there.", ends),
)
