"""Drop-in: `triton_autotuned` declares a workload from a kernel that is already under `@triton.autotune`, as it stands.

What such a kernel is, is in `kernel`; what production does with it, in `launches`.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotune.drop_in.kernel import AutotunedKernel
from autotune.drop_in.pin import Pin
from autotune.errors import SpaceError, WorkloadError, did_you_mean
from autotune.objective import Objective
from autotune.restoring import Restoring
from autotune.space import Constraint, SearchSpace, choice
from autotune.values import Config, Problem
from autotune.workload import DEFAULT_TIMEOUT_S, Body, Cache, Work, Workload, source_files, source_version, workload

Call = Callable[[], Any]
LaunchingBody = Callable[[Problem], Generator[Call, None, None]]
"""Prepares, yields the launch as it stands, verifies; the configuration is applied to the kernel around it."""
NamedArguments = Callable[[Problem], Mapping[str, Any]]

MOST_SEEDS = 16
"""Of the list; a longer one is sampled evenly, for whoever lists hundreds has listed a product, not what is good."""
MOST_PRUNED_AT_ONCE = 8192
"""Configurations; a larger space is pruned one by one."""
_ENDED: Any = object()


def triton_autotuned(
    kernel: Any,
    *,
    problems: Iterable[Mapping[str, Any]] = (Problem(),),
    only_listed: bool = False,
    space: SearchSpace | None = None,
    named_args: NamedArguments | None = None,
    objective: Objective | None = None,
    gpus: int | None = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    version: str | None = None,
    flops: Work | None = None,
    bytes: Work | None = None,  # noqa: A002 - the field's own word
    cache: Cache = "cold",
) -> Callable[[LaunchingBody], Workload]:
    """Declare the generator of one argument below, which launches `kernel` as it stands, as a workload.

    kernel: under `@triton.autotune`, untouched. Its list is the seed of the search: the space is the product of the
    values that occur in it, less what its `early_config_prune` drops; the first of the list is the default.
    problems: each must hold the values of the kernel's `key` by their names, and may hold more, such as a dtype.
    only_listed: search the list itself. space: parameters that replace or join those of the list, and constraints.
    named_args: what `early_config_prune` reads beside the problem's values, as a function of the problem.
    The other keywords are those of `@workload`.
    """
    known = AutotunedKernel.of(kernel)

    def declare(body: LaunchingBody) -> Workload:
        name = getattr(body, "__name__", repr(body))
        _check_body(name, body)
        listed = list(map(Problem, [problems] if isinstance(problems, Mapping) else problems))
        for problem in listed:
            _check_problem(name, problem, known)
        whole = _space(name, known, only_listed, space, named_args)
        declared = workload(
            space=whole,
            problems=listed,
            objective=objective,
            gpus=gpus,
            timeout_s=timeout_s,
            version=version or _version(body, known),
            flops=flops,
            bytes=bytes,
            cache=cache,
        )(_applied(body, known))
        return replace(declared, seeds=() if only_listed else _seeds(known, whole))

    return declare


def _applied(body: LaunchingBody, known: AutotunedKernel) -> Body:
    """The body of a problem and a configuration: the kernel is pinned while it runs, and during each timed call.

    Not in between, for several configurations may be prepared and called in turn.
    """

    @functools.wraps(body)
    def applied(problem: Problem, config: Config) -> Generator[Call, None, None]:
        pin, running = known.pin(config), body(problem)
        try:
            while True:
                with pin.held():
                    call = next(running, _ENDED)
                if call is _ENDED:
                    return
                yield _pinned(call, pin, known) if callable(call) else call
        finally:
            with pin.held():
                running.close()

    applied.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # else it would be the body's own
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("problem", "config")]
    )
    return applied


def _pinned(call: Call, pin: Pin, known: AutotunedKernel) -> Call:
    """The call under the pin; what it changes in place is restored, as its author or the kernel's says."""
    if isinstance(call, Restoring):
        call.call = _checked(call.call, pin, known)
        return call
    if not (known.reset_to_zero or known.restore_value):
        return _checked(call, pin, known)
    launch = pin.first_launch(call)
    if launch is None:
        raise WorkloadError(
            f"{known.name} has restore_value or reset_to_zero, but what was yielded launches no {known.name} whose "
            f"arguments could be restored; yield autotune.restoring(call, tensors…)."
        )
    to_zero = [launch[name] for name in known.reset_to_zero if launch.get(name) is not None]
    for tensor in to_zero:
        tensor.zero_()
    changed = [*to_zero, *(launch[name] for name in known.restore_value if launch.get(name) is not None)]
    checked = _checked(call, pin, known)
    return Restoring(checked, *changed) if changed else checked  # a tensor that is optional may be left out


def _checked(call: Call, pin: Pin, known: AutotunedKernel) -> Call:
    """The call under the pin, once a first one has shown that it is this kernel that is launched."""
    pinned, checked = pin.around(call), pin.was_launched  # by the preparation, as where a CUDA graph was captured

    def timed() -> Any:
        nonlocal checked
        result = pinned()
        if not checked:
            if not pin.was_launched:
                raise WorkloadError(
                    f"what was yielded launches no {known.name}, so that every configuration would be the same; yield "
                    f"the launch of the kernel that @triton_autotuned was given."
                )
            checked = True
        return result

    return timed


