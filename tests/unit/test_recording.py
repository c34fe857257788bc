import gzip
import json
import math
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.device import Device
from autotune.errors import RecordingError, UserError
from autotune.executors.recording import Recording, load
from autotune.measurement import Failure, FailureKind, Measurement, Samples
from autotune.space.middle import middle
from autotune.values import Config, Problem

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
FORMATS = ["kernel_tuner.json", "t4.json.gz", "recorded_space.json.gz"]
ROWS = 40


def read_json(name):
    raw = (RECORDINGS / name).read_bytes()
    return json.loads(gzip.decompress(raw) if name.endswith(".gz") else raw)


@pytest.fixture
def write(tmp_path):
    """Writes an object, a text or bytes to a file; gives its path."""

    def to_file(content, name="recording.json"):
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    return to_file


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch") / "recording.json"


@pytest.fixture(scope="module")
def tuner():
    return load(RECORDINGS / "kernel_tuner.json")


def attempt(path):
    """The recording, or None where it is refused; any other error is a failed test."""
    try:
        return load(path)
    except RecordingError:
        return None


def cache(rows=None, **changes):
    """A small Kernel Tuner cache; `rows` maps a value of `block` to what was recorded of it."""
    rows = {16: {"time": 2.0}, 32: {"time": 1.0}} if rows is None else rows
    return {
        "device_name": "NVIDIA A100-PCIE-40GB",
        "kernel_name": "kernel",
        "problem_size": [64],
        "tune_params_keys": ["block"],
        "tune_params": {"block": list(rows)},
        "objective": "time",
        "cache": {str(block): {"block": block, **row} for block, row in rows.items()},
    } | changes


def t4(timeunit="ms", **row):
    result = {
        "configuration": {"block": 16},
        "times": {"compilation_time": 500, "validation": 250, "runtimes": [1.0, 3.0]},
        "invalidity": "correct",
        "correctness": 1,
        "measurements": [{"name": "time", "value": 2.0, "unit": ""}],
        "objectives": ["time"],
    }
    return {"metadata": {"timeunit": timeunit}, "results": [result | row], "schema_version": "1.0.0"}


def study(**changes):
    measured = {
        "metrics": {"tokens_per_s": [9.0, 10.0], "p99_ms": [150.0]},
        "conditions": {},
        "phase_s": {"measure": 2.0},
    }
    failed = {"failure": "lost", "message": "the host went away", "details": "", "phase": "", "phase_s": {}}
    return {
        "schema": "autotune-study/1",
        "workload": "serving",
        "problem": {"model": "llama"},
        "sku": "h200-sxm-141gb",
        "device": "NVIDIA H200",
        "objective": {"metric": "tokens_per_s", "direction": "maximize", "subject_to": {"p99_ms": 200.0}},
        "parameters": {"batch": [1, 2], "graphs": [False, True]},
        "trials": [
            {"config": {"batch": 1, "graphs": True}, "outcome": measured},
            {"config": {"batch": 2}, "outcome": failed},
        ],
    } | changes


# --- the same space in three formats


