"""Words to tokens and back, and the names that an episode gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.agents.policy.lexicon import NAMES, Lexicon, Notes, frequent_words
from agentgym.errors import UsageError

LEXICON = Lexicon(["Submit", "the", "text", "a"])


def kinds(tokens: tuple[int, ...]) -> list[str]:
    """Tokens by name, but names as ``~``."""
    return ["~" if t in LEXICON.names else LEXICON.tokens[t] for t in tokens]


def test_known_words_are_tokens_and_others_are_named() -> None:
    assert kinds(Notes(LEXICON).text("the bn4 Submit, e-mail")) == ["the", "~", "Submit", "##,", "~", "##-", "<+>", "~"]


def test_a_word_has_one_name_in_an_episode_and_words_have_different_ones() -> None:
    notes = Notes(LEXICON)
    first, second = notes.word("bn4R"), notes.word("hgh")
    assert notes.text("hgh bn4R") == (*second, *first)
    assert first != second


def test_names_are_told_apart_even_where_hashes_are_not() -> None:
    notes = Notes(LEXICON)
    names = [notes.word(f"w{k}")[0] for k in range(NAMES)]
    assert len(set(names)) == NAMES
    assert [notes.say([t]) for t in names] == [f"w{k}" for k in range(NAMES)]
    # no name is free any more: the next word shares one, and what was named stays
    assert notes.word("more")[0] in names
    assert [notes.say([t]) for t in names] == [f"w{k}" for k in range(NAMES)]


def test_names_do_not_depend_on_earlier_episodes() -> None:
    assert Notes(LEXICON).word("bn4R") == Notes(LEXICON).word("bn4R")


@given(st.lists(st.text(st.sampled_from([chr(c) for c in range(33, 127)]), min_size=1), max_size=6).map(" ".join))
def test_texts_come_back(text: str) -> None:
    notes = Notes(LEXICON)
    assert notes.say(notes.text(text)) == text


def test_specials_cannot_be_written_and_unknown_signs_are_unknown() -> None:
    notes = Notes(LEXICON)
    assert not {LEXICON.mark, LEXICON.pick, LEXICON.stop} & set(notes.text("<mark> <pick> </s>"))
    assert notes.text("☃") == (LEXICON.unknown,)


def test_a_name_that_nothing_has_says_nothing() -> None:
    assert Notes(LEXICON).say([int(LEXICON.names[0]), LEXICON.stop]) == ""


def test_ids_depend_on_the_set_of_words_alone() -> None:
    assert Lexicon(["the", "text", "Submit", "a", "the"]).tokens == LEXICON.tokens


def test_one_string_is_refused() -> None:
    with pytest.raises(UsageError, match="several words"):
        Lexicon("the")


def test_frequent_words_are_counted_once_a_text_and_collection_by_collection() -> None:
    first, second = ["press go go", "press stop"], ["go", "to", "to"]
    assert frequent_words([first, second], 0.6) == {"press", "to"}
