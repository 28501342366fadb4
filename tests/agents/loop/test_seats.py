"""Which seat an order is given."""

from __future__ import annotations

import gymnasium
import pytest

from agentgym.agents.loop import Collector
from agentgym.agents.loop.local import LocalSeats
from agentgym.agents.loop.stage import Reset
from agentgym.errors import UsageError
from tests.toy import TEXT_ID, register_toys

register_toys()


def order(**kwargs: int) -> Reset:
    return Reset(gymnasium.spec(TEXT_ID), kwargs, 0, None, False)


@pytest.mark.parametrize("spare", [0, 1])
def test_a_spare_seat_keeps_what_it_holds(spare: int) -> None:
    seats = LocalSeats(1, None, 1.0)
    seats.spare = spare
    first = seats.take(order(size=3))
    seats.give_back(first)
    second = seats.take(order(size=4))
    seats.give_back(second)
    assert (second is first) == (spare == 0)
    assert seats.take(order(size=3)) is first
    assert first.holds == (TEXT_ID, {"size": 3})


def test_no_fewer_than_none() -> None:
    with pytest.raises(UsageError, match="spare"):
        Collector(spare=-1)
