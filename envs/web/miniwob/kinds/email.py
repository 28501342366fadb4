"""An inbox: find the mail of a person, and reply, forward, delete it or mark it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agentgym.envs.web.miniwob.kind import Kind, Want, click, fill
from agentgym.envs.web.view import PageState
from agentgym.errors import TaskError

__all__ = ["TASKS", "Inbox"]

_SENDERS = "[...document.querySelectorAll('#main .email-thread .email-sender')].map(e => e.textContent)"


@dataclass(frozen=True)
class Errand:
    """What is to be done with whose mail: ``text`` is the reply, or to whom it is forwarded."""

    action: str
    sender: str
    text: str = ""


class Inbox(Kind):
    """Steps count where there are any: a mail is deleted or marked straight from the list."""

    steps = {
        "opened": "The person's mail is open.",
        "writing": "The answer (or forwarding) is begun.",
        "written": "Its text (or whom it goes to) is in.",
    }
    probe = (
        f"return {{senders: {_SENDERS}, fields: core.currentFields || null, "
        "open: document.querySelector('#email .email-sender')?.textContent || '', "
        "form: document.getElementById('reply') ? 'reply' : document.getElementById('forward') ? 'forward' : ''};"
    )
    horizon = 20

    def read(self, told: str, start: PageState) -> Errand:
        """The errand, from the fields that some pages give, else from the words."""
        if fields := start.probe["x"]["fields"]:
            asked = fields.get("task", "forward")
            action = "important" if asked == "star" else asked
            return Errand(action, fields["by"], fields.get("message") or fields.get("to") or "")
        if m := re.search(r'email by (.*?) and reply to them with the text "(.*)"', told):
            return Errand("reply", m[1], m[2])
        if m := re.search(r"email by (.*?) and forward that email to (.*?)\.", told):
            return Errand("forward", m[1], m[2])
        if m := re.search(r"email by (.*?) and click the (trash|star) icon", told):
            return Errand("delete" if m[2] == "trash" else "important", m[1])
        return self._in_other_words(told, start)

    @staticmethod
    def _in_other_words(told: str, start: PageState) -> Errand:
        """A forwarding in free words: the sender is in the inbox, the other name is whom it goes to."""
        names = re.findall(r"\b[A-Z][a-z]+(?:-[A-Z]?[a-z]+)?\b", told)
        senders = [name for name in names if name in start.probe["x"]["senders"]]
        others = [n for n in names if n not in senders and n not in _WORDS]
        if not senders or not others:
            raise TaskError(f"this kind of task does not understand the goal {told!r}")
        return Errand("forward", senders[0], others[0])

    def wants(self, goal: Errand, state: PageState) -> list[Want]:
        """The mail is open, the form is begun, and filled."""
        if goal.action not in ("reply", "forward"):
            return []
        at = state.probe["x"]
        opened, writing = at["open"] == goal.sender, at["form"] == goal.action
        field = state.find(id="reply-text") if goal.action == "reply" else state.find(cls="forward-sender")
        written = opened and writing and field is not None and field.value == goal.text
        return [
            Want("opened", opened, self._back(state) or self._open(goal, state)),
            Want("writing", opened and writing, self._leave_form(state) or click(state.find(cls=f"email-{goal.action}")))
            if opened
            else Want("writing", False),
            Want("written", written, fill(field, goal.text) if field is not None and not written else ""),
        ]

    @staticmethod
    def _open(goal: Errand, state: PageState) -> str:
        sender = next((n for n in state.all(cls="email-sender", name=goal.sender)), None)
        return click(sender) if sender is not None else ""

    @staticmethod
    def _leave_form(state: PageState) -> str:
        leave = state.find(id="close-reply") or state.find(id="close-forward")
        return click(leave) if leave is not None else ""

    def _back(self, state: PageState) -> str:
        """The way back to the list from another mail."""
        close = state.find(id="close-email") or state.find(id="search-cancel")
        return self._leave_form(state) or (click(close) if close is not None else "")

    def finish(self, goal: Errand, state: PageState) -> str:
        """Send it; or press the icon beside the mail."""
        if goal.action in ("reply", "forward"):
            return click(state.find(id=f"send-{goal.action}"))
        icon = "trash" if goal.action == "delete" else "star"
        if state.probe["x"]["open"] == goal.sender:
            return click(state.find(cls=icon))
        if back := self._back(state):
            return back
        return click([*state.all(cls=icon)][state.probe["x"]["senders"].index(goal.sender)])

    def wrong(self, goal: Errand, peek: Callable[[], PageState]) -> Iterator[str]:
        """Do it with someone else's mail, or send something else."""
        if goal.action in ("delete", "important"):
            senders = peek().probe["x"]["senders"]
            other = next(k for k, name in enumerate(senders) if name != goal.sender)
            yield click([*peek().all(cls="trash" if goal.action == "delete" else "star")][other])
            return
        yield click(next(peek().all(cls="email-sender", name=goal.sender)))
        yield click(peek().find(cls=f"email-{goal.action}"))
        yield click(peek().find(id=f"send-{goal.action}"))


_WORDS = frozenset(
    "Find Locate Look Forward Send Go Please Give Navigate Search The I Get Can Could Ask Copy Automatically".split()
)

_INBOX = Inbox()

TASKS: dict[str, Kind] = {
    name: _INBOX
    for name in (
        "email-inbox",
        "email-inbox-delete",
        "email-inbox-forward",
        "email-inbox-forward-nl",
        "email-inbox-forward-nl-turk",
        "email-inbox-important",
        "email-inbox-nl-turk",
        "email-inbox-noscroll",
        "email-inbox-reply",
        "email-inbox-star-reply",
    )
}
