"""Recording: a search space that was measured before, and reading one from a file; what replays it is `replay`.

What the files of other tools look like is known in `recording_formats`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from reprlib import repr as short
from typing import Any, NoReturn, Self

from autotune.device import Device
from autotune.device.sku import GIB, gpu_sku
from autotune.errors import RecordingError, UserError, did_you_mean
from autotune.measurement import Failure, FailureKind, Measurement, Outcome, outcome_from_json
from autotune.objective import LATENCY_MS, Objective, maximize, minimize
from autotune.space import SearchSpace
from autotune.space.middle import space_around_middle
from autotune.values import Config, Problem, Scalar
from autotune.workload import Workload

from .recording_formats import STUDY, each, reading, to_study

_DEVICE_TEXTS = frozenset({"kind", "sku", "name", "uuid", "arch", "interconnect"})


@dataclass(frozen=True, kw_only=True)  # without slots: the space is kept once it was built
class Recording:
    """Every configuration that was recorded, with its outcome."""

    name: str
    """Of the workload or kernel."""
    problem: Problem
    device: Device
    """As far as the file describes it; often by its name alone, and then its SKU is made from that."""
    gpus: int
    """Of one trial; 0 is the CPU."""
    objective: Objective
    parameters: Mapping[str, tuple[Scalar, ...]]
    outcomes: Mapping[Config, Outcome]
    """In the order of the file. The recorded costs are each outcome's `phase_s`: warm_up compiles, measure, verify."""
    spread_ms: Mapping[Config, float]
    """The standard deviation of the time over its repeats, where the file holds it in place of the repeats."""
    path: Path
    version: str
    """12 hexadecimal digits of the SHA-256 of the file's text, uncompressed."""

    @property
    def gpu(self) -> str:
        """The device's name as its driver gave it; `unknown` where the file does not say."""
        return self.device.name

    @property
    def sku(self) -> str:
        """The device's."""
        return self.device.sku

    @property
    def configs(self) -> tuple[Config, ...]:
        """Every recorded configuration, in the order of the file."""
        return tuple(self.outcomes)

    @cached_property
    def space(self) -> SearchSpace:
        """Exactly the recorded configurations; the default is the one in their middle, since files name none."""
        return space_around_middle(self.configs)

    @cached_property
    def values(self) -> tuple[float, ...]:
        """The objective's for each of `configs`; NaN where it failed or breaks a bound."""
        return tuple(map(self._value, self.outcomes.values()))

    @property
    def has_spread(self) -> bool:
        """Whether it tells how far readings of a configuration lie apart."""
        metric = self.objective.metric
        measured = (outcome for outcome in self.outcomes.values() if isinstance(outcome, Measurement))
        several = any(len(outcome.metrics[metric].values) > 1 for outcome in measured)
        return several or (metric == LATENCY_MS and bool(self.spread_ms))

    @cached_property
    def optimum(self) -> Config | None:
        """The best that `outcome` reports and that keeps the objective's bounds; None where nothing does."""
        measured = [
            (config, value) for config, value in zip(self.configs, self.values, strict=True) if not math.isnan(value)
        ]
        choose = min if self.objective.direction == "minimize" else max
        return choose(measured, key=lambda pair: pair[1])[0] if measured else None

    def _value(self, outcome: Outcome) -> float:
        medians = outcome.medians if isinstance(outcome, Measurement) else {}
        return medians[self.objective.metric] if medians and self.objective.feasible(medians) else math.nan

    def outcome(self, config: Config) -> Outcome:
        """What was recorded; a configuration that was not is INVALID here."""
        known = self.outcomes.get(config)
        if known is not None:
            return known
        return Failure(kind=FailureKind.INVALID, message=f"{config.text} is not in the recording {self.path.name}.")

    def workload(self) -> Workload:
        """A workload over the recorded space, for a study with `replay`; its body cannot run."""

        def body(problem: Problem, config: Config) -> Generator[NoReturn, None, None]:
            raise UserError(f"{self.name} is a recording and cannot run; replay it: --executor replay:{self.path}.")
            yield

        body.__doc__ = f"{self.name} as recorded on {self.gpu}."
        return Workload(
            name=self.name,
            body=body,
            space=self.space,
            problems=(self.problem,),
            objective=self.objective,
            gpus=self.gpus,
            path=self.path,
            version=self.version,
        )

    def to_json(self) -> dict[str, Any]:
        """The recording in the format of our own studies."""
        return {
            "schema": STUDY,
            "workload": self.name,
            "problem": self.problem,
            "device": self.device.to_json(),
            "sku": self.sku,
            "gpus": self.gpus,
            "objective": {
                "metric": self.objective.metric,
                "direction": self.objective.direction,
                "subject_to": dict(self.objective.subject_to),
            },
            "parameters": {name: list(values) for name, values in self.parameters.items()},
            "trials": [
                {"config": config, "outcome": outcome.to_json()}
                | ({"spread_ms": self.spread_ms[config]} if config in self.spread_ms else {})
                for config, outcome in self.outcomes.items()
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, path: Path, version: str) -> Self:
        """The inverse of `to_json`; raises RecordingError. Of a configuration's several trials the last one counts.

        A LOST trial says nothing of its configuration and is left out.
        """
        with reading("the study"):
            objective, device = _objective(data["objective"]), _device(data["device"], data)
            values = {name: _distinct(name, listed) for name, listed in data["parameters"].items()}
            trials = each("trials", enumerate(data["trials"]), lambda trial: _trial(trial, values, objective))
            kept = [trial for trial in trials if trial is not None]
            if not kept:
                raise ValueError("no configuration in it has an outcome")
            return cls(
                name=_text(data, "workload"),
                problem=Problem(data["problem"]),
                device=device,
                gpus=_count(data.get("gpus", 1)) if device.kind == "gpu" else 0,
                objective=objective,
                parameters={name: tuple(known) for name, known in values.items()},
                outcomes={config: outcome for config, outcome, _ in kept},
                spread_ms={config: spread for config, _, spread in kept if spread is not None},
                path=path,
                version=version,
            )


def load(path: Path) -> Recording:
    """Read a recording in any of the four formats, plain or gzip, told apart by its content; raises RecordingError."""
    path = Path(path).expanduser().resolve()
    try:
        text = _read(path)
        study = to_study(_parse(text), stem=path.name.partition(".")[0])
        return Recording.from_json(study, path=path, version=hashlib.sha256(text.encode()).hexdigest()[:12])
    except RecordingError as error:
        raise RecordingError(f"{path} is no recording: {error}") from error


def _objective(data: Mapping[str, Any]) -> Objective:
    makers = {"minimize": minimize, "maximize": maximize}
    direction = _text(data, "direction")
    if direction not in makers:
        raise ValueError(f"its direction is {direction!r}, expected minimize or maximize")
    return makers[direction](_text(data, "metric"), data.get("subject_to"))


def _distinct(name: str, listed: Sequence[Scalar]) -> dict[Scalar, Scalar]:
    """Each value by itself, so that 1 and 1.0 in a configuration become what the parameter lists."""
    values = {value: value for value in listed}
    if len(values) != len(listed):
        raise ValueError(f"{name} lists equal values: {short(listed)}")
    return values


def _trial(
    data: Mapping[str, Any], values: Mapping[str, Mapping[Scalar, Scalar]], objective: Objective
) -> tuple[Config, Outcome, float | None] | None:
    outcome, spread_ms = outcome_from_json(data["outcome"]), data.get("spread_ms")
    readings = [*outcome.phase_s.values(), *([] if spread_ms is None else [spread_ms])]
    if isinstance(outcome, Measurement):
        readings += [reading for samples in outcome.metrics.values() for reading in samples.values]
        if objective.metric not in outcome.metrics:
            raise ValueError(f"it has no {objective.metric}, which is the objective")
    elif outcome.kind is FailureKind.LOST:
        return None
    if not all(map(math.isfinite, readings)):
        raise ValueError("a number in it is not finite")
    return Config({name: _listed(name, value, values) for name, value in data["config"].items()}), outcome, spread_ms


def _listed(name: str, value: Scalar, values: Mapping[str, Mapping[Scalar, Scalar]]) -> Scalar:
    if name not in values or value not in values[name]:
        raise ValueError(f"{name}={short(value)} is not among the parameters and their values")
    return values[name][value]


def _device(described: Any, data: Mapping[str, Any]) -> Device:
    """From its name, or from what `Device.to_json` gave; of what is not known, the memory and its like are 0."""
    facts = {"name": described} if isinstance(described, str) else described
    known = {name: facts[name] for name in Device.__slots__ if name in facts}
    for name, value in known.items():
        if not isinstance(value, str if name in _DEVICE_TEXTS else int | float):
            raise ValueError(f"its device's {name} is {value!r}")
    sku = _text(data, "sku") if "sku" in data else known.get("sku") or _sku(_text(facts, "name"))
    unknown = {"kind": "cpu" if sku.startswith("cpu-") else "gpu", "index": 0, "uuid": "recorded", "arch": "unknown"}
    complete: dict[str, Any] = {**unknown, "memory_bytes": 0, "multiprocessors": 0, **known, "sku": sku}
    if complete["kind"] not in ("cpu", "gpu"):
        raise ValueError(f"its device's kind is {complete['kind']!r}, expected cpu or gpu")
    return Device(**complete)


def _sku(name: str) -> str:
    """From the name alone, its memory included where it says that; the 480GB of a GH200 are its processor's."""
    memory = re.search(r"(?<!GH200 )\b(\d+) ?GB\b", name)
    return gpu_sku(name, memory_bytes=int(memory[1]) * GIB if memory else None)


def _count(gpus: Any) -> int:
    if isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 0:
        raise ValueError(f"its gpus is {gpus!r}, expected a whole number")
    return gpus


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"its {key} is {value!r}, expected a text")
    return value


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw).decode()
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.json*")])
        raise RecordingError(f"there is no such file; {near}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(f"its compressed data is cut short or damaged ({error}); copy it again.") from error
    except UnicodeDecodeError as error:
        raise RecordingError("it is neither text nor gzip; expected JSON.") from error
    except OSError as error:
        raise RecordingError(f"{error.strerror}.") from error


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        cache = _unfinished_cache(text)
        if cache is None:
            raise RecordingError(f"it is cut short or not JSON ({error}).") from error
        return cache


def _unfinished_cache(text: str) -> dict[str, Any] | None:
    """A Kernel Tuner cache grows line by line and gets its last two braces when the tuner ends, if it does."""
    try:
        data = json.loads(text.rstrip().removesuffix(",") + "}}", parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return data if "cache" in data else None


def _refuse(constant: str) -> NoReturn:
    raise RecordingError(f"it holds {constant}, which is no JSON; expected finite numbers.")
