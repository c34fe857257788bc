"""How good the search is on recorded spaces, beside other tuners; `python -m benchmarks.search_quality RECORDING…`.

docs/search.md says how a search is judged. `strategy` is the same search for a judge that calls it with a space and a
function, as a study of `autotune study` would run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import random
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autotune.cli.stage import Stage, Way
from autotune.device import Toolchain, cpu_device
from autotune.errors import UserError
from autotune.executors.noise import Noise
from autotune.rehearsal import Rehearsal
from autotune.report import stdout
from autotune.scorecard import Scorecard, overall
from autotune.scorecard_view import RehearsalDisplay, scorecards_view
from autotune.search import Prior
from autotune.values import Config
from benchmarks import kernel_tuner_search, optuna_search, search_cost
from benchmarks.failing import with_failures
from benchmarks.judged import Evaluate, JudgedSpace, JudgedWorkload, study

STRATEGIES = ("auto", "tpe", "random", "optuna:tpe", "kernel_tuner:genetic_algorithm", "kernel_tuner:hybrid_vndx")
PACKAGES = ("numpy", "optuna", "kernel_tuner")
PRIORS = ("siblings", "shuffled")

_judged: tuple[Any, JudgedWorkload] | None = None
"""The space that was judged last, by its list of valid configurations: a judge runs many seeds on one."""


def strategy(space: JudgedSpace, evaluate: Evaluate, budget: int, seed: int) -> None:
    """What a study with the sampler `auto` measures, in its order; the default of the space first."""
    global _judged
    if _judged is None or _judged[0] is not space.valid:
        _judged = space.valid, JudgedWorkload.of(space)
    study(_judged[1], evaluate, budget, sampler="auto", seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One search to be made, in any process."""

    path: Path
    strategy: str
    seed: int
    way: Way
    failing: float = 0.0
    prior: str | None = None
    """Of what a search knows beforehand: see `prior_of`."""
    siblings: tuple[Path, ...] = ()


def run(one: Run) -> Rehearsal:
    """Make it."""
    stage = staged(one.path, one.failing)
    kind, colon, name = one.strategy.partition(":")
    if not colon:
        prior = None if one.prior is None else prior_of(one.siblings, shuffled=one.prior == "shuffled", seed=one.seed)
        return stage.study(one.strategy, one.seed, replace(one.way, prior=prior))
    peer = {"optuna": _optuna, "kernel_tuner": _kernel_tuner}[kind]
    return _observed(stage, one.way.trials, lambda evaluate: peer(name, stage, evaluate, one))


@lru_cache(maxsize=8)
def staged(path: Path, failing: float) -> Stage:
    """The recording, with further failures where they are asked for."""
    stage = Stage.load(path)
    return Stage(recording=with_failures(stage.recording, failing)) if failing else stage


def prior_of(siblings: Sequence[Path], *, shuffled: bool, seed: int) -> Prior:
    """What recordings of the same kernel on other GPUs say beforehand; shuffled, it is nothing and must not harm."""
    sources = {stage.name: stage.outcomes for stage in (staged(path, 0.0) for path in siblings)}
    return Prior({name: _shuffled(outcomes, seed) if shuffled else outcomes for name, outcomes in sources.items()})


def _shuffled(outcomes: Mapping[Config, float | None], seed: int) -> dict[Config, float | None]:
    values = list(outcomes.values())
    random.Random(seed).shuffle(values)
    return dict(zip(outcomes, values, strict=True))


def siblings_of(path: Path, paths: Sequence[Path]) -> tuple[Path, ...]:
    """Those of the paths that are recordings of the same kernel: what is named the same up to the last hyphen."""
    kernel = path.name.partition(".json")[0].rpartition("-")[0]
    return tuple(other for other in paths if other != path and other.name.startswith(f"{kernel}-"))


class _Spent(Exception):
    """The budget of a peer."""


def _observed(stage: Stage, trials: int, search: Callable[[Callable[[Config], float | None]], None]) -> Rehearsal:
    """A peer's search as if it were a study: what would have been picked after each distinct configuration."""
    sign = 1.0 if stage.recording.objective.direction == "minimize" else -1.0
    known: dict[Config, float | None] = {}

    def evaluate(config: Config) -> float | None:
        if config not in known:
            if len(known) >= min(trials, stage.space.size):
                raise _Spent
            value = sign * float(stage.space.values[stage.position[config]])
            known[config] = None if math.isnan(value) else value
        return known[config]

    started_s = time.perf_counter()
    with contextlib.suppress(_Spent):
        search(evaluate)
    elapsed_s = time.perf_counter() - started_s
    picks = tuple(_best_so_far(known))
    return Rehearsal(picks=picks, picked=picks[-1], search_ms=1e3 * elapsed_s / len(picks), interrupted=False)


def _best_so_far(known: dict[Config, float | None]) -> Iterator[Config]:
    best: tuple[float, Config] | None = None
    for config, value in known.items():
        if value is not None and (best is None or value < best[0]):
            best = value, config
        yield best[1] if best else config


