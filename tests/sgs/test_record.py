"""The record says what the layer did: rebuilt from it, the output is the output."""

import copy
import pickle

import torch

from slowfast_atfr.packed import unpack
from slowfast_atfr.sgs import SGS, count_active, record


def test_the_output_can_be_rebuilt_from_the_record():
    model = torch.nn.Sequential(SGS(4, kernel="delta", block_size=3)).eval()
    x = torch.randn(3, 4, 8, 2, 2)
    with record(model) as log:
        clips = unpack(model(x))
    assert list(log.layers) == ["0"] and len(log["0"]) == 3
    for clip, out, seen in zip(x, clips, log["0"], strict=True):
        assert seen.block.tolist() == [0, 0, 0, 1, 1, 1, 2, 2] and seen.num_active == out.shape[1]
        for index in range(seen.num_active):
            members = torch.from_numpy(seen.output == index)
            assert len(set(zip(seen.block[members], seen.bin[members], strict=True))) == 1
            torch.testing.assert_close(out[:, index], clip[:, members].sum(1))
    assert log.mean_active() == {"0": sum(c.shape[1] for c in clips) / 3}


def test_recording_ends_with_the_context():
    model = SGS(4).eval()
    with record(model) as log:
        pass
    model(torch.randn(1, 4, 3, 2, 2))
    assert log.layers == {"": []} and model.observers == []


def test_active_bins_are_counted_per_clip_and_layer():
    model = torch.nn.Sequential(SGS(4, num_bins=3)).eval()
    with count_active(model) as counter:
        lengths = model(torch.randn(5, 4, 8, 2, 2)).lengths
        assert {name: bins.tolist() for name, bins in counter.read_and_reset().items()} == {"0": list(lengths)}
        assert counter.read_and_reset() == {}


def test_a_copy_made_meanwhile_is_without_observers():
    model = torch.nn.Sequential(SGS(4)).eval()
    x = torch.randn(2, 4, 8, 2, 2)
    with record(model) as log:
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin(x).joined, model(x).joined)
    assert len(log["0"]) == 4
