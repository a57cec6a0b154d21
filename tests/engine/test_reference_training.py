"""Learning rates, parameter groups and steps are PySlowFast's: figures that its own functions gave (commit 287ec00)."""

import pytest

from slowfast_atfr.config import get_cfg, load_cfg
from slowfast_atfr.engine.lr_policy import lr_at_epoch
from slowfast_atfr.engine.optimizer import build_optimizer, set_lr
from tests.engine.four_steps import TinyNet, four_steps

# config: {epoch: learning rate}, of `get_lr_at_epoch`
LEARNING_RATES = {
    "Kinetics/SLOWFAST_8x8_R50": {
        0: 0.01, 0.25: 0.010608508368751966, 1.5: 0.013651050212511794, 19.6: 0.05770705611015411,
        59.17: 0.07914885109734969, 98.0: 0.05, 150.92: 0.012494446518477038, 195.99: 6.422847476095228e-10,
    },
    "Kinetics/X3D_S": {
        0: 0.01, 0.25: 0.010619135866606145, 1.5: 0.01371481519963686, 30.0: 0.08429630399273721,
        90.37: 0.07923231028617135, 150.0: 0.05, 231.0: 0.012494446518477021, 299.99: 2.7415567593891413e-10,
    },
    "SSv2/SLOWFAST_8x8_R50": {0: 0.0001, 0.25: 0.03, 6.97: 0.03, 11.0: 0.03, 16.94: 0.003, 21.99: 0.0003},
}  # fmt: skip
# keys: [parameters, weight decay] of each group of `construct_optimizer`, [mean, first value] of each parameter after
# `four_steps` of its optimizer and its learning rates
STEPS = [
    ({}, [[2, 0.01], [4, 0.1]], {
        "conv.weight": [-0.00654932715997959, -0.10647935564205237],
        "conv.bias": [1.220332457142834, 1.3146844462138723],
        "bn.weight": [0.9310343209098584, 1.376895049727947],
        "bn.bias": [0.562415193105009, 0.9522773961693548],
        "head.weight": [-0.09800179988197284, 0.04439521273075313],
        "head.bias": [0.7105089335648856, 0.7689541619306905],
    }),
    ({"ZERO_WD_1D_PARAM": True}, [[2, 0.01], [2, 0.1], [2, 0.0]], {
        "conv.weight": [-0.0065500602283723825, -0.10646711373952654],
        "conv.bias": [1.3187724547806, 1.420735492403947],
        "bn.weight": [0.931113015647471, 1.3768726377784235],
        "bn.bias": [0.5625547316393762, 0.9522396887660575],
        "head.weight": [-0.09800179988197284, 0.04495417033964451],
        "head.bias": [0.7678232312649529, 0.8129547135874698],
    }),
    ({"NESTEROV": False, "DAMPENING": 0.1}, [[2, 0.01], [4, 0.1]], {
        "conv.weight": [-0.005991779987844911, -0.11610715118614302],
        "conv.bias": [1.2468955528348253, 1.3433013108601803],
        "bn.weight": [0.9450345438585147, 1.3862151816660206],
        "bn.bias": [0.5821681446671042, 0.9644629403921883],
        "head.weight": [-0.10013501462441045, -0.04969281647328515],
        "head.bias": [0.7259746508633397, 0.719505815410578],
    }),
    ({"OPTIMIZING_METHOD": "adam"}, [[2, 0.01], [4, 0.1]], {
        "conv.weight": [-0.010689037412501923, -0.1997423187046168],
        "conv.bias": [1.0923047577404696, 1.1941882958805048],
        "bn.weight": [0.8190157994919836, 1.2366444528966116],
        "bn.bias": [0.5027264748378103, 0.8515452941159831],
        "head.weight": [-0.03720430089227741, -0.15312387230849156],
        "head.bias": [0.754270852500452, 0.7451162606373152],
    }),
    ({"OPTIMIZING_METHOD": "adamw"}, [[2, 0.01], [4, 0.1]], {
        "conv.weight": [-0.030161072187285802, -0.20098433335670854],
        "conv.bias": [1.2890532421489918, 1.3887184921403732],
        "bn.weight": [0.8167033392432282, 1.2348771037082105],
        "bn.bias": [0.5019082020103227, 0.850656250529288],
        "head.weight": [-0.03711307291744428, -0.14617595557914254],
        "head.bias": [0.8070835677615739, 0.7324621771256675],
    }),
]  # fmt: skip


@pytest.mark.parametrize("config", LEARNING_RATES)
def test_learning_rates(repo, config):
    cfg = load_cfg(str(repo / "configs" / f"{config}.yaml"))
    for epoch, expected in LEARNING_RATES[config].items():
        assert lr_at_epoch(cfg, epoch) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("keys", "groups", "expected"), STEPS, ids=[str(keys) for keys, *_ in STEPS])
def test_groups_and_steps(keys, groups, expected):
    cfg = get_cfg()
    cfg.BN.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.BASE_LR = 0.01, 0.1, 0.1
    cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.WARMUP_EPOCHS, cfg.SOLVER.WARMUP_START_LR = 4, 1.0, 0.02
    for key, value in keys.items():
        cfg.SOLVER[key] = value
    net = TinyNet()
    optimizer = build_optimizer(net, cfg)
    assert [[len(group["params"]), group["weight_decay"]] for group in optimizer.param_groups] == groups
    found = four_steps(net, optimizer, lambda epoch: lr_at_epoch(cfg, epoch), set_lr)
    for name, values in expected.items():
        noise = 1e-6 if name == "conv.bias" else 1e-12  # its gradient is rounding alone, which Adam divides by its size
        assert found[name] == pytest.approx(values, abs=noise), name
