"""Loaders: the same epoch however many workers, and wherever a run starts; batches of views across videos."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.items import Skip, Views
from slowfast_atfr.datasets.loader import build_loader, chunk_views
from slowfast_atfr.datasets.sampler import epoch_order
from slowfast_atfr.engine.multigrid import MultigridSchedule
from slowfast_atfr.utils.distributed import RankInfo


def ranks(world):
    return [RankInfo(rank=r, world_size=world, local_rank=r, local_world_size=world) for r in range(world)]


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert torch.equal(batch.index, other.index) and torch.equal(batch.labels, other.labels)
        assert torch.equal(batch.view, other.view) and torch.equal(batch.frames, other.frames)
        assert batch.skipped == other.skipped


def test_training_batches(video_list, cfg):
    video_list(10)
    loader = build_loader(cfg, "train", RankInfo())
    loader.set_epoch(3)
    batches = list(loader)
    assert len(loader) == len(batches) == 2
    order = epoch_order(10, seed=cfg.RNG_SEED, epoch=3)
    assert [batch.index.tolist() for batch in batches] == [order[:4].tolist(), order[4:8].tolist()]
    for batch in batches:
        assert batch.frames.shape == (4, 4, 32, 32, 3) and batch.frames.dtype == torch.uint8
        assert torch.equal(batch.labels, batch.index % 5)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_workers_change_nothing(video_list, cfg, split):
    video_list(9, bad=[3])
    cfg.TEST.NUM_ENSEMBLE_VIEWS = 2
    alone = build_loader(cfg, split, RankInfo())
    cfg.DATA_LOADER.NUM_WORKERS = 2
    helped = build_loader(cfg, split, RankInfo())
    for epoch in (0, 1):
        if split == "train":
            alone.set_epoch(epoch)
            helped.set_epoch(epoch)
        assert_same(list(alone), list(helped))


def augment(cfg, samples=2):
    """Everything that changes clips in the data workers."""
    cfg.AUG.ENABLE, cfg.AUG.NUM_SAMPLE, cfg.AUG.RE_PROB, cfg.AUG.RE_COUNT = True, samples, 0.7, 3
    cfg.AUG.AA_TYPE, cfg.AUG.INTERPOLATION = "rand-m7-n4-mstd0.5-inc1", "random"
    cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.08, 1.0], [0.75, 1.3333]


def test_augmented_clips_do_not_depend_on_the_workers(video_list, cfg, monkeypatch):
    video_list(9, bad=[3])
    augment(cfg)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(8), raising=False)  # as many as are asked for
    loaders = []
    for workers in (0, 1, 4):
        cfg.DATA_LOADER.NUM_WORKERS = workers
        loaders.append(build_loader(cfg, "train", RankInfo()))
    seen = []
    for epoch in (0, 1):
        for loader in loaders:
            loader.set_epoch(epoch)
        alone, *helped = (list(loader) for loader in loaders)
        for batches in helped:
            assert_same(alone, batches)
        seen += [frames.numpy().tobytes() for batch in alone for frames in batch.frames]
    assert len(seen) == 2 * 2 * 4 * 2 and len(set(seen)) > 28  # a small crop of these pictures may be blank


def test_samples_of_a_video_stand_side_by_side_in_a_larger_batch(video_list, cfg):
    video_list(8)
    augment(cfg, samples=3)
    loader = build_loader(cfg, "train", RankInfo())
    batches = list(loader)
    assert len(loader) == len(batches) == 2 and [len(batch) for batch in batches] == [12, 12]
    order = epoch_order(8, seed=cfg.RNG_SEED, epoch=0).tolist()
    assert batches[0].index.tolist() == [video for video in order[:4] for _ in range(3)]
    assert torch.equal(batches[0].labels, batches[0].index % 5)
    assert [len(batch) for batch in build_loader(cfg, "val", RankInfo())] == [4, 4]


def test_a_run_that_resumes_gets_the_same_batches(video_list, cfg):
    video_list(10)
    through, resumed = build_loader(cfg, "train", RankInfo()), build_loader(cfg, "train", RankInfo())
    for epoch in range(3):
        through.set_epoch(epoch)
        last = list(through)
    resumed.set_epoch(2)
    assert_same(last, list(resumed))
    resumed.set_epoch(1)
    assert not torch.equal(next(iter(resumed)).frames, last[0].frames)


def test_loading_leaves_the_random_state_alone(video_list, cfg):
    video_list(4)
    before = torch.get_rng_state()
    list(build_loader(cfg, "train", RankInfo()))
    assert torch.equal(torch.get_rng_state(), before)


def test_ranks_share_every_batch(video_list, cfg):
    video_list(11)
    (whole,) = (list(build_loader(cfg, "train", rank)) for rank in ranks(1))
    halves = [list(build_loader(cfg, "train", rank)) for rank in ranks(2)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert sorted(batch.index.tolist()) == sorted(index for part in parts for index in part.index.tolist())
        clips = dict(zip(batch.index.tolist(), batch.frames, strict=True))
        for part in parts:  # and the very same clips
            assert len(part) == 2
            for index, frames in zip(part.index.tolist(), part.frames, strict=True):
                assert torch.equal(frames, clips[index])


def test_validation_takes_every_video_once(video_list, cfg):
    video_list(11)
    shares = [[batch.index.tolist() for batch in build_loader(cfg, "val", rank)] for rank in ranks(2)]
    assert shares == [[[0, 2], [4, 6], [8, 10]], [[1, 3], [5, 7], [9]]]
    loader = build_loader(cfg, "val", RankInfo())
    assert [len(batch) for batch in loader] == [4, 4, 3] and len(loader) == 3


def test_a_bad_video_is_left_out_of_validation(video_list, cfg):
    folder = video_list(6, bad=[1, 4, 5])
    first, second = build_loader(cfg, "val", RankInfo())
    assert first.index.tolist() == [0, 2, 3] and [skip.index for skip in first.skipped] == [1]
    assert second.frames is None and len(second) == 0 and [skip.index for skip in second.skipped] == [4, 5]
    assert first.skipped[0].path == str(folder / "missing1.mp4")


def test_a_bad_video_is_replaced_in_training(video_list, cfg):
    video_list(8, bad=[1])
    batches = list(build_loader(cfg, "train", RankInfo()))
    assert [len(batch) for batch in batches] == [4, 4]
    assert [skip.index for batch in batches for skip in batch.skipped].count(1) >= 1
    assert all(torch.equal(batch.labels, batch.index % 5) for batch in batches)


def test_testing_gives_every_view_once_in_full_batches(video_list, cfg):
    video_list(5)
    cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.BATCH_SIZE = 2, 4
    loader = build_loader(cfg, "test", RankInfo())
    batches = list(loader)
    assert [len(batch) for batch in batches] == [4] * 7 + [2] and len(loader) == 8
    seen = [pair for batch in batches for pair in zip(batch.index.tolist(), batch.view.tolist(), strict=True)]
    assert seen == [(video, view) for video in range(5) for view in range(6)]
    whole = loader.dataset[1].frames  # views 6 to 11 of all: batches 1 (from its third on) and 2
    assert torch.equal(torch.cat([batches[1].frames[2:], batches[2].frames]), whole)
    shares = [[batch.index.tolist() for batch in build_loader(cfg, "test", rank)] for rank in ranks(2)]
    assert {index for batch in shares[0] for index in batch} == {0, 2, 4} and {len(b) for b in shares[1]} == {2}


def test_a_bad_video_is_missing_in_testing(video_list, cfg):
    video_list(3, bad=[1])
    cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.BATCH_SIZE = 1, 2
    batches = list(build_loader(cfg, "test", RankInfo()))
    assert [batch.index.tolist() for batch in batches] == [[0, 0], [0, 2], [2, 2]]
    assert [[skip.index for skip in batch.skipped] for batch in batches] == [[], [1], []]


@given(counts=st.lists(st.integers(0, 7), max_size=6), size=st.integers(1, 9))
def test_views_are_chunked_in_order(counts, size):
    """Videos with 0 views stand for those that could not be read."""
    videos = [
        Views(torch.full((n, 1, 1, 1, 3), v, dtype=torch.uint8), v, v) if n else Views(None, v, v, (Skip(v, "x", "y"),))
        for v, n in enumerate(counts)
    ]
    batches = list(chunk_views(videos, size))
    sizes = [len(batch) for batch in batches]
    assert all(n == size for n in sizes[:-1]) and sum(sizes) == sum(counts) and max(sizes, default=0) <= size
    pairs = [pair for b in batches for pair in zip(b.index.tolist(), b.view.tolist(), strict=True)]
    assert pairs == [(v, view) for v, n in enumerate(counts) for view in range(n)]
    for batch in batches:
        assert torch.equal(batch.labels, batch.index)
        assert (batch.frames is None) == (len(batch) == 0)
        assert batch.frames is None or torch.equal(batch.frames[:, 0, 0, 0, 0].long(), batch.index)
    assert [skip.index for b in batches for skip in b.skipped] == [v for v, n in enumerate(counts) if not n]


def test_views_of_one_video_are_not_copied():
    views = Views(torch.zeros(4, 1, 2, 2, 3, dtype=torch.uint8), 0, 0)
    first, second = chunk_views([views], 2)
    assert second.frames.data_ptr() == views.frames[2:].data_ptr()


def test_too_few_videos_for_a_batch(video_list, cfg):
    video_list(7)
    cfg.TRAIN.BATCH_SIZE = 8
    with pytest.raises(ConfigError, match=r"7 videos, fewer than the 8 .* lower TRAIN.BATCH_SIZE \(8 for each"):
        build_loader(cfg, "train", RankInfo())


def test_too_few_videos_for_a_batch_of_multigrid(video_list, cfg):
    """The batch that is too large is not one that the user has asked for."""
    video_list(7)
    cfg.MULTIGRID.LONG_CYCLE, cfg.SOLVER.LR_POLICY = True, "steps_with_relative_lrs"
    cfg.SOLVER.STEPS, cfg.SOLVER.LRS, cfg.SOLVER.MAX_EPOCH = [0, 6, 9], [1, 0.1, 0.01], 10
    cfg.TRAIN.BATCH_SIZE = 2
    schedule = MultigridSchedule(cfg)
    phase = schedule.phases[0]
    with pytest.raises(ConfigError) as error:
        build_loader(schedule.cfg_of(phase), "train", RankInfo())
    told = str(error.value)
    assert f"fewer than the {phase.batch_size} of one batch" in told and phase.batch_size > 7
    assert f"MULTIGRID.LONG_CYCLE has more clips in a batch if they are smaller: {phase.batch_size} of" in told
    assert f"{phase.num_frames} frames and {phase.crop_size} pixels" in told and "lower TRAIN.BATCH_SIZE (" not in told


@pytest.mark.parametrize("split, key", [("train", "TRAIN"), ("val", "TRAIN"), ("test", "TEST")])
def test_a_batch_that_cannot_be_shared(video_list, cfg, split, key):
    video_list(9)
    with pytest.raises(ConfigError, match=f"{key}.BATCH_SIZE is 4; the 3 processes .* a multiple of 3"):
        build_loader(cfg, split, ranks(3)[0])


def test_memory_is_pinned_for_gpus_only(video_list, cfg):
    video_list(4)
    on_cpu = build_loader(cfg, "val", RankInfo())
    on_gpu = build_loader(cfg, "val", RankInfo(device=torch.device("cuda:0")))
    assert (on_cpu._batches.pin_memory, on_gpu._batches.pin_memory) == (False, True)
    cfg.DATA_LOADER.PIN_MEMORY = False
    assert not build_loader(cfg, "val", RankInfo(device=torch.device("cuda:0")))._batches.pin_memory


@pytest.mark.needs_cuda
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_batches_for_a_gpu_are_pinned(video_list, cfg, split):
    video_list(4)
    cfg.TEST.BATCH_SIZE = 30
    for workers in (0, 2):
        cfg.DATA_LOADER.NUM_WORKERS = workers
        for batch in build_loader(cfg, split, RankInfo(device=torch.device("cuda:0"))):
            assert batch.frames.is_pinned()
