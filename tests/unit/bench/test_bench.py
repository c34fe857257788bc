"""perform, in this process: the order of a trial, what it measures, and what it makes of a body that misbehaves."""

import gc
import itertools
import random
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune import bench
from autotune.bench import diagnosis, metrics, perform, sampling, throttle
from autotune.device import cpu_device
from autotune.device.lock import exclusive
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Samples
from autotune.objective import Objective, maximize, minimize
from autotune.restoring import restoring
from autotune.space import SearchSpace, choice
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import Workload

CPU = cpu_device()


def workload(body, objective=None):
    return Workload(
        name=body.__name__,
        body=body,
        space=SearchSpace(x=choice(1, 2)),
        problems=(Problem(),),
        objective=objective or Objective(),
        path=Path(__file__),
        version="1",
    )


def run(body, objective=None, effort=Effort.QUICK, on_phase=lambda _: None, on_error=lambda _: None, **asked):
    declared = workload(body, objective)
    trial = Trial(
        workload=declared.reference, problem=Problem(), config=Config(x=1), sku=CPU.sku, effort=effort, **asked
    )
    return perform(declared, trial, CPU, on_phase, on_error)


def test_a_trial_prepares_warms_up_measures_and_verifies_in_this_order():
    events, phases = [], []

    def body(problem, config):
        events.append("prepare")
        yield lambda: events.append("call")
        events.append("verify")

    measured = run(body, on_phase=lambda name: phases.append((name, len(events))))
    assert isinstance(measured, Measurement), measured
    assert [name for name, _ in phases] == ["prepare", "warm_up", "measure", "verify"] == list(measured.phase_s)
    assert (events[0], events[-1]) == ("prepare", "verify")
    assert events.count("verify") == 1
    assert phases[0][1] == 0
    assert phases[2][1] - phases[1][1] >= sampling.LEAST_WARM_UP
    assert measured.elapsed_s > 0


@pytest.mark.parametrize("effort", Effort)
def test_a_steady_call_is_known_to_the_wanted_precision(effort):
    def body(problem, config):
        yield lambda: time.sleep(0.003)

    latency = run(body, effort=effort).metrics["latency_ms"]
    assert 3 <= latency.median < 20
    limits = sampling.LIMITS[effort]
    assert len(latency.values) >= limits.least


def test_a_restless_call_is_sampled_until_the_time_is_up():
    def body(problem, config):
        turns = itertools.cycle([0.001, 0.004])
        yield lambda: time.sleep(next(turns))

    measured = run(body)
    assert measured.phase_s["measure"] == pytest.approx(sampling.LIMITS[Effort.QUICK].cap_s, rel=0.5)


def test_a_call_longer_than_the_cap_is_sampled_the_least():
    def body(problem, config):
        yield lambda: time.sleep(0.3)

    assert len(run(body).metrics["latency_ms"].values) == sampling.LIMITS[Effort.QUICK].least_when_long


def test_a_call_too_short_for_the_clock_is_timed_in_a_loop():
    def body(problem, config):
        yield lambda: None

    latency = run(body).metrics["latency_ms"]
    assert 1e-6 < latency.median < 1e-3
    assert latency.relative_width < 0.5


def test_seeds_are_set_from_the_trial():
    drawn = []

    def body(problem, config):
        import numpy

        drawn.append((random.random(), float(numpy.random.rand())))
        yield lambda: None

    import numpy  # so that it is loaded before

    run(body, seed=7), run(body, seed=7), run(body, seed=8)
    assert drawn[0] == drawn[1] != drawn[2]
    assert numpy.isfinite(drawn[0]).all()


def test_metrics_that_the_callable_returns_are_kept_as_numbers():
    import numpy

    def body(problem, config):
        yield lambda: {
            "tokens_per_s": numpy.float32(2.5),
            "steps": 3,
            "array": numpy.zeros(()),
            "vector": numpy.zeros(3),
            "name": "x",
            "nan": float("nan"),
            "ok": True,
        }

    measured = run(body, maximize("tokens_per_s"))
    assert set(measured.metrics) == {"latency_ms", "tokens_per_s", "steps", "array"}
    assert measured.medians["tokens_per_s"] == 2.5