@pytest.mark.parametrize("other", ["t4.json.gz", "recorded_space.json.gz"])
def test_the_formats_agree_on_every_configuration(tuner, other):
    recording = load(RECORDINGS / other)
    assert set(recording.configs) == set(tuner.configs)
    assert len(tuner.configs) == ROWS
    for config in tuner.configs:
        expected, outcome = tuner.outcome(config), recording.outcome(config)
        assert type(outcome) is type(expected)
        if isinstance(outcome, Failure):
            assert outcome.kind is expected.kind
        else:
            mean = statistics.fmean(expected.metrics["latency_ms"].values)
            assert statistics.fmean(outcome.metrics["latency_ms"].values) == pytest.approx(mean, rel=5e-7)
        assert outcome.phase_s["warm_up"] == pytest.approx(expected.phase_s["warm_up"], rel=5e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_the_formats_agree_on_the_failures_and_the_optimum(tuner, name):
    recording = load(RECORDINGS / name)
    kinds = [o.kind for o in recording.outcomes.values() if isinstance(o, Failure)]
    assert (kinds.count(FailureKind.COMPILE), kinds.count(FailureKind.RUNTIME)) == (4, 6)
    assert recording.optimum == tuner.optimum
    assert recording.objective.text == "minimize latency_ms"


def test_every_reading_is_kept_where_the_format_holds_them(tuner):
    results = load(RECORDINGS / "t4.json.gz")
    for config, outcome in tuner.outcomes.items():
        if isinstance(outcome, Measurement):
            assert len(outcome.metrics["latency_ms"].values) == 32
            assert results.outcome(config).metrics["latency_ms"] == outcome.metrics["latency_ms"]


def test_the_recorded_spread_is_that_of_the_readings(tuner):
    recording = load(RECORDINGS / "recorded_space.json.gz")
    assert recording.spread_ms.keys() == {c for c, o in recording.outcomes.items() if isinstance(o, Measurement)}
    for config, spread_ms in recording.spread_ms.items():
        readings = tuner.outcome(config).metrics["latency_ms"].values
        assert statistics.stdev(readings) == pytest.approx(spread_ms, rel=1e-3)


def test_it_says_what_was_measured(tuner):
    assert (tuner.name, tuner.gpu, tuner.gpus) == ("convolution_kernel", "NVIDIA RTX A4000", 1)
    assert tuner.problem == Problem(size_x=4096, size_y=4096)
    assert tuner.parameters["block_size_y"] == (1, 2, 4, 8, 16)
    assert list(tuner.parameters)[:3] == ["block_size_x", "block_size_y", "tile_size_x"]


def test_the_space_is_exactly_what_was_recorded(tuner):
    valid = tuner.space.bind(tuner.problem, tuner.device)
    assert valid.size == ROWS
    assert set(valid) == set(tuner.configs)


def test_the_default_is_in_the_middle_since_the_files_name_none(tuner):
    default = tuner.space.bind(tuner.problem, tuner.device).default
    assert default in tuner.outcomes
    assert default == middle(tuner.configs, tuner.space.parameters)


def test_the_values_are_the_objectives_in_the_order_of_the_file(tuner):
    assert len(tuner.values) == len(tuner.configs)
    failed = [math.isnan(value) for value in tuner.values]
    assert failed == [isinstance(outcome, Failure) for outcome in tuner.outcomes.values()]
    assert min(v for v in tuner.values if not math.isnan(v)) == tuner.outcomes[tuner.optimum].medians["latency_ms"]


def test_it_knows_whether_it_tells_a_spread(tuner):
    assert tuner.has_spread
    single = {c: replace(o, metrics={n: Samples((s.median,)) for n, s in o.metrics.items()})
              for c, o in tuner.outcomes.items() if isinstance(o, Measurement)}  # fmt: skip
    assert not replace(tuner, outcomes=single, spread_ms={}).has_spread


def test_plain_and_compressed_files_are_the_same_version(tuner, write):
    text = (RECORDINGS / "kernel_tuner.json").read_bytes()
    assert load(write(gzip.compress(text), "renamed.bin")).version == tuner.version
    assert load(write(text + b"\n")).version != tuner.version


# --- Kernel Tuner caches


@pytest.mark.parametrize("ending", ["", ",", ",\n"])
def test_an_unfinished_cache_is_read_as_far_as_it_goes(tuner, write, ending):
    text = (RECORDINGS / "kernel_tuner.json").read_text()
    assert load(write(text.removesuffix("}\n}") + ending)).outcomes == tuner.outcomes


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_cut_cache_is_an_error_or_its_first_rows(tuner, scratch, data):
    text = (RECORDINGS / "kernel_tuner.json").read_text()
    ends = [match.start() for match in re.finditer("\n", text)]
    kept = data.draw(st.integers(0, len(text) - 1) | st.sampled_from(ends))
    scratch.write_text(text[:kept])
    recording = attempt(scratch)
    if recording:
        assert list(recording.outcomes.items()) == list(tuner.outcomes.items())[: len(recording.configs)]


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        ("CompilationFailedConfig", FailureKind.COMPILE),
        ("RuntimeFailedConfig", FailureKind.RUNTIME),
        ("InvalidConfig", FailureKind.INVALID),
        ("VerificationFailedConfig", FailureKind.INCORRECT),
        ("CUDA_ERROR_OUT_OF_MEMORY", FailureKind.OUT_OF_MEMORY),
        ("something new", FailureKind.RUNTIME),
        (1e20, FailureKind.RUNTIME),
    ],
)
def test_a_time_that_names_an_error_is_a_failure(write, mark, kind):
    recording = load(write(cache({16: {"time": mark, "compile_time": 1500}})))
    failure = recording.outcome(Config(block=16))
    assert failure == Failure(kind=kind, message=f"recorded as {mark}", phase_s={"warm_up": 1.5})
    assert recording.optimum is None


