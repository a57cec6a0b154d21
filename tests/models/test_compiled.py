"""Compiled stages give what the same stages give as they are; who watches them sees all."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from slowfast_atfr.analysis import clip_macs, count_macs
from slowfast_atfr.config import ConfigError
from slowfast_atfr.models import MODEL_REGISTRY, build_model, video_resnet
from slowfast_atfr.models.compiled import CompiledFrames, CompiledStages, check_compiler
from slowfast_atfr.models.resnet import ResBlock
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins
from slowfast_atfr.sgs import insert_sgs, record

ON = ["MODEL.COMPILE", "True"]
CONFIGS = ["Kinetics/SLOWFAST_8x8_R50_ATFR.yaml", "Kinetics/X3D_S_ATFR.yaml", "Kinetics/SLOW_8x8_R50.yaml"]


@pytest.fixture
def backend():
    """Of torch.compile, none of them with a C++ compiler; this one keeps torch's own functions and gradients."""
    return "eager"


@pytest.fixture
def pairs(thin_cfg, to_pathways, moving_clips, monkeypatch, backend):
    """A network, the same one with compiled stages, and clips."""
    for kind in (CompiledStages, CompiledFrames):
        monkeypatch.setattr(video_resnet, kind.__name__, partial(kind, backend=backend))
    torch._dynamo.reset()

    def make(config, *changes, frames=None):
        cfgs = [thin_cfg(config, "MODEL.DROPOUT_RATE", "0.0", *changes, *more) for more in ([], ON)]
        models = []
        for cfg in cfgs:
            torch.manual_seed(0)
            models.append(build_model(cfg))
        return *models, to_pathways(cfgs[0], moving_clips(3, frames or cfgs[0].DATA.NUM_FRAMES))

    return make


def step(model, inputs):
    """Scores, gradients, buffers, multiply-adds and recorded bins of a training step and a forward in evaluation."""
    seen = {}
    with count_macs(model) as counter, record(model) as log:
        for mode in ("train", "eval"):
            scores = model.train(mode == "train")(inputs)
            seen[f"{mode} scores"] = scores.detach()
            seen[f"{mode} macs"] = torch.from_numpy(counter.read_and_reset())
            if mode == "train":
                scores.square().sum().backward()
    seen |= {f"{name} {i}": torch.from_numpy(clip.bin) for name in log.layers for i, clip in enumerate(log[name])}
    seen |= {f"grad of {name}": parameter.grad for name, parameter in model.named_parameters()}
    return seen | dict(model.named_buffers())


def unlike(ours, theirs):
    assert ours.keys() == theirs.keys()
    return [name for name, value in ours.items() if not torch.equal(value, theirs[name])]


CHECKPOINTED, REPLICATED = ["MODEL.ACT_CHECKPOINT", "True"], ["MODEL.REPLICATE_PAD_STAGES", "[conv1, res2]"]
LONG = [(config, more) for config in CONFIGS for more in ([], CHECKPOINTED, REPLICATED)][:-1]  # SLOW has none to pad


RESNET18 = "Mini_Kinetics/3DRESNET18_ATFR.yaml"


def stages_that_ran_compiled(model, inputs, monkeypatch):
    ran = []
    code = {name: lambda stage, x, name=name, run=run: ran.append(name) or run(stage, x) for name, run in
            model.compiled._code.items()}  # fmt: skip
    monkeypatch.setattr(model.compiled, "_code", code)
    model(inputs)
    return ran


@pytest.mark.parametrize(  # aot_eager makes functions and gradients of its own
    ("config", "more", "backend"),
    [
        (RESNET18, [], "eager"),
        pytest.param(CONFIGS[2], CHECKPOINTED, "aot_eager", marks=pytest.mark.slow),
        pytest.param(RESNET18, [*CHECKPOINTED, *REPLICATED], "aot_eager", marks=pytest.mark.slow),
        *[pytest.param(*each, "aot_eager", marks=pytest.mark.slow) for each in LONG],
    ],
)
def test_all_is_the_same_and_stages_after_sgs_are_not_compiled_as_a_whole(pairs, monkeypatch, config, more):
    eager, compiled, inputs = pairs(config, *more)
    assert not unlike(step(compiled, inputs), step(eager, inputs))
    assert list(compiled.state_dict()) == list(eager.state_dict())
    stages = ["s1", "s2"] if "ATFR" in config else ["s1", "s2", "s3", "s4", "s5"]
    assert stages_that_ran_compiled(compiled, inputs, monkeypatch) == stages


