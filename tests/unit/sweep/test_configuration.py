from pathlib import Path

import pytest

from autotune.errors import UserError
from autotune.sweep.configuration import SweepConfiguration
from autotune.trial import Effort


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "sweep.toml"
        path.write_text(text)
        return SweepConfiguration.read(path)

    return read


def test_an_empty_file_is_the_defaults(read):
    assert read("") == SweepConfiguration()
    assert read("").budget.trials == 100
    assert read('effort = "quick"').budget.trials == 16
    assert read("seconds = 60").budget.trials is None


def test_paths_are_relative_to_the_file(read, tmp_path):
    one = read('paths = ["kernels", "/abs/one.py"]\nreport = "nights"')
    assert one.paths == (tmp_path / "kernels", Path("/abs/one.py"))
    assert one.report == tmp_path / "nights"


def test_every_key_is_read(read):
    one = read(
        'include = ["matmul*"]\nexclude = ["old"]\nskus = ["h200"]\ntrials = 7\neffort = "quick"\nsoft_after_days = 3\n'
        "canary_share = 0.5\nfull_every_nights = 4\nbudget_gpu_hours = 0.5\nat_once = 2"
    )
    assert (one.include, one.exclude, one.skus, one.trials, one.effort) == (
        ("matmul*",), ("old",), ("h200",), 7, Effort.QUICK,
    )  # fmt: skip
    assert (one.budget_gpu_s, one.at_once, one.full_every_nights) == (1800, 2, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trails = 5", "there is no key 'trails'; did you mean 'trials'?"),
        ('trials = "many"', "trials is 'many'; expected a whole number from 1 on."),
        ("trials = true", "trials is True"),
        ("canary_share = 2", "canary_share is 2; expected a share from 0 to 1."),
        ('effort = "most"', "expected 'full' or 'quick'"),
        ('paths = "kernels"', "paths is 'kernels'; expected a list of files and folders."),
        ("trials =", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(read, text, words):
    with pytest.raises(UserError) as error:
        read(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        SweepConfiguration.read(tmp_path / "none.toml")
