import pytest
import torch
from torch import nn

from slowfast_atfr.engine.ema import Ema
from slowfast_atfr.sgs import SegmentSGS


def make_net():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def step(net):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    net(torch.randn(4, 2))


def test_the_average_follows_weights_and_statistics_and_counts_are_the_networks():
    net = make_net()
    start = {name: value.clone() for name, value in net.state_dict().items()}
    ema = Ema(net, 0.75)
    step(net)
    ema.update(net)
    for name, value in net.state_dict().items():
        mean = 0.75 * start[name] + 0.25 * value if value.is_floating_point() else value
        torch.testing.assert_close(ema.state_dict()[name], mean)


def test_it_is_applied_within_and_taken_back_even_after_an_error():
    net = make_net()
    ema = Ema(net, 0.9)
    step(net)
    own, average = ({k: v.clone() for k, v in state.items()} for state in (net.state_dict(), ema.state_dict()))
    with pytest.raises(KeyError), ema.applied(net):
        assert all(torch.equal(value, average[name]) for name, value in net.state_dict().items())
        raise KeyError
    assert all(torch.equal(value, own[name]) for name, value in net.state_dict().items())
    assert all(torch.equal(value, average[name]) for name, value in ema.state_dict().items())


def test_it_comes_back_from_a_file_and_not_for_another_network(tmp_path):
    net = make_net()
    ema = Ema(net, 0.9)
    step(net)
    torch.save(ema.state_dict(), tmp_path / "ema.pth")
    other = Ema(net, 0.9)
    other.load_state_dict(torch.load(tmp_path / "ema.pth", weights_only=True))
    assert all(torch.equal(value, ema.state_dict()[name]) for name, value in other.state_dict().items())
    with pytest.raises(ValueError, match="of another network"):
        Ema(nn.Linear(2, 3), 0.9).load_state_dict(ema.state_dict())


def test_an_older_average_without_all_thresholds_is_restored():
    network = nn.Sequential(SegmentSGS(4, target_maps=2))
    average = {name: value + 1 for name, value in network.state_dict().items() if not name.endswith("learnt_for")}
    ema = Ema(network, 0.9)
    ema.load_state_dict(average)
    assert ema.state_dict()["0.spread"] == 1 and not ema.state_dict()["0.learnt_for"].any()


def test_thresholds_of_segments_are_the_networks_own():
    """They start at "not seen", which no average may take in."""
    network = SegmentSGS(4, target_maps=3)
    ema = Ema(network, 0.99)
    for _ in range(3):
        network(torch.randn(4, 4, 8, 2, 2))
        ema.update(network)
    for name, value in network.state_dict().items():
        assert torch.equal(ema.state_dict()[name], value) and value.any()
