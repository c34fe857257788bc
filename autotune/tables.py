"""Tables: results, winners, studies, devices and spaces as a person reads them; what happens live is in `report`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from autotune.device import Device
from autotune.device.tenants import Tenant
from autotune.matrix import MatrixResult
from autotune.measurement import Failure, Measurement, Outcome
from autotune.objective import Objective
from autotune.plan import Plan
from autotune.portfolio.portfolio import Portfolio
from autotune.registry.generations import Changeover, Generation
from autotune.registry.records import RecordedRound, RecordedTrial, StudyRecord
from autotune.roofline import peak_shares
from autotune.space.rejection import Rejection
from autotune.space.valid_set import ValidSet
from autotune.study import StudyResult
from autotune.sweep.agenda import Agenda
from autotune.sweep.due import DueKind
from autotune.sweep.night import Deed, Result
from autotune.tuned_config import TunedConfig
from autotune.values import Config
from autotune.verdict import VerdictKind
from autotune.workload import Workload


def results_view(results: Sequence[StudyResult]) -> Group:
    """A row per study: default, best, speed-up, share of the peak where it is known; then who won, and why."""
    table = _table("workload", "problem", "device", "metric", "default", "best", "speed-up", "trials", "failed")
    shares = [_shares(result) for result in results]
    if any(shares):
        table.add_column("of peak")
    for result, share in zip(results, shares, strict=True):
        progress, plan = result.progress, result.progress.plan
        table.add_row(
            plan.workload.name,
            plan.problem.text or "-",
            plan.device.sku,
            plan.workload.objective.metric,
            value_text(result.tuned.baseline if result.tuned and result.promoted else plan.value(progress.default)),
            value_text(result.tuned.value if result.tuned and result.promoted else plan.value(progress.best)),
            ratio_text(result.tuned.speedup if result.tuned and result.promoted else progress.speedup),
            str(len(progress.trials)),
            str(sum(progress.failures.values())),
            *([share or "-"] if any(shares) else []),
        )
    best = [line for result in results for line in _won(result)]
    return Group(table, *([Text(), *best] if best else []))


def _won(result: StudyResult) -> Iterable[Text]:
    """The winner, and why it is that."""
    about, verdict = subject(result.progress.plan), result.verdict
    if result.tuned:
        yield Text.assemble((f"best for {about}: ", "dim"), (result.tuned.config.text, "bold green"))
    if verdict:
        yield Text(f"  {verdict.kind}: {verdict.reason}", "" if verdict.kind is VerdictKind.PROMOTED else "yellow")


def tuned_view(tuned: Sequence[tuple[TunedConfig, str | None]], portfolios: Sequence[Portfolio] = ()) -> Group:
    """A few lines per tuned configuration, which fit any terminal; with when it was superseded, if it was.

    Then what matrix studies chose, in short.
    """
    lines = [line for one, superseded_at in tuned for line in _tuned_lines(one, superseded_at)]
    chosen = [line for one in portfolios for line in (Text(), *_portfolio_lines(one))]
    return Group(*([*lines, *chosen] or [Text("nothing is tuned yet: autotune study FILE")]))


def _tuned_lines(one: TunedConfig, superseded_at: str | None) -> Iterable[Text]:
    low, high = one.interval
    value = f"{one.metric} {value_text(one.value)}"
    against = "the default is best" if one.is_default else f"default {value_text(one.baseline)}"
    if one.speedup is not None and not one.is_default:
        against = f"{ratio_text(one.speedup)} the default's {value_text(one.baseline)}"
    when = f"measured {one.measured_at}" + (f", superseded {superseded_at}" if superseded_at else "")
    warm = " with a warm cache" if one.cache == "warm" else ""
    yield Text.assemble((one.workload, "bold"), f" {one.problem.text} on {one.sku}{warm}".replace("  ", " "))
    between = f" ({value_text(low)} … {value_text(high)})"
    yield Text.assemble("  ", (value, "" if superseded_at else "bold green"), f"{between}; {against}; {when}")
    yield Text(f"  {one.config.text}")
    if one.verdict:
        yield Text(f"  {one.verdict.kind}: {one.verdict.reason}", "dim")


def matrix_view(result: MatrixResult) -> Group:
    """What a matrix study ended with, or why it has not."""
    lines: list[Any] = [Text()]
    if result.state == "interrupted":
        text = (
            "The matrix study was interrupted: no configurations are chosen for all problems; the same command goes on."
        )
        lines.append(Text(text, "yellow"))
    elif result.portfolio is None:
        lines.append(Text("No problem has a configuration that runs: there is nothing to choose from.", "bold red"))
    else:
        lines.append(portfolio_view(result.portfolio))
    if result.unpublished:
        lines.append(Text(f"chosen and recorded, but not published for lookups: {result.unpublished}", "bold red"))
    return Group(*lines)


def portfolios_view(portfolios: Sequence[tuple[Portfolio, str | None]]) -> Group:
    """Each portfolio in full, newest first; with when it was superseded, if it was."""
    views = [part for one, superseded_at in portfolios for part in (portfolio_view(one, superseded_at), Text())]
    return Group(*(views or [Text("there is no portfolio yet: autotune study FILE --matrix")]))


def portfolio_view(one: Portfolio, superseded_at: str | None = None) -> Group:
    """What each problem gets and loses by it, what fewer and more configurations lose, and the rule."""
    missing = [Text(f"no configuration is known to run for {problem.text}", "yellow") for problem in one.missing]
    lines = [*_portfolio_lines(one, superseded_at), Text()]
    return Group(*lines, _picks_table(one), *missing, Text(), _sizes_table(one), Text(), Text(one.rule.text))


def _portfolio_lines(one: Portfolio, superseded_at: str | None = None) -> list[Text]:
    """What it loses, and its configurations."""
    count, when = len(one.rule.configs), f", superseded {superseded_at}" if superseded_at else ""
    title = Text.assemble(
        (one.workload, "bold"),
        f" on {one.sku}: {count} configuration{'s' * (count != 1)} for {len(one.picks)} problems, on average "
        f"{percent_text(one.loss.mean)} worse than each one's best and at most {percent_text(one.loss.worst)}; "
        f"measured {one.measured_at}{when}",
    )
    configs = enumerate(one.rule.configs, 1)
    return [title, *(Text(f"  #{number} {config.text}", "bold green") for number, config in configs)]


def _picks_table(one: Portfolio) -> Table:
    table = _table("problem", f"best {one.metric}", "picked", "loss", "its own best")
    for pick in one.picks:
        picked = "-" if pick.config is None else f"#{pick.config + 1}"
        table.add_row(
            pick.problem.text, value_text(pick.value), picked, percent_text(pick.loss), _number(one, pick.best)
        )
    return table


def _number(one: Portfolio, config: Config) -> str:
    """`#2` where it is one of those of the portfolio."""
    return f"#{one.rule.configs.index(config) + 1}" if config in one.rule.configs else config.text


def _sizes_table(one: Portfolio) -> Table:
    table = _table("configurations", "mean loss", "worst loss", "problems left out")
    for at_most, loss in enumerate(one.sizes, 1):
        words = "1" if at_most == 1 else f"at most {at_most}"
        table.add_row(words, percent_text(loss.mean), percent_text(loss.worst), str(loss.uncovered or "-"))
    return table


def generations_view(generations: Sequence[Generation]) -> Table | Text:
    """A row per generation, the newest first."""
    if not generations:
        return Text("no generation was published yet: a nightly sweep publishes its winners as one")
    table = _table("generation", "state", "winners", "published", "rolled back")
    for one in generations:
        times = ((when or "-")[:16].replace("T", " ") for when in (one.published_at, one.rolled_back_at))
        table.add_row(str(one.number), one.state, str(one.winners), *times)
    return table


def changeover_view(changeover: Changeover) -> Group:
    """What was rolled back, a few lines for each place where another configuration is current now."""
    numbers = " and ".join(map(str, changeover.generations))
    lines = [Text(f"rolled back: generation {numbers}", "bold")]
    for change in changeover.changes:
        one = change.after or change.before
        lines.append(Text(_place(one) if one else ""))
        lines.append(Text(f"  was {change.before.config.text if change.before else 'not tuned'}", "dim"))
        lines.append(Text(f"  is  {change.after.config.text if change.after else 'not tuned'}"))
    lines += [Text(f"{_place(one)}: left as it is, it was promoted later", "yellow") for one in changeover.left]
    return Group(*lines)


def _place(tuned: TunedConfig) -> str:
    return " ".join(filter(None, (tuned.workload, tuned.problem.text, f"on {tuned.sku}")))


def study_view(study: StudyRecord, trials: Sequence[RecordedTrial], rounds: Sequence[RecordedRound]) -> Group:
    """One study: its trials, the rounds that its best were measured again in, and how it ended."""
    parts: list[Table | Text] = [trials_table(study, trials)]
    if rounds:
        parts += [Text(), _rounds_table(study, trials, rounds)]
    if study.verdict:
        parts += [Text(), Text(f"{study.verdict.kind}: {study.verdict.reason}", "bold")]
    return Group(*parts)


def _rounds_table(study: StudyRecord, trials: Sequence[RecordedTrial], rounds: Sequence[RecordedRound]) -> Table:
    """A row per round, a column per trial that was measured again."""
    objective = Objective.parse(study.key.objective)
    members = {config for one in rounds for config in one.outcomes}
    numbers = {trial.config: trial.number for trial in trials if trial.config in members}
    table = _table("round", *(f"#{number}" for number in numbers.values()))
    for one in rounds:
        table.add_row(str(one.number), *(_reading(objective, one.outcomes.get(config)) for config in numbers))
    return table


def _reading(objective: Objective, outcome: Outcome | None) -> str:
    """The median of the objective, or the kind of failure; `-` for who took no part."""
    if isinstance(outcome, Failure):
        return outcome.kind.value
    return value_text(outcome.medians[objective.metric] if outcome else None)


def studies_table(studies: Iterable[StudyRecord]) -> Table:
    """A row per study."""
    table = _table("study", "workload", "problem", "device", "state", "trials", "failed", "effort", "updated")
    for study in studies:
        key = study.key
        table.add_row(
            str(study.id),
            key.workload,
            key.problem.text or "-",
            key.sku,
            study.state,
            str(study.trials),
            str(study.failures),
            key.effort,
            study.updated_at[:16].replace("T", " "),
        )
    return table


def trials_table(study: StudyRecord, trials: Sequence[RecordedTrial]) -> Table:
    """A row per trial of one study, in the order measured."""
    objective = Objective.parse(study.key.objective)
    table = _table("trial", "from", objective.metric, "± %", "outcome", "seconds")
    table.add_column("configuration", overflow="fold")
    for trial in trials:
        outcome = trial.outcome
        measured = outcome.metrics[objective.metric] if isinstance(outcome, Measurement) else None
        table.add_row(
            str(trial.number),
            trial.origin,
            value_text(measured.median if measured else None),
            f"{100 * measured.relative_width:.1f}" if measured and len(measured.values) > 1 else "-",
            verdict(objective, trial) + (f": {outcome.message}" if isinstance(outcome, Failure) else ""),
            f"{outcome.elapsed_s:.2f}",
            trial.config.text,
        )
    return table


def devices_view(devices: Sequence[Device], tenants: Mapping[str, Sequence[Tenant]]) -> Group:
    """A row per device, then who else computes on it. tenants: by the device's UUID."""
    table = _table(
        "device", "SKU", "name", "arch", "memory", "SMs or cores", "shared memory per block", "L2", "bandwidth"
    )
    for device in devices:
        bandwidth = device.memory_bandwidth_bytes_per_s
        table.add_row(
            f"{device.kind}:{device.index}" if device.kind == "gpu" else "cpu",
            device.sku,
            device.name,
            device.arch,
            _bytes(device.memory_bytes),
            str(device.multiprocessors),
            _bytes(device.shared_memory_per_block_bytes),
            _bytes(device.l2_bytes),
            f"{bandwidth / 1e12:.2f} TB/s" if bandwidth else "-",
        )
    others = [(device, tenant) for device in devices for tenant in tenants[device.uuid]]
    return Group(table, *(Text(f"{one.kind}:{one.index} is used by {tenant.text}") for one, tenant in others))


