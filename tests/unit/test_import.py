import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import autotune
from autotune import snapshot
from benchmarks import lookup_overhead
from tests.unit.test_lookup import tuned

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "triton", "ray", "optuna", "sqlalchemy", "alembic", "typer", "click", "numpy", "rich", "matplotlib"}


def modules_after(program):
    """The top-level modules that a fresh process has loaded at the end of the program."""
    program += "\nimport sys, json; print(json.dumps([*{name.partition('.')[0] for name in sys.modules}]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_import_loads_nothing_heavy():
    assert not modules_after("import autotune") & HEAVY
    assert "typing" not in modules_after("import autotune") - modules_after("pass")


def test_every_public_name_is_had_without_anything_heavy():
    assert not modules_after("import autotune; [getattr(autotune, name) for name in autotune.__all__]") & HEAVY


def test_an_answer_needs_nothing_heavy(home):
    snapshot.write(home / "snapshots", [tuned()])
    asked = "import autotune; assert autotune.best_config('matmul', m=16, dtype='bfloat16').block_m == 64"
    assert not modules_after(asked) & HEAVY
    everything = "import autotune; assert autotune.lookup('matmul', m=16, dtype='bfloat16').config.block_m == 64"
    assert not modules_after(everything) & HEAVY


def test_the_import_adds_at_most_30_ms():
    assert lookup_overhead.import_ms(runs=5) <= 30


def test_a_first_answer_among_10_000_takes_at_most_5_ms(home):
    snapshot.write(home / "snapshots", lookup_overhead.entries())
    assert statistics.median(lookup_overhead.first_ms(home) for _ in range(5)) <= 5


def test_all_is_sorted_and_every_name_is_there():
    assert autotune.__all__ == sorted(autotune.__all__)
    for name in autotune.__all__:
        assert getattr(autotune, name) is not None
        assert name in dir(autotune)
    assert "__version__" in dir(autotune)


def test_a_submodule_never_hides_the_function_of_its_name():
    import autotune.lookup
    import autotune.workload

    assert callable(autotune.lookup)
    assert callable(autotune.workload)
    assert sys.modules["autotune.lookup"].lookup is autotune.lookup


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(autotune, "nothing")
    assert os.fspath(ROOT) in autotune.__file__
