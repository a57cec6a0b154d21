"""Config files: a variant differs from its base in what it is named for, and PySlowFast's recipes are PySlowFast's."""

from pathlib import Path

import pytest
import yaml

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.multigrid import MultigridSchedule

FOLDER = Path(__file__).resolve().parents[1] / "configs"
VARIANTS = {"_ATFR": "SGS", "_TEMPORAL_ATTENTION": "TEMPORAL_ATTENTION"}  # ending of the file: section that it is about
FILES = [
    (str(path.relative_to(FOLDER)), ending)
    for path in sorted(FOLDER.rglob("*.yaml"))
    for ending in VARIANTS
    if path.stem.endswith(ending)
]


def sections(name):
    """The top-level sections and keys of a loaded config."""
    return yaml.safe_load(load_cfg(str(FOLDER / name)).dump())


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_is_at_most_two_hops_from_its_root(path):
    hops = [path]
    while base := yaml.safe_load(hops[-1].read_text()).get("_BASE_"):
        hops.append((hops[-1].parent / base).resolve())
    assert len(hops) <= 3
    folders = {hop.parent.name for hop in hops}
    assert folders <= {path.parent.name, "Kinetics"}


@pytest.mark.parametrize(("variant", "ending"), FILES)
def test_a_variant_differs_in_its_own_section_only(variant, ending):
    cfg, base = sections(variant), sections(variant.replace(f"{ending}.yaml", ".yaml"))
    section = VARIANTS[ending]
    allowed = {section, "OUTPUT_DIR"} if variant.startswith("Demo/") else {section}
    assert cfg[section]["ENABLE"] and not base[section]["ENABLE"]
    assert {key for key in cfg if cfg[key] != base[key]} == allowed