def _space(
    name: str, known: AutotunedKernel, only_listed: bool, added: SearchSpace | None, named_args: NamedArguments | None
) -> SearchSpace:
    first = known.listed[0]
    if only_listed:
        whole = SearchSpace.of(known.listed)
    else:
        _check_product(name, known)
        whole = SearchSpace(**{n: choice(*values, default=first[n]) for n, values in known.parameters.items()})
    unconstrained = whole
    if added is not None:
        _check_added(name, known, added)
        whole, unconstrained = whole | added, whole | SearchSpace(**added.parameters)
        whole = whole.with_default({n: v for n, v in first.items() if v in whole.parameters[n].values})
    return whole if known.prune is None else whole.where(_pruned(known, unconstrained, named_args))


def _seeds(known: AutotunedKernel, whole: SearchSpace) -> tuple[Config, ...]:
    """The listed configurations but the first, spread evenly over the list where there are too many."""
    others = []
    for config in known.listed[1:]:
        try:
            others.append(whole.config(config))
        except SpaceError:  # `space` replaced a parameter that had its value, or added one without which it is none
            continue
    step = max(1, -(-len(others) // MOST_SEEDS))
    return tuple(others[::step])


def _pruned(known: AutotunedKernel, unconstrained: SearchSpace, named_args: NamedArguments | None) -> Constraint:
    """`early_config_prune` as a constraint: called with all configurations at once where these are not too many.

    So it is meant: one that keeps a few of every group, or everything where it would keep nothing, works on the whole.
    """
    name = str(getattr(known.prune, "__name__", type(known.prune).__name__))
    reason = (inspect.getdoc(known.prune) or "").partition("\n")[0] or f"early_config_prune drops it ({name})"
    at_once = unconstrained.size <= MOST_PRUNED_AT_ONCE

    @functools.cache
    def kept(text: str, one: Config | None) -> frozenset[Config]:
        problem = Problem.parse(text)
        try:
            arguments = {**problem, **(named_args(problem) if named_args else {})}
            return known.kept([one] if one is not None else unconstrained.bind(problem, None), arguments)
        except Exception as error:
            raise SpaceError(
                f"early_config_prune ({name}) of {known.name} raised {type(error).__name__}: {error} for "
                f"{text or 'a problem without values'}. It is called with the problem's values; give what else it "
                f"reads with named_args=lambda problem: {{…}}."
            ) from error

    def is_kept(config: Mapping[str, Any], problem: Problem) -> bool:
        complete = Config({**config})
        return complete in kept(problem.text, None if at_once else complete)

    return Constraint(predicate=is_kept, reason=reason, name=name)


def _version(body: LaunchingBody, known: AutotunedKernel) -> str:
    """Of the body's file, and of the kernel's where that is not among what it imports from its own folder."""
    path = Path(inspect.unwrap(body).__code__.co_filename).resolve()
    if known.file in source_files(path) or not known.file.is_file():
        return source_version(path)
    both = f"{source_version(path)} {source_version(known.file)}"
    return hashlib.sha256(both.encode()).hexdigest()[:12]


def _check_body(name: str, body: LaunchingBody) -> None:
    if not inspect.isgeneratorfunction(inspect.unwrap(body)):
        raise WorkloadError(f"{name} does not yield; a workload prepares, yields the launch to time, and verifies.")
    if len(inspect.signature(body).parameters) != 1:
        raise WorkloadError(
            f"{name}{inspect.signature(body)} must take exactly (problem); the configuration is applied to the kernel."
        )


def _check_problem(name: str, problem: Problem, known: AutotunedKernel) -> None:
    extra = {given.casefold(): given for given in problem if given not in known.keys}
    for key in known.keys:
        if key not in problem:
            near = difflib.get_close_matches(key.casefold(), extra, n=1, cutoff=0.5)
            hint = f" Did you mean {key!r} by {extra[near[0]]!r}?" if near else ""
            raise WorkloadError(
                f"{name}: the problem {problem.text or 'without values'} lacks {key!r}; {known.name} is tuned for each "
                f"{', '.join(known.keys)}, by these names.{hint}"
            )


def _check_product(name: str, known: AutotunedKernel) -> None:
    hint = "give only_listed=True to search the list itself"
    if known.incomplete:
        raise WorkloadError(
            f"{name}: not every configuration of {known.name} has {', '.join(known.incomplete)}, and the kernel has no "
            f"default for it; give it one in the kernel's signature, or a value everywhere, or {hint}."
        )
    if known.hooks_differ:
        raise WorkloadError(
            f"{name}: the configurations of {known.name} have different pre_hooks, so that one which is not listed has "
            f"none of its own; {hint}."
        )


def _check_added(name: str, known: AutotunedKernel, added: SearchSpace) -> None:
    for parameter in added.parameters:
        if parameter not in known.takes:
            raise WorkloadError(
                f"{name}: {known.name} has no argument {parameter!r} that the space could set; "
                f"{did_you_mean(parameter, known.takes)}"
            )
