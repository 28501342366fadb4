"""A tokenizer for small models that have to copy: frequent words are tokens, other words are numbered as they are met.

Names, passwords and labels are made anew for every page, so a token per word would have to be copied before it was ever
learnt, and letters make a small model compare sequences. Here such a word takes one of `NAMES` tokens for the length of
an episode (its *name*, by a hash of the word, the next free one where that is taken): wherever the word stands, in the
goal, on the page or in what the model writes, it is the same token. A model that writes a name writes the word.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError

__all__ = ["MARKS", "NAMES", "Lexicon", "Notes", "frequent_words"]

_SPECIAL_TEXT = "<pad> <s> </s> <unk> <mark> <pick> <end> <did> <same> <refused> <page> <+> <named>"
_SPECIAL = tuple(_SPECIAL_TEXT.split())
MARKS = 80
"""Most things on a page that can be pointed at."""
NAMES = 256
"""Most words beside the frequent ones that an episode tells apart; further ones share the token of their hash."""
_SIGNS = (*(chr(c) for c in range(33, 127) if not chr(c).isalnum() and chr(c) != "_"), "•", "…")
_PART = re.compile(r"\w+|[^\w\s]")
_FIRST_NAME = len(_SPECIAL) + MARKS


class Lexicon:
    """The tokens: special ones, places, names, signs (alone, and joined to what stands before), and words.

    Args:
        words: that are tokens of their own; sorted and told apart here.

    Attributes:
        pad, start, stop, unknown, mark, pick, end, did, same, refused, page, join, named: the special tokens.
        ordinals: tokens of the places 1 to `MARKS`.
        names: int64[NAMES], the tokens of names.
    """

    def __init__(self, words: Iterable[str]) -> None:
        if isinstance(words, str):
            raise UsageError("expected several words, got one string; pass [word]")
        ordinals = tuple(f"<{k}>" for k in range(1, MARKS + 1))
        names = tuple(f"~{k}" for k in range(NAMES))
        joined = tuple("##" + c for c in _SIGNS)
        self.words = tuple(sorted({w for w in words if re.fullmatch(r"\w+", w)}))
        self.tokens = (*_SPECIAL, *ordinals, *names, *_SIGNS, *joined, *self.words)
        (self.pad, self.start, self.stop, self.unknown, self.mark, self.pick) = range(6)
        (self.end, self.did, self.same, self.refused, self.page, self.join, self.named) = range(6, 13)
        self.ordinals = tuple(range(len(_SPECIAL), _FIRST_NAME))
        self.names: npt.NDArray[np.int64] = np.arange(_FIRST_NAME, _FIRST_NAME + NAMES)
        first_sign = _FIRST_NAME + NAMES
        self.signs = {c: k for k, c in enumerate(_SIGNS, first_sign)}
        self.joined = {c: k for k, c in enumerate(_SIGNS, first_sign + len(_SIGNS))}
        self.known = {w: k for k, w in enumerate(self.words, first_sign + 2 * len(_SIGNS))}

    def __len__(self) -> int:
        return len(self.tokens)

    def speaks(self, token: int) -> bool:
        """The token is (or joins) part of a text: no special one, and no place."""
        return token >= _FIRST_NAME or token == self.join


class Notes:
    """What the words of one episode are called.

    Args:
        lexicon: the tokens.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._named: dict[str, int] = {}
        self._words: dict[int, str] = {}

    def text(self, text: str) -> tuple[int, ...]:
        """The tokens of a text; any white space is one space."""
        return tuple(token for word in text.split() for token in self.word(word))

    def word(self, word: str) -> tuple[int, ...]:
        """The tokens of a stretch without white space: what stands behind its first part is joined to it."""
        lexicon, tokens = self.lexicon, list[int]()
        for k, part in enumerate(_PART.findall(word)):
            if part[0].isalnum() or part[0] == "_":
                token = lexicon.known.get(part)
                tokens += [lexicon.join] * bool(k) + [self._name(part) if token is None else token]
            else:
                tokens.append((lexicon.joined if k else lexicon.signs).get(part, lexicon.unknown))
        return tuple(tokens)

    def say(self, tokens: Sequence[int]) -> str:
        """The text of tokens. Special ones, and names that nothing has, are left out."""
        lexicon, said, joining = self.lexicon, "", False
        for token in tokens:
            name = lexicon.tokens[token]
            if token == lexicon.join:
                joining = True
                continue
            if token < _FIRST_NAME:
                continue
            if token < _FIRST_NAME + NAMES:
                name = self._words.get(token, "")
            elif name.startswith("##") and len(name) > 2:
                name, joining = name[2:], True
            said += name if joining else " " + name
            joining = False
        return said.strip()

    def _name(self, word: str) -> int:
        found = self._named.get(word)
        if found is None:
            place = zlib.crc32(word.encode()) % NAMES
            for k in range(NAMES):
                token = _FIRST_NAME + (place + k) % NAMES
                if token not in self._words:
                    break
            else:
                token = _FIRST_NAME + place
            found = self._named[word] = token
            self._words.setdefault(token, word)
        return found


def frequent_words(texts: Iterable[Sequence[str]], share: float) -> set[str]:
    """The words that are in at least this share of some collection's texts.

    Args:
        texts: collections of texts (a task's pages each).
        share: in (0, 1].
    """
    found: set[str] = set()
    for collection in texts:
        counts = Counter(word for text in collection for word in set(_PART.findall(text)))
        found |= {word for word, n in counts.items() if n >= share * len(collection)}
    return found
