"""The file formats of recorded search spaces, each translated to `autotune-study/1`; reading them is in `recording`.

Constraint expressions in the files are never evaluated: the recorded configurations are the valid ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from reprlib import repr as short
from typing import Any

from autotune.errors import RecordingError, UserError
from autotune.measurement import FailureKind
from autotune.objective import LATENCY_MS
from autotune.values import Scalar

STUDY = "autotune-study/1"
RECORDED_SPACE = "recorded-space/1"

Document = Mapping[str, Any]

_EXPECTED = (
    "expected what `autotune show STUDY --json` writes, a Kernel Tuner cache (it has a 'cache'), "
    f"T4 results (they have 'results'), or the schema {RECORDED_SPACE!r}."
)
_FAILED_TIME_MS = 1e20
"""Kernel Tuner's mark of a failure before it had names for them."""
_UNIT_MS = {
    **dict.fromkeys(("", "ms", "milliseconds", "miliseconds"), 1.0),  # the second spelling is in the wild
    **dict.fromkeys(("s", "seconds"), 1e3),
    **dict.fromkeys(("us", "microseconds"), 1e-3),
    **dict.fromkeys(("ns", "nanoseconds"), 1e-6),
}
_RATES = ("/s", "/W", "/J")
"""Ends of the metrics that Kernel Tuner maximises; it minimises time and energy."""
_KINDS = {
    r"compil": FailureKind.COMPILE,
    r"correct|verif": FailureKind.INCORRECT,
    r"timeout|timed.?out": FailureKind.TIMEOUT,
    r"invalid|constraint|restriction": FailureKind.INVALID,
    r"memory": FailureKind.OUT_OF_MEMORY,
}
_TUNER_COSTS = {"compile_time": "warm_up", "benchmark_time": "measure", "verification_time": "verify"}
_TUNER_OTHERS = {"time", "times", "strategy_time", "framework_time"}