def _optuna(name: str, stage: Stage, evaluate: Callable[[Config], float | None], one: Run) -> None:
    valid = stage.workload.space.bind(stage.recording.problem, stage.recording.device)
    optuna_search.search(name, valid, evaluate, one.way.trials, one.seed)


def _kernel_tuner(name: str, stage: Stage, evaluate: Callable[[Config], float | None], one: Run) -> None:
    kernel_tuner_search.search(name, stage.recording.configs, evaluate, one.way.trials, one.seed)


def measure(paths: Sequence[Path], strategies: Sequence[str], seeds: int, like: Run, jobs: int) -> list[Scorecard]:
    """A card for each strategy on each recording, and one for each strategy on all."""
    of_each = [
        [replace(like, path=path, strategy=name, seed=seed, siblings=siblings_of(path, paths)) for seed in range(seeds)]
        for path in paths
        for name in strategies
    ]
    cards: dict[str, list[Scorecard]] = {name: [] for name in strategies}
    with RehearsalDisplay(len(of_each) * seeds) as display, multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for runs in of_each:
            first = runs[0]
            stage = staged(first.path, first.failing)
            display.begin(stage.name, first.strategy, seeds)
            done = []
            for found in pool.imap(run, runs):
                done.append(found)
                display.advance()
            cards[first.strategy].append(stage.scorecard(first.strategy, done, like.way.trials))
    return [card for own in cards.values() for card in (*own, overall(own))]


def document(cards: Sequence[Scorecard], chosen: argparse.Namespace) -> dict[str, Any]:
    """What is kept of it."""
    alone = ("recording", "sampler")
    strategies: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(card.sampler for card in cards):
        *each, together = [card.to_json() for card in cards if card.sampler == name]
        strategies[name] = {key: value for key, value in together.items() if key not in alone} | {
            "recordings": {one["recording"]: {k: v for k, v in one.items() if k not in alone} for one in each},
            "seeds": chosen.seeds,
        }
    modes = {name: getattr(chosen, name) for name in ("in_flight", "noise", "failing", "warm_start")}
    return {"trials": chosen.trials, **modes, "strategies": strategies}


def provenance() -> dict[str, Any]:
    """Where, with what and when it was measured."""
    here = cpu_device()
    return {
        "device": here.to_json(),
        "versions": {**Toolchain.current(here).to_json(), **{name: _version(name) for name in PACKAGES}},
        "command": shlex.join(["python", "-m", "benchmarks.search_quality", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _check(chosen: argparse.Namespace, strategies: Sequence[str]) -> None:
    """Refuse what would mean nothing, before anything is run."""
    peers = [name for name in strategies if ":" in name]
    for name in peers:
        if name.partition(":")[0] not in ("optuna", "kernel_tuner"):
            raise UserError(f"there is no peer {name!r}; expected optuna:NAME or kernel_tuner:NAME.")
    if peers and (chosen.in_flight > 1 or chosen.noise or chosen.warm_start):
        raise UserError(
            f"{', '.join(peers)} measures one configuration after another, without noise and prior; "
            "name other strategies: --strategies auto,random."
        )


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.search_quality", description=__doc__)
    arguments.add_argument("recordings", nargs="*", type=Path)
    arguments.add_argument("--seeds", type=int, default=20)
    arguments.add_argument("--trials", type=int, default=400)
    arguments.add_argument("--strategies", default=",".join(STRATEGIES), help="ours by name, optuna:…, kernel_tuner:…")
    arguments.add_argument("--in-flight", type=int, default=1, help="trials under way at once")
    arguments.add_argument("--noise", help="of readings: recorded, or a share such as 0.05")
    arguments.add_argument("--failing", type=float, default=0.0, help="share of the configurations that are to fail")
    arguments.add_argument("--warm-start", choices=PRIORS, help="what is known beforehand")
    arguments.add_argument("--cost", action="store_true", help="what the search itself takes, instead of its quality")
    arguments.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments.add_argument("--out", type=Path, help="default: the file in benchmarks/results")
    return arguments.parse_args()


def main() -> None:
    """Search, print, and write the result file."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the processes to come: they are as many as the cores
    chosen = _arguments()
    strategies = list(dict.fromkeys(chosen.strategies.split(",")))
    name = "search_cost" if chosen.cost else "search_quality"
    if chosen.cost:
        found = search_cost.measure([one for one in strategies if ":" not in one])
        print(json.dumps(found, indent=1))
    else:
        if not chosen.recordings:
            raise UserError("no recordings were named: python -m benchmarks.search_quality RECORDING…")
        _check(chosen, strategies)
        noise = None if chosen.noise is None else Noise.parse(chosen.noise)
        way = Way(trials=chosen.trials, in_flight=chosen.in_flight, noise=noise)
        like = Run(path=Path(), strategy="", seed=0, way=way, failing=chosen.failing, prior=chosen.warm_start)
        cards = measure([path.resolve() for path in chosen.recordings], strategies, chosen.seeds, like, chosen.jobs)
        stdout().print(scorecards_view(cards))
        found = document(cards, chosen)
    out = chosen.out or Path(__file__).parent / f"results/{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found | provenance(), indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"search_quality: {error}")
