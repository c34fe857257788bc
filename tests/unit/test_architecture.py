"""The direction of every import: what the core may know of its siblings, of other packages, and of itself."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the ground up: a module imports only what stands in an earlier row, or in its own.
LAYERS = [
    {"errors"},
    {"values", "settings", "restoring", "scoring"},
    {"objective", "measurement"},
    {"verdict", "event"},
    {"tuned_config", "trial", "round"},
    {"device"},
    {"distance", "space"},
    {"portfolio"},
    {"snapshot", "snapshot_format", "snapshot_folder"},
    {"workload", "lookup"},
    {"executor", "roofline", "drop_in"},
    {"bench", "testing", "occupancy"},
    {"ahead"},
    {"search"},
    {"registry", "sampler", "importance"},
    {"plan", "publication"},
    {"warm_start"},
    {"progress"},
    {"selection"},
    {"final"},
    {"study"},
    {"rehearsal", "comparison", "sweep"},
    {"scorecard", "matrix", "morning"},
    {"document", "tables", "scorecard_view"},
    {"report", "plot"},
    {"cli"},
    {"__main__"},
]

# One dependency, one border.
BORDERS = {
    "optuna": {"autotune/sampler/", "autotune/importance.py"},
    "scipy": {"autotune/search/"},
    "threadpoolctl": {"autotune/search/"},
    "sqlalchemy": {"autotune/registry/"},
    "alembic": {"autotune/registry/"},
    "typer": {"autotune/cli/"},
    "click": {"autotune/cli/"},
    "matplotlib": {"autotune/plot/"},
    "rich": {
        "autotune/report.py",
        "autotune/scorecard_view.py",
        "autotune/tables.py",
        "autotune/morning/text.py",
    },
    "pytest": {"autotune/testing.py"},
    "ray": {"executors/ray_cluster.py"},
    "torch": {"autotune/bench/", "autotune/ahead/", "executors/canary_workload.py"},
    "triton": {"autotune/ahead/triton_compiler.py"},
    "numpy": {"autotune/scoring/", "autotune/search/"},
}

EXECUTORS_MAY_IMPORT = {
    "ahead",
    "bench",
    "device",
    "errors",
    "event",
    "executor",
    "measurement",
    "objective",
    "round",
    "space",
    "testing",
    "trial",
    "values",
    "workload",
}


def sources(folder):
    return sorted(p for p in (ROOT / folder).rglob("*.py") if not (folder == "autotune" and _is_linked(p)))


def _is_linked(path):
    return path.relative_to(ROOT / "autotune").parts[0] in {"executors", "search_spaces"}


def imports(path):
    """The dotted names that a file imports, wherever in it; `from autotune import x` counts as autotune.x."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [alias.name for alias in node.names] if node.module == "autotune" else [None]
            yield from (f"{node.module}.{name}" if name else node.module for name in names)


def noun(dotted):
    """`workload` for autotune.workload and for autotune.workload.load; None for what is not ours."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "autotune" and len(parts) > 1 else None


def layer(name):
    rows = [index for index, row in enumerate(LAYERS) if name in row]
    assert rows, f"autotune/{name} stands in no layer; give it a row in LAYERS"
    return rows[0]


@pytest.mark.parametrize("path", sources("autotune"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_core_imports_downwards_and_none_of_its_siblings(path):
    own = path.relative_to(ROOT / "autotune").parts[0].removesuffix(".py")
    if own == "__init__":
        return  # the lazy door names everything and imports nothing
    for name in filter(None, map(noun, imports(path))):
        if name in {"executors", "search_spaces"}:
            assert own == "cli", f"{path.name} imports {name}: executors are found by name, see executor.load_executor"
        elif name != own:
            assert layer(name) <= layer(own), f"{path.name} imports {name}, which stands above it"


@pytest.mark.parametrize("path", sources("executors"), ids=lambda p: p.name)
def test_executors_know_trials_and_devices_but_no_study_registry_or_terminal(path):
    assert set(filter(None, map(noun, imports(path)))) <= EXECUTORS_MAY_IMPORT | {"executors"}


@pytest.mark.parametrize("path", sources("search_spaces"), ids=lambda p: p.name)
def test_search_spaces_know_only_declarations(path):
    assert set(filter(None, map(noun, imports(path)))) <= {"space", "values", "device", "search_spaces"}
    outside = {name.partition(".")[0] for name in imports(path)} - {"autotune"}
    assert outside <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "path", [*sources("autotune"), *sources("executors")], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_each_dependency_stays_behind_its_border(path):
    where = path.relative_to(ROOT).as_posix()
    for package in {name.partition(".")[0] for name in imports(path)} - {"autotune"} - set(sys.stdlib_module_names):
        assert any(where.startswith(border) for border in BORDERS.get(package, set())), f"{where} imports {package}"


def test_the_two_symlinks_give_the_siblings_their_one_import_name():
    assert (ROOT / "autotune/executors").resolve() == ROOT / "executors"
    assert (ROOT / "autotune/search_spaces").resolve() == ROOT / "search_spaces"


def test_workloads_are_no_package():
    assert not list((ROOT / "workloads").rglob("__init__.py"))
