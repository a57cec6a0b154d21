"""The accuracy study: what it runs, what it keeps, and what its table says; one run of it from end to end."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast_atfr.engine.checkpoint.save import last_checkpoint
from slowfast_atfr.packed import to_frames
from slowfast_atfr.reproduce import runner
from slowfast_atfr.reproduce.study.accuracy_study import main
from slowfast_atfr.reproduce.study.control_similarities import (
    magnitude_without_gradient,
    random_order,
    register_controls,
)
from slowfast_atfr.reproduce.study.report import error_of_difference, standard_error, study_table
from slowfast_atfr.reproduce.study.study_runs import Study, read_results
from slowfast_atfr.reproduce.study.variants import COUNTED, FREE, SCRATCH, TUNED, VARIANTS, runs_of
from slowfast_atfr.sgs import SegmentSGS
from slowfast_atfr.sgs.bins import assign_bins, plan_bins
from slowfast_atfr.sgs.segment_sampler import THRESHOLDS
from slowfast_atfr.sgs.similarity import magnitude, uniform_time
from tests.tiny_sets import write_clip

SMALL = [*("DATA.NUM_FRAMES", "8", "DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32"), "NUM_GPUS", "0"]
SMALL += ["DATA.TRAIN_JITTER_SCALES", "[32, 32]", "SOLVER.MAX_EPOCH", "1", "DATA_LOADER.NUM_WORKERS", "0"]
SMALL += ["TRAIN.BATCH_SIZE", "2", "TRAIN.MIXED_PRECISION", "False"]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    for label in range(4):
        write_clip(folder / f"{label}.mp4", label=label % 2, frames=30)
    for name in ("train.csv", "val.csv"):
        (folder / name).write_text("".join(f"{label}.mp4 {label % 2}\n" for label in range(4)))
    return folder


def bins_of(similarity, lengths, num_bins):
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    embeddings = torch.randn(len(lengths), max(lengths), 3) * real[..., None]
    _, bins = assign_bins(similarity(embeddings, real), real, torch.tensor([float(num_bins)] * len(lengths)))
    return bins


@pytest.mark.parametrize(("length", "num_bins"), [(16, 4), (16, 6), (16, 8), (13, 6), (5, 6), (1, 3)])
def test_uniform_pooling_makes_stretches_of_equal_length(length, num_bins):
    (bins,) = bins_of(uniform_time, [length], num_bins)[..., 0].tolist()
    assert bins == sorted(bins)
    sizes = np.unique(bins, return_counts=True)[1]
    assert len(sizes) == min(length, num_bins) and sizes.max() - sizes.min() <= 1


def test_random_merging_has_as_many_bins_and_other_frames_in_them():
    lengths = [16, 16, 11]
    random = bins_of(random_order, lengths, 6)
    uniform = bins_of(uniform_time, lengths, 6)
    assert not torch.equal(random[0], random[1])  # drawn for each
    for ours, control, length in zip(random, uniform, lengths, strict=True):
        assert ours[:length].sort(dim=0)[0].tolist() == control[:length].tolist() != ours[:length].tolist()
    assert plan_bins(random.numpy(), [[length] for length in lengths], "time").lengths == (6, 6, 6)


def test_magnitude_without_gradient_measures_the_same():
    embeddings, real = torch.randn(2, 5, 3, requires_grad=True), torch.ones(2, 5, dtype=torch.bool)
    values = magnitude_without_gradient(embeddings, real).values
    assert torch.equal(values, magnitude(embeddings, real).values) and not values.requires_grad


def test_striding_keeps_the_middle_of_equal_stretches():
    keys = next(variant.sgs for variant in VARIANTS if variant.name == "uniform striding to 4")
    layer = SegmentSGS(3, 4, size_penalty=float(keys["SIZE_PENALTY"]), segment_map=keys["SEGMENT_MAP"]).eval()
    clip = torch.arange(12.0)[:, None, None].expand(1, 3, 12, 2, 2)
    assert to_frames(layer(clip))[0][:, 0, 0, 0].tolist() == [1, 4, 7, 10]


def test_a_clip_has_one_random_order_whatever_its_batch_where_no_gradients_are_taken():
    with torch.no_grad():
        alone = bins_of(random_order, [9], 4)
        together = bins_of(random_order, [16, 9, 9], 4)
    assert alone[0].tolist() == together[1, :9].tolist() == together[2, :9].tolist()


@pytest.mark.parametrize("control", [uniform_time, random_order])
def test_embeddings_count_only_as_far_as_they_are_finite(control):
    embeddings = torch.randn(2, 5, 3, requires_grad=True)
    control(embeddings, torch.ones(2, 5, dtype=torch.bool)).values.sum().backward()
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))
    with torch.no_grad():
        embeddings[1, 2, 0] = torch.nan
    assert torch.isnan(control(embeddings, torch.ones(2, 5, dtype=torch.bool)).values).any()


def test_every_run_has_a_name_and_a_folder_of_its_own_and_a_config(repo, data, tmp_path):
    register_controls()
    runs = [run for seed in (0, 1) for run in runs_of(seed)]
    assert len({run.name for run in runs}) == len({run.folder for run in runs}) == len(runs)
    assert {run.variant.name for run in runs if run.start == TUNED} == {variant.name for variant in VARIANTS}
    assert runs[0].name == f"{SCRATCH}; base; seed 0"
    study = Study(repo / "configs", data, tmp_path, ("SOLVER.MAX_EPOCH", "9"))
    for run in runs_of(0):
        cfg = study.config(run)
        assert {TUNED: 4, COUNTED: 1}.get(run.start, 9) == cfg.SOLVER.MAX_EPOCH
        assert bool(run.variant.sgs) == cfg.SGS.ENABLE and (run.start != FREE) == cfg.TRAIN.ENABLE
    for run in {run.start: run for run in runs}.values():
        epochs = Study(repo / "configs", data, tmp_path, ()).config(run).SOLVER.MAX_EPOCH
        assert {TUNED: 30, COUNTED: 1}.get(run.start, 60) == epochs


@pytest.mark.slow
def test_runs_are_done_once_and_tuned_ones_start_from_the_base(repo, data, tmp_path, capsys, monkeypatch):
    out, weights = tmp_path / "out", []
    train = runner.train_and_test

    def watched(cfg, rank):
        weights.append(cfg.TRAIN.CHECKPOINT_FILE_PATH)
        return train(cfg, rank)

    monkeypatch.setattr(runner, "train_and_test", watched)
    only = ["--data", str(data), "--out", str(out), "--seeds", "0", "--only", "fine-tuned; uniform pooling to 4"]
    assert main(repo / "configs", [*only, "--", *SMALL]) == 0
    assert weights[0] == "" and weights[1].endswith(
        "from_scratch__base__seed_0/checkpoints/checkpoint_epoch_00001.pyth"
    )
    base, tuned = read_results(out / "results.jsonl")
    assert len(tuned["base"]) == 8 and "base" not in base
    assert (base["variant"], base["start"]) == ("base", SCRATCH) and tuned["start"] == TUNED
    assert tuned["active_bins_s2"] == 4 and tuned["gflops_per_clip"] < base["gflops_per_clip"]
    assert not list(out.glob("tiny_*/fine*/checkpoints")) and list(out.glob("tiny_*/from*/checkpoints/*.pyth"))
    table = capsys.readouterr().out
    assert f"tiny, 4 test clips; {' '.join(SMALL)}" in table and "| uniform pooling to 4 | fine-tuned | 1 |" in table

    assert main(repo / "configs", [*only, "--", *SMALL]) == 0
    assert len(weights) == 2 and "is done" in capsys.readouterr().err
    other = data.parent / "others" / data.name
    shutil.copytree(data, other)
    (other / "val.csv").write_text("0.mp4 0\n")
    assert main(repo / "configs", ["--data", str(other), *only[2:], "--", *SMALL]) == 0
    assert len(weights) == 4 and "tiny, 1 test clips" in capsys.readouterr().out
    for name in ("uniform pooling to 4", "path to 6"):  # of the second the base has been trained with other pairs
        renamed = [*only[:-1], f"fine-tuned; {name}"]
        assert main(repo / "configs", [*renamed, "--", *SMALL, "LOG_PERIOD", "3"]) == 1
        assert "give the same ones, or another --out" in capsys.readouterr().err
    assert len(weights) == 4


@pytest.mark.slow
def test_an_epoch_for_statistics_changes_only_norms_and_thresholds(repo, data, tmp_path, monkeypatch):
    states = []
    train = runner.train_and_test

    def watched(cfg, rank):
        stats = train(cfg, rank)
        states.append(torch.load(last_checkpoint(cfg.OUTPUT_DIR).path, weights_only=False)["model_state"])
        return stats

    monkeypatch.setattr(runner, "train_and_test", watched)
    only = ["--data", str(data), "--out", str(tmp_path), "--seeds", "0"]
    only += ["--only", "statistics only; 4 segments on average, grid, motion;", "--", *SMALL]
    assert main(repo / "configs", [*only, "SOLVER.BASE_LR", "0.1", "SOLVER.WARMUP_EPOCHS", "1.0"]) == 0
    base, counted = states
    changed = {name for name, value in base.items() if not torch.equal(value, counted[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"running_mean", "running_var", "num_batches_tracked"}
    assert {name.rpartition(".")[2] for name in counted if name not in base} == set(THRESHOLDS)
    assert all(counted[name].any() for name in counted if name not in base)


def test_no_run_starts_from_weights_of_another_recipe(repo, data, tmp_path, monkeypatch):
    out, started_from = tmp_path / "out", []
    monkeypatch.setattr(Study, "train", lambda _, run, cfg, rank: started_from.append(cfg.TRAIN.CHECKPOINT_FILE_PATH))
    only = ["--data", str(data), "--out", str(out), "--seeds", "0", "--only", "fine-tuned; path to 6, linear_mean"]
    assert main(repo / "configs", [*only, "--", *SMALL]) == 0
    trained = Path(started_from[1])
    trained.parent.mkdir(parents=True)
    trained.touch()
    assert main(repo / "configs", [*only, "--", *SMALL]) == 0 and started_from[2:] == [str(trained)]
    assert main(repo / "configs", [*only, "--", *SMALL, "LOG_PERIOD", "3"]) == 0
    assert started_from[3] == "" and started_from[4] != str(trained)


def test_other_pairs_are_refused_before_anything_runs_and_a_base_without_weights_is_trained_again(
    repo, data, tmp_path, monkeypatch, capsys
):
    out, trained = tmp_path / "out", []
    lists = Study(repo / "configs", data, out, ()).lists
    line = {"data": "tiny", "lists": lists, "start": SCRATCH, "variant": "base", "frames": 8, "num_videos": 4.0}
    line |= {"top1_acc": 50.0, "gflops_per_clip": 1.0, "clips_per_second": 9.0}
    out.mkdir()
    done = [line | {"seed": 0, "pairs": SMALL}, line | {"seed": 1, "pairs": []}]
    (out / "results.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in done))
    monkeypatch.setattr(Study, "train", lambda _, run, *args: trained.append(run.name))
    argv = ["--data", str(data), "--out", str(out), "--only", "fine-tuned; path to 6, linear_mean", "--seeds", "0"]
    assert main(repo / "configs", [*argv, "1", "--", *SMALL]) == 1 and not trained
    assert "with no pairs; give the same ones" in capsys.readouterr().err
    recipe = Path(Study(repo / "configs", data, out, tuple(SMALL)).config(runs_of(0)[0]).OUTPUT_DIR).parent
    names = [f"{start}_seed_{seed}" for start in ("from_scratch__path_", "fine_tuned__path_") for seed in (0, 1)]
    for name in names:
        (recipe / name / "checkpoints").mkdir(parents=True)
    assert main(repo / "configs", [*argv, "--", *SMALL]) == 0
    assert trained == ["from scratch; base; seed 0", "fine-tuned; path to 6, linear_mean; seed 0"]
    assert [(recipe / name / "checkpoints").exists() for name in names] == [True, True, False, True]
    assert "is trained again" in capsys.readouterr().err


def test_runs_whose_base_was_trained_again_are_repeated(repo, data, tmp_path, monkeypatch):
    """The last line of a run replaces those before it."""
    out, trained, today = tmp_path / "out", [], ["new"]
    monkeypatch.setattr(Study, "train", lambda _, run, *args: trained.append(run.name))
    monkeypatch.setattr(Study, "_base_checksum", lambda *_: today[0])
    line = {"data": "tiny", "lists": Study(repo / "configs", data, out, ()).lists, "frames": 8, "num_videos": 4.0}
    line |= {"start": TUNED, "variant": "path to 6, linear_mean", "seed": 0, "pairs": SMALL}
    line |= {"top1_acc": 50.0, "gflops_per_clip": 1.0, "clips_per_second": 9.0}
    out.mkdir()
    argv = ["--data", str(data), "--out", str(out), "--only", "fine-tuned; path to 6, linear_mean", "--seeds", "0"]
    for base, again in (({}, False), ({"base": "old"}, True), ({"base": "new"}, False)):
        with (out / "results.jsonl").open("a") as file:
            file.write(json.dumps(line | base) + "\n")
        trained.clear()
        assert main(repo / "configs", [*argv, "--", *SMALL]) == 0
        assert ("fine-tuned; path to 6, linear_mean; seed 0" in trained) == again
    assert [own["base"] for own in read_results(out / "results.jsonl")] == ["new"]
    today[0] = None  # the weights are missing
    trained.clear()
    assert main(repo / "configs", [*argv, "--", *SMALL]) == 0 and not trained


def test_what_cannot_be_run_or_read_is_reported(repo, data, tmp_path, capsys):
    assert main(repo / "configs", ["--only", "nothing", "--out", str(tmp_path)]) == 1
    assert "no run has that in its name" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(repo / "configs", ["--data", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(repo / "configs", ["--data", str(tmp_path / "empty"), "--out", str(tmp_path)]) == 1
    assert "train.csv" in capsys.readouterr().err
    for pair, message in (
        (["OUTPUT_DIR", "x"], "OUTPUT_DIR is set by the study"),
        (["NUM_SHARDS", "2"], "in one process"),
    ):
        assert main(repo / "configs", ["--data", str(data), "--out", str(tmp_path / "out"), "--", *SMALL, *pair]) == 1
        assert message in capsys.readouterr().err
    (tmp_path / "results.jsonl").write_text("{}\n")
    assert main(repo / "configs", ["--out", str(tmp_path)]) == 1
    assert "results.jsonl, line 1 is not a result" in capsys.readouterr().err


def test_the_table_has_means_and_standard_errors_of_the_seeds():
    common = {"data": "set", "lists": "0", "pairs": [], "frames": 16, "num_videos": 30.0, "clips_per_second": 9.0}
    base = {**common, "start": SCRATCH, "variant": "base", "gflops_per_clip": 2.0}
    base = [{**base, "seed": seed, "top1_acc": top1} for seed, top1 in enumerate((80, 90))]
    sgs = {
        **common,
        "seed": 0,
        "start": TUNED,
        "variant": "path",
        "gflops_per_clip": 1.0,
        "top1_acc": 70,
        "active_bins_s2": 6.5,
    }
    lines = study_table([json.loads(json.dumps(line)) for line in (*base, sgs)]).splitlines()
    assert lines[0] == "set, 30 test clips"
    recipes = study_table([base[0], {**base[1], "pairs": ["SOLVER.MAX_EPOCH", "9"]}])
    assert "set, 30 test clips; SOLVER.MAX_EPOCH 9" in recipes and recipes.count("| base | from scratch | 1 |") == 2
    assert "| base | from scratch | 2 | 85.0 | 5.0 |  | 2 | 1.00 | 16.0 | 9 |" in lines
    assert "| path | fine-tuned | 1 | 70.0 | 8.4 |  | 1 | 0.50 | 6.5 | 9 |" in lines
    assert study_table([]) == "no results yet"


def test_a_network_is_compared_with_uniform_pooling_to_as_many_bins_of_its_own_seed():
    common = {"data": "set", "lists": "0", "pairs": [], "frames": 16, "num_videos": 30.0, "clips_per_second": 9.0}
    accuracies = {  # of seeds 0, 1, 2
        (TUNED, "path to 6, linear_mean"): (72, 84, 60),
        (TUNED, "uniform pooling to 6"): (70, 80),
        (TUNED, "uniform pooling to 4"): (10, 10),
        (SCRATCH, "uniform pooling to 6"): (20, 20),
        (TUNED, "random merging to 8"): (70, 80),
        (SCRATCH, "random merging to 6"): (15,),
    }
    lines = [
        {**common, "start": start, "variant": variant, "seed": seed, "gflops_per_clip": 1.0, "top1_acc": top1}
        for (start, variant), seeds in accuracies.items()
        for seed, top1 in enumerate(seeds)
    ]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in study_table(lines).splitlines()[2:]]
    column = rows[0].index("over uniform")
    assert [row[column] for row in rows[2:]] == ["3.0 +- 2.2", "", "", "", "", "-5.0"]


def test_runs_from_different_bases_are_not_compared():
    common = {"data": "set", "lists": "0", "pairs": [], "frames": 16, "num_videos": 30.0, "clips_per_second": 9.0}
    common |= {"start": TUNED, "gflops_per_clip": 1.0, "seed": 0}
    lines = [
        {**common, "variant": "path to 6, linear_mean", "top1_acc": 72, "base": "a"},
        {**common, "variant": "uniform pooling to 6", "top1_acc": 70, "base": "b"},
    ]
    assert "| 2.0 |" not in study_table(lines) and "do not record" not in study_table(lines)
    assert "| 2.0 |" in study_table([lines[0], {**lines[1], "base": "a"}])
    del lines[1]["base"]
    assert "| 2.0 |" not in study_table(lines) and "1 results do not record their base" in study_table(lines)


def test_the_error_of_a_difference_is_the_larger_of_two():
    assert error_of_difference(np.array([2.0, 2.0]), 100) == pytest.approx(100 * 4**0.5 / 200)  # 4 clips of 200
    assert error_of_difference(np.array([-2.0, 2.0, 0.0]), 100) == pytest.approx(2 / 3**0.5)
    assert error_of_difference(np.array([0.0, 0.0]), 30) == pytest.approx(100 / 60)


def test_the_standard_error_is_the_larger_of_two():
    assert standard_error(np.array([50.0, 50.0]), 100) == pytest.approx(100 * np.sqrt(0.25 / 200))
    assert standard_error(np.array([20.0, 80.0]), 100) == pytest.approx(30)
    assert standard_error(np.array([100.0]), 30) == 0
