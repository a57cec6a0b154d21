"""Weights of others end up where they belong; what has no place is named, and too little is refused."""

import logging
import re

import pytest
import torch
from torch.nn import functional as F

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine.checkpoint.load_weights import LoadReport, inflate_kernel, load_weights, translate
from slowfast_atfr.models import build_model
from tests.engine.foreign_weights import COUNTER, R50, of_torch, same, shuffled, torchvision_shapes, weights_of
from tests.engine.small_run import start_from


@pytest.mark.parametrize("frames", [1, 3, 5])
@pytest.mark.parametrize("flat", [True, False])
def test_an_inflated_kernel_gives_of_a_still_video_what_it_gave_of_the_picture(frames, flat):
    kernel, picture = torch.randn(4, 3, 3, 3), torch.randn(1, 3, 6, 6)
    inflated = inflate_kernel(kernel if flat else kernel[:, :, None], (4, 3, frames, 3, 3))
    assert inflated.shape == (4, 3, frames, 3, 3)
    video = picture[:, :, None].expand(-1, -1, frames, -1, -1)
    torch.testing.assert_close(F.conv3d(video, inflated)[:, :, 0], F.conv2d(picture, kernel))


@pytest.mark.parametrize("shape", [(4, 3, 3, 5, 5), (4, 2, 3, 3, 3), (4, 3, 3, 3), (4,)])
def test_what_is_no_kernel_of_that_size_is_not_inflated(shape):
    kernel = torch.randn(4, 3, 3, 3)
    assert inflate_kernel(kernel, shape) is kernel
    long = torch.randn(4, 3, 3, 3, 3)
    assert inflate_kernel(long, (4, 3, 5, 3, 3)) is long


def imagenet(width=16, classes=1000):
    return {name: torch.rand(shape) for name, shape in torchvision_shapes(R50, width=width, classes=classes).items()}


def test_a_2d_resnet_is_inflated_into_slow(network):
    pictures, target = imagenet(), network("SLOW_8x8_R50")
    head = target.head.projection.weight.clone()
    report = load_weights(of_torch(pictures), target, inflate=True)
    assert [entry.name for entry in report.mismatched] == ["head.projection.weight", "head.projection.bias"]
    assert not report.missing and not report.unexpected and report.share == 1
    assert "the classifier is new: 5 classes here, 1000 in the file" in str(report)
    assert torch.equal(target.head.projection.weight, head)
    stem, deep = target.s1.pathway0_stem.conv.weight, target.s5.pathway0_res2.branch2
    assert torch.equal(stem[:, :, 0], pictures["conv1.weight"])  # one frame long
    assert deep.a.weight.shape[2] == 3
    for frame in range(3):
        assert torch.equal(deep.a.weight[:, :, frame], pictures["layer4.2.conv1.weight"] / 3)
    assert torch.equal(deep.c.weight[:, :, 0], pictures["layer4.2.conv3.weight"])
    assert torch.equal(target.s3.pathway0_res0.branch1_bn.running_var, pictures["layer2.0.downsample.1.running_var"])


def test_a_3d_file_of_one_frame_is_inflated_as_well(network):
    source, target = network("SLOW_8x8_R50"), network("SLOW_8x8_R50")
    flat = {name: value[:, :, :1] if value.ndim == 5 else value for name, value in weights_of(source).items()}
    report = load_weights(of_torch(flat, epoch=89), target, inflate=True)
    assert report.complete
    with torch.inference_mode():
        for name, value in weights_of(target).items():
            expected = flat[name].expand_as(value) / value.shape[2] if value.ndim == 5 else flat[name]
            assert torch.equal(value, expected), name


def test_slowfast_takes_of_a_2d_resnet_what_has_its_width(network):
    target = network("SLOWFAST_8x8_R50")
    report = load_weights(of_torch(imagenet(classes=5)), target, inflate=True)
    wider = [f"s{stage}.pathway0_res0.{layer}.weight" for stage in (2, 3, 4, 5) for layer in ("branch1", "branch2.a")]
    assert [entry.name for entry in report.mismatched] == [*wider, "head.projection.weight"]
    assert all("pathway1" in name or "fuse" in name for name in report.missing) and not report.unexpected
    assert set(report.missing) == {name for name in weights_of(target) if "pathway1" in name or "_fuse" in name}


