"""Who takes which videos, when."""

from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.datasets.sampler import TrainBatches, epoch_order, rank_indices


def batches_of(count, batch, world, epoch, seed=1, first=0, crops=()):
    ranks = []
    sizes = [batch] if isinstance(batch, int) else batch
    for rank in range(world):
        sampler = TrainBatches(count, sizes, rank=rank, world_size=world, seed=seed, crops=crops)
        sampler.epoch, sampler.first = epoch, first
        ranks.append(list(sampler))
        assert len(ranks[-1]) == max(0, len(sampler) - first)
    return ranks


@given(count=st.integers(0, 200), batch=st.integers(1, 8), world=st.integers(1, 5), epoch=st.integers(0, 999))
def test_ranks_together_take_the_batches_of_one_process(count, batch, world, epoch):
    (whole,) = batches_of(count, batch * world, 1, epoch)
    order = epoch_order(count, seed=1, epoch=epoch).tolist()
    assert [[index for index, _ in each] for each in whole] == [
        order[b * batch * world : (b + 1) * batch * world] for b in range(count // (batch * world))
    ]
    ranks = batches_of(count, batch, world, epoch)
    assert [sorted(sum(parts, [])) for parts in zip(*ranks, strict=True)] == [sorted(each) for each in whole]
    assert {len(each) for rank in ranks for each in rank} <= {batch}
    assert {e for rank in ranks for each in rank for _, e in each} <= {epoch}


@given(count=st.integers(0, 200), sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4), world=st.integers(1, 4))
def test_batches_of_different_sizes_take_turns_and_cover_what_one_process_covers(count, sizes, world):
    crops = list(range(100, 100 + len(sizes)))
    (whole,) = batches_of(count, [size * world for size in sizes], 1, 0, crops=crops)
    ranks = batches_of(count, sizes, world, 0, crops=crops)
    assert [sorted(sum(parts, [])) for parts in zip(*ranks, strict=True)] == [sorted(each) for each in whole]
    for number, batch in enumerate(ranks[0]):
        assert len(batch) == sizes[number % len(sizes)] and {crop for *_, crop in batch} == {crops[number % len(sizes)]}
    left = count // world - sum(map(len, ranks[0]))
    assert left < sizes[len(ranks[0]) % len(sizes)]  # the next batch would not be full


@given(count=st.integers(1, 100), first=st.integers(0, 12))
def test_an_epoch_goes_on_where_it_was(count, first):
    (whole,), (rest,) = batches_of(count, [3, 2], 1, 5), batches_of(count, [3, 2], 1, 5, first=first)
    assert rest == whole[first:]


def test_orders_of_epochs_and_seeds():
    assert sorted(epoch_order(50, seed=1, epoch=0)) == list(range(50))
    assert (epoch_order(50, seed=1, epoch=3) == epoch_order(50, seed=1, epoch=3)).all()
    assert (epoch_order(50, seed=1, epoch=3) != epoch_order(50, seed=1, epoch=4)).any()


@given(count=st.integers(0, 50), world=st.integers(1, 9))
def test_evaluation_takes_every_video_once(count, world):
    shares = [rank_indices(count, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(sum(shares, [])) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