def test_what_a_callable_returns_is_not_kept_alive():
    class Result:
        pass

    alive = weakref.WeakSet()
    most = []

    def call():
        most.append(len(alive))
        result = Result()
        alive.add(result)
        return result

    def body(problem, config):
        yield call

    assert isinstance(run(body), Measurement)
    assert max(most) <= 1


def test_clean_up_runs_also_after_a_failure_and_does_not_hide_it():
    ended = []

    def body(problem, config):
        try:
            yield lambda: {}[1]
        finally:
            ended.append(True)
            raise OSError("the clean-up fails, too")

    failure = run(body)
    assert ended
    assert failure.kind is FailureKind.RUNTIME
    assert failure.message.startswith("KeyError: 1 (test_bench.py:")
    assert "Then the clean-up failed: OSError: the clean-up fails, too" in failure.details


def test_a_body_that_refuses_to_end_is_told_of():
    def body(problem, config):
        try:
            yield lambda: 1 / 0
        except GeneratorExit:
            yield

    failure = run(body)
    assert "ZeroDivisionError" in failure.message
    assert "generator ignored GeneratorExit" in failure.details


def test_a_failure_keeps_nothing_of_the_body_alive():
    class Tensor:
        pass

    kept = []

    def body(problem, config):
        tensor = Tensor()
        kept.append(weakref.ref(tensor))
        yield lambda: tensor.missing

    gc.disable()  # by reference counts alone
    try:
        assert isinstance(run(body), Failure)
    finally:
        gc.enable()
    assert kept[0]() is None


def test_the_traceback_holds_the_users_frames_alone():
    def body(problem, config):
        yield lambda: helper(0)

    def helper(divisor):
        return 1 / divisor

    details = run(body).details
    assert "in helper" in details
    assert "autotune/bench/__init__.py" not in details
    assert "autotune/bench/host_clock.py" not in details


@pytest.mark.parametrize("error", [SystemExit("enough"), GeneratorExit(), RecursionError("deep"), StopIteration(3)])
def test_every_exception_becomes_a_failure(error):
    def body(problem, config):
        def call():
            raise error

        yield call

    assert run(body).kind is FailureKind.RUNTIME


def test_an_interrupt_passes_through_after_the_clean_up():
    ended = []

    def body(problem, config):
        def call():
            raise KeyboardInterrupt

        try:
            yield call
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        run(body)
    assert ended


def test_on_error_sees_the_exception_while_the_body_is_alive():
    seen = []

    def body(problem, config):
        opened = ["server"]
        try:
            yield lambda: 1 / 0
        finally:
            opened.clear()
            seen.append("closed")

    run(body, on_error=lambda error: seen.append(type(error)))
    assert seen == [ZeroDivisionError, "closed"]


def test_an_assertion_while_verifying_is_a_wrong_result_and_in_the_call_is_not():
    def wrong(problem, config):
        yield lambda: None
        assert [1.0] == [1.5], "off by a half"

    def refused(problem, config):
        def call():
            assert config.x == 2

        yield call

    assert run(wrong).kind is FailureKind.INCORRECT
    assert run(wrong).message.startswith("wrong result: off by a half")
    assert run(refused).kind is FailureKind.RUNTIME


def test_what_is_certainly_worse_than_the_rival_is_measured_no_further():
    def body(problem, config):
        turns = itertools.cycle([0.002, 0.003])
        yield lambda: time.sleep(next(turns))

    assert len(run(body).metrics["latency_ms"].values) > 10
    assert len(run(body, rival=0.1).metrics["latency_ms"].values) <= sampling.SAMPLES_TO_STOP


def test_verification_sees_the_effect_of_exactly_one_call_in_place():
    seen = []

    def body(problem, config):
        import numpy

        x = numpy.zeros(3)

        def add():
            numpy.add(x, 1, out=x)

        yield restoring(add, x)
        seen.append(x.tolist())

    assert isinstance(run(body), Measurement)
    assert seen == [[1.0, 1.0, 1.0]]


