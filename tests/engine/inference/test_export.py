"""Exported files give what PyTorch gives, with as many maps as the clip asks for; what has no file is refused."""

import copy
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine.inference import export, onnx_file
from slowfast_atfr.engine.inference.export import (
    TOLERANCE,
    TorchFile,
    as_pathways,
    check_exportable,
    compare,
    export_program,
    input_shapes,
    save_onnx,
    save_torch,
)
from slowfast_atfr.engine.inference.export_cli import main as export_main
from slowfast_atfr.engine.inference.onnx_file import OnnxFile
from slowfast_atfr.models import build_model
from slowfast_atfr.reproduce.benchmarks.export import settled
from slowfast_atfr.utils.errors import RunError
from tests.tiny_sets import small_pairs

FOLDER = Path(__file__).resolve().parents[3] / "configs"
TINY = {
    "BN.NORM_TYPE": "batchnorm",
    "DATA.TRAIN_CROP_SIZE": 32,
    "DATA.TEST_CROP_SIZE": 40,
    "MODEL.NUM_CLASSES": 5,
    "RESNET.WIDTH_PER_GROUP": 8,
}
SHALLOW = {"RESNET.DEPTH": 18, "RESNET.NUM_BLOCK_TEMP_KERNEL": "[[2], [2], [2], [2]]"}  # blocks of a bottleneck
SHALLOW_2 = {**SHALLOW, "RESNET.NUM_BLOCK_TEMP_KERNEL": "[[2, 2], [2, 2], [2, 2], [2, 2]]"}
NONLOCAL = {"NONLOCAL.LOCATION": "[[[]], [[1]], [[1]], [[]]]"}
X3D = {"X3D.DEPTH_FACTOR": 0.5, "X3D.DIM_C5": 16}
SGS = {"SGS.ENABLE": True, "SGS.KERNEL": "linear_mean"}
SEGMENTS = {
    "SGS.ENABLE": True,
    "SGS.GROUPING": "segments",
    "SGS.WEIGHTED_HEAD": True,
    "MODEL.REPLICATE_PAD_STAGES": "[conv1,res2]",
}
OVERLAP = {"SGS.SEGMENT_LOSS": "motion", "SGS.SEGMENT_MAP": "overlap"}
ALIGNED = {**SEGMENTS, "SGS.ALIGN_PATHWAYS": True, "SGS.TARGET_MAPS": "[3]", "DATA.NUM_FRAMES": 32}
CASES = {
    "slowfast, bins": ("Kinetics/SLOWFAST_8x8_R50", {**SHALLOW_2, **SGS}),
    "x3d, segments": ("Kinetics/X3D_XS", {**X3D, **SEGMENTS, "DATA.NUM_FRAMES": 8, "SGS.TARGET_MAPS": "[3]"}),
    "x3d, overlap": ("Kinetics/X3D_XS", {**X3D, **SEGMENTS, **OVERLAP, "DATA.NUM_FRAMES": 8, "SGS.TARGET_MAPS": "[3]"}),
    "slowfast": ("Kinetics/SLOWFAST_8x8_R50", SHALLOW_2),
    "slowfast, blocks": ("Kinetics/SLOWFAST_8x8_R50", {**SHALLOW_2, **SGS, "SGS.BLOCK_SIZE": "[3, 8]"}),
    "slowfast, segments": ("Kinetics/SLOWFAST_4x16_R50", {**SHALLOW_2, **ALIGNED}),
    "slowfast, overlap": ("Kinetics/SLOWFAST_4x16_R50", {**SHALLOW_2, **ALIGNED, **OVERLAP}),
    "fast alone": ("Kinetics/SLOWFAST_8x8_R50", {**SHALLOW_2, **SGS, "SGS.PATHWAYS": "[1]", "SGS.WEIGHTED_HEAD": True}),
    "slow": ("Kinetics/SLOW_8x8_R50", SHALLOW),
    "slow, path": ("Kinetics/SLOW_8x8_R50", {**SHALLOW, **SGS, "SGS.SIMILARITY": "path"}),
    "x3d": ("Kinetics/X3D_XS", X3D),
    "x3d, twice": ("Kinetics/X3D_S", {**X3D, **SGS, "SGS.STAGES": "[res2, res3]", "SGS.ORDER": "time"}),
    "3dresnet": ("Mini_Kinetics/3DRESNET18", {"DATA.NUM_FRAMES": 16}),
    "3dresnet, bins": ("Mini_Kinetics/3DRESNET18", {**SGS, "DATA.NUM_FRAMES": 16}),
    "c2d, non-local": ("Kinetics/C2D_8x8_R50", {**SHALLOW, **NONLOCAL, **SGS}),
    "i3d, non-local": ("Kinetics/I3D_8x8_R50", {**SHALLOW, **NONLOCAL, "NONLOCAL.INSTANTIATION": "softmax"}),
    "i3d, non-local, bins": ("Kinetics/I3D_8x8_R50", {**SHALLOW, **NONLOCAL, **SGS, "DATA.NUM_FRAMES": 16}),
    "attention": ("Mini_Kinetics/X3D_S_TEMPORAL_ATTENTION", {**X3D, **SGS, "SGS.SIMILARITY": "cartesian"}),
    "residual attention": ("Mini_Kinetics/X3D_S_TEMPORAL_ATTENTION", {**X3D, "TEMPORAL_ATTENTION.KIND": "residual"}),
}


