"""What a hand-written bug consists of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bug"]


@dataclass(frozen=True)
class Bug:
    """One module with one slip.

    Attributes:
        name: identifier; the module is ``<name>.py``.
        statement: what a user reports.
        source: the module with the slip.
        wrong, right: the text that has to be replaced, standing once in ``source``, and what repairs it.
        hidden: tests that grade; some fail with the slip, some pass with and without.
        visible: tests that come with the repository; all pass with the slip.
    """

    name: str
    statement: str
    source: str
    wrong: str
    right: str
    hidden: str
    visible: str

    def __post_init__(self) -> None:
        for field in ("source", "hidden", "visible"):
            object.__setattr__(self, field, getattr(self, field).lstrip("\n"))
        if self.source.count(self.wrong) != 1:
            raise ValueError(f"bug {self.name}: the wrong text must stand once in the source")

    @property
    def repaired(self) -> str:
        """The module as it should be."""
        return self.source.replace(self.wrong, self.right)