@pytest.mark.parametrize("name", sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*_RECOMMENDED.yaml")))
def test_what_we_recommend_differs_in_sgs_and_the_ends_of_clips_alone(name):
    cfg, paper = sections(name), sections(name.replace("_RECOMMENDED", ""))
    assert {key for key in cfg if cfg[key] != paper[key]} == {"SGS", "MODEL"}
    assert cfg["MODEL"] == paper["MODEL"] | {"REPLICATE_PAD_STAGES": ["conv1", "res2"]}
    assert cfg["SGS"]["ENABLE"] and cfg["SGS"]["GROUPING"] == "segments" and cfg["SGS"]["TARGET_MAPS"]


# frames, their distance, short sides, crops in training and in testing of three; batches; learning rate, epochs
X3D = {
    "XS": (4, 12, [182, 228], 160, 182, 128, 64, 0.1, 300),
    "S": (13, 6, [182, 228], 160, 182, 128, 64, 0.1, 300),
    "M": (16, 5, [256, 320], 224, 256, 128, 64, 0.1, 300),
    "L": (16, 5, [356, 446], 312, 356, 64, 32, 0.05, 256),
}


@pytest.mark.parametrize("size", X3D)
def test_x3d_is_trained_as_in_pyslowfast(size):
    cfg = load_cfg(str(FOLDER / f"Kinetics/X3D_{size}.yaml"))
    data = cfg.DATA
    frames = (data.NUM_FRAMES, data.SAMPLING_RATE)
    pixels = (data.TRAIN_JITTER_SCALES, data.TRAIN_CROP_SIZE, data.TEST_CROP_SIZE)
    recipe = (cfg.TRAIN.BATCH_SIZE, cfg.TEST.BATCH_SIZE, cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_EPOCH)
    assert (*frames, *pixels, *recipe) == X3D[size]
    assert (5.0 if size == "L" else 2.2) == cfg.X3D.DEPTH_FACTOR
    solver = cfg.SOLVER
    assert (solver.WEIGHT_DECAY, solver.WARMUP_EPOCHS, solver.WARMUP_START_LR) == (5e-5, 35.0, 0.01)
    assert solver.BASE_LR_SCALE_NUM_SHARDS and cfg.BN.USE_PRECISE_STATS and cfg.RESNET.ZERO_INIT_FINAL_BN


@pytest.mark.parametrize(("folder", "classes"), [("UCF101", 101), ("HMDB51", 51)])
def test_fine_tuning_starts_from_weights_at_epoch_0(folder, classes):
    cfg = load_cfg(str(FOLDER / folder / "3DRESNET50.yaml"), ["TRAIN.CHECKPOINT_FILE_PATH", "kinetics.pyth"])
    assert cfg.TRAIN.CHECKPOINT_EPOCH_RESET and classes == cfg.MODEL.NUM_CLASSES
    assert cfg.TRAIN.DATASET == cfg.TEST.DATASET == folder.lower()
    pretrained = sections("Kinetics/3DRESNET50.yaml")
    assert pretrained["MODEL"]["NUM_CLASSES"] == 400
    for section in ("RESNET", "DATA", "BN"):
        assert sections(f"{folder}/3DRESNET50.yaml")[section] == pretrained[section]


@pytest.mark.parametrize("end", ["", "_ATFR", "_ATFR_RECOMMENDED", "_MULTIGRID", "_ATFR_MULTIGRID"])
def test_ssv2_starts_from_kinetics_weights_and_is_tested_as_in_pyslowfast(end):
    cfg = load_cfg(str(FOLDER / f"SSv2/SLOWFAST_8x8_R50{end}.yaml"))
    assert cfg.TRAIN.CHECKPOINT_EPOCH_RESET and cfg.SOLVER.MAX_EPOCH == 22
    assert (224 if "MULTIGRID" in end else 256) == cfg.DATA.TEST_CROP_SIZE


def test_ssv2_from_scratch_differs_in_its_schedule_alone():
    cfg, base = (sections(f"SSv2/SLOWFAST_8x8_R50{end}.yaml") for end in ("_SCRATCH", ""))
    assert {key for key in cfg if cfg[key] != base[key]} == {"TRAIN", "SOLVER"}
    assert not cfg["TRAIN"]["CHECKPOINT_EPOCH_RESET"]
    kinetics = sections("Kinetics/SLOWFAST_8x8_R50.yaml")["SOLVER"]
    assert {key for key in kinetics if kinetics[key] != cfg["SOLVER"][key]} == {"BASE_LR", "WARMUP_START_LR"}


def test_kinetics_600_differs_in_its_classes_alone():
    for end in ("", "_ATFR"):
        cfg, base = sections(f"Kinetics600/X3D_S{end}.yaml"), sections(f"Kinetics/X3D_S{end}.yaml")
        assert {key for key in cfg if cfg[key] != base[key]} == {"MODEL"} and cfg["MODEL"]["NUM_CLASSES"] == 600


MULTIGRID = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*_MULTIGRID.yaml"))


@pytest.mark.parametrize("name", MULTIGRID)
def test_multigrid_changes_the_schedule_and_the_crop_of_the_test_alone(name):
    cfg, base = sections(name), sections(name.replace("_MULTIGRID", ""))
    assert cfg["MULTIGRID"]["LONG_CYCLE"] and cfg["MULTIGRID"]["SHORT_CYCLE"]
    assert {key for key in cfg if cfg[key] != base[key]} <= {"MULTIGRID", "DATA"}
    assert cfg["DATA"] == base["DATA"] | {"TEST_CROP_SIZE": 224}


def test_blocks_of_sgs_are_whole_in_every_phase():
    cfg = load_cfg(str(FOLDER / "SSv2/SLOWFAST_8x8_R50_ATFR_MULTIGRID.yaml"))
    lengths = {phase.num_frames for phase in MultigridSchedule(cfg).phases}
    assert lengths == {16, 32, 64}
    slow, fast = cfg.SGS.BLOCK_SIZE
    assert all(length // cfg.SLOWFAST.ALPHA % slow == 0 and length % fast == 0 for length in lengths)
