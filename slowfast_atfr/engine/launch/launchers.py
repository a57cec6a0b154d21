"""Advice in errors about processes that do not connect, by the launcher that started them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fvcore.common.config import CfgNode

from slowfast_atfr.engine.launch.slurm import is_slurm_task


@dataclass(frozen=True)
class Advice:
    """Parts of sentences.

    check: what to check first. twin: a process that would take the same port. port: name of the port setting. name:
    how to set the first machine's name.
    """

    check: str
    twin: str
    port: str
    name: str


def advice_for(cfg: CfgNode, init_method: str, env: Mapping[str, str] = os.environ) -> Advice:
    """Return the advice for torchrun (env://), a task of srun, or shards."""
    if init_method == "env://":
        return Advice(
            check="torchrun was started on all machines with the same --rdzv_endpoint or --master_addr and "
            "--master_port",
            twin=f"--shard_id {cfg.SHARD_ID}",
            port="port",
            name="Give torchrun an --rdzv_endpoint or a --master_addr that all machines reach",
        )
    if is_slurm_task(env) and cfg.NUM_SHARDS == 1:  # with shards srun starts one task for each machine
        return Advice(
            check="srun started all tasks; that MASTER_ADDR, if it is set, is an address of the job's first node that "
            "the others reach (without it the node's name is taken)",
            twin="the first task",
            port="MASTER_PORT",
            name="Set MASTER_ADDR to an address of the job's first node that the others reach",
        )
    return Advice(
        check=f"all NUM_SHARDS ({cfg.NUM_SHARDS}) machines were started, each with its own --shard_id from 0; that "
        "--init_method is the same tcp://HOST:PORT everywhere, with HOST the machine of shard 0 as the others reach it",
        twin=f"--shard_id {cfg.SHARD_ID}",
        port="port",
        name="Give --init_method tcp://HOST:PORT with a HOST that all machines reach",
    )