def test_energy_is_measured_where_the_objective_names_it_and_the_device_tells_it(monkeypatch):
    def body(problem, config):
        yield lambda: time.sleep(0.001)

    def tells_itself(problem, config):
        yield lambda: {"energy_j": 3.0}

    silent = run(body, minimize("energy_j"))
    assert silent.kind is FailureKind.RUNTIME
    assert "does not tell how much energy it draws" in silent.message
    assert run(tells_itself, minimize("energy_j")).medians["energy_j"] == 3.0
    monkeypatch.setattr(sampling, "energy_per_call", lambda call, clock, device, cap_s: Samples((0.25, 0.5, 0.75)))
    for objective in (minimize("energy_j"), minimize("latency_ms", {"energy_j": 1.0})):
        assert run(body, objective).medians["energy_j"] == 0.5
    assert "energy_j" not in run(body).metrics


def test_what_holds_the_clocks_back_is_noted_and_marked_where_it_is_new(monkeypatch):
    monkeypatch.setattr(throttle, "conditions", lambda device: Conditions(throttle=("sw_power_cap",)))

    def body(problem, config):
        yield lambda: time.sleep(0.001)

    assert run(body).conditions == Conditions(throttle=("sw_power_cap",))
    assert run(body, known_throttle=("sw_power_cap",)).conditions.disturbed == ()
    assert run(body, known_throttle=()).conditions.disturbed == ("sw_power_cap",)


def test_waiting_for_the_device_is_a_phase_of_its_own_and_no_time_of_the_trial():
    held, release, phases = threading.Event(), threading.Event(), []

    def hold():
        with exclusive(CPU):
            held.set()
            release.wait(10)

    def on_phase(name):
        phases.append(name)
        if name == "wait":
            release.set()

    def body(problem, config):
        yield lambda: time.sleep(0.001)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    measured = run(body, on_phase=on_phase)
    holder.join()
    assert phases == ["wait", "prepare", "warm_up", "measure", "verify"]
    assert list(measured.phase_s) == phases[1:]


def test_the_device_is_held_until_the_clean_up_is_done():
    waiting = []

    def is_held():
        told = threading.Event()

        def look():
            with exclusive(CPU, lambda holder: told.set()):
                pass

        waiting.append(threading.Thread(target=look))
        waiting[-1].start()
        return told.wait(5)

    seen = []

    def body(problem, config):
        seen.append(is_held())
        try:
            yield lambda: None
        finally:
            seen.append(is_held())

    run(body)
    for looking in waiting:
        looking.join()
    assert seen == [True, True]


def test_threads_of_the_users_own_code_must_end_and_those_of_a_library_may_idle():
    stop = threading.Event()

    def work_on():
        while not stop.is_set():
            time.sleep(0.01)

    def leaves(problem, config):
        threading.Thread(target=work_on, name="endless").start()
        yield lambda: time.sleep(0.001)

    def idles(problem, config):
        threading.Thread(target=stop.wait, name="idle").start()
        yield lambda: time.sleep(0.001)

    try:
        assert isinstance(run(idles), Measurement)
        failure = run(leaves)
    finally:
        stop.set()
    assert failure.kind is FailureKind.RUNTIME
    assert failure.message.startswith("left running: thread endless at test_bench.py:")
    assert bench.must_replace(failure)


@given(
    value=st.one_of(
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.booleans(),
        st.none(),
        st.text(),
        st.complex_numbers(),
        st.binary(),
    )
)
def test_a_metric_is_a_finite_number_or_a_breach(value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    finite = number and abs(value) < float("inf")
    reported = metrics.numbers({"tokens_per_s": value}, frozenset({"tokens_per_s"}))
    if finite:
        assert metrics.finite(reported, frozenset({"tokens_per_s"})) == {"tokens_per_s": float(value)}
    else:
        with pytest.raises(diagnosis.ProtocolError, match="needs as a finite number"):
            metrics.finite(reported, frozenset({"tokens_per_s"}))


def test_bench_imports_no_heavy_package():
    import subprocess

    check = "import sys, autotune.bench; print(sorted({'torch', 'numpy', 'optuna', 'triton'} & set(sys.modules)))"
    root = Path(bench.__file__).parents[1]
    printed = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