def test_values_of_mixed_kinds_survive(write):
    values = [16, 2.5, True, "half", None]
    keys = {f"v{i}": {"block": v, "time": 1.0} for i, v in enumerate(values)}
    recording = load(write(cache(tune_params={"block": values}, cache=keys)))
    recorded = [config["block"] for config in recording.configs]
    assert [(type(v), v) for v in recorded] == [(type(v), v) for v in values]


def test_a_number_means_the_listed_value_whatever_its_type(write):
    recording = load(write(cache({4: {"time": 1.0, "block": 4.0}})))
    assert [type(config["block"]) for config in recording.configs] == [int]


def test_another_objective_than_time_keeps_its_name_and_direction(write):
    rows = {16: {"time": 2.0, "GFLOP/s": 5.0}, 32: {"time": 1.0, "GFLOP/s": 9.0}}
    recording = load(write(cache(rows, objective="GFLOP/s")))
    assert recording.objective.text == "maximize GFLOP/s"
    assert recording.optimum == Config(block=32)
    assert recording.outcome(Config(block=32)).medians == {"GFLOP/s": 9.0, "latency_ms": 1.0}


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (4096, Problem(size_x=4096)),
        ([8, 4, 2], Problem(size_x=8, size_y=4, size_z=2)),
        ("callable", Problem(size="callable")),
    ],
)
def test_the_problem_is_the_grid(write, size, problem):
    assert load(write(cache(problem_size=size))).problem == problem


@pytest.mark.parametrize(
    ("name", "sku"),
    [
        ("NVIDIA A100-PCIE-40GB", "a100-pcie-40gb"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm-80gb"),
        ("NVIDIA RTX A4000", "rtx-a4000"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("AMD Radeon PRO W6600", "amd-radeon-pro-w6600"),
    ],
)
def test_the_sku_is_made_from_the_name(write, name, sku):
    assert load(write(cache(device_name=name))).sku == sku


# --- T4 results


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1), ("miliseconds", 1), ("seconds", 1e3), ("microseconds", 1e-3)])
def test_t4_times_come_in_their_unit(write, unit, factor):
    outcome = load(write(t4(unit))).outcome(Config(block=16))
    assert outcome.metrics["latency_ms"].values == pytest.approx((factor, 3 * factor))
    assert outcome.phase_s == pytest.approx({"warm_up": factor / 2, "measure": factor * 4e-3, "verify": factor / 4})


def test_a_t4_measurement_comes_in_its_own_unit(write):
    times = {"runtimes": [], "compilation": 1}
    recording = load(write(t4("us", times=times, measurements=[{"name": "time", "value": 2, "unit": "s"}])))
    assert recording.outcome(Config(block=16)).medians == {"latency_ms": 2000}


@pytest.mark.parametrize(
    ("validity", "kind"),
    [
        ("timeout", FailureKind.TIMEOUT),
        ("compile", FailureKind.COMPILE),
        ("runtime", FailureKind.RUNTIME),
        ("correctness", FailureKind.INCORRECT),
        ("constraints", FailureKind.INVALID),
    ],
)
def test_t4_invalidity_is_a_failure(write, validity, kind):
    assert load(write(t4(invalidity=validity, measurements=[]))).outcome(Config(block=16)).kind is kind


def test_t4_names_neither_kernel_nor_device(write):
    recording = load(write(t4(), "my-kernel_T4.json"))
    assert (recording.name, recording.problem, recording.gpu) == ("my_kernel_T4", Problem(), "unknown")


# --- our own studies

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(0, 1) | st.text(max_size=4)
numbers = st.floats(allow_nan=False, allow_infinity=False)
phases = st.dictionaries(st.sampled_from(["prepare", "warm_up", "measure", "verify"]), st.floats(0, 1e3))
measurements = st.fixed_dictionaries(
    {
        "metrics": st.fixed_dictionaries(
            {"value": st.lists(numbers, min_size=1, max_size=3)},
            optional={"p99_ms": st.lists(numbers, min_size=1, max_size=3)},
        ),
        "conditions": st.fixed_dictionaries(
            {}, optional={"sm_clock_mhz": st.integers(0, 2000), "power_w": st.floats(0, 700)}
        ),
        "phase_s": phases,
    }
)
failures = st.fixed_dictionaries(
    {
        "failure": st.sampled_from([kind.value for kind in FailureKind if kind is not FailureKind.LOST]),
        "message": st.text(),
        "details": st.text(),
        "phase": st.text(max_size=5),
        "phase_s": phases,
    }
)
devices = st.text(min_size=1, max_size=9) | st.builds(
    lambda **facts: Device(kind="gpu", index=0, uuid="GPU-0", arch="sm_90", **facts).to_json(),
    sku=st.just("h200-sxm-141gb"),
    name=st.just("NVIDIA H200"),
    memory_bytes=st.integers(0, 2**40),
    multiprocessors=st.integers(1, 200),
    l2_bytes=st.none() | st.integers(0, 2**30),
)


