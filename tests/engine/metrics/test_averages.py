import pytest
import torch

from slowfast_atfr.engine.metrics import averages
from slowfast_atfr.engine.metrics.averages import ClipSums, ScalarMeter, Stopwatch

CPU = torch.device("cpu")


def test_a_scalar_meter_forgets_what_left_its_window():
    meter = ScalarMeter(window=2)
    assert meter.mean == 0
    for value in (100, 1, 2):
        meter.add(value)
    assert meter.mean == 1.5


def test_an_iteration_is_its_wait_for_data_and_the_rest(monkeypatch):
    clock = iter([0.0, 10.0, 11.0, 14.0])
    monkeypatch.setattr(averages.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch(window=5)
    watch.iter_tic()
    watch.data_toc()
    watch.iter_toc()
    assert (watch.data.mean, watch.net.mean, watch.iteration.mean) == (1, 3, 4)
    assert watch.eta(1000) == "1:06:40"


def test_a_small_batch_weighs_as_little_as_it_is():
    sums = ClipSums(window=10)
    sums.add(4, {"loss": 4 * 1.0}, CPU)
    sums.add(1, {"loss": torch.tensor(6.0)}, CPU)
    assert sums.means() == {"loss": 2.0}


def test_recent_is_the_median_of_the_last_batches_only():
    sums = ClipSums(window=3)
    assert sums.recent(over_ranks=False) == {} == sums.means()
    for clips, loss in ((1, 1000.0), (2, 2.0), (2, 4.0), (2, 30.0)):
        sums.add(clips, {"loss": loss}, CPU)
    assert sums.recent(over_ranks=False) == {"loss": 2.0}


def test_names_may_not_change_on_the_way():
    sums = ClipSums(window=3)
    sums.add(1, {"loss": 1.0}, CPU)
    with pytest.raises(ValueError, match=r"reports \('lots',\), the ones before \('loss',\)"):
        sums.add(1, {"lots": 1.0}, CPU)


def test_sums_that_are_put_away_go_on():
    whole, first, second = (ClipSums(3) for _ in range(3))
    batches = [(2, {"loss": 1.0}), (3, {"loss": 6.0}), (1, {"loss": 5.0}), (4, {"loss": 2.0})]
    for sums, part in ((whole, batches), (first, batches[:2])):
        for count, values in part:
            sums.add(count, values, torch.device("cpu"))
    second.load_state_dict(first.state_dict())
    for count, values in batches[2:]:
        second.add(count, values, torch.device("cpu"))
    assert second.means() == whole.means() and second.recent(over_ranks=False) == whole.recent(over_ranks=False)
