"""A tokenizer for small models that have to copy: frequent words are tokens, everything else is spelled.

A word is a stretch without white space. Its first piece stands alone, the others carry a mark of continuation, so texts
with single spaces come back as they were. What is spelled is letters, and copying letters can be learnt on one word
and used on another, where a token per word would have to be met first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError

__all__ = ["MARKS", "Spelling", "frequent_words"]

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<mark>", "<pick>", "<end>", "<did>", "<same>", "<refused>", "<page>")
MARKS = 80
"""Most things on a page that can be pointed at."""
_ORDINALS = tuple(f"<{k}>" for k in range(1, MARKS + 1))
_ALPHABET = (*map(chr, range(33, 127)), "•", "…")
_PART = re.compile(r"\w+|[^\w\s]")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Spelling:
    """Words and letters to tokens and back.

    Args:
        words: that are tokens of their own; sorted and told apart here.

    Attributes:
        pad, start, stop, unknown, mark, pick, end, did, same, refused, page: the special tokens.
        ordinals: tokens of the places 1 to `MARKS`.
        letters: int64[2, 52], the letters as first pieces and as continuations.
    """

    def __init__(self, words: Iterable[str]) -> None:
        if isinstance(words, str):
            raise UsageError("expected several words, got one string; pass [word]")
        joined = tuple("##" + c for c in _ALPHABET)
        base = (*_SPECIAL, *_ORDINALS, *_ALPHABET, *joined)
        self.words = tuple(sorted({w for w in words if re.fullmatch(r"\w+", w) and len(w) > 1}))
        self.tokens = (*base, *self.words)
        first = {c: k for k, c in enumerate(_ALPHABET, len(_SPECIAL) + MARKS)}
        self._known = first | {w: k for k, w in enumerate(self.words, len(base))}
        self._joined = {c: k + len(_ALPHABET) for c, k in first.items()}
        (self.pad, self.start, self.stop, self.unknown, self.mark, self.pick) = range(6)
        (self.end, self.did, self.same, self.refused, self.page) = range(6, 11)
        self.ordinals = tuple(range(len(_SPECIAL), len(_SPECIAL) + MARKS))
        self.letters: npt.NDArray[np.int64] = np.array(
            [[table[c] for c in _LETTERS] for table in (self._known, self._joined)], dtype=np.int64
        )
        self._cache: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def word(self, word: str) -> tuple[int, ...]:
        """The pieces of a stretch without white space."""
        found = self._cache.get(word)
        if found is None:
            if len(self._cache) > 1 << 16:
                self._cache.clear()
            found = self._cache[word] = tuple(self._pieces(word))
        return found

    def text(self, text: str) -> tuple[int, ...]:
        """The pieces of a text; any white space is one space."""
        return tuple(piece for word in text.split() for piece in self.word(word))

    def say(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special ones are left out."""
        said = ""
        for token in tokens:
            name = self.tokens[token]
            if token >= len(_SPECIAL) + MARKS:
                said += name[2:] if name.startswith("##") and len(name) == 3 else " " + name
        return said.strip()

    def _pieces(self, word: str) -> Iterable[int]:
        first = True
        for part in _PART.findall(word):
            if first and part in self._known:
                yield self._known[part]
                first = False
                continue
            for letter in part:
                yield (self._known if first else self._joined).get(letter, self.unknown)
                first = False


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
