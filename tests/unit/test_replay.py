import json
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.device import Device
from autotune.document import study_document
from autotune.errors import DeviceError, ExecutorError, RecordingError, UserError
from autotune.executor import ExecutorOptions, load_executor
from autotune.executors.noise import Noise
from autotune.executors.recording import load
from autotune.executors.replay import ReplayExecutor
from autotune.measurement import Failure, FailureKind, Measurement, Samples
from autotune.registry.records import RecordedTrial, StudyKey, StudyRecord
from autotune.round import Round
from autotune.sampler import Sampler
from autotune.testing import ExecutorContract
from autotune.trial import Trial, WorkloadReference
from autotune.values import Config, Problem

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
PATH = RECORDINGS / "kernel_tuner.json"


@pytest.fixture(scope="module")
def recording():
    return load(PATH)


@pytest.fixture
def executor(recording):
    with ReplayExecutor(recording=recording) as replay:
        yield replay


def asking(recording, config=None, **changes):
    """A trial of what the recording holds, or of something else."""
    trial = Trial(
        workload=recording.workload().reference,
        problem=recording.problem,
        config=recording.configs[0] if config is None else config,
        sku=recording.sku,
        gpus=recording.gpus,
    )
    return replace(trial, **changes)


def test_every_answer_is_there_at_once_and_what_was_recorded(executor, recording):
    for config, outcome in recording.outcomes.items():
        future = executor.submit(asking(recording, config))
        assert future.done()
        assert future.result() is outcome


def test_what_was_not_recorded_is_invalid(executor, recording):
    outcome = executor.submit(asking(recording, Config(block=3))).result()
    assert outcome.kind is FailureKind.INVALID
    assert outcome.message == "block=3 is not in the recording kernel_tuner.json."


def test_a_round_draws_from_the_recorded_readings_by_its_seed(recording):
    noisy, single, failed = Config(x=1), Config(x=2), Config(x=3)
    failure = Failure(kind=FailureKind.COMPILE, message="no such operation")
    values = tuple(1.0 + place / 100 for place in range(32))
    outcomes = {
        noisy: Measurement(metrics={"latency_ms": Samples(values), "p99_ms": Samples(tuple(10 * v for v in values))}),
        single: Measurement(metrics={"latency_ms": Samples((2.0,))}),
        failed: failure,
    }
    held = replace(recording, outcomes=outcomes, parameters={"x": (1, 2, 3)})

    def drawn(seed):
        trials = tuple(asking(held, config, seed=seed) for config in (noisy, failed, single))
        return replay.submit_round(Round(trials=trials, number=1, passes=20)).result()

    with ReplayExecutor(recording=held) as replay:
        first, failing, constant = drawn(seed=1)
        assert drawn(seed=1) == (first, failing, constant)
        assert drawn(seed=2)[0] != first
    assert failing is failure
    assert constant.metrics["latency_ms"].values == (2.0,) * 20
    latency, tail = (first.metrics[name].values for name in ("latency_ms", "p99_ms"))
    assert len(latency) == 20
    assert set(latency) <= set(values)
    assert len(set(latency)) > 5
    assert tail == tuple(10 * value for value in latency)


def test_the_recorded_device_is_the_only_one(executor, recording):
    (device,) = executor.devices()
    assert (device.kind, device.sku, device.name) == ("gpu", "rtx-a4000", "NVIDIA RTX A4000")
    assert executor.slots("rtx-a4000") == 1
    assert executor.slots("h200-sxm-141gb") == 0
    with pytest.raises(DeviceError, match="recorded on rtx-a4000, not on h200-sxm-141gb"):
        executor.submit(asking(recording, sku="h200-sxm-141gb"))


def test_devices_are_chosen_as_with_any_executor(recording):
    assert len(ReplayExecutor(ExecutorOptions(device="gpu:0"), recording=recording).devices()) == 1
    with pytest.raises(DeviceError, match="rtx-a4000"):
        ReplayExecutor(ExecutorOptions(device="cpu"), recording=recording)


def test_several_trials_may_be_held_at_once(recording):
    assert ReplayExecutor(recording=recording, slots=4).slots(recording.sku) == 4


def test_with_noise_readings_miss_what_was_recorded_by_the_seed(recording):
    config = recording.optimum
    asked = asking(recording, config)

    def reading(seed):
        with ReplayExecutor(recording=recording, noise=Noise(0.05), seed=seed) as replay:
            return replay.submit(asked).result().metrics["latency_ms"].values

    true_ms = recording.outcome(config).medians["latency_ms"]
    assert len(reading(1)) == 1
    assert reading(1) == reading(1) != reading(2)
    assert reading(1)[0] == pytest.approx(true_ms, rel=0.3)
    with ReplayExecutor(recording=recording, noise=Noise(0.05)) as replay:
        (again,) = replay.submit_round(Round(trials=(asked,), number=1, passes=20)).result()
    assert len(set(again.metrics["latency_ms"].values)) == 20


def test_a_trial_of_several_gpus_finds_them(recording):
    devices = ReplayExecutor(recording=replace(recording, gpus=4)).devices()
    assert [device.index for device in devices] == [0, 1, 2, 3]


def test_another_workload_or_problem_is_the_users_mistake(executor, recording):
    other = WorkloadReference(path=PATH, name="matmul", version="v")
    with pytest.raises(UserError, match="holds convolution_kernel size_x=4096,size_y=4096, not matmul size_x=4096"):
        executor.submit(asking(recording, workload=other))
    with pytest.raises(UserError, match="--workload convolution_kernel --problem size_x=4096,size_y=4096"):
        executor.submit(asking(recording, problem=Problem(m=1)))


