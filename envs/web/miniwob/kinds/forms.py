"""Forms: fill fields with what the goal (or the page) says, then press the button."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


from agentgym.envs.web.miniwob.kind import Kind, Want, click, fill, need
from agentgym.envs.web.view import Node, PageState
from agentgym.errors import TaskError

__all__ = ["TASKS", "Form", "found"]


def found(pattern: str, told: str) -> re.Match[str]:
    """The match of a goal.

    Raises:
        TaskError: the goal reads otherwise.
    """
    match = re.search(pattern, told)
    if match is None:
        raise TaskError(f"this kind of task does not understand the goal {told!r}")
    return match


Locate = Callable[[PageState], Node | None]


@dataclass(frozen=True)
class Field:
    """One field to fill: the milestone it counts to, where it is, and its text."""

    step: str
    where: Locate
    text: str


def _id(id: str) -> Locate:
    return lambda state: state.find(id=id)


def _input(place: int) -> Locate:
    """The text field at a place among all of them."""

    def where(state: PageState) -> Node | None:
        fields = [n for n in state.nodes if n.tag == "input" and n.editable]
        return fields[place] if place < len(fields) else None

    return where


class Form(Kind):
    """Fields, each with its text; the button ends it.

    Args:
        steps: milestone -> sentence.
        fields: from the utterance and the first page to the fields.
        button: where the last click goes.
        spoil: what the offender puts into the first field; by default it submits an empty form.
    """

    def __init__(
        self,
        steps: dict[str, str],
        fields: Callable[[str, PageState], Sequence[Field]],
        button: Locate = _id("subbtn"),
        horizon: int = 15,
    ) -> None:
        self.steps, self._fields, self._button, self.horizon = steps, fields, button, horizon

    def read(self, told: str, start: PageState) -> Sequence[Field]:
        """The fields to fill."""
        return self._fields(told, start)

    def wants(self, goal: Sequence[Field], state: PageState) -> list[Want]:
        """Every field holds its text."""
        wants = []
        for field in goal:
            node = field.where(state)
            done = node is not None and node.value == field.text
            wants.append(Want(field.step, done, "" if done or node is None else fill(node, field.text)))
        return wants

    def finish(self, goal: Sequence[Field], state: PageState) -> str:
        """Press the button."""
        return click(self._button(state), "button")

    def wrong(self, goal: Sequence[Field], peek: Callable[[], PageState]) -> Iterator[str]:
        """Fill the first field with something else, and press the button."""
        first = goal[0].where(peek())
        if first is not None and first.kind in ("text", "password", ""):
            yield fill(first, f"not {goal[0].text}")
        yield self.finish(goal, peek())


class Popup(Form):
    """A login during which a dialog may cover the form; its OK ends the episode."""

    def wants(self, goal: Sequence[Field], state: PageState) -> list[Want]:
        """As in any form, but the dialog goes first."""
        cancel = state.find(id="popup-cancel")
        wants = super().wants(goal, state)
        return wants if cancel is None else [w._replace(do="" if w.done else click(cancel)) for w in wants]

    def finish(self, goal: Sequence[Field], state: PageState) -> str:
        """Press the button, after the dialog is gone."""
        cancel = state.find(id="popup-cancel")
        return click(cancel) if cancel is not None else super().finish(goal, state)

    def wrong(self, goal: Sequence[Field], peek: Callable[[], PageState]) -> Iterator[str]:
        """Fill in the user's name alone and submit; follow the dialog out where there is one."""
        user = need(peek().find(id="username"), "field")
        yield fill(user, "nobody")
        if (leave := peek().find(id="popup-ok")) is not None:
            yield click(leave)
        else:
            yield click(peek().find(id="subbtn"))


# ------------------------------------------------------------------ what the goals say


def _login(told: str, start: PageState) -> list[Field]:
    m = found(r'username "(.*?)" and the password "(.*?)"', told)
    return [Field("user_name", _id("username"), m[1]), Field("password", _id("password"), m[2])]


def _enter(told: str, start: PageState) -> list[Field]:
    return [Field("text", _id("tt"), found(r'Enter "(.*)" into the text field', told)[1])]


def _in_case(told: str, start: PageState) -> list[Field]:
    m = found(r'Type "(.*)" in all (upper|lower) case', told)
    return [Field("text", _id("tt"), m[1].upper() if m[2] == "upper" else m[1].lower())]


