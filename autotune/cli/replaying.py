"""The command that tries searches out on recordings, `replay`: it runs their studies, scores them and draws them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autotune.cli.options import AsJson
from autotune.cli.stage import Stage, Way
from autotune.errors import UserError
from autotune.executors.noise import Noise
from autotune.rehearsal import Rehearsal
from autotune.report import print_answer
from autotune.sampler import STRATEGIES, Sampler
from autotune.scorecard import Scorecard, overall
from autotune.scorecard_view import RehearsalDisplay, scorecards_view
from autotune.scoring import shares_closed

TRIALS, SEEDS = 400, 20
PICTURES = (".svg", ".png")


Studies = dict[tuple[str, Path], list[Rehearsal]]
"""By sampler and recording, those that were not interrupted."""


def replay(
    recordings: Annotated[list[Path], typer.Argument(help="Recorded search spaces.", show_default=False)],
    sampler: Annotated[list[str] | None, typer.Option(help=f"{', '.join(STRATEGIES)}; repeatable [auto].")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Of each study.")] = TRIALS,
    seeds: Annotated[int, typer.Option(min=1, help="Studies with each sampler on each recording.")] = SEEDS,
    in_flight: Annotated[int, typer.Option(min=1, help="Trials under way at once.")] = 1,
    noise: Annotated[str | None, typer.Option(help="Of readings: recorded, or a share such as 0.05.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Best so far against trials: FILE.svg or FILE.png.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try samplers out on recordings, without a device: how they compare with random search. Nothing is recorded."""
    if plot is not None and plot.suffix not in PICTURES:
        raise UserError(f"cannot draw {plot}; expected a name that ends in {' or '.join(PICTURES)}.")
    readings = None if noise is None else Noise.parse(noise)
    stages = [Stage.load(path) for path in dict.fromkeys(recordings)]
    for stage in stages:
        stage.check(readings)
    samplers = _samplers(sampler or ["auto"], stages[0])
    studies: Studies = defaultdict(list)
    way = Way(trials=trials, in_flight=in_flight, noise=readings)
    interrupted = False
    try:
        with RehearsalDisplay(len(stages) * len(samplers) * seeds) as display:
            for stage, name in ((stage, name) for stage in stages for name in samplers):
                display.begin(stage.name, name, seeds)
                for seed in range(seeds):
                    studies[name, stage.recording.path].append(_study(stage, name, seed, way))
                    display.advance()
    except KeyboardInterrupt:
        interrupted = True
    _show(stages, studies, trials, plot, as_json=as_json)
    raise typer.Exit(130 if interrupted else 0)


def _samplers(names: Sequence[str], stage: Stage) -> list[str]:
    """Each of them once; refused before any study where one is unknown or lacks a package."""
    valid = stage.workload.space.bind(stage.recording.problem, stage.recording.device)
    distinct = list(dict.fromkeys(names))
    for name in distinct:
        Sampler(valid, stage.recording.objective, name=name)
    return distinct


def _study(stage: Stage, sampler: str, seed: int, way: Way) -> Rehearsal:
    study = stage.study(sampler, seed, way)
    if study.interrupted:
        raise KeyboardInterrupt
    return study


def _show(stages: Sequence[Stage], studies: Studies, trials: int, plot: Path | None, *, as_json: bool) -> None:
    """What is there, and for each sampler all of its recordings together."""
    cards: list[Scorecard] = []
    for name in dict.fromkeys(name for name, _ in studies):
        done = [(stage, studies.get((name, stage.recording.path), [])) for stage in stages]
        own = [stage.scorecard(name, of_stage, trials) for stage, of_stage in done if of_stage]
        cards += [*own, *([overall(own)] if len(own) > 1 else [])]
    if not cards:
        return
    print_answer([card.to_json() for card in cards], scorecards_view(cards), as_json=as_json)
    if plot is not None:
        _draw(plot, stages, studies, trials)


def _draw(path: Path, stages: Sequence[Stage], studies: Studies, trials: int) -> None:
    """A panel for each recording."""
    from autotune.plot import CurvePanel, search_curves

    panels = []
    for stage in stages:
        count = min(trials, stage.space.size)
        curves = {
            name: shares_closed(stage.space, [stage.picks(one) for one in done], count, "log").tolist()
            for (name, recorded), done in studies.items()
            if recorded == stage.recording.path
        }
        baseline = stage.space.baseline(count, "log").tolist()
        panels.append(CurvePanel(title=stage.name, trials=range(1, count + 1), baseline=baseline, curves=curves))
    search_curves(path, panels)