@st.composite
def studies(draw):
    parameters = draw(
        st.dictionaries(st.sampled_from("abc"), st.lists(scalars, min_size=1, max_size=3, unique=True), min_size=1)
    )
    config = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in parameters.items()})
    trial = st.fixed_dictionaries(
        {"config": config, "outcome": measurements | failures}, optional={"spread_ms": st.floats(0, 1)}
    )
    return study(
        problem=draw(st.dictionaries(st.sampled_from("mnk"), scalars)),
        device=draw(devices),
        gpus=draw(st.integers(0, 4)),
        objective={
            "metric": "value",
            "direction": draw(st.sampled_from(["minimize", "maximize"])),
            "subject_to": draw(st.dictionaries(st.just("p99_ms"), numbers)),
        },
        parameters=parameters,
        trials=draw(st.lists(trial, min_size=1, max_size=5)),
    )


@settings(max_examples=100, deadline=None)
@given(studies())
def test_a_recording_survives_the_round_trip(document):
    recording = Recording.from_json(document, path=Path("a.json"), version="v")
    text = json.dumps(recording.to_json(), allow_nan=False)
    assert Recording.from_json(json.loads(text), path=Path("a.json"), version="v") == recording


@pytest.mark.parametrize("name", FORMATS)
def test_a_foreign_recording_can_be_kept_in_our_format(write, name):
    recording = load(RECORDINGS / name)
    kept = load(write(recording.to_json()))
    assert (kept.outcomes, kept.spread_ms) == (recording.outcomes, recording.spread_ms)
    assert (kept.name, kept.problem, kept.device) == (recording.name, recording.problem, recording.device)


def test_a_lost_trial_says_nothing_of_its_configuration(write):
    recording = load(write(study()))
    assert recording.configs == (Config(batch=1, graphs=True),)
    assert recording.optimum == Config(batch=1, graphs=True)


def test_the_last_trial_of_a_configuration_counts(write):
    first = study()["trials"][0]
    again = {**first, "outcome": {**first["outcome"], "metrics": {"tokens_per_s": [7.0]}}}
    recording = load(write(study(trials=[first, again])))
    assert recording.outcome(Config(batch=1, graphs=True)).medians == {"tokens_per_s": 7.0}
    assert recording.optimum is None  # it no longer says whether the bound on p99_ms is kept


def test_a_study_on_a_processor_needs_no_gpu(write):
    recording = load(write(study(sku="cpu-epyc-9654-96c", device="AMD EPYC 9654")))
    assert (recording.gpus, recording.device.kind) == (0, "cpu")


# --- as a workload


def test_its_workload_can_be_tuned_but_not_run(tuner):
    workload = tuner.workload()
    assert (workload.name, workload.version, workload.path) == (tuner.name, tuner.version, tuner.path)
    assert workload.problems == (tuner.problem,)
    assert workload.description == "convolution_kernel as recorded on NVIDIA RTX A4000."
    with pytest.raises(UserError, match=re.escape(f"--executor replay:{tuner.path}")):
        next(workload(tuner.problem, tuner.configs[0]))


def test_what_was_not_recorded_is_invalid(tuner):
    failure = tuner.outcome(Config(tuner.configs[0], block_size_x=17))
    assert failure.kind is FailureKind.INVALID
    assert "not in the recording kernel_tuner.json" in failure.message


