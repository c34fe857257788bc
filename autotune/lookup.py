"""best_config and lookup: what a program asks at run time, answered from snapshots; nothing is written here."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar, overload

from autotune import distance, snapshot
from autotune.device import current_sku, current_toolchain
from autotune.errors import NoTunedConfig, SnapshotError
from autotune.portfolio.portfolio import Portfolio
from autotune.settings import Settings
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem

_REMEMBERED = 16384
"""Answers that are kept; a server that meets a new shape with every request must not grow for ever."""
_REQUIRED: Any = object()
COMPARED = {"cuda": 2, "torch": 2, "triton": 2, "nccl": 2, "driver": 1}
"""How many leading numbers of a version must agree for a configuration to count as measured with the same tools.

A key of every patch release orphans what was tuned (sgl-project/sglang#5955); the next minor release of a compiler has
turned a gain of 3 % into a loss (sgl-project/sglang#5716).
"""
_packaged: list[Path] = []

T = TypeVar("T")


class Match(StrEnum):
    """How well what was found answers what was asked."""

    EXACT = "exact"
    OTHER_TOOLCHAIN = "other_toolchain"
    """For this problem on this SKU, but measured with another compiler or library: it may have been overtaken."""
    RULE = "rule"
    """For a problem that was not tuned, picked by the rule of a matrix study over others around it."""
    NEAREST = "nearest"
    """For another problem near by; only where that was asked for."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What is known about a problem, how it was matched, and why."""

    kind: Match
    reason: str
    tuned: TunedConfig | None = None
    path: Path | None = None
    """The snapshot that it was found in."""
    portfolio: Portfolio | None = None
    """The matrix study's, whose rule picked."""
    picked: Config | None = None
    """What it picked."""

    @property
    def config(self) -> Config | None:
        """The configuration to use; None where there is no match."""
        return self.tuned.config if self.tuned else self.picked


@overload
def best_config(
    workload: str,
    /,
    *,
    default: None,
    nearest: bool = ...,
    sku: str | None = ...,
    gpus: int | None = ...,
    **problem: Any,
) -> Config | None: ...
@overload
def best_config(
    workload: str,
    /,
    *,
    default: Mapping[str, Any] = ...,
    nearest: bool = ...,
    sku: str | None = ...,
    gpus: int | None = ...,
    **problem: Any,
) -> Config: ...
def best_config(workload: str, /, *, default: Any = _REQUIRED, **problem: Any) -> Config | None:
    """The best known configuration of the workload for the problem on this device: `kernel[grid](…, **best_config(…))`.

    A problem that was not tuned itself gets what the rule of a matrix study picks, where there is one that covers it;
    `lookup` tells which it was. The values of the problem are keywords. Four keywords are ours:
    default: given back where nothing is known, or a snapshot is damaged (of which it warns once). Without it, the
    former raises NoTunedConfig, whose message is the command that would tune it, and the latter SnapshotError.
    nearest: the configuration of the nearest tuned problem will do, see `distance.nearest`.
    sku: of the device that it is for, where it is not this one. No SKU is ever given another's configuration.
    gpus: that the problem is spread over; None is one GPU, or the processor.

    What was found once, or not found, is remembered until `refresh`.
    """
    try:
        config = _memory.config(workload, **problem)
    except TypeError:  # a value that cannot be remembered
        config = _memory.answer(_Question.of(workload, **problem)).config
    if config is not None:
        return config
    if default is _REQUIRED:
        raise _miss(_Question.of(workload, **problem))
    _memory.warn_of_damage()
    return Config(default) if type(default) is dict else default


def lookup(
    workload: str, /, *, nearest: bool = False, sku: str | None = None, gpus: int | None = None, **problem: Any
) -> Lookup:
    """What is known about the problem, with all that says how far to trust it; the keywords are those of `best_config`.

    A miss is an answer too: its reason says how to tune it, and what is known instead. SnapshotError where a snapshot
    is damaged.
    """
    question = _Question.of(workload, nearest=nearest, sku=sku, gpus=gpus, **problem)
    answer = _memory.answer(question)
    found = answer.tuned or answer.portfolio
    if found is None:
        error = _miss(question)
        if isinstance(error, SnapshotError):
            raise error
        return Lookup(kind=Match.NONE, reason=str(error))
    changes = _toolchain_changes(found.toolchain)
    since = f"; since then: {', '.join(changes)}" if changes else ""
    if isinstance(found, Portfolio):
        reason = f"{found.reason}, measured {found.measured_at}{since}"
        return Lookup(kind=Match.RULE, reason=reason, path=answer.path, portfolio=found, picked=answer.picked)
    tuned = found
    if tuned.problem.text != question.text:
        kind, reason = Match.NEAREST, f"the nearest tuned problem is {tuned.problem.text}, measured {tuned.measured_at}"
    else:
        kind = Match.OTHER_TOOLCHAIN if changes else Match.EXACT
        reason = f"tuned for this problem on {tuned.sku}, measured {tuned.measured_at}"
    return Lookup(kind=kind, reason=reason + since, tuned=tuned, path=answer.path)


def search_path() -> list[Path]:
    """The folders of snapshots, the first that has an answer wins: the caller's, the user's, the site's, libraries'."""
    settings = Settings.from_environment()
    site = Path(sys.prefix, "share", "autotune", "snapshots")
    return [*settings.snapshot_path, settings.snapshots, site, *_packaged]


def add_snapshot_folder(folder: Path | str) -> None:
    """Look in that folder too, after all others: a library calls it for the snapshots that it ships."""
    folder = Path(folder).absolute()
    if folder not in _packaged:
        _packaged.append(folder)
        refresh()


def refresh() -> None:
    """Forget what was looked up: the next question reads the files, and the settings, again."""
    global _memory
    _memory = _Memory()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    workload: str
    problem: Problem = field(compare=False)
    text: str
    """Of the problem: problems that differ in no more than a type are equal, their texts are not."""
    sku: str
    gpus: tuple[int, ...]
    nearest: bool

    @classmethod
    def of(
        cls, workload: str, /, *, nearest: bool = False, sku: str | None = None, gpus: int | None = None, **problem: Any
    ) -> Self:
        asked = Problem(problem)
        return cls(
            workload=workload,
            problem=asked,
            text=asked.text,
            sku=current_sku() if sku is None else sku,
            gpus=(1, 0) if gpus is None else (gpus,),  # a SKU is a GPU or a processor, so only one of them can be there
            nearest=nearest,
        )

    @property
    def paths(self) -> list[Path]:
        return [snapshot.path_of(folder, self.sku, self.workload) for folder in search_path()]


@dataclass(frozen=True, slots=True)
class _Answer:
    tuned: TunedConfig | None = None
    path: Path | None = None
    portfolio: Portfolio | None = None
    picked: Config | None = None

    @property
    def config(self) -> Config | None:
        return self.tuned.config if self.tuned else self.picked


class _Memory:
    """What this process has looked up. It is replaced as a whole, so a question under way leaves nothing stale."""

    def __init__(self) -> None:
        # By type as well: True, 1 and 1.0 are equal, and they are three problems.
        self.config = lru_cache(maxsize=_REMEMBERED, typed=True)(self._config)
        self.answer = lru_cache(maxsize=_REMEMBERED)(self._answer)
        self.problems = lru_cache(snapshot.problems)
        self.portfolios = lru_cache(snapshot.portfolios)
        self.damage: dict[Path, str] = {}
        self._warned: set[Path] = set()

    def warn_of_damage(self) -> None:
        for path in self.damage.keys() - self._warned:
            self._warned.add(path)
            warnings.warn(f"defaults are used instead of tuned configurations: {self.damage[path]}", stacklevel=3)

    def _config(self, workload: str, /, **question: Any) -> Config | None:
        if any(hasattr(value, "__setitem__") for value in question.values()):
            raise TypeError("a tensor of one number can change: it is not remembered by its identity")
        return self.answer(_Question.of(workload, **question)).config

    def _answer(self, question: _Question) -> _Answer:
        """Empty where nothing was found, and where a damaged file stands in the way, which is noted in `damage`."""
        with suppress(SnapshotError):
            for path in question.paths:
                for gpus in question.gpus:
                    if tuned := self._read(snapshot.find, path, gpus, question.problem):
                        return _Answer(tuned, path)
            if answer := self._by_rule(question):
                return answer
            if question.nearest:
                return self._nearest(question)
        return _Answer()

    def _by_rule(self, question: _Question) -> _Answer | None:
        """By the first file's newest portfolio whose rule covers the problem."""
        for path in question.paths:
            known = [one for one in self._read(self.portfolios, path) if one.gpus in question.gpus]
            for one in sorted(known, key=lambda one: one.measured_at, reverse=True):
                picked = one.rule.pick(question.problem)
                if picked is not None:  # a configuration without parameters is one
                    return _Answer(path=path, portfolio=one, picked=picked)
        return None

    def _nearest(self, question: _Question) -> _Answer:
        known = {
            problem.text: (path, gpus, problem)
            for path in reversed(question.paths)  # the first in the search path has the last word
            for gpus, problem in self._read(self.problems, path)
            if gpus in question.gpus
        }
        near = distance.nearest(question.problem, [problem for _, _, problem in known.values()])
        if near is None:
            return _Answer()
        path, gpus, _ = known[near.text]
        return _Answer(self._read(snapshot.find, path, gpus, near), path)

    def _read(self, reader: Callable[..., T], path: Path, *entry: Any) -> T:
        """What the reader says of the file; a damaged one is read once."""
        try:
            if path in self.damage:
                raise SnapshotError(self.damage[path])
            return reader(path, *entry)
        except SnapshotError as error:
            self.damage[path] = str(error)
            raise


_memory = _Memory()


def _toolchain_changes(measured_with: Mapping[str, str]) -> list[str]:
    """`torch 2.11.0 became 2.13.1`, for each tool that counts and is known both then and now."""
    now = current_toolchain().to_json()
    both = {name: (measured_with[name], now[name]) for name in COMPARED if name in measured_with and name in now}
    return [
        f"{name} {then} became {here}"
        for name, (then, here) in both.items()
        if leading_numbers(then, COMPARED[name]) != leading_numbers(here, COMPARED[name])
    ]


def leading_numbers(version: str, count: int) -> list[str]:
    """`["2", "11"]` of `2.11.0+cu130`, for 2."""
    return re.findall(r"\d+", version)[:count]


def _miss(question: _Question) -> NoTunedConfig | SnapshotError:
    for path in question.paths:
        if path in _memory.damage:
            return SnapshotError(_memory.damage[path])
    problem = ["--problem", question.text] if question.problem else []
    command = shlex.join(["autotune", "study", "FILE", "--workload", question.workload, *problem])
    what = f"{question.workload} is not tuned for {question.text or 'its problem'} on {question.sku}"
    return NoTunedConfig(" ".join([f"{what}. Tune it there: {command}", *_known_instead(question)]))


def _known_instead(question: _Question) -> Iterator[str]:
    """What the snapshots hold that comes near the question, a sentence each."""
    with suppress(SnapshotError):  # a damaged file elsewhere has nothing to suggest
        here = [known for path in question.paths for known in _memory.problems(path)]
        counts = sorted({str(gpus) for gpus, problem in here if problem.text == question.text})
        if counts:
            yield f"(It is tuned for gpus={' and '.join(counts)}.)"
        elif here:
            near = distance.nearest(question.problem, [problem for gpus, problem in here if gpus in question.gpus])
            example = f", such as {near.text}: nearest=True would take that" if near else ""
            count = f"{len(here)} other problems are" if len(here) > 1 else "another problem is"
            yield f"(On this SKU {count} tuned{example}.)"
    others = {sku for folder in search_path() for sku in _skus_with(folder, question)}
    if others:
        yield f"(It is tuned on {', '.join(sorted(others))}; a configuration is never taken from another SKU.)"


def _skus_with(folder: Path, question: _Question) -> Iterator[str]:
    with suppress(SnapshotError):
        for sku, path in snapshot.skus(folder, question.workload).items():
            if sku != question.sku and any(snapshot.find(path, gpus, question.problem) for gpus in question.gpus):
                yield sku