def check_view(workload: Workload, valid: ValidSet, rejections: Sequence[Rejection]) -> Group:
    """The space of a workload for one problem on one device: parameters, sizes, what the constraints reject and why."""
    about = "" if valid.exact else "about "
    title = Text.assemble(
        (workload.name, "bold"),
        f" {valid.problem.text}" if valid.problem else "",
        f" on {valid.device.sku}: " if valid.device else ": ",
        f"{about}{valid.size:,} of {valid.space.size:,} configurations are valid ({100 * valid.share:.3g} %)",
    )
    parameters = _table("parameter", "default", "values")
    for name, parameter in valid.space.parameters.items():
        parameters.add_row(name, str(valid.default.get(name, "-")), parameter.text)
    constraints = _table("constraint", "rejects", "because", "for example")
    for one in rejections:
        example = one.example.text if one.example else "-"
        constraints.add_row(one.constraint.name, f"{100 * one.share:.3g} %", one.constraint.reason, example)
    lines: list[Any] = [title, Text(), parameters]
    if rejections:
        lines += [Text(), constraints]
    if not valid.default_is_declared:
        lines += [
            Text(),
            Text("The declared default is not valid here; the nearest valid one is measured first.", "yellow"),
        ]
    return Group(*lines, Text())


def outcome_view(plan: Plan, config: Config, outcome: Outcome) -> Group:
    """One trial in full."""
    title = Text.assemble((plan.workload.name, "bold"), f" {plan.problem.text} on {plan.device.sku}: {config.text}")
    if isinstance(outcome, Failure):
        lines = [Text(f"{outcome.kind.value} in {outcome.phase or 'the start'}: {outcome.message}", "yellow")]
        return Group(title, *lines, *([Text(outcome.details, "dim")] if outcome.details else []))
    table = _table("metric", "median", "95 % interval", "samples")
    for name, samples in outcome.metrics.items():
        low, high = samples.interval
        table.add_row(
            name, value_text(samples.median), f"{value_text(low)} … {value_text(high)}", str(len(samples.values))
        )
    phases = ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in outcome.phase_s.items())
    shares = peak_shares(plan.workload, plan.problem, plan.device, outcome.medians)
    of_peak = (
        [Text(", ".join(f"{100 * share:.1f} % of peak {name}" for name, share in shares.items()))] if shares else []
    )
    return Group(title, table, *of_peak, Text(phases, "dim"))


