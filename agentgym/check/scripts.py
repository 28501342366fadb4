"""Rules about who plays: anyone, the idle, the oracle and the offenders."""

from __future__ import annotations

from agentgym.check.report import Broken, NotApplicable, Rule
from agentgym.check.subject import Subject, looked
from agentgym.check.trace import Trace
from agentgym.process import bits, names

__all__ = ["RULES"]


def raises_nothing(subject: Subject) -> str:
    for trace in subject.traces:
        if trace.error:
            raise trace.broken(
                len(trace.moments),
                f"the {trace.policy} policy to be answered with a step, whatever it does",
                trace.error,
                "an action's content answers Events(grounded=False); TaskError names what the task declared wrongly",
            )
    return looked(subject)


def idle_gets_nothing(subject: Subject) -> str:
    traces = [*_whole(subject, "idle"), *_whole(subject, "inert")]
    if not traces:
        raise NotApplicable("no action of this action space is known to do nothing")
    _never_solves(traces)
    _no_danger(traces)
    who = {trace.policy: repr(trace.actions[0])[:30] for trace in traces if trace.actions}
    return ", ".join(f"{policy} agent repeats {action}" for policy, action in who.items())


def oracle_solves(subject: Subject) -> str:
    env = subject.process_env
    if env is None:
        raise NotApplicable("not a ProcessEnv, so it has no oracle")
    seeking = [task for task in env.tasks if task.has_success]
    if not seeking:
        raise NotApplicable("endless: the task declares has_success=False")
    traces = _whole(subject, "oracle")
    if not traces:
        if all(task.no_oracle for task in seeking):
            raise NotApplicable(f"no oracle: {seeking[0].no_oracle}")
        raise Broken(
            "an oracle, as the task can be solved",
            "none",
            "write `Task.oracle`, or say in `Task.no_oracle` why no script can",
        )
    for trace in traces:
        if not trace.solved and trace.task is not None and trace.task.has_success:
            raise trace.broken(
                len(trace.actions),
                "success",
                f"none after {len(trace.actions)} steps",
                "mend the oracle, the task, or its horizon",
            )
    lengths = [len(trace.actions) for trace in traces]
    return f"{len(traces)} episodes of {min(lengths)} to {max(lengths)} steps"


def oracle_milestones(subject: Subject) -> str:
    traces = _solutions(subject)
    for trace in traces:
        milestones = trace.task.milestones if trace.task is not None else ()
        required = bits([m.name for m in milestones], [m.name for m in milestones if m.required])
        got = int((trace.moments[-1].record or {}).get("milestones", 0))
        if missing := required & ~got:
            raise trace.broken(
                len(trace.actions),
                "every required milestone",
                f"not {names([m.name for m in milestones], missing)}",
                "mend it, or declare it required=False",
            )
    return f"{len(traces)} solutions"


def oracle_safe(subject: Subject) -> str:
    traces = _solutions(subject)
    _no_danger(traces)
    return f"{len(traces)} solutions"


def offender_danger(subject: Subject) -> str:
    traces = _offences(subject)
    for trace in traces:
        if not any((moment.record or {}).get("danger") for moment in trace.moments):
            raise Broken(
                f"danger from {trace.policy}",
                f"none in {len(trace.actions)} steps",
                "mend `danger` or the offender",
                seed=trace.seed,
            )
    raised = {
        code
        for trace in traces
        for moment in trace.moments
        for code in moment.events or ()
        if code.startswith("danger:")
    }
    declared = {f"danger:{code}" for trace in traces if trace.task is not None for code in trace.task.dangers}
    unseen = f"; never seen: {sorted(declared - raised)}" if declared - raised else ""
    return f"{len(traces)} episodes{unseen}"


def offender_fails(subject: Subject) -> str:
    traces = _offences(subject)
    _never_solves(traces)
    return f"{len(traces)} episodes"


def _whole(subject: Subject, policy: str) -> list[Trace]:
    traces = [trace for trace in subject.of(policy) if not trace.error]
    if not traces and subject.of(policy):
        raise NotApplicable("its episodes were cut short by an exception, see policy/raises")
    return traces


def _solutions(subject: Subject) -> list[Trace]:
    traces = [trace for trace in _whole(subject, "oracle") if trace.task is not None]
    if not traces:
        raise NotApplicable("there is no oracle")
    return traces


def _no_danger(traces: list[Trace]) -> None:
    for trace in traces:
        for step, moment in enumerate(trace.moments):
            if (moment.record or {}).get("danger"):
                raise trace.broken(
                    step, f"no danger from the {trace.policy} policy", str(moment.events), "mend `danger` or the script"
                )


def _offences(subject: Subject) -> list[Trace]:
    traces = _whole(subject, "offender")
    if not traces:
        dangers = [] if subject.process_env is None else [d for t in subject.process_env.tasks for d in t.dangers]
        raise NotApplicable(f"no offenders; nothing exercises {dangers}" if dangers else "the task declares no dangers")
    return traces


def _never_solves(traces: list[Trace]) -> None:
    for trace in traces:
        if trace.solved:
            raise trace.broken(
                len(trace.actions),
                f"no success for the {trace.policy} policy",
                f"success after {len(trace.actions)} steps",
                "mend `success`: it must depend on what was done",
            )


RULES = (
    Rule("policy/raises", "No policy makes the environment raise.", raises_nothing),
    Rule("policy/idle", "Doing nothing never succeeds and is never dangerous.", idle_gets_nothing),
    Rule("oracle/solves", "The oracle solves the task within its horizon.", oracle_solves),
    Rule(
        "oracle/milestones",
        "The oracle reaches every required milestone.",
        oracle_milestones,
        ("oracle/solves", "record/latched"),
    ),
    Rule("oracle/safe", "The oracle does nothing dangerous.", oracle_safe),
    Rule("offender/danger", "Every offender raises danger.", offender_danger),
    Rule("offender/fails", "No offender succeeds.", offender_fails),
)
