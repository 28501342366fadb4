"""Words and letters to tokens and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.agents.policy.spelling import Spelling, frequent_words
from agentgym.errors import UsageError

SPELLING = Spelling(["Submit", "the", "text", "a"])


def names(text: str) -> list[str]:
    return [SPELLING.tokens[t] for t in SPELLING.text(text)]


def test_known_words_are_one_token_and_others_are_spelled() -> None:
    assert names("the bn4 Submit.") == ["the", "b", "##n", "##4", "Submit", "##."]


def test_a_known_word_inside_another_is_no_word() -> None:
    assert names("theory") == ["t", "##h", "##e", "##o", "##r", "##y"]


@given(st.lists(st.text(st.sampled_from([chr(c) for c in range(33, 127)]), min_size=1), max_size=6).map(" ".join))
def test_texts_come_back(text: str) -> None:
    assert SPELLING.say(SPELLING.text(text)) == text


def test_characters_outside_of_the_alphabet_are_unknown_and_specials_cannot_be_spelled() -> None:
    assert SPELLING.text("ж") == (SPELLING.unknown,)
    assert not {SPELLING.mark, SPELLING.pick, SPELLING.stop} & set(SPELLING.text("<mark> <pick> </s>"))


def test_ids_depend_on_the_set_of_words_alone() -> None:
    assert Spelling(["the", "text", "Submit", "the"]).tokens == SPELLING.tokens


def test_one_string_is_refused() -> None:
    with pytest.raises(UsageError, match="several words"):
        Spelling("the")


def test_frequent_words_are_counted_once_a_text_and_collection_by_collection() -> None:
    first, second = ["press go go", "press stop"], ["go", "to", "to"]
    assert frequent_words([first, second], 0.6) == {"press", "to"}
