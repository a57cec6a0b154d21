"""Every network of the configs at full size: it trains all its parameters, and a clip's result is its own."""

from pathlib import Path

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.models.attention import TemporalGate

FOLDER = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("config", sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")))
def test_a_step_reaches_every_parameter_and_a_clip_is_its_own(to_pathways, moving_clips, config):
    # zeros keep what is before them from a gradient in the first step, so final norms and gates start otherwise here;
    # under a softmax a bias of phi adds the same to all scores of a position, which changes nothing
    pairs = ["RESNET.ZERO_INIT_FINAL_BN", "False", "MODEL.DROPOUT_RATE", "0.0", "BN.NORM_TYPE", "batchnorm"]
    cfg = load_cfg(str(FOLDER / config), pairs)
    model = build_model(cfg).train()
    for norm in (module for module in model.modules() if isinstance(module, _BatchNorm)):
        norm.momentum = 1.0  # far from the clips' own statistics the products of non-local blocks would overflow
    for gate in (module for module in model.modules() if isinstance(module, TemporalGate)):
        torch.nn.init.normal_(gate.conv_gate.weight)
    clips = moving_clips(2, cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE)
    scores = model(to_pathways(cfg, clips))
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 3])).backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    if cfg.NONLOCAL.INSTANTIATION == "softmax":
        grads = {name: grad for name, grad in grads.items() if not name.endswith("conv_phi.bias")}
    assert not [n for n, grad in grads.items() if grad is None or not grad.isfinite().all() or not grad.any()]
    model.zero_grad(set_to_none=True)
    with torch.inference_mode():
        together = model.eval()(to_pathways(cfg, clips))
        for index in range(2):
            alone = model(to_pathways(cfg, clips[index : index + 1]))[0]
            rounding = 1e-5 + 0.02 * together.std().item()  # of products in non-local blocks; 1e-17 in float64
            torch.testing.assert_close(together[index], alone, rtol=0, atol=rounding)
