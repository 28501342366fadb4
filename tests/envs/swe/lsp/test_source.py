"""What servers are shown, and what is read from the source itself."""

from __future__ import annotations

import pytest

from agentgym.envs.swe.lsp import confidence, locate
from agentgym.envs.swe.lsp.source import MAX_FILES, definitions, masked, parse, python_files


def test_only_modules_and_stubs_are_shown() -> None:
    tree = {"a.py": b"", "b.pyi": b"", "ruff.toml": b"", "pyproject.toml": b"", "pyrightconfig.json": b"", "c.pyc": b""}
    assert sorted(python_files(tree)) == ["a.py", "b.pyi"]
    assert len(python_files({f"m{k}.py": b"" for k in range(MAX_FILES + 5)})) == MAX_FILES


@pytest.mark.parametrize(
    "line",
    [
        "x = y  # noqa",
        "x = y  # noqa: F821",
        "# ruff: noqa",
        "x: int = 'a'  # type: ignore[assignment]",
        "# pyright: basic",
        "x = y  # pylint: disable=all",
        "x = 1 # anything, then NOQA",
    ],
)
def test_comments_that_hush_a_checker_are_blanked_in_place(line: str) -> None:
    shown = masked(f"{line}\nz = 1\n".encode())
    assert len(shown) == len(line) + 7
    code = line.partition("#")[0]
    assert shown.startswith(code + "##")
    assert not set(shown.partition("\n")[0][len(code) :]) - {"#"}


def test_other_text_stays() -> None:
    text = "# a note on noquacks\nx = '# noqa'  # why\n"
    assert masked(text.encode()) == text
    assert masked(b"\xef\xbb\xbfx = 1\n") == "x = 1\n"
    assert masked(b"(  # noqa\n") == "(  # noqa\n"  # does not parse


def test_definitions_are_those_that_do_something() -> None:
    tree = parse(
        b"def a():\n  return 1\ndef b():\n  pass\nclass C:\n  def d(self):\n    def e(): return 1\n    return e\n"
    )
    assert tree is not None
    assert definitions(tree) == {"a", "C", "C.d", "C.d.e"}


TEXT = b"""def f(a):
    return a + 1


def g(a):
    return a + 1


class K:
    def f(self, b):
        return b - 2
"""


@pytest.mark.parametrize(
    ("search", "lines", "sure"),
    [
        ("return b - 2", [11], 1.0),
        ("return a + 1", [2, 6], 0.5),
        ("def f(a):\n    return a + 1\n", [1], 1.0),
        ("no such thing at all", [], 0.0),
        ("", [], 0.0),
    ],
)
def test_a_text_is_located(search: str, lines: list[int], sure: float) -> None:
    places = locate(TEXT, text=search)
    assert [p.first for p in places] == lines
    assert confidence(places) == pytest.approx(sure)


def test_a_text_that_drifted_is_located_with_doubt() -> None:
    places = locate(TEXT, text="def f(self, b, c):\n    return b - 2")
    assert places[0].first == 10
    assert 0.5 < confidence(places) < 1


def test_a_symbol_is_located() -> None:
    assert [p.first for p in locate(TEXT, symbol="f")] == [1, 10]
    assert confidence(locate(TEXT, symbol="f")) == 0.5
    assert [(p.first, p.last) for p in locate(TEXT, symbol="K.f")] == [(10, 11)]
    assert locate(b"def (", symbol="f") == ()
