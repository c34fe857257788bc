"""SweepConfiguration: what a sweep is asked for, as `sweep.toml` says it; what is done with it is in `sweep`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from autotune.errors import UserError, did_you_mean
from autotune.plan import Budget
from autotune.trial import Effort

DEFAULT_TRIALS = {Effort.FULL: 100, Effort.QUICK: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfiguration:
    """Every key of `sweep.toml`; paths in the file are relative to its folder."""

    paths: tuple[Path, ...] = ()
    """Files and folders that are looked through for workloads."""
    include: tuple[str, ...] = ("*",)
    """Names of workloads, with `*` and `?`."""
    exclude: tuple[str, ...] = ()
    skus: tuple[str, ...] = ()
    """Only these; empty: all that the executor has."""
    trials: int | None = None
    """Per study; 100, or 16 with little effort, where neither trials nor seconds are said."""
    seconds: float | None = None
    """Per study."""
    effort: Effort = Effort.FULL
    soft_after_days: float = 14
    """After which a result is measured again, whatever changed."""
    canary_share: float = 0.05
    """Of the fresh, measured again each night."""
    full_every_nights: int = 20
    """In which each of the fresh has its turn at least once; 0 leaves it to chance."""
    budget_gpu_hours: float | None = None
    """For the whole night, summed over devices; None is no limit."""
    at_once: int = 4
    """Studies side by side."""
    report: Path | None = None
    """The folder for what a night leaves to be read; None is `nights` in the data directory."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file's; UserError, in one sentence, where something in it is not as it must be."""
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); give --config FILE.toml, or PATHs.") from error
        except ValueError as error:
            raise UserError(f"{path} is not TOML: {str(error).rstrip('.')}.") from error
        return cls(**{key: _value(path, key, given) for key, given in data.items()})

    @property
    def budget(self) -> Budget:
        """Of each study."""
        unsaid = self.trials is None and self.seconds is None
        return Budget(trials=DEFAULT_TRIALS[self.effort] if unsaid else self.trials, seconds=self.seconds)

    @property
    def budget_gpu_s(self) -> float | None:
        """Of the night."""
        return None if self.budget_gpu_hours is None else 3600 * self.budget_gpu_hours


@dataclass(frozen=True, slots=True)
class _Kind:
    """Of a key's value: how a message calls it, whether it is one, and what becomes of it."""

    words: str
    fits: Callable[[Any], bool]
    convert: Callable[[Any, Path], Any] = lambda value, folder: value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


_NAMES = _Kind("a list of strings", _is_words, lambda value, folder: tuple(value))
_POSITIVE = _Kind("a number above 0", lambda value: _is_number(value) and value > 0)
_COUNT = _Kind("a whole number from 1 on", lambda value: _is_whole(value) and value >= 1)

_KINDS: Mapping[str, _Kind] = {
    "paths": _Kind(
        "a list of files and folders", _is_words, lambda value, folder: tuple(folder / one for one in value)
    ),
    "include": _NAMES,
    "exclude": _NAMES,
    "skus": _NAMES,
    "trials": _COUNT,
    "seconds": _POSITIVE,
    "effort": _Kind("'full' or 'quick'", lambda value: value in ("full", "quick"), lambda value, folder: Effort(value)),
    "soft_after_days": _POSITIVE,
    "canary_share": _Kind("a share from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
    "full_every_nights": _Kind("a whole number from 0 on", lambda value: _is_whole(value) and value >= 0),
    "budget_gpu_hours": _POSITIVE,
    "at_once": _COUNT,
    "report": _Kind("a folder", lambda value: isinstance(value, str), lambda value, folder: folder / value),
}


def _value(path: Path, key: str, given: Any) -> Any:
    names = [field.name for field in fields(SweepConfiguration)]
    if key not in names:
        raise UserError(f"{path}: there is no key {key!r}; {did_you_mean(key, names)}")
    kind = _KINDS[key]
    if not kind.fits(given):
        raise UserError(f"{path}: {key} is {given!r}; expected {kind.words}.")
    return kind.convert(given, path.parent)