def agenda_view(agenda: Agenda) -> Group:
    """What a night has to do, in its order: why, what it costs, and whether the budget reaches it."""
    table = _table("target", "due", "why", "GPU min", "budget")
    for item in agenda.items:
        fresh = item.due.kind is DueKind.FRESH
        verdict = "" if fresh else "yes" if item.affordable else "not tonight"
        table.add_row(
            item.due.target.text,
            item.due.kind.value,
            "; ".join(item.due.reasons),
            "" if fresh else f"{item.cost_s / 60:.1f}",
            verdict,
        )
    return Group(table, *(Text(f"missing: {one}", "yellow") for one in agenda.missing), Text(agenda_text(agenda)))


def agenda_text(agenda: Agenda) -> str:
    """`3 of 5 targets are due; about 12.5 GPU minutes`."""
    due = [item for item in agenda.items if item.due.kind is not DueKind.FRESH]
    tonight = [item for item in due if item.affordable]
    known = len(agenda.items) + len(agenda.done)
    text = f"{len(due)} of {known} target{'s' * (known != 1)} {'is' if len(due) == 1 else 'are'} due"
    if len(tonight) < len(due):
        text += f", {len(tonight)} of them within the budget"
    if agenda.done:
        text += (
            f"; {len(agenda.done)} {'was' if len(agenda.done) == 1 else 'were'} done before this night was interrupted"
        )
    minutes = sum(item.cost_s for item in tonight) / 60
    return f"{text}; about {minutes:.1f} GPU minutes." if tonight else f"{text}; there is nothing to do."