@pytest.mark.parametrize("config", [RESNET18, pytest.param(CONFIGS[1], marks=pytest.mark.slow)])
def test_new_lengths_after_sgs_compile_nothing(pairs, moving_clips, config):
    _, network, inputs = pairs(config)
    network.eval()
    runs, made = [], []
    for stage in (network.s3, network.s4, network.s5):
        for block in stage.modules():
            if isinstance(block, ResBlock):
                code = block.compiled
                block.compiled = lambda *args, code=code: (runs.append(len(args[4])), code(*args))[1]
    for share in (0.3, 0.4, 0.5, 0.6, 0.2, 0.45):  # of the maps
        force_bins(network, share)
        torch._dynamo.utils.counters.clear()
        with torch.no_grad():
            network(inputs)
        made.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert made[0] > 0 and made[2:] == [0] * 4 and len(set(runs)) > 4  # torch may take the first length for a constant


def test_a_hook_within_a_stage_sees_it_run_and_a_counter_leaves_all_compiled(pairs, monkeypatch):
    _, compiled, inputs = pairs(CONFIGS[2])
    compiled(inputs)
    seen = []
    layer = compiled.s3.pathway0_res0.branch2.a
    handle = layer.register_forward_hook(lambda *_: seen.append("a"))
    assert stages_that_ran_compiled(compiled, inputs, monkeypatch) == ["s1", "s2", "s4", "s5"]
    assert seen == ["a"]
    handle.remove()
    monkeypatch.undo()
    with count_macs(compiled):
        assert len(stages_that_ran_compiled(compiled, inputs, monkeypatch)) == 5


def test_stages_run_compiled_with_a_default_device(pairs, monkeypatch):
    eager, compiled, inputs = pairs(CONFIGS[2])
    eager.eval(), compiled.eval()
    with torch.device("cpu"), torch.no_grad():
        assert len(stages_that_ran_compiled(compiled, inputs, monkeypatch)) == 5
        assert torch.equal(compiled(inputs), eager(inputs))


@pytest.mark.slow
def test_many_shapes_do_not_compile_without_end(pairs, to_pathways, moving_clips):
    _, compiled, inputs = pairs(CONFIGS[2])
    compiled.eval()
    torch._dynamo.utils.counters.clear()
    with torch.no_grad():
        for batch, crop in ((2, 32), (3, 32), (4, 48), (5, 64), (6, 40), (7, 56)):
            compiled([moving_clips(batch, inputs[0].shape[2], crop)])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3 * 5


def test_a_copy_has_its_own_weights(pairs):
    _, compiled, inputs = pairs(CONFIGS[2])
    other = copy.deepcopy(compiled.eval())
    nn.init.zeros_(other.head.projection.weight)
    nn.init.zeros_(other.s1.pathway0_stem.conv.weight)
    before = compiled(inputs)
    assert not torch.equal(other(inputs), before)
    assert torch.equal(compiled(inputs), before)


@pytest.mark.slow
def test_macs_are_counted_anew_for_other_shapes(pairs, moving_clips):
    eager, compiled, inputs = pairs(CONFIGS[2])
    for crop in (32, 64):
        clips = [moving_clips(2, inputs[0].shape[2], crop)]
        assert clip_macs(compiled, clips).tolist() == clip_macs(eager, clips).tolist()


def test_sgs_is_not_put_into_compiled_stages(pairs):
    _, compiled, _ = pairs(CONFIGS[2])
    with pytest.raises(ConfigError, match="ResNet has compiled stages"):
        insert_sgs(compiled, after="s2")


def test_a_network_without_stages_of_its_own_says_so(thin_cfg, monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "Other", lambda cfg: nn.Conv3d(3, 4, 1))
    with pytest.raises(ConfigError, match="MODEL.COMPILE is True, but Other"):
        build_model(thin_cfg(CONFIGS[2], "MODEL.MODEL_NAME", "Other", *ON))


def test_a_machine_without_compiler_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"no C\+\+ compiler \(no-such-compiler\)"):
        check_compiler(torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS[1:])
def test_what_a_compiler_makes_is_close(thin_cfg, moving_clips, config):
    torch._dynamo.reset()
    results = []
    for more in ([], ON):
        torch.manual_seed(0)
        cfg = thin_cfg(config, "MODEL.DROPOUT_RATE", "0.0", "DATA.NUM_FRAMES", "8", *more)
        results.append(step(build_model(cfg), [moving_clips(3, 8)]))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-3, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