def test_the_workload_may_have_changed_since(executor, recording):
    changed = WorkloadReference(path=Path("elsewhere.py"), name=recording.name, version="another")
    assert isinstance(executor.submit(asking(recording, workload=changed)).result(), Measurement | Failure)


def test_it_is_found_by_name_with_the_path_after_a_colon(recording):
    with load_executor(f"replay:{PATH}") as executor:
        assert executor.submit(asking(recording)).result() == recording.outcome(recording.configs[0])


def test_it_needs_a_recording(tmp_path):
    with pytest.raises(UserError, match="replay needs a recording; name its file: --executor replay:FILE"):
        load_executor("replay")
    with pytest.raises(RecordingError, match="no such file"):
        load_executor(f"replay:{tmp_path / 'gone.json'}")


def test_once_closed_it_answers_no_more(recording):
    executor = ReplayExecutor(recording=recording)
    executor.close()
    executor.close()
    with pytest.raises(ExecutorError, match="closed"):
        executor.submit(asking(recording))
    with pytest.raises(ExecutorError, match="closed"):
        executor.submit_round(Round(trials=(asking(recording),), number=1))


def test_a_search_over_a_whole_recording_finds_its_optimum(recording):
    workload, seen = recording.workload(), {}
    with ReplayExecutor(recording=recording) as executor:
        (device,) = executor.devices()
        sampler = Sampler(workload.space.bind(recording.problem, device), workload.objective, name="random", seed=1)
        while (proposal := sampler.ask()) is not None:
            seen[proposal.config] = executor.submit(asking(recording, proposal.config)).result()
            sampler.tell(proposal, seen[proposal.config])
    assert seen == recording.outcomes
    times = {c: o.medians["latency_ms"] for c, o in seen.items() if isinstance(o, Measurement)}
    assert min(times, key=times.get) == recording.optimum


def test_a_study_of_a_workload_file_can_be_replayed(tmp_path, recording):
    """As `autotune study workload.py --executor replay:study.json` does: the trial comes from the file's workload."""
    device = Device(
        kind="gpu", index=0, sku="h200-sxm-141gb", name="NVIDIA H200", uuid="GPU-0", arch="sm_90",
        memory_bytes=141 * 2**30, shared_memory_per_block_bytes=232_448, multiprocessors=132,
    )  # fmt: skip
    measured = Measurement(metrics={"latency_ms": Samples((1.0, 1.1))}, phase_s={"measure": 0.5})
    study = replace(
        recording,
        name="matmul",
        problem=Problem(m=16, dtype="bfloat16"),
        device=device,
        parameters={"block_m": (16, 32)},
        outcomes={Config(block_m=16): measured},
    )
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study.to_json()))
    asked = Trial(
        workload=WorkloadReference(path=tmp_path / "workload.py", name="matmul", version="v"),
        problem=Problem(dtype="bfloat16", m=16),
        config=Config(block_m=16),
        sku="h200-sxm-141gb",
        gpus=1,
    )
    with load_executor(f"replay:{path}") as executor:
        assert list(executor.devices()) == [device]
        assert executor.submit(asked).result() == measured


def test_what_show_writes_is_what_replay_reads(tmp_path):
    config, failed = Config(block=16, mode="fast"), Config(block=32)
    key = StudyKey(
        workload="matmul", version="v", space_fingerprint="s", problem=Problem(m=16), sku="cpu-epyc-9654-96c", gpus=0,
        objective="maximize tokens_per_s subject to p99_ms <= 200.0", effort="full", toolchain={"python": "3.11.9"},
    )  # fmt: skip
    record = StudyRecord(
        id=1, key=key, path="matmul.py", device="AMD EPYC 9654", default_config=config, seed=0, sampler="auto",
        state="complete", elapsed_s=1.0, created_at="", updated_at="", trials=2, failures=1,
    )  # fmt: skip
    outcomes = {
        config: Measurement(metrics={"tokens_per_s": Samples((9.0, 9.5)), "p99_ms": Samples((3.0,))}),
        failed: Failure(kind=FailureKind.TIMEOUT, message="killed after 120 s"),
    }
    trials = [
        RecordedTrial(number=n, config=c, outcome=o, origin="search", finished_at="")
        for n, (c, o) in enumerate(outcomes.items())
    ]
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study_document(record, trials)))
    recording = load(path)
    assert (recording.outcomes, recording.optimum) == (outcomes, config)
    assert (recording.objective.text, recording.gpus, recording.device.kind) == (key.objective, 0, "cpu")


class TestContract(ExecutorContract):
    """A recording of the contract's own workload, as a real executor would have measured it."""

    @pytest.fixture
    def executor(self, recording):
        phase_s = dict.fromkeys(("prepare", "warm_up", "measure", "verify"), 0.1)
        measured = Measurement(metrics={"latency_ms": Samples((1.1,))}, phase_s=phase_s)
        kinds = {kind.value: kind for kind in FailureKind} | {"hangs": FailureKind.TIMEOUT}
        outcomes = {
            Config(mode=mode): Failure(kind=kinds[mode], message=mode) if mode in kinds else measured
            for mode in ("good", "slow", "hangs", "incorrect", "runtime", "out_of_memory", "invalid", "compile")
        }
        held = replace(recording, name="contract", problem=Problem(), outcomes=outcomes)
        with ReplayExecutor(recording=held) as replay:
            yield replay
