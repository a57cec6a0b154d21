import pytest
import torch

from slowfast_atfr.utils.distributed import (
    RankInfo,
    all_reduce_sum,
    gather_objects,
    get_rank,
    get_world_size,
    is_main,
    on_main,
)
from tests.processes import run_in_processes


def test_one_process_needs_no_group():
    assert (get_rank(), get_world_size(), is_main()) == (0, 1, True)
    tensors = [torch.ones(2), torch.tensor(3)]
    assert all(a is b for a, b in zip(all_reduce_sum(tensors), tensors, strict=True))
    assert gather_objects("me") == ["me"]
    assert on_main(lambda: 5) == 5


def test_the_error_of_the_main_process_keeps_its_kind():
    with pytest.raises(KeyError, match="lost"):
        on_main(lambda: {}["lost"])


@pytest.mark.parametrize("ranks", [(2, 2, 0, 1), (0, 1, 1, 1), (-1, 1, 0, 1), (0, 1, 0, 2)])
def test_a_rank_lies_within_its_world(ranks):
    with pytest.raises(ValueError, match="ranks go from 0"):
        RankInfo(*ranks)


def _talk(rank):
    assert (get_rank(), get_world_size(), is_main()) == (rank, 2, rank == 0)
    mine = [torch.tensor(1.0 + rank), torch.full((2, 3), 10.0 * rank)]
    one, many = all_reduce_sum(mine)
    assert one == 3 and one.shape == () and torch.equal(many, torch.full((2, 3), 10.0))
    assert mine[0] == 1 + rank  # not in place
    assert gather_objects({"rank": rank}) == [{"rank": 0}, {"rank": 1}]
    assert on_main(lambda: f"from {rank}") == "from 0"
    with pytest.raises(RuntimeError, match="only rank 0 is told"):
        on_main(_fail_on_rank_0)


def _fail_on_rank_0():
    raise RuntimeError(f"only rank {get_rank()} is told")


def test_two_processes_talk(tmp_path):
    run_in_processes(_talk, tmp_path)
