"""Small functions with one planted fault, made by number: the offline default of the SWE world.

An instance is a module with one function whose names and constants are drawn, a fault planted on one of its lines, a
statement that says what the function should do and one call that goes wrong, and hidden tests on other calls. Instances
are made from (family, seed) alone: equal on every machine. `Small.part` splits by a hash of the faulty text, so that no
text stands in both parts, whatever the seeds.
"""

from __future__ import annotations

import copy
import hashlib
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from string import Template
from typing import Any, Literal

import numpy as np

from agentgym.envs.swe.faults import Fault, faults

__all__ = ["FAMILIES", "Family", "Small", "make"]

Inputs = Callable[[np.random.Generator, Mapping[str, Any]], tuple[Any, ...]]

VISIBLE, HIDDEN = 2, 8
"""Calls that the repository's own test file makes, and that the hidden tests make."""
MAX_LINES = 2000
"""Lines that a call may run through; a right one needs under 200."""


@dataclass(frozen=True)
class Family:
    """A kind of small function.

    Attributes:
        name: identifier.
        goal: what it does, with ``$``-placeholders.
        source: the function, with ``$f`` (its name), ``$a``, ``$b``, … (variables) and constants.
        names: choices for ``$f``.
        variables: placeholder -> choices; an instance draws distinct ones.
        constants: placeholder -> choices.
        inputs: draws one call's arguments.
    """

    name: str
    goal: str
    source: str
    names: tuple[str, ...]
    variables: Mapping[str, tuple[str, ...]]
    inputs: Inputs
    constants: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Small:
    """One instance.

    Attributes:
        family, seed: where it comes from.
        module: name of the module (``<module>.py`` is the only file with code).
        right, wrong: the module's text, whole and with the fault.
        fault: what was planted.
        statement: what a user would report.
        visible: text of the repository's test file.
        hidden: text of the test file that grades.
        fail_to_pass, pass_to_pass: names of the hidden tests that fail with the fault, and of those that pass.
    """

    family: str
    seed: int
    module: str
    right: str
    wrong: str
    fault: Fault
    statement: str
    visible: str
    hidden: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]

    @property
    def part(self) -> Literal["train", "held-out"]:
        """One in five is held out."""
        return "held-out" if hashlib.sha256(self.wrong.encode()).digest()[0] % 5 == 0 else "train"