def night_result_line(result: Result) -> Text:
    """One target's, on a line: what was done, and what came of it."""
    colors = {Deed.FAILED: "bold red", Deed.OUT_OF_BUDGET: "yellow"}
    why = result.message or "the order holds" * (result.deed is Deed.RECHECKED)
    return Text.assemble(
        (f"{result.deed.value:<14}", colors.get(result.deed, "")),
        (result.due.target.text, "bold"),
        f" ({'; '.join(result.due.reasons)}): {why}",
    )


def subject(plan: Plan) -> str:
    """What a study is about."""
    return f"{plan.workload.name} {plan.problem.text}".strip()


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def verdict(objective: Objective, trial: RecordedTrial) -> str:
    """`ok`, the bounds that a trial breaks, or its kind of failure."""
    if isinstance(trial.outcome, Failure):
        return trial.outcome.kind.value
    broken = [bound for bound, excess in objective.violations(trial.outcome.medians).items() if excess > 0]
    return f"breaks {', '.join(broken)}" if broken else "ok"


def _bytes(count: int | None) -> str:
    if count is None:
        return "-"
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} B"


def value_text(value: float | None) -> str:
    """A metric's value: four significant digits, thousands apart; `-` for none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def percent_text(share: float | None) -> str:
    """A share: `2.1 %`; `-` for none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def ratio_text(ratio: float | None) -> str:
    """A speed-up: `1.87x`; `-` for none."""
    return "-" if ratio is None else f"{ratio:.2f}x"


def _shares(result: StudyResult) -> str:
    plan = result.progress.plan
    shares = peak_shares(plan.workload, plan.problem, plan.device, result.medians)
    return ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares.items())
