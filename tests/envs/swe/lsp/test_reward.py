"""The reward of an edit: the published equation, and what the gated one refuses to pay for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agentgym.envs.swe.lsp import Diagnostic, Diagnostics, Judge, Measure, ServerTrouble, Weights, lanser, reward
from agentgym.errors import UsageError

SOURCE = b"import os\n\n\ndef double(x):\n    return y * 2\n\n\nclass Box:\n    def get(self):\n        return z\n"


class Words:
    """Finds one diagnostic for each name in `BAD` that a file holds: a server one can do sums with."""

    BAD = (b"os", b"y", b"z")
    about: Mapping[str, str] = {"server": "words"}

    def __init__(self) -> None:
        self.asked = 0

    def diagnostics(self, files: Mapping[str, bytes]) -> Diagnostics:
        self.asked += 1
        if any(b"hang" in data for data in files.values()):
            raise ServerTrouble("time", "too long")
        return {
            path: tuple(Diagnostic(0, 0, 0, 1, 1, w.decode(), "") for w in self.BAD if w in data.split())
            for path, data in files.items()
        }

    def close(self) -> None:
        pass


@pytest.fixture
def judge() -> Judge:
    return Judge([Words()])


def test_the_published_examples() -> None:
    assert lanser(3, True, 0.94) == pytest.approx(1.894)
    assert lanser(0, False, 0.62) == pytest.approx(-0.038)  # what the equation gives
    assert lanser(0, False, 0.62, charge=True) == pytest.approx(-0.438)  # what the paper prints
    assert lanser(1, True, 0.72) == pytest.approx(0.872)  # its sample bundle


def test_weights_are_not_negative() -> None:
    with pytest.raises(UsageError, match="at least 0"):
        Weights(alpha=-1)


def test_a_diagnostic_less_pays_and_one_more_costs(judge: Judge) -> None:
    start = judge.start({"a.py": SOURCE})
    assert start.count == 3
    better = judge.measure({"a.py": SOURCE.replace(b"import os\n", b"")})
    assert reward(start, better).value == pytest.approx(0.5)
    assert reward(better, start).value == pytest.approx(-0.5)
    assert reward(start, better, confidence=0.5).value == pytest.approx(0.45)


@pytest.mark.parametrize(
    "edited",
    [
        b"",  # nothing left to complain of
        b"def double(x:\n",
        SOURCE.replace(b"    return y * 2", b"    return ("),
        SOURCE[:20],
        b"import os\n" + b"(" * 5000,  # nested too deeply
        SOURCE + b"#" * (1 << 20),  # too long to look at
        SOURCE + b"\0",
        SOURCE.replace(b"return y * 2", b"pass"),  # emptied
        SOURCE.replace(b"return y * 2", b'"""Later."""\n    raise NotImplementedError("later")'),
        SOURCE.replace(b"def double", b"def triple"),
        SOURCE.replace(b"class Box", b"class Bag"),
    ],
    ids=["empty", "error", "open", "cut", "nested", "long", "nul", "pass", "later", "renamed", "class"],
)
def test_breaking_or_dropping_code_never_pays(judge: Judge, edited: bytes) -> None:
    start = judge.start({"a.py": SOURCE})
    broken = judge.measure({"a.py": edited})
    step = reward(start, broken)
    assert step.value < 0
    assert not step.safe
    mended = reward(step.reference, judge.measure({"a.py": SOURCE}))
    assert mended.value == 0  # and coming back earns nothing either


def test_a_file_that_went_is_no_gain(judge: Judge) -> None:
    start = judge.start({"a.py": SOURCE, "b.py": b"x = 1\n"})
    after = judge.measure({"b.py": b"x = 1\n"})
    assert after.gone[-1:] == ("a.py",)
    assert reward(start, after).value < 0


def test_a_server_that_hangs_on_the_code_is_no_gain(judge: Judge) -> None:
    start = judge.start({"a.py": SOURCE})
    after = judge.measure({"a.py": SOURCE + b"hang = 1\n"})
    assert after.trouble == "time"
    assert reward(start, after).value < 0


def test_going_to_and_fro_earns_nothing(judge: Judge) -> None:
    """Over safe states the sum depends on where it ends, not on the way."""
    start = judge.start({"a.py": SOURCE})
    better = SOURCE.replace(b"import os\n", b"")
    reference, total = start, 0.0
    for data in (better, SOURCE, better, b"(", better, SOURCE.replace(b"double", b"twice"), better):
        step = reward(reference, judge.measure({"a.py": data}))
        reference, total = step.reference, total + step.value
    assert total == pytest.approx(0.5 - 2 * 0.4)  # one diagnostic less, two unsafe states


def test_what_never_parsed_is_not_watched(judge: Judge) -> None:
    start = judge.start({"a.py": SOURCE, "tests/bad.py": b"print 'os y z'\n", "notes.txt": b"os y z"})
    assert start.safe
    assert start.count == 3
    assert judge.measure({"a.py": SOURCE, "tests/bad.py": b"("}) == start


def test_a_file_that_the_agent_adds_counts(judge: Judge) -> None:
    start = judge.start({"a.py": SOURCE})
    assert reward(start, judge.measure({"a.py": SOURCE, "new.py": b"print( z )\n"})).value < 0
    assert not judge.measure({"a.py": SOURCE, "new.py": b"print(\n"}).safe


def test_the_untouched_tree_comes_first() -> None:
    with pytest.raises(UsageError, match=r"Judge\.start"):
        Judge([]).measure({})


def test_a_measure_is_a_value(judge: Judge) -> None:
    assert judge.start({"a.py": SOURCE}) == judge.measure({"a.py": SOURCE})
    assert Measure("", 0).safe
