"""Discovery: the workloads that a sweep's files and folders declare, and the studies that they make possible here."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from autotune.device import Device
from autotune.errors import UserError
from autotune.plan import Plan
from autotune.sweep.configuration import SweepConfiguration
from autotune.values import Problem
from autotune.workload import Workload, load, targets_of

_SKIPPED = ("__pycache__", "node_modules", "site-packages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What was found."""

    workloads: tuple[Workload, ...]
    unusable: tuple[str, ...]
    """A sentence for each file that cannot be loaded, and each workload that cannot be told from another."""

    def plans(self, here: Sequence[Device], configuration: SweepConfiguration) -> tuple[list[Plan], list[str]]:
        """A study for each workload, problem and SKU, in that order; and what is not there tonight, a sentence each."""
        absent = [
            f"SKU {sku} is in the configuration, and not here"
            for sku in configuration.skus
            if sku not in {device.sku for device in here}
        ]
        plans = []
        for workload in self.workloads:
            suitable = targets_of(workload, here)
            if not suitable:
                absent.append(f"{workload.name}: nothing here has what it needs")
            devices = [device for device in suitable if not configuration.skus or device.sku in configuration.skus]
            plans += [_plan(workload, problem, one, configuration) for problem in workload.problems for one in devices]
        return plans, absent


def discover(configuration: SweepConfiguration) -> Discovery:
    """Load every file; one that cannot be loaded does not keep the others from it. UserError where a path is none."""
    found: dict[str, Workload] = {}
    unusable: list[str] = []
    for path in _files(configuration.paths):
        try:
            declared = load(path)
        except UserError as error:
            unusable.append(str(error))
            continue
        for one in filter(lambda one: _is_wanted(one.name, configuration), declared):
            if (other := found.setdefault(one.name, one)) is not one:
                unusable.append(f"{path} declares {one.name}, as {other.path} does: rename one of them.")
    return Discovery(workloads=tuple(found.values()), unusable=tuple(unusable))


def _plan(workload: Workload, problem: Problem, device: Device, configuration: SweepConfiguration) -> Plan:
    return Plan(
        workload=workload, problem=problem, device=device, budget=configuration.budget, effort=configuration.effort
    )


def _is_wanted(name: str, configuration: SweepConfiguration) -> bool:
    def fits(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    return fits(configuration.include) and not fits(configuration.exclude)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Each once: those that are named, and in folders those that declare something."""
    if not paths:
        raise UserError("there is nothing to sweep; give files or folders of workloads: autotune sweep PATH…")
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no file or folder {path}; expected Python files that declare workloads.")
        for file in sorted(_declaring(path)) if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file.resolve()


def _declaring(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*.py"):
        parts = file.relative_to(folder).parts
        if not any(part in _SKIPPED or part.startswith(".") for part in parts) and _declares(file):
            yield file


def _declares(file: Path) -> bool:
    """Whether it says `@autotune.workload`, or cannot be read, as loading will tell; what stands beside is not run."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return True
    return any(
        isinstance(node, ast.Import | ast.ImportFrom)
        and any(name.partition(".")[0] == "autotune" for name in _imported(node))
        for node in ast.walk(tree)
    ) and any(_is_declaration(node) for node in ast.walk(tree))


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]


def _is_declaration(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in ("workload", "triton_autotuned")
