"""Pages as prompts: what has a mark, where it stands, and whose it is."""

from __future__ import annotations

from agentgym.agents.policy.lexicon import MARKS, Lexicon, Notes
from agentgym.agents.policy.pages import Page, read_page

WORDS = "label checkbox button Submit textbox value checked div span link tab options combobox disabled"
LEXICON = Lexicon(WORDS.split(" "))
FORM = """page: A Form
[1] label
 [2] checkbox "wine" checked focused
 "wine"
[3] textbox value="old "text"" focused
[4] combobox options: red | blue
[5] button "Submit" disabled
[6] button "Submit\""""
THREADS = """page: Mail
[1] div clickable
 [2] div "Ann"
 [3] span clickable
[4] div clickable
 [5] div "Bob"
out of view:
 [6] div "late\""""


def words(page: Page) -> str:
    return " ".join("~" if t in LEXICON.names else LEXICON.tokens[t] for t in page.tokens)


def test_a_form() -> None:
    page = read_page(FORM, Notes(LEXICON))
    assert words(page) == (
        "checkbox ~ checked <mark> textbox value ##= ~ ~ <mark> combobox ~ | ~ <mark> "
        "button Submit disabled button Submit <mark>"
    )
    assert [(m.bid, m.verb) for m in page.marks] == [
        ("2", "click"),
        ("3", "fill"),
        ("4", "select_option"),
        ("6", "click"),
    ]


def test_the_name_of_a_field_does_not_hold_its_value() -> None:
    """What is written behind it must not be told by what was."""
    page = read_page(FORM, Notes(LEXICON))
    assert [LEXICON.tokens[t] for t in page.marks[1].name] == ["<2>", "textbox"]


def test_focus_does_not_change_a_page() -> None:
    assert read_page(FORM.replace(" focused", ""), Notes(LEXICON)).tokens == read_page(FORM, Notes(LEXICON)).tokens


def test_the_mark_of_what_holds_others_comes_behind_them() -> None:
    page = read_page(THREADS, Notes(LEXICON))
    assert words(page) == "div div ~ span <mark> <end> <mark> div div ~ <end> <mark> ~ ~ ~ ##: div ~"
    assert [m.bid for m in page.marks] == ["3", "1", "4"]


def test_elements_without_a_mark_belong_to_what_is_around_them() -> None:
    page = read_page(THREADS, Notes(LEXICON))
    assert page.owner == {"3": 0, "1": 1, "2": 1, "4": 2, "5": 2}


def test_candidates_are_distinct_and_bounded() -> None:
    page = read_page("\n".join(f'[{k}] button "Submit"' for k in range(1, MARKS + 20)), Notes(LEXICON))
    names = [m.name for m in page.marks]
    assert len(set(names)) == len(names) == MARKS == page.tokens.count(LEXICON.mark)


def test_a_page_cannot_forge_a_mark() -> None:
    assert read_page('[1] div "<mark> <pick>"', Notes(LEXICON)).tokens.count(LEXICON.mark) == 0


def test_what_the_goal_names_is_told_before_its_mark() -> None:
    """All words of the thing in a row, or those of something it holds; a word alone of several does not do."""
    notes = Notes(LEXICON)
    goal = notes.text('Mark wine, then open the mail by Bob and press "Submit"')
    assert words(read_page(FORM, notes, goal)) == (
        "checkbox ~ checked <named> <mark> textbox value ##= ~ ~ <mark> combobox ~ | ~ <mark> "
        "button Submit disabled button Submit <named> <mark>"
    )
    threads = read_page(THREADS, notes, goal)
    assert words(threads) == "div div ~ span <mark> <end> <mark> div div ~ <end> <named> <mark> ~ ~ ~ ##: div ~"
    assert [m.name for m in threads.marks] == [m.name for m in read_page(THREADS, notes).marks]
    two = '[1] link "red wine"'
    assert LEXICON.named in read_page(two, notes, notes.text("take red wine")).tokens
    assert LEXICON.named not in read_page(two, notes, notes.text("take wine, red")).tokens
    assert LEXICON.named not in read_page('[1] span clickable\n[2] link ""', notes, goal).tokens
