"""NightsFile: a `NightlyRegistry` over a folder, for a registry that keeps no nights and no generations itself."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from autotune.errors import RegistryError
from autotune.event import Event
from autotune.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A night, or a part of one."""

    started_at: str
    ended_at: str
    state: str
    document: Mapping[str, Any]


class Held:
    """A lock of the kernel's is never lost, and leaves nothing behind."""

    lost = False
    resumed: Event | None = None


class NightsFile:
    """One JSON line for each row, and a lock beside it that ends with its process."""

    def __init__(self, path: Path) -> None:
        self._path, self._turn = path, threading.Lock()

    @contextmanager
    def lease(self, name: str, seconds: float) -> Iterator[Held]:
        """RegistryError where another process of this host has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RegistryError(f"{name} is being run by another process; wait for it, or stop it first.") from None
            yield Held()
        finally:
            os.close(file)

    def generation(self) -> None:
        """There are none."""

    def staging(self, number: int) -> Registry:
        """There are no generations to stage anything in."""
        raise NotImplementedError(number)

    def record_night(self, *, started_at: str, ended_at: str, state: str, document: Mapping[str, Any]) -> int:
        """Append it."""
        row = {"started_at": started_at, "ended_at": ended_at, "state": state, "document": document}
        with self._turn, self._path.open("a", encoding="ascii") as file:
            file.write(f"\n{json.dumps(row)}\n")  # a line of its own, whatever a kill left before it
        return 0

    def nights(self, limit: int | None = None) -> Sequence[Row]:
        """The newest first; a line that a kill cut off is none."""
        if not self._path.is_file():
            return []
        lines = self._path.read_text(encoding="ascii").splitlines()[::-1]
        return list(islice((Row(**data) for data in map(_read, lines) if data is not None), limit))


def _read(line: str) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return data
