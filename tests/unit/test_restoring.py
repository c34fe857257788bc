"""Restoring: contents come back, of torch tensors and NumPy arrays, and mistakes are named."""

import subprocess
import sys

import numpy
import pytest
import torch

import autotune
from autotune.errors import WorkloadError


@pytest.mark.parametrize("x", [torch.arange(6.0).reshape(2, 3), numpy.arange(6.0).reshape(2, 3), numpy.array(3.0)])
def test_what_a_call_changed_in_place_comes_back(x):
    before = x.tolist()

    def double():
        x[...] *= 2

    call = autotune.restoring(double, x)
    call()
    call()
    assert x.tolist() != before
    call.restore()
    assert x.tolist() == before
    call.restore()
    assert x.tolist() == before


def test_every_tensor_comes_back_also_a_view_and_a_parameter():
    base, parameter = torch.zeros(4, 4), torch.nn.Parameter(torch.ones(3))
    row = base[1]
    call = autotune.restoring(lambda: (row.add_(1), parameter.data.add_(1)), row, parameter)
    call()
    call.restore()
    assert base.sum() == 0
    assert parameter.sum() == 3
    assert parameter.requires_grad


def test_a_call_gives_what_it_gives():
    assert autotune.restoring(lambda: {"tokens": 3}, numpy.zeros(1))() == {"tokens": 3}


def test_what_is_not_on_a_gpu_is_not_restored_there():
    assert not autotune.restoring(lambda: None, torch.zeros(1)).on_gpu
    assert not autotune.restoring(lambda: None, numpy.zeros(1)).on_gpu


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((torch.zeros(1),), "got a Tensor first; give the call"),
        ((lambda: None,), "no tensor; name those that the call changes"),
        ((lambda: None, [1, 2]), "given a list; give torch tensors"),
        ((lambda: None, 3), "given a int; give torch tensors"),
    ],
)
def test_a_mistake_is_named(arguments, says):
    with pytest.raises(WorkloadError, match=says):
        autotune.restoring(*arguments)


def test_nothing_heavy_is_imported():
    program = "import autotune.restoring, sys; assert not {'torch', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
