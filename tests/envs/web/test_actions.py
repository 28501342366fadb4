"""Actions are read, never executed: what is understood, what is refused, and why."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.check.hostile import STRINGS
from agentgym.envs.web.actions import MAX_ACTION, VERBS, BadAction, call, describe, parse
from agentgym.envs.web.applicable import Applicable, words_of

UNDERSTOOD = {
    "click('12')": ("click", {"bid": 12, "button": "left", "modifiers": ()}),
    "click(12, button='right')": ("click", {"bid": 12, "button": "right", "modifiers": ()}),
    "click('12', modifiers=['Shift'])": ("click", {"bid": 12, "button": "left", "modifiers": ("Shift",)}),
    "fill('13', 'x')": ("fill", {"bid": 13, "value": "x"}),
    "fill(bid='13', value=\"it's\")": ("fill", {"bid": 13, "value": "it's"}),
    "select_option('4', 'blue')": ("select_option", {"bid": 4, "options": ("blue",)}),
    "select_option('4', ['red', 'blue'])": ("select_option", {"bid": 4, "options": ("red", "blue")}),
    "press('5', 'Control+a')": ("press", {"bid": 5, "key_comb": "Control+a"}),
    "keyboard_press('+')": ("keyboard_press", {"key": "+"}),
    "scroll(0, -200)": ("scroll", {"delta_x": 0.0, "delta_y": -200.0}),
    "mouse_click(10.5, 20)": ("mouse_click", {"x": 10.5, "y": 20.0, "button": "left"}),
    "drag_and_drop('1', '2')": ("drag_and_drop", {"from_bid": 1, "to_bid": 2}),
    "goto('http://a.test/b?c=d')": ("goto", {"url": "http://a.test/b?c=d"}),
    "tab_focus(1)": ("tab_focus", {"index": 1}),
    "noop()": ("noop", {"wait_ms": 1000.0}),
    "  noop( 200 )  ": ("noop", {"wait_ms": 200.0}),
    "send_msg_to_user('done')": ("send_msg_to_user", {"text": "done"}),
    '{"name": "click", "arguments": {"bid": "12"}}': ("click", {"bid": 12, "button": "left", "modifiers": ()}),
    '{"action": "fill", "bid": 13, "value": "x"}': ("fill", {"bid": 13, "value": "x"}),
    '{"type": "function", "function": {"name": "noop", "arguments": "{\\"wait_ms\\": 5}"}}': ("noop", {"wait_ms": 5.0}),
}

REFUSED = {
    "": "empty",
    "click": "one call",
    "click(": "one call",
    "click('12'); click('13')": "one call",
    "click('12')\nclick('13')": "one call",
    "page.click('12')": "one call",
    "(lambda: 0)()": "one call",
    "__import__('os').system('true')": "one call",
    "click(open('/etc/passwd'))": "plain strings",
    "click(f'{1}')": "plain strings",
    "click(*['12'])": "plain strings",
    "click(**{'bid': '12'})": "unpacked",
    "click('12', bid='13')": "twice",
    "click()": "needs bid",
    "click('a12')": "by its number",
    "click('-1')": "by its number",
    "click(True)": "by its number",
    "clack('12')": "unknown action",
    "click('12', 'left', [], 4)": "at most 3",
    "click('12', speed=3)": "no argument",
    "click('12', button='nose')": "a button is",
    "fill('13', 5)": "expected a string",
    "fill('13', 'a\\x00b')": "control characters",
    "mouse_click('a', 3)": "expected a number",
    "mouse_click(1e999, 3)": "expected a number",
    "press('5', 'Hyper+q')": "no such key",
    "press('5', 'Enter+Enter')": "no such key",
    "goto('javascript:alert(1)')": "http://",
    "goto('file:///etc/passwd')": "http://",
    "goto('data:text/html,x')": "http://",
    "goto('http://[')": "http://",
    "tab_focus(-1)": "by its place",
    "noop(-5)": "milliseconds",
    "noop(10**9)": "plain strings",
    "{": "not JSON",
    '{"bid": "12"}': '"name"',
    '{"name": "click", "arguments": "{"}': "not JSON",
    '{"name": "click", "arguments": [1]}': "object",
}


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_understood(text: str) -> None:
    action = parse(text)
    assert (action.verb, dict(action.args)) == UNDERSTOOD[text]


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_the_reason(text: str) -> None:
    with pytest.raises(BadAction, match=REFUSED[text].replace("(", r"\(")):
        parse(text)


@pytest.mark.parametrize("text", STRINGS, ids=range(len(STRINGS)))
def test_hostile_texts_are_no_actions(text: str) -> None:
    with pytest.raises(BadAction) as why:
        parse(text)
    assert str(why.value).isascii(), "what is hostile is not echoed raw"
    assert len(str(why.value)) < 1000


def test_a_long_action_is_not_even_read() -> None:
    with pytest.raises(BadAction, match=f"at most {MAX_ACTION}"):
        parse("fill('1', '" + "a" * 1_000_000 + "')")


@given(st.text())
def test_any_text_is_an_action_or_refused(text: str) -> None:
    assert reading(text)


def reading(text: str) -> str:
    """The verb that a text is read as, or why it is refused."""
    try:
        return parse(text).verb
    except BadAction as why:
        return str(why)


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"])))
def test_what_is_written_is_read_back(text: str) -> None:
    assert parse(call("fill", "7", text)).args["value"] == text
    assert parse(json.dumps({"name": "fill", "arguments": {"bid": "7", "value": text}})).args["value"] == text


def test_signatures_for_a_prompt() -> None:
    assert describe(("noop", "click")) == "click(bid, button='left', modifiers=[])\nnoop(wait_ms=1000)"


def test_membership_knows_what_the_list_cannot_spell_out() -> None:
    table = {
        "1": [2, "", 0, True, False, False],  # a button
        "2": [2, "text", 0, True, False, False],  # a field
        "3": [0, "", 0, False, False, False],  # something covered
        "4": [2, "", [["b", "blue"], ["r", "red"]], True, False, False],
        "5": [2, "date", 0, True, False, False],
    }
    actions = Applicable(table, ("hello",), frozenset(VERBS), (600, 400), (1, 8, False, False))
    assert "click('1')" in list(actions)
    assert "fill('2', 'hello')" in list(actions)
    for fine in (
        "fill('2', 'anything at all')",
        '{"name": "click", "arguments": {"bid": "1"}}',
        "mouse_click(599, 399)",
        "select_option('4', 'b')",
        "fill('5', '2024-02-29')",
        "new_tab()",
        "goto('http://else.test/')",
    ):
        assert fine in actions, fine
    for not_here in (
        "click('3')",
        "click('9')",
        "fill('1', 'x')",
        "select_option('4', 'green')",
        "mouse_click(600, 3)",
        "fill('5', 'tomorrow')",
        "go_back()",
        "tab_close()",
        "tab_focus(1)",
        "drag_and_drop('1', '3')",
        "x",
    ):
        assert not_here not in actions, not_here


def test_words_worth_typing_come_from_the_goal() -> None:
    assert words_of('Enter "abc" and "d e"') == ("abc", "d e")
    assert words_of("Select 12/24/2016 as the date") == ("Select", "12/24/2016", "as", "the", "date")