def test_real_sizes_and_the_share_that_is_asked_for(repo):
    with torch.device("meta"):  # names and shapes are all it takes
        pictures = {name: torch.empty(shape) for name, shape in torchvision_shapes(R50).items()}
        reports, refused = {}, []
        for config in ("SLOW_8x8_R50", "SLOWFAST_8x8_R50", "SLOWFAST_8x8_R101", "X3D_S"):
            cfg = load_cfg(str(repo / "configs" / "Kinetics" / f"{config}.yaml"), ["BN.NORM_TYPE", "batchnorm"])
            try:
                reports[config] = load_weights(of_torch(pictures), build_model(cfg), inflate=True)
            except ConfigError:
                refused.append(config)
    assert {config: round(report.share, 2) for config, report in reports.items()} == {
        "SLOW_8x8_R50": 1.0,
        "SLOWFAST_8x8_R50": 0.8,
    }
    assert refused == ["SLOWFAST_8x8_R101", "X3D_S"]


def test_2d_kernels_without_inflation_are_refused_with_the_remedy(network):
    target = network("SLOW_8x8_R50")
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(ConfigError, match=r"1% of its values fit .*at least 50%.*CHECKPOINT_INFLATE True repeats"):
        load_weights(of_torch(imagenet()), target)  # though the vectors of all norms fit
    assert same(target.state_dict(), before)


def test_a_counter_of_another_shape_is_passed_over(network):
    source, target = network("SLOW_8x8_R50"), network("SLOW_8x8_R50")
    state = {n: torch.zeros(3) if n.endswith(COUNTER) else value for n, value in source.state_dict().items()}
    assert load_weights(of_torch(state), target).complete
    assert same(weights_of(target), weights_of(source))


def test_another_network_is_refused(network):
    source, target = network("SLOW_8x8_R50", "RESNET.WIDTH_PER_GROUP", "32"), network("SLOW_8x8_R50")
    with pytest.raises(ConfigError, match=r"0% of its values .* The config \(MODEL.ARCH, RESNET, X3D, SLOWFAST\)"):
        load_weights(of_torch(weights_of(source)), target)


def test_a_prefix_is_found_and_removed(network):
    source, target = network("SLOW_8x8_R50"), network("SLOW_8x8_R50")
    file = of_torch({f"backbone.{name}": value for name, value in weights_of(source).items()})
    with pytest.raises(ConfigError, match=r"TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN \['backbone.'\] removes it"):
        load_weights(file, target)
    assert load_weights(file, target, clear=["backbone."]).complete
    assert same(weights_of(target), weights_of(source))


def test_the_prefix_of_ddp_goes_once_and_from_the_front():
    file = of_torch({"module.a.module.b": torch.ones(1), "module.module.c": torch.ones(1)})
    assert set(translate(file)) == {"a.module.b", "module.c"}


def test_a_new_classifier_is_told_once(network):
    report = load_weights(of_torch(network("SLOW_8x8_R50", classes=7).state_dict()), network("SLOW_8x8_R50"))
    assert str(report).count("the classifier is new") == 1


def test_a_network_that_is_refused_is_not_called_the_base_of_one_with_sgs(network):
    source = network("SLOW_8x8_R50", "RESNET.WIDTH_PER_GROUP", "32")
    with pytest.raises(ConfigError, match="0% of its values") as error:
        load_weights(of_torch(source.state_dict()), network("SLOW_8x8_R50_ATFR"))
    assert "lacks weights of SGS" not in str(error.value)


def test_a_run_starts_from_pictures_at_epoch_0(tiny_cfg, tmp_path):
    cfg = tiny_cfg(
        SGS__ENABLE=False, TRAIN__CHECKPOINT_FILE_PATH=tmp_path / "file.pyth", TRAIN__CHECKPOINT_INFLATE=True
    )
    source, target = shuffled(build_model(cfg)), build_model(cfg)
    flat = {name: value[:, :, 0] if value.ndim == 5 else value for name, value in weights_of(source).items()}
    torch.save({"model_state": flat, "epoch": 7}, tmp_path / "file.pyth")
    assert start_from(cfg, target, torch.optim.SGD(target.parameters(), lr=0.1)) == 0
    kernel = target.s5.pathway0_res0.branch2.a.weight
    assert kernel.shape[2] == 3 and torch.equal(kernel[:, :, 1], flat["s5.pathway0_res0.branch2.a.weight"] / 3)


def test_prefixes_stand_before_foreign_names_too():
    pictures = {f"module.encoder.{name}": value for name, value in imagenet(width=8).items()}
    assert "s5.pathway0_res2.branch2.c.weight" in translate(of_torch(pictures), ["encoder."])