def cfg_of(name, changes):
    return load_cfg(name, [str(part) for pair in (TINY | changes).items() for part in pair])


def clips_of(cfg):
    """Clips of 1, 2, .. different frames, each held, and two that move by noise."""
    frames = torch.arange(cfg.DATA.NUM_FRAMES)
    noise = torch.randn(input_shapes(cfg)[-1])
    levels = 2 * torch.randn(1, 3, cfg.DATA.NUM_FRAMES, 1, 1)
    held = frames * (frames + 3) / (len(frames) * (len(frames) + 3))  # not in the same way from both ends: no ties
    clips = {f"{n} frames": (noise + levels)[:, :, (held * n).long()] for n in (1, 2, 3, 5, len(frames))}
    clips |= {f"noise {size}": noise[:, :, :1] + size * torch.randn(noise.shape) for size in (0.1, 1.0)}
    return {name: as_pathways(clip, cfg) for name, clip in clips.items()}


@pytest.fixture
def compared(tmp_path):
    """Checks of a network's torch program and ONNX file on several clips."""

    def run(name, changes, onnx=True):
        cfg = cfg_of(name, changes)
        check_exportable(cfg, "onnx")
        clips = clips_of(cfg)
        network = settled(build_model(cfg), list(clips.values()))
        program = export_program(network, cfg)
        save_torch(program, tmp_path / "net.pt2", cfg, None)
        spread = torch.cat([network(pathways) for pathways in clips.values()]).std(0).mean()
        assert spread > 10 * TOLERANCE  # scores that differ
        files = [TorchFile(tmp_path / "net.pt2")]
        if onnx:
            pytest.importorskip("onnxruntime")
            pytest.importorskip("onnxscript")
            save_onnx(program, tmp_path / "net.onnx", cfg, None)
            files.append(OnnxFile(tmp_path / "net.onnx"))
        limits = limits_of(network, clips)
        assert max(limits.values()) < spread / 10
        return [(compare(network, file, cfg, clips), limits) for file in files]

    return run


@torch.no_grad()
def limits_of(network, clips):
    """Allowed differences of each clip: float32 rounding of a thin random network may exceed TOLERANCE."""
    exact = copy.deepcopy(network).double()
    error = {
        name: (network(pathways) - exact([frames.double() for frames in pathways])).abs().max()
        for name, pathways in clips.items()
    }
    return {name: max(TOLERANCE, 2 * value) for name, value in error.items()}


def check_all(checks, limits, *, sampled):
    for check in checks:
        assert check.difference <= limits[check.name] and check.active == check.expected, check
    assert len({tuple(check.active.values()) for check in checks}) > 1 or not sampled


