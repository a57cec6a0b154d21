import pytest
import torch
from torch import nn, optim

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.checkpoint.file import CheckpointFile
from slowfast_atfr.engine.checkpoint.save import restore_run
from slowfast_atfr.engine.optimizer import build_optimizer, check_optimizer, set_lr
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.models.norm import CountedBatchNorm
from slowfast_atfr.sgs import SGS


def make_cfg(**solver):
    cfg = get_cfg()
    cfg.BN.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY = 0.25, 0.5
    for key, value in solver.items():
        assert key in cfg.SOLVER
        cfg.SOLVER[key] = value
    cfg.freeze()
    return cfg


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 1, bias=False)
        self.bn = nn.BatchNorm3d(4)
        self.sync = CountedBatchNorm(4)
        self.layer_norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.alias = self.head  # the same parameters under a second name


def decays(net, cfg):
    """Weight decay of each parameter, by name; asserts that each that needs a gradient is in one group."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    found = [
        (names[id(p)], group["weight_decay"])
        for group in build_optimizer(net, cfg).param_groups
        for p in group["params"]
    ]
    wanted = [name for name, parameter in net.named_parameters() if parameter.requires_grad]
    assert sorted(name for name, _ in found) == sorted(wanted)
    return dict(found)


NORMS = {"bn.weight": 0.25, "bn.bias": 0.25, "sync.weight": 0.25, "sync.bias": 0.25}


def test_norms_decay_by_their_own_key():
    others = dict.fromkeys(("conv.weight", "head.weight", "head.bias", "layer_norm.weight", "layer_norm.bias"), 0.5)
    assert decays(Net(), make_cfg()) == NORMS | others


def test_vectors_need_not_decay():
    zero = dict.fromkeys(("head.bias", "layer_norm.weight", "layer_norm.bias"), 0.0)
    assert decays(Net(), make_cfg(ZERO_WD_1D_PARAM=True)) == NORMS | {"conv.weight": 0.5, "head.weight": 0.5} | zero


def test_empty_groups_are_left_out():
    assert len(build_optimizer(nn.Linear(2, 2), make_cfg()).param_groups) == 1


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="nothing to train"):
        build_optimizer(nn.Linear(2, 2).requires_grad_(False), make_cfg())


@pytest.mark.parametrize(("method", "kind"), [("sgd", optim.SGD), ("adam", optim.Adam), ("adamw", optim.AdamW)])
def test_methods_by_name(method, kind):
    optimizer = build_optimizer(Net(), make_cfg(OPTIMIZING_METHOD=method, BASE_LR=0.125))
    assert type(optimizer) is kind and {group["lr"] for group in optimizer.param_groups} == {0.125}


def test_sgd_takes_its_settings():
    cfg = make_cfg(MOMENTUM=0.75, DAMPENING=0.5, NESTEROV=False)
    group = build_optimizer(Net(), cfg).param_groups[0]
    assert (group["momentum"], group["dampening"], group["nesterov"]) == (0.75, 0.5, False)


@pytest.mark.parametrize("solver", [{"MOMENTUM": 0.0}, {"DAMPENING": 0.5}])
def test_nesterov_without_momentum_names_the_keys(solver):
    with pytest.raises(ConfigError, match="SOLVER.NESTEROV is True with SOLVER.MOMENTUM"):
        check_optimizer(make_cfg(**solver))


def test_the_learning_rate_reaches_all_groups():
    optimizer = build_optimizer(Net(), make_cfg(ZERO_WD_1D_PARAM=True))
    set_lr(optimizer, 0.0625)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0625] * 3
    before = [parameter.clone() for group in optimizer.param_groups for parameter in group["params"]]
    set_lr(optimizer, 0.0)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(map(torch.equal, before, (p for group in optimizer.param_groups for p in group["params"])))


def test_sgs_learns_at_its_own_rate():
    cfg = get_cfg()
    cfg.SGS.LR_FACTOR = 10.0
    net = nn.Sequential(nn.Conv3d(3, 4, 1), SGS(4))
    optimizer = build_optimizer(net, cfg)
    set_lr(optimizer, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in net.named_parameters()}
    assert {rate for name, rate in found.items() if name.startswith("0.")} == {0.5}
    assert {rate for name, rate in found.items() if name.startswith("1.")} == {5.0} and len(found) == 2 + 5
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay[id(net[1].embed.bn.weight)] == cfg.BN.WEIGHT_DECAY


def test_a_resume_takes_the_rate_of_sgs_from_the_config():
    def optimizer(factor):
        cfg = get_cfg()
        cfg.SGS.LR_FACTOR = factor
        return build_optimizer(SGS(4), cfg)

    def resumed(saved, now):
        file, mine = (
            CheckpointFile("x.pyth", "pytorch", {}, {"optimizer_state": optimizer(saved).state_dict()}),
            optimizer(now),
        )
        restore_run(file, mine, RunState())
        assert [group.keys() for group in mine.param_groups] == [group.keys() for group in optimizer(now).param_groups]
        set_lr(mine, 0.5)
        return {group["lr"] for group in mine.param_groups}

    assert resumed(3.0, 10.0) == {5.0} and resumed(1.0, 1.0) == {0.5}
    with pytest.raises(ConfigError, match="SGS.LR_FACTOR"):
        file = {"optimizer_state": optimizer(1.0).state_dict()}
        net = nn.Sequential(SGS(4), nn.Conv3d(3, 4, 1))
        cfg = get_cfg()
        cfg.SGS.LR_FACTOR = 10.0
        restore_run(CheckpointFile("x.pyth", "pytorch", {}, file), build_optimizer(net, cfg), RunState())