def make(family: str, seed: int) -> Small:
    """The instance of this number.

    Raises:
        KeyError: no such family.
    """
    chosen = FAMILIES[family]
    digest = hashlib.sha256(f"{family}\0{seed}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
    while True:  # a draw whose calls show no fault is drawn again; each family passes within a few
        if (found := _draw(chosen, seed, rng)) is not None:
            return found


def _draw(family: Family, seed: int, rng: np.random.Generator) -> Small | None:
    words = _words(family, rng)
    module = words["f"]
    right = Template(family.source).substitute(words)
    calls = [family.inputs(rng, words) for _ in range(VISIBLE + HIDDEN)]
    answers = [_call(right, module, c) for c in calls]
    for fault in _shuffled(faults(right), rng):
        wrong = fault.apply(right)
        given = [_call(wrong, module, c) for c in calls]
        if _ENDLESS in given:
            continue  # nobody learns from a test that hangs
        failing = [g != a for g, a in zip(given, answers, strict=True)]
        # the report needs a call that goes wrong; the hidden tests must tell right from wrong without it
        if failing[0] and any(failing[VISIBLE:]):
            break
    else:
        return None
    names = [f"test_{i}" for i in range(HIDDEN)]
    tests = list(zip(names, calls[VISIBLE:], answers[VISIBLE:], failing[VISIBLE:], strict=True))
    goal = Template(family.goal).substitute(words)
    got = given[0]
    statement = (
        f"`{module}` in {module}.py should {goal}. But `{module}({_arguments(calls[0])})` "
        f"{got.what if isinstance(got, _Raised) else f'gives {got!r}'} and not {answers[0]!r}."
    )
    return Small(
        family=family.name,
        seed=seed,
        module=module,
        right=right,
        wrong=wrong,
        fault=fault,
        statement=statement,
        visible=_tests(module, [("test_report", calls[0], answers[0]), ("test_other", calls[1], answers[1])]),
        hidden=_tests(module, [(name, call, answer) for name, call, answer, _ in tests]),
        fail_to_pass=tuple(name for name, *_, bad in tests if bad),
        pass_to_pass=tuple(name for name, *_, bad in tests if not bad),
    )


def _shuffled(found: Sequence[Fault], rng: np.random.Generator) -> list[Fault]:
    """In an order in which each kind of fault is as likely to come first: there are far more names to confuse."""
    first = {kind: rng.random() for kind in sorted({f.kind for f in found})}
    return [f for _, _, f in sorted(((first[f.kind], rng.random(), f) for f in found), key=lambda row: row[:2])]


def _words(family: Family, rng: np.random.Generator) -> dict[str, Any]:
    words: dict[str, Any] = {"f": str(rng.choice(family.names))}
    for key, choices in family.variables.items():
        free = [c for c in choices if c not in words.values()]
        words[key] = free[int(rng.integers(len(free)))]
    for key, values in family.constants.items():
        words[key] = values[int(rng.integers(len(values)))]
    return words


@dataclass(frozen=True)
class _Raised:
    """What a call did instead of giving a result."""

    what: str


_ENDLESS = _Raised("does not end")


def _call(source: str, function: str, arguments: tuple[Any, ...]) -> Any:
    """The function's answer. The sources are this module's own; a fault that makes a loop endless is cut off."""
    module = types.ModuleType(function)
    _Loader(function, source).exec_module(module)
    left = MAX_LINES

    def trace(frame: types.FrameType, event: str, value: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise _Endless
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return getattr(module, function)(*copy.deepcopy(arguments))
    except _Endless:
        return _ENDLESS
    except Exception as error:  # noqa: BLE001  (a planted fault may raise anything; that is its result)
        return _Raised(f"raises {type(error).__name__}")
    finally:
        sys.settrace(before)


class _Endless(Exception):
    """The call went through more lines than any right one."""


class _Loader(SourceFileLoader):
    """Loads a module from text."""

    def __init__(self, name: str, source: str) -> None:
        super().__init__(name, f"{name}.py")
        self._source = source

    def get_code(self, fullname: str) -> types.CodeType:
        return compile(self._source, self.path, "exec")


def _arguments(arguments: tuple[Any, ...]) -> str:
    return ", ".join(map(repr, arguments))


def _tests(module: str, cases: list[tuple[str, tuple[Any, ...], Any]]) -> str:
    lines = [f"from {module} import {module}"]
    for name, arguments, answer in cases:
        lines += ["", "", f"def {name}():", f"    assert {module}({_arguments(arguments)}) == {answer!r}"]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------- the families


def _numbers(rng: np.random.Generator, least: int = 4, most: int = 8, low: int = -9, high: int = 10) -> list[int]:
    return [int(n) for n in rng.integers(low, high, size=int(rng.integers(least, most + 1)))]


def _text(rng: np.random.Generator, letters: str, least: int = 4, most: int = 10) -> str:
    return "".join(rng.choice(list(letters), size=int(rng.integers(least, most + 1))))


def _words_of(rng: np.random.Generator, count: int = 5) -> list[str]:
    return [_text(rng, "abcde", 1, 6) for _ in range(count)]


_LIST = ("values", "items", "numbers", "series")
_OUT = ("result", "out", "found", "answer")
_EACH = ("value", "item", "n", "x")
_COUNT = ("count", "total", "hits", "k")
_LOW, _HIGH = ("low", "least", "floor"), ("high", "most", "ceiling")
_INDEX = ("i", "index", "position", "at")
_TEXT = ("text", "line", "word", "string")


def _family(name: str, goal: str, source: str, names: str, inputs: Inputs, /, **words: tuple[Any, ...]) -> Family:
    """Lower-case keywords are variables, upper-case ones constants."""
    variables = {k: v for k, v in words.items() if k.islower()}
    constants = {k: v for k, v in words.items() if not k.islower()}
    return Family(name, goal, source.lstrip("\n"), tuple(names.split()), variables, inputs, constants)


FAMILIES: Mapping[str, Family] = {
    f.name: f
    for f in (
        _family(
            "count_in_range",
            "count the $a from $b to $c, both included",
            """
def $f($a, $b, $c):
    $d = 0
    for $e in $a:
        if $e >= $b and $e <= $c:
            $d += 1
    return $d
""",
            "count_in_range between how_many",
            lambda rng, w: (_numbers(rng, 6, 9), int(rng.integers(-6, 0)), int(rng.integers(1, 7))),
            a=_LIST, b=_LOW, c=_HIGH, d=_COUNT, e=_EACH,
        ),
        _family(
            "clip",
            "put every one of the $a that is below $b to $b and every one above $c to $c",
            """
def $f($a, $b, $c):
    $d = []
    for $e in $a:
        $d.append(max($b, min($c, $e)))
    return $d
""",
            "clip bounded keep_within",
            lambda rng, w: (_numbers(rng), int(rng.integers(-6, 0)), int(rng.integers(1, 7))),
            a=_LIST, b=_LOW, c=_HIGH, d=_OUT, e=_EACH,
        ),
        _family(
            "running_total",
            "give the sums of the first, the first two, and so on of the $a, starting from $b",
            """
def $f($a, $b):
    $d = []
    for $e in $a:
        $b = $b + $e
        $d.append($b)
    return $d
""",
            "running_total cumulated sums_so_far",
            lambda rng, w: (_numbers(rng), int(rng.integers(1, 6))),
            a=_LIST, b=("start", "base", "carry"), d=_OUT, e=_EACH,
        ),
        _family(
            "moving_sums",
            "give the sum of every $b neighbours among the $a",
            """
def $f($a, $b):
    $d = []
    for $e in range(len($a) - $b + 1):
        $d.append(sum($a[$e : $e + $b]))
    return $d
""",
            "moving_sums window_sums sliding",
            lambda rng, w: (_numbers(rng, 5, 8), int(rng.integers(2, 4))),
            a=_LIST, b=("width", "size", "span"), d=_OUT, e=_INDEX,
        ),
        _family(
            "longest_run",
            "give the length of the longest run of equal neighbours among the $a",
            """
def $f($a):
    $b = 0
    $c = 0
    for $e in range(len($a)):
        if $e > 0 and $a[$e] == $a[$e - 1]:
            $c += 1
        else:
            $c = 1
        $b = max($b, $c)
    return $b
""",
            "longest_run best_streak run_length",
            lambda rng, w: (_numbers(rng, 6, 10, 0, 3),),
            a=_LIST, b=("best", "longest", "record"), c=("current", "here", "run"), e=_INDEX,
        ),
        _family(
            "rotate",
            "move the $a by $b places to the left, those that fall off coming back at the end",
            """
def $f($a, $b):
    if len($a) == 0:
        return []
    $c = $b % len($a)
    return $a[$c:] + $a[:$c]
""",
            "rotate rotated shift_left",
            lambda rng, w: (_numbers(rng, 3, 6), int(rng.integers(1, 12))),
            a=_LIST, b=("steps", "places", "offset"), c=("cut", "split", "first"),
        ),
        _family(
            "chunks",
            "cut the $a into pieces of $b, the last one perhaps shorter",
            """
def $f($a, $b):
    $d = []
    for $e in range(0, len($a), $b):
        $d.append($a[$e : $e + $b])
    return $d
""",
            "chunks pieces batches",
            lambda rng, w: (_numbers(rng, 5, 9), int(rng.integers(2, 4))),
            a=_LIST, b=("size", "width", "length"), d=_OUT, e=_INDEX,
        ),
        _family(
            "long_words",
            "give the $a of at least $N letters, in capitals where they begin with 'a'",
            """
def $f($a):
    $d = []
    for $e in $a:
        if len($e) >= $N:
            $d.append($e.upper() if $e[0] == "a" else $e)
    return $d
""",
            "long_words select_words pick",
            lambda rng, w: (_words_of(rng, 7),),
            a=("words", "names", "terms"), d=_OUT, e=("word", "name", "term"), N=(2, 3, 4),
        ),
        _family(
            "check_digit",
            "give the weighted sum of the digits of $a, weights $M and 1 in turn, modulo $N",
            """
def $f($a):
    $b = 0
    for $e, $c in enumerate($a):
        if $e % 2 == 0:
            $b += int($c) * $M
        else:
            $b += int($c)
    return $b % $N
""",
            "check_digit checksum control_digit",
            lambda rng, w: (_text(rng, "0123456789", 4, 8),),
            a=("code", "digits", "number"), b=("total", "weighted"), c=("digit", "c", "figure"), e=_INDEX,
            M=(3, 7), N=(10, 11),
        ),
        _family(
            "caesar",
            "move every small letter of $a by $b places in the alphabet, from z on to a, and leave the rest",
            """
def $f($a, $b):
    $d = ""
    for $e in $a:
        if $e >= "a" and $e <= "z":
            $d += chr((ord($e) - 97 + $b) % 26 + 97)
        else:
            $d += $e
    return $d
""",
            "caesar shift_letters encode",
            lambda rng, w: (_text(rng, "abcxyz -A", 5, 9), int(rng.integers(1, 25))),
            a=_TEXT, b=("key", "shift", "step"), d=_OUT, e=("letter", "c", "char"),
        ),
        _family(
            "depth",
            "give the deepest nesting of the brackets in $a, or -1 where they do not match",
            """
def $f($a):
    $b = 0
    $c = 0
    for $e in $a:
        if $e == "(":
            $c += 1
        elif $e == ")":
            $c -= 1
        if $c < 0:
            return -1
        $b = max($b, $c)
    return $b if $c == 0 else -1
""",
            "depth nesting bracket_depth",
            lambda rng, w: (_brackets(rng),),
            a=_TEXT, b=("deepest", "best", "most"), c=("open_now", "level", "current"), e=("letter", "c", "char"),
        ),
        _family(
            "peaks",
            "give the places of the $a that are larger than both neighbours",
            """
def $f($a):
    $d = []
    for $e in range(1, len($a) - 1):
        if $a[$e] > $a[$e - 1] and $a[$e] > $a[$e + 1]:
            $d.append($e)
    return $d
""",
            "peaks local_maxima summits",
            lambda rng, w: (_numbers(rng, 6, 10),),
            a=_LIST, d=_OUT, e=_INDEX,
        ),
        _family(
            "second_largest",
            "give the largest of the $a that is smaller than their maximum, or None where all are equal",
            """
def $f($a):
    $b = None
    $c = None
    for $e in $a:
        if $b is None or $e > $b:
            $c = $b
            $b = $e
        elif $e < $b and ($c is None or $e > $c):
            $c = $e
    return $c
""",
            "second_largest runner_up next_best",
            lambda rng, w: (_numbers(rng, 4, 7, 0, 6),),
            a=_LIST, b=("first", "best", "top"), c=("second", "other", "after"), e=_EACH,
        ),
        _family(
            "histogram",
            "count the $a in bins of width $b: bin 0 from 0 to below $b, $N bins in all, the rest left out",
            """
def $f($a, $b):
    $d = [0] * $N
    for $e in $a:
        $c = $e // $b
        if $c >= 0 and $c < $N:
            $d[$c] += 1
    return $d
""",
            "histogram bin_counts tally",
            lambda rng, w: (_numbers(rng, 6, 10, -3, 16), int(rng.integers(2, 5))),
            a=_LIST, b=("width", "size"), c=("place", "slot", "which"), d=("bins", "counts"), e=_EACH, N=(3, 4, 5),
        ),
        _family(
            "encode_runs",
            "write the letters of $a as letter and number of repetitions, a single letter without a number",
            """
def $f($a):
    $d = ""
    $c = 0
    for $e in range(len($a)):
        $c += 1
        if $e + 1 == len($a) or $a[$e + 1] != $a[$e]:
            $d += $a[$e] + (str($c) if $c > 1 else "")
            $c = 0
    return $d
""",
            "encode_runs compress squeeze",
            lambda rng, w: (_text(rng, "ab", 5, 10),),
            a=_TEXT, c=_COUNT, d=_OUT, e=_INDEX,
        ),
        _family(
            "columns",
            "give the sums of the columns of $a, rows that are too short counting as 0 there",
            """
def $f($a):
    $b = max(len($c) for $c in $a)
    $d = [0] * $b
    for $c in $a:
        for $e in range(len($c)):
            $d[$e] += $c[$e]
    return $d
""",
            "columns column_sums add_up",
            lambda rng, w: ([_numbers(rng, 1, 4, 1, 9) for _ in range(int(rng.integers(2, 5)))],),
            a=("rows", "table", "grid"), b=("width", "widest"), c=("row", "entry"), d=("sums", "out"), e=_INDEX,
        ),
    )
}  # fmt: skip


def _brackets(rng: np.random.Generator) -> str:
    """Matched brackets with letters between, spoiled now and then."""
    text = ""
    for _ in range(int(rng.integers(2, 5))):
        text = f"({text})" if rng.random() < 0.6 else f"{text}(a)"
    if rng.random() < 0.3:
        cut = int(rng.integers(len(text)))
        text = text[:cut] + text[cut + 1 :]
    return text
