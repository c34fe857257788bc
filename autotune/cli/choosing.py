"""What the words of a command mean: which workloads, problems, devices, configuration and registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from autotune.device import Device
from autotune.errors import DeviceError, UserError
from autotune.executor import Executor
from autotune.executors import recording
from autotune.plan import Plan
from autotune.registry import Registry
from autotune.settings import Settings
from autotune.values import Config, Problem, Scalar
from autotune.workload import Workload, find, load, targets_of


def workloads(file: Path, name: str | None, *, exactly_one: bool = False) -> list[Workload]:
    """What FILE declares, or the one of that name; a recording stands for a workload. Raises UserError."""
    declared = [recording.load(file).workload()] if is_recording(file) else load(file)
    if name is not None:
        return [find(declared, name)]
    if exactly_one and len(declared) > 1:
        raise UserError(f"{file} declares {', '.join(w.name for w in declared)}; say which with --workload NAME.")
    return declared


def executor_of(file: Path, executor: str | None, address: str | None, default: str) -> str:
    """The executor's name with its argument. Raises UserError where two are named."""
    if address is not None:
        if executor not in (None, "ray"):
            raise UserError(f"--address is a Ray cluster's, and --executor is {executor!r}; leave one of the two out.")
        return f"ray:{address}"
    return executor or (f"replay:{file}" if is_recording(file) else default)


def is_recording(file: Path) -> bool:
    """Whether its name is that of a recording."""
    return ".json" in file.suffixes


def problems_of(one: Workload, wanted: Sequence[str] | None) -> list[Problem]:
    """Those that were typed, or all that it declares."""
    if not wanted:
        return list(one.problems)
    return list({p.text: p for text in wanted for p in one.select(Problem.parse(text))}.values())


def studies_of(
    declared: Sequence[Workload], wanted: Sequence[str] | None, executor: Executor
) -> Iterator[tuple[Workload, Problem, Device]]:
    """Every workload, for every wanted problem, on every kind of device that it can run on."""
    here = executor.devices()
    for one in declared:
        targets = targets_of(one, here)
        if not targets:
            raise DeviceError(
                f"{one.name} needs {one.gpus} GPU{'s' if one.gpus != 1 else ''} of one kind; "
                f"here are: {', '.join(d.sku for d in here) or 'no devices'}."
            )
        for problem in problems_of(one, wanted):
            one.check_work(problem)
            yield from ((one, problem, target) for target in targets)


def grouped(plans: Sequence[Plan]) -> list[list[Plan]]:
    """By workload and device: what a matrix study puts together."""
    groups: dict[tuple[str, str], list[Plan]] = {}
    for plan in plans:
        groups.setdefault((plan.workload.name, plan.device.sku), []).append(plan)
    return list(groups.values())


def one_config(one: Workload, problem: Problem, target: Device, given: Config) -> Config:
    """The given values over the default ones; refused where a constraint rejects it."""
    default = one.space.bind(problem, target).default
    values: dict[str, Scalar] = {}
    for name, parameter in one.space.parameters.items():
        if name in given or parameter.active(values):
            values[name] = given.get(name, default.get(name, parameter.default))
    config = one.space.config({**values, **given})
    reason = one.space.rejection(config, problem, target)
    if reason is not None:
        raise UserError(
            f"{config.text} is not valid for {one.name} {problem.text} on {target.sku}: {reason.rstrip('.')}."
        )
    return config


def open_registry(chosen: Settings, executor: str) -> Registry:
    """What a replay finds was measured elsewhere: it stays out of the registry."""
    return Registry.memory() if is_replay(executor) else Registry.open(chosen.database)


def is_replay(executor: str) -> bool:
    """Whether that executor answers from a recording."""
    return executor.partition(":")[0] == "replay"
