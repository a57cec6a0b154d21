import pickle

import numpy as np
import torch

from slowfast_atfr.datasets.decoding.reusable_buffer import ReusableBuffer


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_that_nobody_holds_is_used_again():
    spare = ReusableBuffer()
    first = address(spare.array((1000, 1000)))
    assert address(spare.array((1000, 1000))) == first
    for shape in ((1000, 2000), (2000, 1000)):
        assert spare.array(shape).shape == shape


def test_what_is_held_stays_as_it_is():
    spare = ReusableBuffer()
    holders = (
        lambda array: array,
        lambda array: array[3:],
        lambda array: torch.from_numpy(array),
        lambda array: torch.from_numpy(array.reshape(-1))[5:7],
        lambda array: {"deep": [torch.from_numpy(array).view(10, -1)[2]]},
    )
    for hold in holders:
        array = spare.array((100, 100))
        array.fill(7)
        held = hold(array)
        del array
        spare.array((100, 100)).fill(9)
        values = held["deep"][0] if isinstance(held, dict) else held
        assert (np.asarray(values) == 7).all()
        del held, values


def test_another_process_gets_none_of_it():
    spare = ReusableBuffer()
    spare.array((1000, 1000))
    assert len(pickle.dumps(spare)) < 200