# --- what is no recording


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cut short or not JSON"),
        ("[]", "its JSON is a list; expected what `autotune show STUDY --json` writes"),
        ("{}", "its keys are none"),
        ({"schema": "autotune-results/1"}, "its schema is 'autotune-results/1'; expected"),
        ('{"cache": NaN}', "NaN, which is no JSON; expected finite numbers"),
        ("[" * 100_000, "cut short or not JSON"),
        ('{"schema": "recorded-space/1", "config": {"a": [1]', "cut short or not JSON"),
        (b"\x00\xff\x01", "neither text nor gzip"),
        (b"\x1f\x8b\x08", "cut short or damaged"),
        (cache({}), "no configuration in it has an outcome"),
        (cache({16: {"time": None}}), "it has no latency_ms"),
        (cache({16: {"times": [1.0]}}), "cache['16'] cannot be read: there is no 'time' in it"),
        (cache({16: {"time": 1.0, "times": ["x"]}}), "found 'x', expected a number"),
        (cache({16: {"time": 1.0, "compile_time": "long"}}), "found 'long', expected a number"),
        (cache(tune_params={}), "there is no 'block' in it"),
        (cache(tune_params={"block": [1, 2]}), "block=16 is not among the parameters and their values"),
        (cache(tune_params={"block": [16, 32, 16.0]}), "block lists equal values"),
        (cache(problem_size=[1, 2, 3, 4]), "problem_size has 4 entries, expected at most 3"),
        (cache({16: {"time": [1.0]}}), "found [1.0], expected a number"),
        (t4("fortnights"), "in 'fortnights', expected milliseconds"),
        (t4(configuration={"keys": 1}), "'keys' cannot name a value of a Config"),
        (t4(configuration={"block": [1, 2]}), "cannot be read"),
        (study(workload=""), "its workload is '', expected a text"),
        (study(trials=[]), "no configuration in it has an outcome"),
        (study(objective={"metric": "x", "direction": "up"}), "its direction is 'up', expected minimize or maximize"),
        (study(objective={"metric": "x", "direction": "minimize"}), "trials[0] cannot be read: it has no x"),
        (study(device={"name": "GPU", "kind": "tpu"}), "its device's kind is 'tpu'"),
        (study(gpus=-1), "its gpus is -1"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(write, content, message):
    path = write(content)
    with pytest.raises(RecordingError, match=re.escape(message)) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} is no recording: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("document", [cache({16: {"time": 12.5}}), t4(times={"runtimes": [12.5]}), study()])
def test_numbers_must_be_finite(write, document, number):
    text = re.sub(r"12\.5|10\.0", number, json.dumps(document))
    with pytest.raises(RecordingError, match="finite"):
        load(write(text))


def test_columns_of_a_recorded_space_must_agree(write):
    whole = read_json("recorded_space.json.gz")
    with pytest.raises(RecordingError, match="columns have 39 and 40 entries"):
        load(write(whole | {"time_ms": whole["time_ms"][1:]}))
    outside = {**whole["config"], "block_size_y": [-1] * ROWS}
    with pytest.raises(RecordingError, match=r"config\['block_size_y'\] points outside the 5 values"):
        load(write(whole | {"config": outside}))
    with pytest.raises(RecordingError, match=r"row\[\d+\] cannot be read: found None, expected a number"):
        load(write(whole | {"failure": [None] * ROWS}))


def test_a_missing_file_is_told_with_the_nearest_name(write):
    path = write(cache())
    with pytest.raises(RecordingError, match=r"no such file; did you mean 'recording.json'"):
        load(path.with_name("recordin.json"))
    with pytest.raises(RecordingError, match="directory"):
        load(path.parent)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_cut_or_damaged_archive_is_an_error(scratch, data):
    raw = bytearray((RECORDINGS / "recorded_space.json.gz").read_bytes())
    place = data.draw(st.integers(10, len(raw) - 1))
    damaged = raw[:place] if data.draw(st.booleans()) else raw[:place] + bytes([raw[place] ^ 0x55]) + raw[place + 1 :]
    scratch.write_bytes(damaged)
    with pytest.raises(RecordingError, match="cut short or damaged"):
        load(scratch)


def _places(document, path=()):
    yield path
    children = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, child in children:
        yield from _places(child, (*path, key))


def _replaced(document, path, value):
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], value)
    return copy


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_other_shape_is_an_error_and_never_a_crash(scratch, data):
    document = data.draw(st.sampled_from([cache(), t4(), study(), _small_space()]))
    place = data.draw(st.sampled_from(list(_places(document))))
    value = data.draw(st.sampled_from([None, True, -1, 10**400, 0.5, "", "text", [], [[]], [1], {}, {"a": {}}]))
    scratch.write_text(json.dumps(_replaced(document, place, value)))
    recording = attempt(scratch)
    if recording:
        assert recording.configs
        assert recording.optimum is None or recording.optimum in recording.configs


def _small_space():
    return {
        "schema": "recorded-space/1",
        "kernel": "kernel",
        "gpu": "NVIDIA H200",
        "objective": "time_ms",
        "direction": "minimize",
        "problem_size": [64, 64],
        "params": [{"name": "block", "values": [16, 32]}],
        "config": {"block": [0, 1]},
        "time_ms": [1.0, None],
        "time_sd_ms": [0.1, None],
        "compile_s": [1.0, 1.0],
        "benchmark_s": [1.0, None],
        "verify_s": [0.0, None],
        "failure": [None, "runtime"],
    }
