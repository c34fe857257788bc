import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.errors import UserError
from autotune.values import RESERVED_NAMES, Config, Problem

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name not in RESERVED_NAMES)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12)
)
mappings = st.dictionaries(names, scalars, min_size=1, max_size=6)


@given(mappings)
def test_text_reads_back_as_the_same_mapping_with_the_same_types(values):
    problem = Problem(values)
    again = Problem.parse(problem.text)
    assert again == problem
    assert {k: type(v) for k, v in again.items()} == {k: type(v) for k, v in problem.items()}


@given(mappings)
def test_equal_mappings_have_equal_text_digest_and_hash_whatever_their_order(values):
    forward, backward = Config(values), Config(dict(reversed(values.items())))
    assert (forward.text, forward.digest, hash(forward)) == (backward.text, backward.digest, hash(backward))


@given(mappings)
def test_survives_pickle_and_json(values):
    config = Config(values)
    assert pickle.loads(pickle.dumps(config)) == config
    assert Config(json.loads(json.dumps(config))) == config


def test_canonical_text_is_sorted_by_name():
    assert Problem(n=4096, m=16, dtype="bfloat16").text == "dtype=bfloat16,m=16,n=4096"


def test_names_are_attributes_and_expand_as_keywords():
    config = Config(block_m=64, num_warps=4)
    assert config.block_m == config["block_m"] == 64
    assert dict(**config) == {"block_m": 64, "num_warps": 4}


def test_a_missing_name_is_reported_with_those_that_are_there():
    with pytest.raises(AttributeError, match="has no 'block_n'; it has block_m"):
        _ = Config(block_m=64).block_n


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(a=2),
        lambda c: c.pop("a"),
        lambda c: c.clear(),
        lambda c: c.__setitem__("a", 2),
        lambda c: setattr(c, "a", 2),
        lambda c: c.__delitem__("a"),
        lambda c: c.setdefault("b", 1),
        lambda c: c.__ior__({"b": 1}),
    ],
)
def test_nothing_changes_a_config(change):
    config = Config(a=1)
    with pytest.raises(TypeError, match="never changes"):
        change(config)
    assert config == {"a": 1}


def test_numpy_scalars_and_torch_dtypes_become_plain():
    import numpy as np
    import torch

    problem = Problem(m=np.int64(16), scale=np.float32(0.5), dtype=torch.bfloat16, other=np.dtype("float32"))
    assert problem == {"m": 16, "scale": 0.5, "dtype": "bfloat16", "other": "float32"}
    assert type(problem["m"]) is int


@pytest.mark.parametrize("name", ["items", "text", "copy", "1st", "a b"])
def test_names_that_would_hide_a_method_or_are_no_identifiers_are_refused(name):
    with pytest.raises(UserError, match="cannot name a value"):
        Config({name: 1})


def test_a_value_that_is_no_scalar_is_refused_with_what_to_give():
    with pytest.raises(UserError, match=r"x is a list; .* such as its shape"):
        Problem(x=[1, 2])


@pytest.mark.parametrize("text", ["m", "m=", "=1", "m=1,n", 'm="x'])
def test_text_that_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(UserError, match="cannot read"):
        Problem.parse(text)
