"""Training steps side by side: half of the maps after SGS, which runs, and a search for the largest batch."""

import pytest
import torch

from slowfast_atfr.reproduce.benchmarks.train import (
    SUBJECTS,
    Subject,
    TrainingStep,
    compare_steps,
    fits,
    largest,
    measure_alone,
)
from slowfast_atfr.sgs import record

CPU = torch.device("cpu")
TINY = ["DATA.TRAIN_CROP_SIZE", "32"]


@pytest.mark.parametrize("name", ["3DResNet-18", "SlowFast-8x8-R50"])
def test_a_step_samples_half_of_the_maps_and_changes_sgs_too(repo, name):
    config = repo / "configs" / SUBJECTS[name].config.replace(".yaml", "_ATFR.yaml")
    step = TrainingStep(config, TINY, 2, CPU)
    before = {key: value.clone() for key, value in step.network.named_parameters()}
    with record(step.network) as log:
        step()
    for clips in log.layers.values():
        frames = len(clips[0].bin)
        assert [clip.num_active for clip in clips] == [frames // 4, 3 * frames // 4]
    changed = {key for key, value in step.network.named_parameters() if not torch.equal(value, before[key])}
    assert (
        changed >= {key for key in before if "_sgs" in key and "fc1" not in key}
        and "s1.pathway0_stem.conv.weight" in changed
    )
    assert all(parameter.grad is None for parameter in step.network.parameters())


def test_ratios_of_time_and_bytes(repo):
    subject = Subject("Mini_Kinetics/3DRESNET18.yaml", (2, 2), 0.6, 0.7)
    figures = compare_steps(
        "tiny", subject, repo / "configs", rounds=1, device=CPU, pairs=[*TINY, "RESNET.WIDTH_PER_GROUP", "16"]
    )
    times, sizes = figures[::2], figures[1::2]
    assert [len(figure.rounds) for figure in times] == [1] * 4 and all(figure.median > 0 for figure in times)
    assert [figure.target for figure in figures] == [0.6, 0.7, *[None] * 6]
    atfr, atfr_less, base_again, atfr_again = (figure.median for figure in sizes)
    assert 0.5 < atfr < 0.9 and base_again < 0.5 and atfr_again < 0.5 and atfr_less < 0.9 * atfr


@pytest.mark.parametrize("limit", [0, 1, 5, 6, 7, 8, 63, 64, 65, 1000])
def test_the_largest_batch_is_found_in_a_few_tries(limit):
    tries = []

    def fits_in(size):
        tries.append(size)
        return size <= limit

    assert largest(fits_in, start=6, most=100) == min(limit, 100)
    assert len(tries) == len(set(tries)) <= 12 and max(tries) <= 100


def test_what_does_not_fit_is_no_error():
    def too_large():
        raise torch.cuda.OutOfMemoryError

    assert not fits(too_large) and fits(lambda: None)
    with pytest.raises(KeyError):
        fits({}.popitem)


@pytest.mark.needs_cuda
def test_on_a_gpu_memory_and_batches_are_reported(repo, monkeypatch):
    monkeypatch.setattr("slowfast_atfr.reproduce.benchmarks.train.largest", lambda fits, start: start * fits(start))
    subject, device = Subject("Mini_Kinetics/3DRESNET18.yaml", (2, 4)), torch.device("cuda")
    figures = measure_alone("tiny", subject, repo / "configs", rounds=1, device=device, pairs=TINY)
    peaks = {figure.name: figure.median for figure in figures if figure.unit == "GiB"}
    assert len(figures) == 24 and len(peaks) == 8 and all(figure.median > 0 for figure in figures)
    assert peaks["tiny, ATFR, float32: peak memory"] < peaks["tiny, base, float32: peak memory"]
    assert all(figure.median == 4 for figure in figures if figure.unit == "clips")
