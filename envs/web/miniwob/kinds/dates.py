"""Calendars and bookings: turn to the month, pick the day; choose a flight."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agentgym.envs.web.miniwob.kind import Kind, Want, click, fill
from agentgym.envs.web.miniwob.kinds.forms import found
from agentgym.envs.web.view import PageState

__all__ = ["TASKS", "Booking", "Calendar"]

_PICKER = """
const field = $('#datepicker'), box = field.datepicker('widget');
const names = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];
const open = box.is(':visible');
const month = open ? Number(box.find('.ui-datepicker-year').text()) * 12 + names.indexOf(box.find('.ui-datepicker-month').text()) : null;
const picked = field.val();
const end = field.datepicker('option', 'maxDate'); // it opens there, the page's clock being later
const last = end.getFullYear() * 12 + end.getMonth();
"""


def _picker_wants(day: datetime.date, value: str, month: int | None, last: int, state: PageState) -> list[Want]:
    """The calendar is open, at the month (one want for each month on the way), and the day is picked."""
    target = day.year * 12 + day.month - 1
    picked = value == day.strftime("%m/%d/%Y")
    opened = month is not None
    left = 0 if picked else last - target if month is None else abs(month - target)
    arrow = "ui-datepicker-prev" if month is None or month > target else "ui-datepicker-next"
    button = state.find(cls=arrow)
    turn = click(button) if button is not None else ""
    field = state.find(id="datepicker")
    cell = next((n for n in state.all(tag="a", name=str(day.day)) if n.has("ui-state-default")), None)
    return [
        Want("calendar", picked or opened, click(field) if field is not None else ""),
        *(Want("month", picked or (opened and left <= k), turn) for k in reversed(range(max(1, last - target)))),
        Want("date", picked, click(cell) if cell is not None and left == 0 else ""),
    ]


class Calendar(Kind):
    """Pick a date in a calendar, and submit."""

    steps = {"calendar": "The calendar is open.", "month": "It shows the month.", "date": "The date is picked."}
    probe = _PICKER + "return [picked, month, last];"
    horizon = 25

    def read(self, told: str, start: PageState) -> datetime.date:
        """The date."""
        return datetime.datetime.strptime(found(r"Select ([\d/]+) as the date", told)[1], "%m/%d/%Y").date()

    def wants(self, goal: datetime.date, state: PageState) -> list[Want]:
        """It is picked."""
        return _picker_wants(goal, *state.probe["x"], state)

    def finish(self, goal: datetime.date, state: PageState) -> str:
        """Submit."""
        return click(state.find(id="subbtn"))

    def wrong(self, goal: datetime.date, peek: Callable[[], PageState]) -> Iterator[str]:
        """Pick another day of the month in view, and submit."""
        yield click(peek().find(id="datepicker"))
        days = [n for n in peek().all(tag="a") if n.has("ui-state-default") and n.name.isdigit()]
        yield click(next(n for n in days if int(n.name) != goal.day))
        yield self.finish(goal, peek())


@dataclass(frozen=True)
class Trip:
    """A flight to book: the best by this measure."""

    best: str
    origin: str
    destination: str
    day: datetime.date


class Booking(Kind):
    """Search for flights between two places on a day, and book the cheapest or shortest."""

    steps = {
        "from": "The origin is chosen from the list.",
        "to": "The destination is.",
        "date": "The date is picked.",
        "searched": "Flights of that trip are shown.",
    }
    probe = (
        _PICKER
        + "return {from: $('#flight-from').val(), to: $('#flight-to').val(), picked, month, last, known: "
        + "[DOMESTIC_FLIGHTS.includes($('#flight-from').val()), DOMESTIC_FLIGHTS.includes($('#flight-to').val())], "
        + "results: !$('#results').hasClass('hide'), flights: $('.flight').toArray().map(f => "
        + "[Number($(f).find('.flight-price').attr('data-price')), Number($(f).find('.time-duration').attr('data-duration'))])};"
    )
    horizon = 30

    def read(self, told: str, start: PageState) -> Trip:
        """The trip."""
        m = found(r"Book the (\w+) one-way flight from: (.*?) to: (.*?) on ([\d/]+)\.", told)
        return Trip(m[1], m[2], m[3], datetime.datetime.strptime(m[4], "%m/%d/%Y").date())

    def wants(self, goal: Trip, state: PageState) -> list[Want]:
        """Both places, the date, and a search."""
        at = state.probe["x"]
        back = click(state.find(id="menu-back")) if at["results"] else ""
        origin = goal.origin in at["from"] and at["known"][0]
        destination = goal.destination in at["to"] and at["known"][1]
        dated = at["picked"] == goal.day.strftime("%m/%d/%Y")
        dates = [
            w._replace(step="date", do="" if w.done else back or w.do)
            for w in _picker_wants(goal.day, at["picked"], at["month"], at["last"], state)
        ]
        right = origin and destination and dated
        return [
            Want("from", origin, "" if origin else back or self._choose("flight-from", goal.origin, state)),
            Want("to", destination, "" if destination else back or self._choose("flight-to", goal.destination, state)),
            *dates,
            Want("searched", right and at["results"], "" if at["results"] else click(state.find(id="search"))),
        ]

    @staticmethod
    def _choose(field: str, text: str, state: PageState) -> str:
        """Type the place, then take what is offered."""
        offered = next((n for n in state.all(tag="li") if text in n.name and n.has("ui-menu-item")), None)
        offered = offered or next((n for n in state.nodes if text in n.name and n.has("ui-menu-item-wrapper")), None)
        box = state.find(id=field)
        typed = box is not None and box.value == text
        return click(offered) if typed and offered is not None else fill(box, text)

    def finish(self, goal: Trip, state: PageState) -> str:
        """Book the best."""
        flights = state.probe["x"]["flights"]
        by = 0 if goal.best == "cheapest" else 1
        best = min(range(len(flights)), key=lambda k: flights[k][by])
        return click([*state.all(cls="flight-price")][best])

    def wrong(self, goal: Trip, peek: Callable[[], PageState]) -> Iterator[str]:
        """Do everything right, and book the worst."""
        while pending := [w for w in self.wants(goal, peek()) if not w.done]:
            yield next(w.do for w in pending if w.do)
        flights = peek().probe["x"]["flights"]
        by = 0 if goal.best == "cheapest" else 1
        worst = max(range(len(flights)), key=lambda k: flights[k][by])
        yield click([*peek().all(cls="flight-price")][worst])


TASKS: dict[str, Kind] = {
    "choose-date": Calendar(),
    "choose-date-easy": Calendar(),
    "choose-date-medium": Calendar(),
    "choose-date-nodelay": Calendar(),
    "book-flight": Booking(),
    "book-flight-nodelay": Booking(),
}