def _password(told: str, start: PageState) -> list[Field]:
    word = found(r'password "(.*)" into both', told)[1]
    return [Field("password", _id("password"), word), Field("again", _id("verify"), word)]


def _date(told: str, start: PageState) -> list[Field]:
    day = datetime.datetime.strptime(found(r"Enter ([\d/]+) as", told)[1], "%m/%d/%Y")
    return [Field("date", _id("tt"), day.date().isoformat())]


def _time(told: str, start: PageState) -> list[Field]:
    shown = " ".join(found(r"Enter (.*?) as the time", told)[1].split())
    return [Field("time", _id("tt"), datetime.datetime.strptime(shown, "%I:%M %p").strftime("%H:%M"))]


def _copy(told: str, start: PageState) -> list[Field]:
    text = need(start.find(id="to-copy"), "text to copy").value
    return [Field("copied", _id("answer-input"), text)]


def _copy_one(told: str, start: PageState) -> list[Field]:
    which = found(r"from the (\d)", told)[1]
    return [Field("copied", _id("answer-input"), need(start.find(id=f"text-{which}"), "text to copy").value)]


def _captcha(told: str, start: PageState) -> list[Field]:
    letters = "".join(n.name for n in start.all(tag="span") if "skew" in n.form)
    return [Field("text", _id("tt"), letters)]


def _sum(told: str, start: PageState) -> list[Field]:
    m = found(r"(\d+) ([-+x]) (\d+) =", need(start.find(id="math-problem"), "problem").name)
    a, b = int(m[1]), int(m[3])
    return [Field("answer", _id("math-answer"), str({"+": a + b, "-": a - b, "x": a * b}[m[2]]))]


def _unknown(told: str, start: PageState) -> list[Field]:
    shown = need(start.find(id="math-problem"), "problem").name
    m = found(r"(\w+) ([-+]) (\w+) = (-?\d+)", shown)
    result = int(m[4])
    if m[1] == "x":
        x = result - int(m[3]) if m[2] == "+" else result + int(m[3])
    else:
        x = result - int(m[1]) if m[2] == "+" else int(m[1]) - result
    return [Field("answer", _id("math-answer"), str(x))]


def _nth_word(told: str, start: PageState) -> list[Field]:
    place = int(found(r"the (\d+)", told)[1])
    text = need(start.find(tag="p"), "paragraph").name
    return [Field("answer", _id("answer-input"), re.sub("[^a-zA-Z]", "", text.split()[place - 1]))]


def _last_word(told: str, start: PageState) -> list[Field]:
    text = need(start.find(id="text-area"), "text").value
    return [Field("answer", _id("answer-input"), re.sub("[^a-zA-Z0-9]", "", text.split()[-1]))]


def _table(start: PageState) -> dict[str, str]:
    cells = [n.name for n in start.all(tag="td")]
    return dict(zip(cells[::2], cells[1::2], strict=True))


def _look_up(told: str, start: PageState) -> list[Field]:
    return [Field("value", _id("tt"), _table(start)[found(r"value of (.*) into", told)[1]])]


def _look_up_two(told: str, start: PageState) -> list[Field]:
    table = _table(start)
    asked = [need(start.find(id=f"ll{k}"), "label").name.rstrip(":") for k in (1, 2)]
    return [Field(step, _id(f"tt{k}"), table[asked[k - 1]]) for k, step in ((1, "first"), (2, "second"))]


def _blocks(told: str, start: PageState) -> list[Field]:
    return [Field("answer", _id("math-answer"), str(start.probe["x"]))]


def _film(told: str, start: PageState) -> list[Field]:
    m = found(
        r"(?:Search for|Find|Search) (?P<genre>.*?) (?:movies|films)? ?(?:directed by|by) (?P<who>.*?) (?:from|in) (?:year )?(?P<year>\d+)",
        told,
    )
    asked = {"genre": m["genre"], "director": m["who"], "year": m["year"]}
    return [Field(step, _beside(step), text) for step, text in asked.items()]


def _beside(label: str) -> Locate:
    """The field whose label, before it, says so."""

    def where(state: PageState) -> Node | None:
        seen = ""
        for node in state.nodes:
            if node.tag == "input" and node.editable:
                if label in (node.name or seen).lower():
                    return node
                seen = ""
            elif node.name:
                seen = node.name
        return None

    return where


