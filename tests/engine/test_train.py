"""Training end to end on tiny videos: it learns to disk, resumes as if never stopped, and two processes equal one."""

import shutil
import subprocess
import sys

import pytest
import torch

from slowfast_atfr.engine import train as train_module
from slowfast_atfr.engine.checkpoint.save import checkpoint_path
from slowfast_atfr.engine.cli import main
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.engine.train import train
from slowfast_atfr.utils.distributed import RankInfo
from tests.holder import Holder
from tests.processes import Program, free_port
from tests.runs import ONE_PATHWAY, stats_of

CONFIG = "configs/Demo/SLOWFAST_R18.yaml"


def load(path):
    return torch.load(path, weights_only=True)


def momentum_of(checkpoint):
    """What the optimizer has gathered of the gradients of all steps."""
    return [state["momentum_buffer"] for _, state in sorted(checkpoint["optimizer_state"]["state"].items())]


def test_one_command_trains_validates_checkpoints_and_tests(repo, tiny_pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(repo)
    assert main(["--cfg", CONFIG, *tiny_pairs()]) == 0
    out = tmp_path / "out"
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [
        "checkpoint_epoch_00001.pyth",
        "checkpoint_epoch_00002.pyth",
    ]
    checkpoint = load(out / "checkpoints" / "checkpoint_epoch_00002.pyth")
    assert checkpoint["epoch"] == 1 and {"model_state", "optimizer_state", "cfg"} <= set(checkpoint)
    assert "s2_sgs.pathway1.embed.fc1.weight" in checkpoint["model_state"]
    assert len(stats_of(out, "train_iter")) == 6 and len(stats_of(out, "train_epoch")) == 2
    assert [entry["epoch"] for entry in stats_of(out, "val_epoch")] == ["1/2", "2/2"]
    (final,) = stats_of(out, "test_final")
    assert final["num_videos"] == 5 and final["num_skipped"] == 0 and final["clips_per_second"] > 0
    assert 0 < float(final["top1_acc"]) <= 100
    assert 1 <= final["active_bins_s2_slow"] <= 2 and 1 <= final["active_bins_s2_fast"] < 8
    assert 0 < final["gflops_per_clip"] < 0.05


def test_precise_statistics_leave_no_trace_in_the_figures_of_validation(tiny_cfg, tmp_path):
    for name, batches in (("without", 0), ("with", 3)):
        cfg = tiny_cfg(
            BN__USE_PRECISE_STATS=batches > 0, BN__NUM_BATCHES_PRECISE=batches, OUTPUT_DIR=tmp_path / name,
            SOLVER__MAX_EPOCH=1, SGS__ENABLE=False, **ONE_PATHWAY,
        )  # fmt: skip
        launch(train, cfg)
    gflops = [stats_of(tmp_path / name, "val_epoch")[0]["gflops_per_clip"] for name in ("without", "with")]
    assert gflops[0] == gflops[1] == stats_of(tmp_path / "with", "train_epoch")[0]["gflops_per_clip"]


def test_checkpointed_activations_change_nothing_of_a_run(tiny_cfg, tmp_path):
    checkpoints = []
    for name, again in (("kept", False), ("again", True)):
        keys = {**ONE_PATHWAY, "SOLVER__MAX_EPOCH": 1, "MODEL__ACT_CHECKPOINT": again}
        train(tiny_cfg(OUTPUT_DIR=tmp_path / name, **keys), RankInfo())
        checkpoints.append(load(checkpoint_path(tmp_path / name, 0)))
    kept, again = (checkpoint["model_state"] for checkpoint in checkpoints)
    assert not [name for name, value in kept.items() if not torch.equal(value, again[name])]


def test_a_resumed_run_is_the_run_that_never_stopped(tiny_cfg, tmp_path, monkeypatch):
    launch(train, tiny_cfg(OUTPUT_DIR=tmp_path / "whole", SOLVER__MAX_EPOCH=2))

    class Stopped(Exception):
        pass

    eval_epoch, stopped = train_module.eval_epoch, []

    def stop_in_the_first_validation(*args):
        if not stopped:
            stopped.append(True)
            raise Stopped
        eval_epoch(*args)

    monkeypatch.setattr(train_module, "eval_epoch", stop_in_the_first_validation)
    cfg = tiny_cfg(OUTPUT_DIR=tmp_path / "parts", SOLVER__MAX_EPOCH=2)
    with pytest.raises(Stopped):
        launch(train, cfg)
    launch(train, cfg)
    whole, parts = (load(checkpoint_path(tmp_path / name, epoch=1)) for name in ("whole", "parts"))
    for name, value in whole["model_state"].items():
        assert torch.equal(value, parts["model_state"][name]), name
    losses = [[entry["loss"] for entry in stats_of(tmp_path / name, "train_iter")] for name in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    assert whole["val_state"] == parts["val_state"]  # the validation that was cut off has been made up for
    keys = ("epoch", "top1_err", "min_top1_err")
    whole, parts = (
        [[s[k] for k in keys] for s in stats_of(tmp_path / name, "val_epoch")] for name in ("whole", "parts")
    )
    assert whole == parts and len(whole) == 2


def test_a_run_that_does_not_resume_tests_what_it_has_trained(repo, tiny_pairs, tmp_path):
    command = ["--cfg", str(repo / CONFIG)]
    assert main([*command, *tiny_pairs(**ONE_PATHWAY, SOLVER__MAX_EPOCH=3, TEST__ENABLE=False)]) == 0
    assert main([*command, *tiny_pairs(**ONE_PATHWAY, SOLVER__MAX_EPOCH=1, TRAIN__AUTO_RESUME=False)]) == 0
    text = (tmp_path / "out" / "stdout.log").read_text()
    assert f"testing {checkpoint_path(tmp_path / 'out', 0)}" in text
    assert main([*command, *tiny_pairs(**ONE_PATHWAY, SOLVER__MAX_EPOCH=2, TEST__ENABLE=False)]) == 0
    assert stats_of(tmp_path / "out", "train_epoch")[-1]["epoch"] == "2/2"


MIXED = {
    "AUG__ENABLE": True, "AUG__NUM_SAMPLE": 2, "AUG__RE_PROB": 0.5, "MIXUP__ENABLE": True,
    "MODEL__LOSS_FUNC": "soft_cross_entropy", "SOLVER__MAX_EPOCH": 2, **ONE_PATHWAY,
}  # fmt: skip


def test_augmented_and_mixed_batches_are_larger_and_the_same_after_a_resume(tiny_cfg, tmp_path, monkeypatch):
    sizes, shares = [], []
    forward, draw = train_module.to_inputs, train_module.draw_mix
    monkeypatch.setattr(
        train_module, "to_inputs", lambda batch, *rest: sizes.append(len(batch)) or forward(batch, *rest)
    )
    monkeypatch.setattr(train_module, "draw_mix", lambda *args: shares.append(draw(*args)) or shares[-1])
    launch(train, tiny_cfg(OUTPUT_DIR=tmp_path / "whole", BN__USE_PRECISE_STATS=False, **MIXED))
    assert sizes == ([8] * 3 + [4, 1]) * 2  # 12 videos by 4, two samples of each; 5 to validate
    assert len(set(shares)) == len(shares) == 6
    parts = {"OUTPUT_DIR": tmp_path / "parts", "BN__USE_PRECISE_STATS": False}

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(train_module, "eval_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            launch(train, tiny_cfg(**parts, **MIXED))
    launch(train, tiny_cfg(**parts, **MIXED))
    assert shares[:6] == shares[6:]
    losses = [[entry["loss"] for entry in stats_of(tmp_path / name, "train_iter")] for name in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 6


@pytest.mark.parametrize("launcher", ["shards", pytest.param("torchrun", marks=pytest.mark.slow)])
def test_two_processes_with_half_the_batch_each_are_one_process_with_all_of_it(repo, tiny_pairs, tmp_path, launcher):
    shared = {"MODEL__DROPOUT_RATE": 0.0, "SOLVER__MAX_EPOCH": 1, "SGS__KERNEL": "linear_mean"}
    shared |= {"BN__NORM_TYPE": "sync_batchnorm", "BN__NUM_SYNC_DEVICES": 2, "BN__USE_PRECISE_STATS": False}
    one = tiny_pairs(**shared, TRAIN__BATCH_SIZE=12, OUTPUT_DIR=tmp_path / "one")  # one step: rounding cannot grow
    assert main(["--cfg", str(repo / CONFIG), *one]) == 0
    port = free_port()
    share = 6 if launcher == "shards" else 12  # TRAIN.BATCH_SIZE is that of a machine
    two = tiny_pairs(**shared, TRAIN__BATCH_SIZE=share, OUTPUT_DIR=tmp_path / "two")
    command = [str(repo / "tools" / "run_net.py"), "--cfg", CONFIG, *two]
    if launcher == "shards":
        where = ["--num_shards", "2", "--init_method", f"tcp://localhost:{port}"]
        processes = [Program(*command, *where, "--shard_id", str(shard), cwd=repo) for shard in (0, 1)]
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen([*torchrun, *command], cwd=repo, **pipes)]
    outputs = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(outputs)
    losses = [[entry["loss"] for entry in stats_of(tmp_path / name, "train_iter")] for name in ("one", "two")]
    assert len(losses[0]) == 1 and losses[1] == pytest.approx(losses[0], rel=1e-4)
    alone, both = (load(checkpoint_path(tmp_path / name, epoch=0)) for name in ("one", "two"))
    gradients = [torch.cat([part.flatten() for part in momentum_of(checkpoint)]) for checkpoint in (alone, both)]
    # In float32, batch norm makes gradients all but cancel; tests/models/test_norm.py has the exact twin in float64.
    assert (gradients[1] - gradients[0]).norm() < 0.1 * gradients[0].norm()
    for name, value in alone["model_state"].items():
        if "running" in name:
            torch.testing.assert_close(both["model_state"][name], value, rtol=1e-3, atol=1e-5, msg=name)
    (final,), (final_of_two,) = (stats_of(tmp_path / name, "test_final") for name in ("one", "two"))
    assert final_of_two["num_videos"] == final["num_videos"] == 5


@pytest.fixture
def own_copy(tiny_data, tmp_path):
    """The tiny data set in a folder that a test may damage."""
    return shutil.copytree(tiny_data, tmp_path / "data")


def on(folder, **changes):
    return {"DATA__PATH_TO_DATA_DIR": folder, "DATA__PATH_PREFIX": folder, "SOLVER__MAX_EPOCH": 1, **changes}


def test_bad_videos_are_replaced_in_training_left_out_of_tests_and_counted(
    own_copy, tiny_pairs, tmp_path, repo, capsys
):
    for name in ("train_3.mp4", "val_2.mp4"):
        whole = (own_copy / name).read_bytes()
        (own_copy / name).write_bytes(whole[: len(whole) // 2])
    (own_copy / "train_4.mp4").unlink()
    assert main(["--cfg", str(repo / CONFIG), *tiny_pairs(**on(own_copy))]) == 0
    (epoch,), (final,) = stats_of(tmp_path / "out", "train_epoch"), stats_of(tmp_path / "out", "test_final")
    assert epoch["num_skipped"] == 2
    assert final["num_videos"] == 4 and final["num_skipped"] == 1
    told = capsys.readouterr().out
    for name in ("train_3.mp4", "train_4.mp4", "val_2.mp4"):
        assert f"skipped {own_copy / name}: " in told


BAD_INPUT = [
    ({"DATA__PATH_TO_DATA_DIR": "/nowhere"}, ["DATA.PATH_TO_DATA_DIR", "/nowhere"]),
    ({"DATA__PATH_TO_DATA_DIR": ""}, ["DATA.PATH_TO_DATA_DIR"]),
    ({"TRAIN__DATASET": "kinetix"}, ["TRAIN.DATASET", "kinetix", "kinetics"]),
    ({"SGS__KERNEL": "cubic"}, ["SGS.KERNEL", "cubic", "linear_mean"]),
    ({"SGS__BLOCK_SIZE": "[1, 4, 8]"}, ["SGS.BLOCK_SIZE", "[1, 4, 8]"]),
    ({"SGS__BLOKC_SIZE": "[1, 4]"}, ["SGS.BLOKC_SIZE", "SGS.BLOCK_SIZE"]),
    ({"NUM_GPUS": 64, "TRAIN__BATCH_SIZE": 64, "TEST__BATCH_SIZE": 64}, ["NUM_GPUS", "64", "NUM_GPUS 0"]),
    ({"TRAIN__BATCH_SIZE": 64}, ["TRAIN.BATCH_SIZE", "12", "64"]),
    ({"SOLVER__LR_POLICY": "warp"}, ["SOLVER.LR_POLICY", "warp", "cosine"]),
    ({"MODEL__LOSS_FUNC": "hinge"}, ["MODEL.LOSS_FUNC", "hinge", "cross_entropy"]),
    ({"MODEL__MODEL_NAME": "X3D"}, ["MODEL.MODEL_NAME", "X3D", "MODEL.ARCH", "slowfast"]),
    ({"TRAIN__ENABLE": False}, ["TEST.CHECKPOINT_FILE_PATH", "no checkpoint"]),
    ({"TRAIN__CHECKPOINT_FILE_PATH": "/nowhere.pyth"}, ["TRAIN.CHECKPOINT_FILE_PATH", "/nowhere.pyth"]),
]


@pytest.mark.parametrize(("changes", "words"), BAD_INPUT)
def test_bad_input_is_told_in_a_paragraph(repo, tiny_pairs, capsys, changes, words):
    assert main(["--cfg", str(repo / CONFIG), *tiny_pairs(**changes)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and len(told.strip().splitlines()) == 1 and "Traceback" not in told
    for word in words:
        assert word in told


@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_prefix_is_told_without_a_traceback(repo, tiny_pairs, capsys, workers):
    pairs = tiny_pairs(DATA__PATH_PREFIX="/nowhere", DATA_LOADER__NUM_WORKERS=workers)
    assert main(["--cfg", str(repo / CONFIG), *pairs]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "DATA.PATH_PREFIX ('/nowhere')" in told and "Traceback" not in told
    assert "/nowhere/train_" in told


def test_no_readable_video_to_validate_is_told(repo, own_copy, tiny_pairs, capsys):
    for path in own_copy.glob("val_*.mp4"):
        path.write_bytes(b"no video")
    assert main(["--cfg", str(repo / CONFIG), *tiny_pairs(**on(own_copy))]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: no video") and "Traceback" not in told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train_0.mp4 2", ["train.csv", "13", "2"]),
        ("train_0.mp4 -1", ["train.csv", "13"]),
        ("train_0.mp4", ["train.csv", "13"]),
        ("train_0.mp4 one", ["train.csv", "13", "one"]),
    ],
)
def test_a_bad_line_is_told_with_file_and_number(repo, own_copy, tiny_pairs, capsys, line, words):
    with open(own_copy / "train.csv", "a") as file:
        file.write(f"{line}\n")
    assert main(["--cfg", str(repo / CONFIG), *tiny_pairs(**on(own_copy))]) == 1
    told = capsys.readouterr().err
    for word in words:
        assert word in told


def test_a_second_run_in_a_folder_is_refused_and_touches_nothing(repo, tiny_pairs, tmp_path, capsys):
    first = Holder(tmp_path / "out", tmp_path)
    assert main(["--cfg", str(repo / CONFIG), *tiny_pairs()]) == 1
    first.end()
    first.clear()
    told = capsys.readouterr().err
    assert told.startswith("error: OUTPUT_DIR") and f"process {first.pid} on " in told
    assert not (tmp_path / "out" / "stdout.log").read_text() and not (tmp_path / "out" / "checkpoints").exists()


def test_a_norm_without_variance_is_reported_by_its_name(repo, tiny_pairs, capsys):
    small = {"TRAIN__BATCH_SIZE": 1, "SGS__NUM_BINS": "[1]", "DATA__NUM_FRAMES": 4}
    assert main(["--cfg", str(repo / CONFIG), *tiny_pairs(**small)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: the batch norm s5.pathway0_") and "Raise TRAIN.BATCH_SIZE" in told


def test_a_loss_that_is_not_finite_stops_the_run_with_the_videos(tiny_cfg):
    with pytest.raises(FloatingPointError, match=r"train_\d+.mp4|not finite"):
        launch(train, tiny_cfg(SOLVER__BASE_LR=1e30, SGS__ENABLE=False, BN__USE_PRECISE_STATS=False))
