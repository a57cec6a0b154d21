"""A network of four layers, its optimizer and a config: what a checkpoint is made of, in no time."""

import torch
from torch import nn, optim

from slowfast_atfr.config import get_cfg
from slowfast_atfr.engine.checkpoint.file import read_checkpoint
from slowfast_atfr.engine.checkpoint.save import load_run_weights, restore_run
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.engine.start import find_start


def make_cfg(output_dir, **train):
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.SOLVER.MAX_EPOCH = str(output_dir), 25
    cfg.TRAIN.CHECKPOINT_PERIOD, cfg.TRAIN.EVAL_PERIOD = 10, 4
    for key, value in train.items():
        assert key in cfg.TRAIN
        cfg.TRAIN[key] = value
    cfg.freeze()
    return cfg


def make_net(classes=2):
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(4, classes))


def make_run(classes=2):
    net = make_net(classes)
    return net, optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def step(net, optimizer):
    """A step on random data: it depends on weights, momentum and the random state."""
    net(torch.randn(4, 3, 1, 1, 1)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def same(net, other):
    return all(map(torch.equal, net.state_dict().values(), other.state_dict().values()))


def load_run(path, net, optimizer):
    """Resume from a file, as training does; the last epoch that is done."""
    file = read_checkpoint(str(path))
    load_run_weights(file, net)
    return restore_run(file, optimizer, RunState())


def start_from(cfg, model, optimizer, state=None):
    """Load what a run of cfg starts from, as training does; the epoch that it starts with."""
    start = find_start(cfg, max_epoch=cfg.SOLVER.MAX_EPOCH)
    start.load_weights(model)
    return start.restore(optimizer, RunState() if state is None else state)