def _submit(state: PageState) -> Node | None:
    return next((n for n in state.nodes if n.name.lower() in ("submit", "search", "find", "go") and n.clickable), None)


class Numbered(Form):
    """A radio button and a text field, each named by its place."""

    def __init__(self) -> None:
        steps = {"radio": "The right radio button is set.", "number": "The number is in the right field, alone."}
        super().__init__(steps, self._asked)

    @staticmethod
    def _asked(told: str, start: PageState) -> list[Field]:
        m = found(r'Check the (\d).*? and enter the number "(-?\d+)" into the (\d)', told)
        texts = [m[2] if k == int(m[3]) else "" for k in (1, 2, 3)]
        return [Field("radio", lambda s: [*s.all(role="radio")][int(m[1]) - 1], "")] + [
            Field("number", _id(f"input-{k}"), texts[k - 1]) for k in (1, 2, 3)
        ]

    def wants(self, goal: Sequence[Field], state: PageState) -> list[Want]:
        """The radio button, then the fields."""
        radio = need(goal[0].where(state), "radio button")
        return [Want("radio", radio.checked, click(radio)), *super().wants(goal[1:], state)]

    def wrong(self, goal: Sequence[Field], peek: Callable[[], PageState]) -> Iterator[str]:
        """Submit an empty form."""
        yield self.finish(goal, peek())


class Dropdown(Kind):
    """Choose from a dressed-up list, then press the named button."""

    steps = {"height": "The height is chosen."}
    probe = "return document.getElementById('dropdown').value;"
    horizon = 15

    def read(self, told: str, start: PageState) -> tuple[str, str]:
        """The option and the button."""
        m = found(r'Choose (.*) from the dropdown, then click the button labeled "(.*)"', told)
        return m[1], m[2]

    def wants(self, goal: tuple[str, str], state: PageState) -> list[Want]:
        """The option is chosen."""
        return [Want("height", state.probe["x"] == goal[0], self._choose(goal[0], state))]

    @staticmethod
    def _choose(option: str, state: PageState) -> str:
        listed = [n for n in state.nodes if n.tag == "li" and n.name == option]
        opener = next((n for n in state.nodes if n.has("selectric") or n.cls in ("button", "label")), None)
        return click(listed[0] if listed else opener, "list")

    def finish(self, goal: tuple[str, str], state: PageState) -> str:
        """Press the named button."""
        return click(state.find(tag="button", name=goal[1]), "button")


TASKS: dict[str, Kind] = {
    "login-user": Form({"user_name": "The user's name is in.", "password": "The password is in."}, _login),
    "login-user-popup": Popup({"user_name": "The user's name is in.", "password": "The password is in."}, _login),
    "enter-text": Form({"text": "The text is in."}, _enter),
    "enter-text-dynamic": Form({"text": "The text is in."}, _enter),
    "enter-text-2": Form({"text": "The text is in, in the right case."}, _in_case),
    "enter-password": Form({"password": "The password is in.", "again": "And in the second field."}, _password),
    "enter-date": Form({"date": "The date is in."}, _date),
    "enter-time": Form({"time": "The time is in."}, _time),
    "copy-paste": Form({"copied": "The text is copied."}, _copy),
    "copy-paste-2": Form({"copied": "The right text is copied."}, _copy_one),
    "text-transform": Form({"text": "The letters are in."}, _captcha),
    "simple-arithmetic": Form({"answer": "The answer is in."}, _sum),
    "simple-algebra": Form({"answer": "The answer is in."}, _unknown),
    "find-word": Form({"answer": "The word is in."}, _nth_word),
    "scroll-text": Form({"answer": "The last word is in."}, _last_word),
    "read-table": Form({"value": "The value is in."}, _look_up),
    "read-table-2": Form({"first": "The first value is in.", "second": "The second value is in."}, _look_up_two),
    "multi-orderings": Form({k: f"The {k} is in." for k in ("genre", "director", "year")}, _film, _submit),
    "multi-layouts": Form({k: f"The {k} is in." for k in ("genre", "director", "year")}, _film, _submit),
    "form-sequence-2": Numbered(),
    "form-sequence-3": Dropdown(),
}


class Blocks(Form):
    """Count the blocks of a picture."""

    probe = "return document.querySelectorAll('.addition-block').length;"


TASKS["visual-addition"] = Blocks({"answer": "The sum is in."}, _blocks)
