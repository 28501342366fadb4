"""Transcripts: what servers said, by the content of the files: enough to reward again without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentgym.envs.swe.lsp.server import Diagnostic, Diagnostics, ServerTrouble, Source, to_json
from agentgym.envs.swe.tree import digest_of
from agentgym.errors import RunError, UsageError
from agentgym.files import read_json, write_json

__all__ = ["Replay", "Transcript"]

_FORMAT = 1


class Transcript:
    """A record of all answers.

    As JSON: ``{"format": 1, "servers": [{"about": {...}, "answers": {SHA-256 of the files: {path: [diagnostics]}}}]}``;
    an answer that could not be given is ``{"trouble": kind}``.
    """

    def __init__(self) -> None:
        self._servers: list[dict[str, Any]] = []

    def recording(self, source: Source) -> Recording:
        """The source, with everything it says written down here."""
        entry: dict[str, Any] = {"about": dict(source.about), "answers": {}}
        self._servers.append(entry)
        return Recording(source, entry["answers"])

    def replays(self) -> list[Replay]:
        """One for each recorded source, in their order."""
        return [Replay(entry["about"], entry["answers"]) for entry in self._servers]

    def to_json(self) -> dict[str, Any]:
        """As JSON-like values."""
        return {"format": _FORMAT, "servers": self._servers}

    @classmethod
    def from_json(cls, data: object) -> Transcript:
        """The inverse of `to_json`.

        Raises:
            UsageError: it is none.
        """
        made = cls()
        try:
            if data["format"] != _FORMAT:  # type: ignore[index]
                raise UsageError(f"this transcript has format {data['format']!r}, expected {_FORMAT}")  # type: ignore[index]
            for entry in data["servers"]:  # type: ignore[index]
                made._servers.append({"about": dict(entry["about"]), "answers": dict(entry["answers"])})
                for answer in entry["answers"].values():
                    if set(answer) != {"trouble"}:
                        _read(answer)
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"this is no transcript of language servers: {error!r}") from None
        return made

    def save(self, path: Path) -> None:
        """Write a file, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Transcript:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            return cls.from_json(read_json(path))
        except UsageError as error:
            raise RunError(f"{path}: {error}") from error


class Recording:
    """A source whose answers are written down."""

    def __init__(self, source: Source, answers: dict[str, Any]) -> None:
        self._source, self._answers = source, answers

    @property
    def about(self) -> Mapping[str, str]:
        return self._source.about

    def diagnostics(self, files: Mapping[str, bytes]) -> Diagnostics:
        key = digest_of(files)
        try:
            found = self._source.diagnostics(files)
        except ServerTrouble as trouble:
            self._answers[key] = {"trouble": trouble.kind}
            raise
        self._answers[key] = to_json(found)
        return found

    def close(self) -> None:
        self._source.close()


class Replay:
    """A source that says what was recorded, in any order, and starts nothing."""

    def __init__(self, about: Mapping[str, str], answers: Mapping[str, Any]) -> None:
        self._about, self._answers = about, answers

    @property
    def about(self) -> Mapping[str, str]:
        return self._about

    def diagnostics(self, files: Mapping[str, bytes]) -> Diagnostics:
        key = digest_of(files)
        if key not in self._answers:
            raise UsageError(
                f"the transcript of {self._about.get('server')} holds nothing on files with SHA-256 {key}: "
                "they are not those of the recorded episode; record it again"
            )
        return {**dict.fromkeys(files, ()), **_read(self._answers[key])}

    def close(self) -> None:
        """Nothing to end."""


def _read(answer: Mapping[str, Any]) -> dict[str, tuple[Diagnostic, ...]]:
    if set(answer) == {"trouble"}:
        raise ServerTrouble(answer["trouble"], "as recorded")
    return {path: tuple(Diagnostic(**item) for item in items) for path, items in answer.items()}
