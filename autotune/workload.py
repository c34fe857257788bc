"""Workload: what `@workload` declares, how a file of them is loaded, the version of its source; none is run here."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from autotune.device import Device
from autotune.errors import UserError, WorkloadChanged, WorkloadError, did_you_mean
from autotune.objective import Objective
from autotune.space import SearchSpace
from autotune.trial import WorkloadReference
from autotune.values import Config, Problem

Body = Callable[[Problem, Config], Generator[Callable[[], Any], None, None]]
Work = Callable[[Problem], float]
Cache = Literal["cold", "warm"]

DEFAULT_TIMEOUT_S = 120.0
KEYWORDS = ("space", "problems", "objective", "gpus", "timeout_s", "version", "flops", "bytes", "cache", "compile")
GPU_PACKAGES = ("cuda", "torch", "triton")
"""Top-level names that the extra `gpu` brings; `torch` alone is in the extra `torch`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """What a compiler made of a configuration, as far as it matters before it is run."""

    digest: str
    """Equal where one measurement will do for two configurations: the code and everything it is started with."""
    shared_memory_bytes: int = 0
    """Of one block; more than the device has makes the configuration INVALID before it reaches the device."""


Compile = Callable[[Problem, Config, Device], Binary | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A generator that prepares, yields what is timed, and verifies, with the space that it is tuned over."""

    name: str
    body: Body
    space: SearchSpace
    problems: tuple[Problem, ...]
    objective: Objective = field(default_factory=Objective)
    gpus: int | None = None
    """GPUs of one trial; 0 is the CPU; None is one GPU where there is one, and the CPU elsewhere."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    flops: Work | None = None
    """Floating-point operations of one call, as a function of the problem."""
    bytes: Work | None = None
    """Bytes that one call must move through device memory, as a function of the problem."""
    cache: Cache = "cold"
    """What a timed call finds in the GPU's L2: nothing of its own, or what the call before it left there."""
    compile: Compile | None = None
    """Compiles a configuration ahead of its trial, for compilers that are not known to autotune (Triton is)."""
    seeds: tuple[Config, ...] = ()
    """Configurations that its author believes in: tried right after the default and the incumbent."""
    path: Path
    version: str
    """Of the source, see `source_version`, unless the author gave one."""

    def __post_init__(self) -> None:
        for seed in self.seeds:
            self.space.config(seed)  # raises SpaceError where it is none of the space

    def __call__(self, problem: Problem, config: Config) -> Generator[Callable[[], Any], None, None]:
        """The body itself: `next(matmul(problem, config))()` runs it once, in a notebook say."""
        return self.body(problem, config)

    @property
    def reference(self) -> WorkloadReference:
        """How a worker finds it."""
        return WorkloadReference(path=self.path, name=self.name, version=self.version)

    @property
    def description(self) -> str:
        """The first line of the body's docstring."""
        return (inspect.getdoc(self.body) or "").partition("\n")[0]

    def check_work(self, problem: Problem) -> None:
        """Raises WorkloadError where `flops` or `bytes` gives no number for the problem: now, not after the study."""
        for name, work in (("flops", self.flops), ("bytes", self.bytes)):
            try:
                good = work is None or float(work(problem)) > 0
            except Exception as error:
                raise WorkloadError(
                    f"{self.name}: {name} of {problem.text}: {type(error).__name__}: {error}."
                ) from error
            if not good:
                raise WorkloadError(f"{self.name}: {name} of {problem.text} is not above 0.")

    def select(self, wanted: Problem) -> tuple[Problem, ...]:
        """The declared problems that have the wanted values; a complete new one is taken as it is."""
        typed = {(name, type(value), value) for name, value in wanted.items()}  # 1 and 1.0 are two problems
        matching = tuple(p for p in self.problems if typed <= {(name, type(value), value) for name, value in p.items()})
        if matching:
            return matching
        known = {name for problem in self.problems for name in problem}
        for name in wanted:
            if name not in known:
                raise WorkloadError(f"{self.name} has no problem with a {name!r}; {did_you_mean(name, known)}")
        if any(wanted.keys() == problem.keys() for problem in self.problems):
            return (wanted,)
        raise WorkloadError(
            f"{self.name} declares no problem with {wanted.text}; declared: "
            f"{'; '.join(p.text for p in self.problems)}. Give all of {', '.join(sorted(known))} to tune a new one."
        )


def workload(
    *,
    space: SearchSpace,
    problems: Iterable[Mapping[str, Any]] = (Problem(),),
    objective: Objective | None = None,
    gpus: int | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    version: str | None = None,
    flops: Work | None = None,
    bytes: Work | None = None,  # noqa: A002 - the field's own word
    cache: Cache = "cold",
    compile: Compile | None = None,  # noqa: A002 - the field's own word
    **unknown: Any,
) -> Callable[[Body], Workload]:
    """Declare the generator below as a workload: prepare, `yield` the callable to be timed, verify.

    space: what may be chosen. problems: what it is chosen for. objective: the least latency unless told otherwise.
    gpus: of one trial; 0 for the CPU, None for whatever is there. timeout_s: for one trial, from the start of its
    execution. version: replaces the hash of the source as what tells an old result from a new one. flops, bytes: of
    one call, as functions of the problem, to report the share of the device's peak. cache: "warm" times calls that
    find their data in the GPU's L2. compile: called as compile(problem, config, device) on a spare core before the
    trial, in a process that must not touch the GPU; see docs/compilation.md.
    """

    for keyword in unknown:
        raise WorkloadError(f"@workload has no keyword {keyword!r}; {did_you_mean(keyword, KEYWORDS)}")

    def declare(body: Body) -> Workload:
        name = getattr(body, "__name__", repr(body))
        _check_declaration(name, body, space, gpus, timeout_s, cache)
        if objective is not None and not isinstance(objective, Objective):
            raise WorkloadError(f"{name}: objective is {objective!r}; write minimize({objective!r}) or maximize(…).")
        path = Path(inspect.unwrap(body).__code__.co_filename).resolve()
        return Workload(
            name=name,
            body=body,
            space=space,
            problems=_problems(name, problems),
            objective=objective or Objective(),
            gpus=gpus,
            timeout_s=float(timeout_s),
            flops=flops,
            bytes=bytes,
            cache=cache,
            compile=compile,
            path=path,
            version=version or source_version(path),
        )

    return declare


def load(path: Path) -> list[Workload]:
    """The workloads that the file declares, in order; its code is run, as `python FILE` would run it.

    Raises WorkloadError where there is no such file, it cannot be run, or it declares none.
    """
    path = Path(path).resolve()
    if path.is_dir():
        raise WorkloadError(f"{path} is a folder; expected a Python file that declares workloads.")
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.py")]) if path.parent.is_dir() else ""
        raise WorkloadError(f"there is no file {path}; {near or 'its folder is not there either.'}")
    if path.suffix != ".py":
        raise WorkloadError(f"{path} is not a Python file; a workload is declared in one with @autotune.workload.")
    module = _run(path)
    found = {w.name: w for w in vars(module).values() if isinstance(w, Workload) and w.path == path}
    if not found:
        raise WorkloadError(
            f"no workload in {path}; put @autotune.workload(space=…) over a generator function of (problem, config)."
        )
    return list(found.values())


def load_one(reference: WorkloadReference) -> Workload:
    """The workload that a trial refers to; raises WorkloadChanged where the file now holds another version."""
    loaded = find(load(reference.path), reference.name)
    if loaded.version != reference.version:
        raise WorkloadChanged(
            f"{reference.path} changed while its study was running: {reference.name} was version {reference.version} "
            f"and is {loaded.version} now. Start the study again; it will tune the new version."
        )
    return loaded


def find(workloads: Iterable[Workload], name: str) -> Workload:
    """The one with that name; raises WorkloadError with the nearest name where there is none."""
    by_name = {w.name: w for w in workloads}
    if name not in by_name:
        raise WorkloadError(f"there is no workload {name!r}; {did_you_mean(name, by_name)}")
    return by_name[name]


def targets_of(one: Workload, here: Sequence[Device]) -> list[Device]:
    """One device of each SKU that it can run on; the CPU only where it asks for that or nothing else is there."""
    gpus = [d for d in here if d.kind == "gpu"]
    if one.gpus == 0 or (one.gpus is None and not gpus):
        suitable = [d for d in here if d.kind == "cpu"]
    else:
        skus = [d.sku for d in gpus]
        suitable = [d for d in gpus if skus.count(d.sku) >= (one.gpus or 1)]
    return list({d.sku: d for d in reversed(suitable)}.values())[::-1]


def source_version(path: Path) -> str:
    """12 hexadecimal digits over the text of the file and of the local modules that it imports.

    A kernel often lives in a module beside the workload: editing it must start a new study as well.
    """
    digest = hashlib.sha256()
    for source in source_files(path):
        digest.update(str(source.relative_to(path.parent)).encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def source_files(path: Path) -> list[Path]:
    """The file and, transitively, what it imports from its own folder; sorted, found without running anything."""
    found: set[Path] = set()
    waiting = [path] if path.is_file() else []
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += _local_imports(source, path.parent)
    return sorted(found)


def _local_imports(source: Path, root: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(source.read_bytes())
    except SyntaxError:  # reported with its place when the file is run
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names, base = [alias.name for alias in node.names], root
        elif isinstance(node, ast.ImportFrom):
            base = source.parents[node.level - 1] if node.level else root
            prefix = f"{node.module}." if node.module else ""
            names = [f"{prefix}{alias.name}" for alias in node.names] + [node.module or ""]
        else:
            continue
        for name in names:
            if name.partition(".")[0] != "autotune":  # ours; its version is part of the toolchain
                yield from _module_files(base, name)


def _module_files(base: Path, dotted: str) -> Iterator[Path]:
    """The files that importing the dotted name from `base` would run: package by package, then the module."""
    folder = base
    for part in filter(None, dotted.split(".")):
        for candidate in (folder / part / "__init__.py", folder / f"{part}.py"):
            if candidate.is_file():
                yield candidate
        folder = folder / part


def _run(path: Path) -> ModuleType:
    """Run the file under a name of its own, so that a user's `workloads` or `test` never meets another's."""
    name = f"autotune_workload_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise WorkloadError(f"{path} cannot be loaded as Python.")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # as `python FILE` does: its neighbours can be imported
    module = module_from_spec(spec)
    sys.modules[name] = module  # triton and pickle look a function's module up
    try:
        spec.loader.exec_module(module)
    except (KeyboardInterrupt, UserError):
        del sys.modules[name]
        raise
    except BaseException as error:
        del sys.modules[name]
        raise WorkloadError(_import_failure(path, error)) from error
    return module


def _import_failure(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename or path}:{error.lineno}: {error.msg}."
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f"{path}:{lines[-1]}" if lines else str(path)
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        extra = "torch" if package == "torch" else "gpu"
        source = f"'gpu-autotune[{extra}]'" if package in GPU_PACKAGES else package
        return f"{where}: it imports {error.name}, which is not installed here; pip install {source}."
    return f"{where}: {type(error).__name__}: {error} (raised while the file was loaded)."


def _check_declaration(
    name: str, body: Body, space: SearchSpace, gpus: int | None, timeout_s: float, cache: str
) -> None:
    if not inspect.isgeneratorfunction(inspect.unwrap(body)):
        raise WorkloadError(f"{name} does not yield; a workload prepares, yields the callable to time, and verifies.")
    if len(inspect.signature(body).parameters) != 2:
        raise WorkloadError(f"{name}{inspect.signature(body)} must take exactly (problem, config).")
    if not isinstance(space, SearchSpace):
        raise WorkloadError(f"{name}: space is a {type(space).__name__}; expected a SearchSpace(name=choice(…), …).")
    if gpus is not None and (not isinstance(gpus, int) or gpus < 0):
        raise WorkloadError(f"{name}: gpus is {gpus!r}; expected a whole number, 0 for the CPU.")
    if cache not in ("cold", "warm"):
        raise WorkloadError(f"{name}: cache is {cache!r}; expected 'cold' or 'warm'.")
    if not timeout_s > 0:
        raise WorkloadError(f"{name}: timeout_s is {timeout_s!r}; expected seconds above 0.")


def _problems(name: str, problems: Iterable[Mapping[str, Any]]) -> tuple[Problem, ...]:
    if isinstance(problems, Mapping):
        raise WorkloadError(f"{name}: problems is one mapping; expected a list of them: problems=[Problem(…), …].")
    by_text = {problem.text: problem for problem in map(Problem, problems)}  # as text, 1 is not 1.0
    listed = tuple(by_text.values())
    if not listed:
        raise WorkloadError(f"{name}: problems is empty; leave it out where there is only one problem.")
    return listed
