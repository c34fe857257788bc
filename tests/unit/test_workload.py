import textwrap

import pytest

import autotune
from autotune import Config, Problem, SearchSpace, choice
from autotune.errors import WorkloadError
from autotune.workload import find, load, load_one, source_files, source_version

GOOD = """
    import autotune
    from autotune import Problem, SearchSpace, choice

    @autotune.workload(space=SearchSpace(x=choice(1, 2)), problems=[Problem(n=1), Problem(n=2, dtype="float32")])
    def first(problem, config):
        '''Adds.

        And more.
        '''
        yield lambda: problem.n + config.x

    @autotune.workload(space=SearchSpace(x=choice(1, 2)))
    def second(problem, config):
        yield lambda: None
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="sample.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_a_file_gives_its_workloads_in_order(write):
    path = write(GOOD)
    first, second = load(path)
    assert (first.name, second.name) == ("first", "second")
    assert first.description == "Adds."
    assert first.path == path
    assert first.problems[1] == {"n": 2, "dtype": "float32"}
    assert second.problems == (Problem(),)


def test_the_decorated_function_still_runs_by_hand(write):
    first, _ = load(write(GOOD))
    assert next(first(Problem(n=1), Config(x=2)))() == 3


def test_the_version_follows_the_file_and_the_local_modules_it_imports(write):
    path = write("import kernels\nfrom pack.inner import thing\n" + textwrap.dedent(GOOD))
    kernels = write("import deeper", "kernels.py")
    deeper, inner = write("", "deeper.py"), write("from . import beside", "pack/inner.py")
    package, beside = write("", "pack/__init__.py"), write("", "pack/beside.py")
    unrelated = write("", "unrelated.py")
    assert set(source_files(path)) == {path, kernels, deeper, package, inner, beside}
    before = source_version(path)
    unrelated.write_text("x = 1")
    assert source_version(path) == before
    for source in (deeper, beside, path):
        source.write_text(source.read_text() + "\n# another word\n")
        assert source_version(path) != before
        before = source_version(path)


def test_an_explicit_version_replaces_the_hash(write):
    path = write(GOOD.replace("choice(1, 2)))", "choice(1, 2)), version='3')"))
    assert find(load(path), "second").version == "3"


def test_neighbours_of_the_file_can_be_imported(write):
    write("VALUE = 41", "neighbour_of_sample.py")
    path = write("import neighbour_of_sample\n" + textwrap.dedent(GOOD))
    assert len(load(path)) == 2


def test_a_changed_file_is_refused_by_who_was_sent_the_old_version(write):
    path = write(GOOD)
    reference = load(path)[0].reference
    assert load_one(reference).name == "first"
    path.write_text(path.read_text() + "\n# edited\n")
    with pytest.raises(WorkloadError, match=r"changed while its study was running.* Start the study again"):
        load_one(reference)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "no workload in .*; put @autotune.workload"),
        ("def f(:\n  pass", r"sample.py:1: "),
        ("\n\nraise RuntimeError('boom')", r"sample.py:3: RuntimeError: boom \(raised while the file was loaded\)"),
        ("import not_a_real_package", "imports not_a_real_package, which is not installed here; pip install"),
        ("import sys\nsys.exit(3)", r"sample.py:2: SystemExit: 3"),
        (GOOD.replace("yield lambda: None", "return None"), "second does not yield"),
        (GOOD.replace("second(problem, config)", "second(problem)"), r"must take exactly \(problem, config\)"),
        (GOOD.replace("space=SearchSpace(x=choice(1, 2)))", "space={'x': [1]})"), "expected a SearchSpace"),
        (GOOD.replace("choice(1, 2)))", "choice(1, 2)), gpus=-1)"), "gpus is -1"),
        (GOOD.replace("choice(1, 2)))", "choice(1, 2)), timeout_s=0)"), "timeout_s is 0"),
        (GOOD.replace("choice(1, 2)))", "choice(1, 2)), problems=[])"), "problems is empty"),
        (GOOD.replace("choice(1, 2)))", "choice(1, 2)), problems=[{'n': [1]}])"), "n is a list"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained_in_a_sentence(write, text, message):
    with pytest.raises(autotune.UserError, match=message):
        load(write(text))


def test_a_missing_file_is_named_with_the_nearest(write):
    path = write(GOOD)
    with pytest.raises(WorkloadError, match=r"there is no file .*sampel.py; did you mean 'sample.py'"):
        load(path.with_name("sampel.py"))
    with pytest.raises(WorkloadError, match="its folder is not there either"):
        load(path.parent / "nowhere" / "sample.py")
    with pytest.raises(WorkloadError, match="not a Python file"):
        load(write("", "sample.txt"))


def test_an_unknown_name_is_named_with_the_nearest(write):
    with pytest.raises(WorkloadError, match="no workload 'frist'; did you mean 'first'"):
        find(load(write(GOOD)), "frist")


def test_problems_are_selected_by_some_of_their_values_or_given_whole(write):
    first = load(write(GOOD.replace("Problem(n=1)", "Problem(n=1, dtype='b')")))[0]
    assert first.select(Problem(n=2)) == (Problem(n=2, dtype="float32"),)
    assert first.select(Problem()) == first.problems
    assert first.select(Problem(n=7, dtype="b")) == (Problem(n=7, dtype="b"),)
    with pytest.raises(WorkloadError, match="no problem with a 'dtyp'; did you mean 'dtype'"):
        first.select(Problem(dtyp="b"))
    with pytest.raises(WorkloadError, match="Give all of dtype, n to tune a new one"):
        first.select(Problem(n=7))


def test_a_workload_imported_from_elsewhere_belongs_to_its_own_file(write):
    write(GOOD, "library_of_workloads.py")
    path = write(
        """
        import autotune
        from autotune import SearchSpace, choice
        from library_of_workloads import first

        @autotune.workload(space=SearchSpace(x=choice(1)))
        def own(problem, config):
            yield lambda: None
        """
    )
    assert [w.name for w in load(path)] == ["own"]


def test_the_decorator_stays_callable_whatever_was_imported_before():
    import autotune.workload

    @autotune.workload(space=SearchSpace(x=choice(1)))
    def sample(problem, config):
        yield lambda: None

    assert sample.name == "sample"