def test_a_torch_file_gives_what_pytorch_gives(compared):
    """Of segments; below, an ONNX file of bins."""
    ((checks, limits),) = compared(*CASES["x3d, segments"], onnx=False)
    check_all(checks, limits, sampled=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_files_of_every_architecture_give_what_pytorch_gives(compared, case):
    for checks, limits in compared(*CASES[case]):
        check_all(checks, limits, sampled="SGS.ENABLE" in CASES[case][1])


THIN = TINY | {"DATA.TEST_CROP_SIZE": 32, "NUM_GPUS": 0, "RESNET.WIDTH_PER_GROUP": 16}


@lru_cache
def networks_of_all_configs():
    """One file of each network that the configs describe, made thin."""
    files = {}
    for path in sorted(FOLDER.rglob("*.yaml")):
        cfg = load_cfg(str(path), [str(part) for pair in THIN.items() for part in pair])
        shape = {"frames": cfg.DATA.NUM_FRAMES, "arch": cfg.MODEL.ARCH, "pad": cfg.MODEL.REPLICATE_PAD_STAGES}
        network = {key: cfg[key] for key in ("RESNET", "SLOWFAST", "X3D", "SGS", "NONLOCAL", "TEMPORAL_ATTENTION")}
        files.setdefault(str(shape | network), str(path.relative_to(FOLDER)))
    return set(files.values())


@pytest.mark.slow
@pytest.mark.parametrize("config", sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")))
def test_every_config_can_be_exported(compared, config):
    if config not in networks_of_all_configs():
        pytest.skip("the network of another config")
    for checks, limits in compared(config, THIN):
        check_all(checks, limits, sampled=False)


def test_an_export_prints_the_file_its_inputs_and_how_it_differs(exported):
    out = exported.printed
    assert f"wrote {exported.file}: " in out and "moving clip" in out and "warning" not in out
    for pathway, shape in enumerate(exported.shapes):
        assert f"input of pathway {pathway}: {shape}" in out
    assert f"static clip: {exported.counts[0]} 1" in out
    assert OnnxFile(exported.file).input_shapes == exported.shapes


def test_an_exported_file_gives_what_its_checkpoint_gives(exported):
    cfg = load_cfg(exported.weights[1], exported.pairs)
    network = build_model(cfg)
    network.load_state_dict(torch.load(exported.weights[3])["model_state"])
    clips = clips_of(cfg)
    checks = compare(network.eval(), OnnxFile(exported.file), cfg, clips)
    check_all(checks, dict.fromkeys(clips, TOLERANCE), sampled=True)


@pytest.mark.slow
def test_a_torch_file_by_the_command_line_has_its_config(small_weights, tmp_path, capsys):
    file = tmp_path / "net.pt2"
    assert export_main([*small_weights, "--format", "torch", "--output", str(file), "--opts", *small_pairs()]) == 0
    assert "largest difference from PyTorch" in capsys.readouterr().out
    extra = {onnx_file.CONFIG: ""}
    torch.export.load(file, extra_files=extra)
    cfg = load_cfg(None, onnx_file.pairs_of_yaml(extra[onnx_file.CONFIG]))
    assert cfg.DATA.NUM_FRAMES == 8 and cfg.SGS.ENABLE and not cfg.TEST.CHECKPOINT_FILE_PATH


REFUSED = [
    ({"SGS.BATCHING": "padded"}, "SGS.BATCHING is 'padded'"),
    ({"SGS.SIMILARITY": "mean_mahalanobis"}, "SGS.SIMILARITY is 'mean_mahalanobis'.*--format torch"),
    ({"SGS.WEIGHTED_HEAD": True, "SGS.STAGES": "[res2, res3]", "SGS.PATHWAYS": "[1]"}, "SGS.STAGES"),
    (
        {"NONLOCAL.LOCATION": "[[[], []], [[1], []], [[], []], [[], []]]", "NONLOCAL.GROUP": "[[1], [2], [1], [1]]"},
        "NONL",
    ),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_has_no_file_is_refused_with_a_remedy(monkeypatch, changes, words):
    monkeypatch.setattr(export, "import_extra", lambda package: None)
    with pytest.raises(ConfigError, match=words):
        check_exportable(cfg_of("Kinetics/SLOWFAST_8x8_R50_ATFR", changes), "onnx")


def test_what_is_not_the_network_is_off():
    good = export.Check("static", 1e-6, {"active_bins_s2": 1}, {"active_bins_s2": 1})
    assert not good.is_off
    assert replace(good, difference=float("nan")).is_off and replace(good, expected={"active_bins_s2": 2}).is_off


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch, small_weights, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert export_main([*small_weights, "--output", str(tmp_path / "net.onnx"), *small_pairs()]) == 1
    assert "onnxscript: pip install 'slowfast_atfr[export]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_torch_cannot_trace_is_told_in_a_line():
    class Asks(torch.nn.Module):
        def forward(self, pathways):
            return pathways[0] if pathways[0].sum() > 0 else pathways[0].relu()

    with pytest.raises(RunError, match="torch.export cannot trace this SlowFast"):
        export_program(Asks(), cfg_of("Kinetics/SLOWFAST_8x8_R50", {}))


def test_a_file_of_others_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(RunError, match="there is no file"):
        OnnxFile(tmp_path / "gone.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(RunError, match="ONNX Runtime cannot read .*bad.onnx"):
        OnnxFile(tmp_path / "bad.onnx")