@pytest.mark.parametrize(
    ("config", "layers", "count"),
    [
        ("SLOWFAST_8x8_R50", "s2_sgs.pathway0, s2_sgs.pathway1", 10),
        ("SLOW_8x8_R50", "s2_sgs.pathway0", 5),
        ("X3D_S", "s2_sgs.pathway0", 5),
    ],
)
def test_a_base_network_leaves_only_sgs_new_and_the_log_says_so(network, caplog, config, layers, count):
    source, target = network(config), network(f"{config}_ATFR")
    sgs = {name: value.clone() for name, value in weights_of(target).items() if "_sgs." in name}
    caplog.set_level(logging.INFO, logger="slowfast_atfr")
    report = load_weights(of_torch(source.state_dict(), epoch=195), target)
    matched, total = len(weights_of(source)), len(weights_of(target))
    assert caplog.messages == [
        f"loaded file.pyth: {matched} of the model's {total} weights match, 0 are missing, 0 are unexpected, "
        f"0 have another shape; new, not in the file: {count} parameters of SGS ({layers})"
    ]
    assert report.matched == tuple(weights_of(source)) and set(report.missing) == set(sgs) and report.share == 1
    assert set(report.of_sgs) == {name for name, _ in target.named_parameters() if "_sgs." in name}
    assert same(weights_of(target), weights_of(source) | sgs)


@pytest.mark.parametrize(
    ("config", "pairs", "words"),
    [
        ("I3D_8x8_R50", [], r"11 have another shape .*% of the model's values are .*CHECKPOINT_INFLATE True repeats"),
        ("SLOW_NLN_8x8_R50", [], r"60 are missing .*\. 8\d% of the model's values are loaded"),
        ("SLOW_8x8_R50", ["RESNET.DEPTH", "101", "RESNET.NUM_BLOCK_TEMP_KERNEL", "[[3],[4],[23],[3]]"], "5.% of the"),
    ],
)
def test_what_is_only_in_part_that_of_the_file_is_a_warning(network, caplog, config, pairs, words):
    caplog.set_level(logging.INFO, logger="slowfast_atfr")
    source = network("SLOW_8x8_R50")
    load_weights(of_torch(source.state_dict()), network(config, *pairs))
    (record,) = caplog.records
    assert record.levelname == "WARNING" and re.search(f"^loaded file.pyth in part: .*{words}", record.getMessage())


def test_what_has_no_place_is_a_warning_and_a_new_classifier_is_none(network, caplog):
    caplog.set_level(logging.INFO, logger="slowfast_atfr")
    load_weights(of_torch(network("SLOW_NLN_8x8_R50").state_dict()), network("SLOW_8x8_R50"))
    load_weights(of_torch(network("SLOW_8x8_R50", classes=7).state_dict()), network("SLOW_8x8_R50_ATFR"))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "60 are unexpected" in caplog.messages[0]


def test_a_base_network_is_not_tested_as_if_it_had_sgs(network):
    file = of_torch(network("SLOW_8x8_R50").state_dict())
    with pytest.raises(
        ConfigError, match=r"5 parameters of SGS \(s2_sgs.pathway0\).*lacks weights of SGS.* remedy here"
    ):
        load_weights(file, network("SLOW_8x8_R50_ATFR"), strict=True, remedy="remedy here")
    file = of_torch(network("SLOW_8x8_R50_ATFR").state_dict())
    with pytest.raises(ConfigError, match="7 are unexpected"):
        load_weights(file, network("SLOW_8x8_R50"), strict=True)


def test_a_test_without_thresholds_of_segments_says_how_to_learn_them(network, caplog):
    base = of_torch(network("SLOW_8x8_R50").state_dict())
    target = network("SLOW_8x8_R50_ATFR", "SGS.GROUPING", "segments", "SGS.TARGET_MAPS", "[4]")
    target.s2_sgs.pathway0.cuts.zero_()
    load_weights(base, target, strict=True)
    (record,) = caplog.records
    assert record.getMessage().startswith("no thresholds for s2_sgs.pathway0 in file.pyth: every clip gets the number")
    assert "SOLVER.BASE_LR, COSINE_END_LR and WARMUP_EPOCHS 0.0" in record.getMessage()


def test_a_report_is_complete_when_nothing_is_left_over():
    assert LoadReport(("a",), (), (), (), (), 1.0).complete
    assert not LoadReport(("a",), ("b",), (), (), (), 1.0).complete
    assert not LoadReport(("a",), (), ("b",), (), (), 1.0).complete