def to_study(data: Any, stem: str) -> Document:
    """`data`, which is in any of the four formats, in ours; raises RecordingError. `stem` names what names nothing."""
    if not isinstance(data, dict):
        raise RecordingError(f"its JSON is a {type(data).__name__}; {_EXPECTED}")
    schema = data.get("schema")
    if schema == STUDY:
        return data
    for found, what, translate in (
        (schema == RECORDED_SPACE, "a recorded space", _from_recorded_space),
        ("cache" in data, "a Kernel Tuner cache", _from_kernel_tuner),
        ("results" in data, "T4 results", _from_t4),
    ):
        if found:
            with reading(what):
                return {"schema": STUDY, "workload": _identifier(stem)} | translate(data)
    keys = ", ".join(sorted(data)[:8]) or "none"
    raise RecordingError(f"its {f'schema is {schema!r}' if schema else f'keys are {keys}'}; {_EXPECTED}")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns what reading JSON of another shape raises into a RecordingError about `what`."""
    try:
        yield
    except RecordingError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, UserError) as error:
        said = f"there is no {error.args[0]!r} in it" if type(error) is KeyError else str(error).removesuffix(".")
        raise RecordingError(f"{what} cannot be read: {said}.") from error


def each(place: str, items: Iterable[tuple[Any, Any]], read: Callable[[Any], Any]) -> list[Any]:
    """`read` of every item; raises RecordingError with the key of the one that cannot be read."""
    done = []
    for key, item in items:
        with reading(f"{place}[{key!r}]"):
            done.append(read(item))
    return done


def _from_recorded_space(data: Document) -> dict[str, Any]:
    parameters = {entry["name"]: list(entry["values"]) for entry in data["params"]}
    columns = [_looked_up(name, values, data["config"][name]) for name, values in parameters.items()]
    columns += [data[key] for key in ("time_ms", "failure", "time_sd_ms", "compile_s", "benchmark_s", "verify_s")]
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise ValueError(f"its columns have {' and '.join(map(str, lengths))} entries, expected as many in each")
    if data["objective"] != "time_ms":
        raise ValueError(f"its objective is {data['objective']!r}, expected 'time_ms'")

    def read(row: tuple[Any, ...]) -> dict[str, Any]:
        time_ms, failure, sd_ms, *seconds = row[len(parameters) :]
        phase_s = _known(zip(("warm_up", "measure", "verify"), seconds, strict=True))
        outcome = _failed(failure, phase_s) if failure else _measured({LATENCY_MS: [_number(time_ms)]}, phase_s)
        return {"config": dict(zip(parameters, row, strict=False)), "outcome": outcome, "spread_ms": sd_ms}

    return {
        "workload": _identifier(data["kernel"]),
        "problem": _problem(data["problem_size"]),
        "device": data["gpu"],
        "objective": {"metric": LATENCY_MS, "direction": data["direction"]},
        "parameters": parameters,
        "trials": each("row", enumerate(zip(*columns, strict=True)), read),
    }


def _from_kernel_tuner(data: Document) -> dict[str, Any]:
    names, metric = list(data["tune_params_keys"]), _first(data.get("objective"))
    known = {*names, *_TUNER_COSTS, *_TUNER_OTHERS}

    def read(row: Document) -> dict[str, Any]:
        phase_s = _known((phase, _seconds(row.get(key))) for key, phase in _TUNER_COSTS.items())
        value = row[metric] if metric in row else row["time"]
        if isinstance(value, str) or row.get("time") == _FAILED_TIME_MS:
            outcome = _failed(str(value), phase_s)
        else:
            others = {name: row[name] for name in row if name not in known}
            outcome = _measured(_metrics(row.get("time"), row.get("times"), others), phase_s)
        return {"config": {name: row[name] for name in names}, "outcome": outcome}

    return {
        "workload": _identifier(data["kernel_name"]),
        "problem": _problem(data["problem_size"]),
        "device": data["device_name"],
        "objective": _objective(metric),
        "parameters": {name: list(data["tune_params"][name]) for name in names},
        "trials": each("cache", data["cache"].items(), read),
    }


def _from_t4(data: Document) -> dict[str, Any]:
    results = data["results"]
    unit_ms = _unit_ms(data.get("metadata", {}).get("timeunit", "ms"))
    metric = _first(results[0].get("objectives")) if results else "time"

    def read(row: Document) -> dict[str, Any]:
        found = {entry["name"]: entry for entry in row.get("measurements", [])}
        runtimes_ms = [_number(reading) * unit_ms for reading in row["times"].get("runtimes") or []]
        phase_s = _t4_costs(row["times"], unit_ms, runs_ms=sum(runtimes_ms))
        value, validity = found.get(metric, {}).get("value"), row["invalidity"]
        if validity != "correct" or isinstance(value, str):
            outcome = _failed(validity if validity != "correct" else str(value), phase_s)
        else:
            time = found.pop("time", None)
            time_ms = time and _number(time["value"]) * (_unit_ms(time["unit"]) if time.get("unit") else unit_ms)
            others = {name: entry["value"] for name, entry in found.items()}
            outcome = _measured(_metrics(time_ms, runtimes_ms, others), phase_s)
        return {"config": row["configuration"], "outcome": outcome}

    trials = each("results", enumerate(results), read)
    return {
        "problem": {},
        "device": "unknown",
        "objective": _objective(metric),
        "parameters": _values_seen([trial["config"] for trial in trials]),
        "trials": trials,
    }


def _t4_costs(times: Document, unit_ms: float, runs_ms: float) -> dict[str, float]:
    compilation = times.get("compilation", times.get("compilation_time"))  # the schema's name is the second
    benchmark_s = _seconds(times.get("benchmark"), unit_ms)
    return _known(
        (
            ("warm_up", _seconds(compilation, unit_ms)),
            ("measure", runs_ms / 1e3 if benchmark_s is None else benchmark_s),
            ("verify", _seconds(times.get("validation"), unit_ms)),
        )
    )


def _looked_up(name: str, values: Sequence[Any], indices: Sequence[int]) -> list[Any]:
    if indices and not 0 <= min(indices) <= max(indices) < len(values):
        raise ValueError(f"its config[{name!r}] points outside the {len(values)} values of {name}")
    return [values[index] for index in indices]


def _values_seen(configs: Sequence[Mapping[str, Scalar]]) -> dict[str, list[Any]]:
    """T4 lists no values per parameter: those that occur, numbers in order."""
    seen: dict[str, list[Any]] = {}
    for name in dict.fromkeys(name for config in configs for name in config):
        values: list[Any] = list(dict.fromkeys(config[name] for config in configs if name in config))
        seen[name] = sorted(values) if all(isinstance(value, int | float) for value in values) else values
    return seen


def _metrics(time_ms: Any, times_ms: Sequence[Any] | None, others: Document) -> dict[str, list[float]]:
    """The time with every reading of it that was kept, and each other metric that is one number."""
    found = {name: [value] for name, value in others.items() if isinstance(value, int | float)}
    if time_ms is not None:
        found[LATENCY_MS] = [_number(reading) for reading in times_ms or [time_ms]]
    return found


def _objective(metric: str) -> dict[str, Any]:
    direction = "maximize" if metric.endswith(_RATES) else "minimize"
    return {"metric": LATENCY_MS if metric == "time" else metric, "direction": direction}


def _measured(metrics: Mapping[str, list[float]], phase_s: Mapping[str, float]) -> dict[str, Any]:
    return {"metrics": metrics, "conditions": {}, "phase_s": phase_s}


def _failed(text: str, phase_s: Mapping[str, float]) -> dict[str, Any]:
    kind = next((kind for words, kind in _KINDS.items() if re.search(words, text.lower())), FailureKind.RUNTIME)
    return {"failure": kind.value, "message": f"recorded as {text}", "details": "", "phase": "", "phase_s": phase_s}


def _problem(size: Any) -> dict[str, Scalar]:
    """The extents of the grid as `size_x`, `size_y`, `size_z`; a size that is a text, as `size`."""
    if isinstance(size, str):
        return {"size": size}
    extents = size if isinstance(size, list) else [size]
    if len(extents) > 3:
        raise ValueError(f"its problem_size has {len(extents)} entries, expected at most 3")
    return dict(zip(("size_x", "size_y", "size_z"), extents, strict=False))


def _identifier(name: str) -> str:
    """A template's arguments and a file's hyphens cannot stand in the name of a workload."""
    return re.sub(r"\W+", "_", name).strip("_")


def _first(objective: Any) -> str:
    """The metric that counts: both tools may list several."""
    named = objective[0] if isinstance(objective, list) and objective else objective
    return str(named or "time")


def _unit_ms(unit: str) -> float:
    if unit.lower() not in _UNIT_MS:
        raise ValueError(f"its times are in {unit!r}, expected milliseconds, seconds, microseconds or nanoseconds")
    return _UNIT_MS[unit.lower()]


def _seconds(cost: Any, unit_ms: float = 1.0) -> float | None:
    return None if cost is None else _number(cost) * unit_ms / 1e3


def _known(costs: Iterable[tuple[str, Any]]) -> dict[str, float]:
    return {phase: cost for phase, cost in costs if cost is not None}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"found {short(value)}, expected a number")
    return value
