import pytest

from slowfast_atfr.config import get_cfg
from slowfast_atfr.engine.launch.launchers import advice_for

STEP = {"SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize(
    "shards, init_method, env, words, others",
    [
        (1, "env://", STEP, ("torchrun", "--rdzv_endpoint"), ("--init_method", "MASTER_ADDR")),
        (1, "tcp://n1:9", STEP, ("srun", "MASTER_ADDR", "MASTER_PORT"), ("--init_method", "--shard_id")),
        (2, "tcp://n1:9", STEP, ("--init_method", "--shard_id 1"), ("MASTER_ADDR", "torchrun")),
        (2, "tcp://n1:9", {}, ("--init_method", "--shard_id 1"), ("MASTER_ADDR", "torchrun")),
    ],
    ids=["torchrun in a job", "srun", "shards in a job", "shards"],
)
def test_advice_is_in_the_words_of_the_launcher(shards, init_method, env, words, others):
    cfg = get_cfg()
    cfg.NUM_SHARDS, cfg.SHARD_ID = shards, shards - 1
    advice = repr(advice_for(cfg, init_method, env))
    assert all(word in advice for word in words) and not any(word in advice for word in others)
