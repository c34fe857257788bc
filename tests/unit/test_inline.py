"""The inline executor: the same outcomes in this very process, and what it honestly refuses."""

import pdb  # noqa: T100 - replaced, never entered
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.errors import ExecutorError, UserError, WorkloadChanged
from autotune.executor import ExecutorOptions, load_executor
from autotune.executors.inline import InlineExecutor
from autotune.measurement import Failure, FailureKind, Measurement
from autotune.round import Round
from autotune.testing import ExecutorContract
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load

WORKLOADS = Path(__file__).parents[1] / "workloads"


@pytest.fixture
def executor():
    with InlineExecutor(ExecutorOptions(device="cpu")) as running:
        yield running


def trial(executor, file, workload=None, problem=None, **config):
    found = find(load(WORKLOADS / f"{file}.py"), workload or file)
    return Trial(
        workload=found.reference,
        problem=Problem(problem or found.problems[0]),
        config=Config(config),
        sku=executor.devices()[0].sku,
        effort=Effort.QUICK,
        environment=found.space.environment(config),
    )


def test_a_trial_is_done_when_submit_returns(executor):
    future = executor.submit(trial(executor, "good", "sleeping", ms=2))
    assert future.done()
    assert 2 <= future.result().medians["latency_ms"] < 20


def test_it_measures_the_same_as_a_declared_problem_says(executor):
    times = [
        executor.submit(trial(executor, "good", "busy", {"n": n}, chunk=8, sort=False)).result().medians["latency_ms"]
        for n in (2_000, 20_000)
    ]
    assert times[1] > 2 * times[0]


@pytest.mark.parametrize(
    ("file", "mode", "kind"),
    [
        ("protocol", "twice", "runtime"),
        ("protocol", "never", "runtime"),
        ("wrong_result", "broken", "incorrect"),
        ("non_number", "nan", "runtime"),
        ("os_exit", "sys_exit", "runtime"),
        ("allocate", "refused", "out_of_memory"),
    ],
)
def test_failures_are_values(executor, file, mode, kind):
    assert executor.submit(trial(executor, file, mode=mode)).result().kind == FailureKind(kind)
    assert isinstance(executor.submit(trial(executor, file, mode="good")).result(), Measurement)


def test_an_interrupt_comes_out_of_submit(executor):
    with pytest.raises(KeyboardInterrupt):
        executor.submit(trial(executor, "careless", mode="interrupts"))


def test_post_mortem_opens_the_debugger_where_the_body_raised(executor, monkeypatch):
    frames = []

    def look(traceback):
        while traceback.tb_next:
            traceback = traceback.tb_next
        frames.append((traceback.tb_frame.f_code.co_name, dict(traceback.tb_frame.f_locals)))

    monkeypatch.setattr(pdb, "post_mortem", look)
    with InlineExecutor(ExecutorOptions(device="cpu", post_mortem=True)) as debugging:
        debugging.submit(trial(executor, "protocol", mode="raises"))
        debugging.submit(trial(executor, "protocol", mode="good"))
    assert [name for name, _ in frames] == ["protocol"]
    assert frames[0][1]["config"] == {"mode": "raises"}


def test_an_environment_that_the_process_does_not_have_is_refused_with_what_to_type(executor, monkeypatch):
    asked = replace(
        trial(executor, "good", "sleeping", ms=1), environment={"NCCL_ALGO": "Ring", "NCCL_PROTO": None, "AUTO_X": "1"}
    )
    monkeypatch.setenv("NCCL_PROTO", "LL")
    monkeypatch.setenv("AUTO_X", "1")
    with pytest.raises(UserError, match="env NCCL_ALGO=Ring -u NCCL_PROTO"):
        executor.submit(asked)
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    monkeypatch.delenv("NCCL_PROTO")
    assert isinstance(executor.submit(asked).result(), Measurement)


def test_a_process_that_a_trial_left_unfit_measures_no_more(executor, tmp_path):
    source = (WORKLOADS / "leaves_running.py").read_text().replace("while True:", "while ENDLESS:")
    (tmp_path / "leaves_running.py").write_text(source.replace("children = []", "children = []\nENDLESS = [True]"))
    found = find(load(tmp_path / "leaves_running.py"), "leaves_running")
    asked = replace(trial(executor, "good", "sleeping", ms=1), workload=found.reference, config=Config(mode="thread"))
    left = executor.submit(asked).result()
    found_again = executor._load(found.reference)
    found_again.body.__globals__["ENDLESS"].clear()
    assert isinstance(left, Failure)
    with pytest.raises(ExecutorError, match="take --executor local"):
        executor.submit(trial(executor, "good", "sleeping", ms=1)).result()


def test_a_round_is_done_when_submit_round_returns(executor):
    trials = tuple(trial(executor, "good", "sleeping", ms=ms) for ms in (2, 1))
    future = executor.submit_round(Round(trials=trials, number=1, passes=3))
    assert future.done()
    slow, quick = future.result()
    assert slow.medians["latency_ms"] > quick.medians["latency_ms"]
    with pytest.raises(UserError, match="cannot set NCCL_ALGO"):
        executor.submit_round(
            Round(trials=(trials[0], replace(trials[1], environment={"NCCL_ALGO": "Ring"})), number=1)
        )


def test_the_debugger_opens_for_a_trial_of_a_round(executor, monkeypatch):
    opened = []
    monkeypatch.setattr(pdb, "post_mortem", lambda traceback: opened.append(traceback))
    trials = tuple(trial(executor, "protocol", mode=mode) for mode in ("good", "raises"))
    with InlineExecutor(ExecutorOptions(device="cpu", post_mortem=True)) as debugging:
        debugging.submit_round(Round(trials=trials, number=1, passes=2))
    assert len(opened) == 1


def test_a_changed_file_raises_from_the_future(executor, tmp_path):
    copy = tmp_path / "changing.py"
    copy.write_text((WORKLOADS / "good.py").read_text())
    asked = replace(trial(executor, "good", "sleeping", ms=1), workload=find(load(copy), "sleeping").reference)
    copy.write_text(copy.read_text() + "\n# edited\n")
    with pytest.raises(WorkloadChanged):
        executor.submit(asked).result()


def test_a_file_that_cannot_be_loaded_is_a_failure(executor, tmp_path):
    copy = tmp_path / "gone.py"
    copy.write_text((WORKLOADS / "good.py").read_text())
    asked = replace(trial(executor, "good", "sleeping", ms=1), workload=find(load(copy), "sleeping").reference)
    copy.write_text("import no_such_module_at_all\n")
    failure = executor.submit(asked).result()
    assert failure.kind is FailureKind.RUNTIME
    assert "no_such_module_at_all" in failure.message


def test_a_closed_executor_takes_nothing(executor):
    asked = trial(executor, "good", "sleeping", ms=1)
    executor.close()
    with pytest.raises(ExecutorError, match="closed"):
        executor.submit(asked)


def test_it_is_found_by_name():
    assert isinstance(load_executor("inline"), InlineExecutor)
    with pytest.raises(UserError, match="nothing after a colon"):
        load_executor("inline:8")


class TestInlineExecutorKeepsTheContract(ExecutorContract):
    enforces_timeout = False

    @pytest.fixture
    def executor(self):
        with InlineExecutor(ExecutorOptions(device="cpu")) as running:
            yield running
