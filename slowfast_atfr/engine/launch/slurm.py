"""Runs whose processes srun started, one per GPU: ranks and the address to connect to."""

import re
from collections.abc import Mapping

from slowfast_atfr.config import ConfigError

TASKS = "SLURM_STEP_NUM_TASKS"  # set by srun alone: neither in a batch script nor in an interactive shell
NEEDED = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST")
FIRST_PORT, PORTS = 20000, 40000


def is_slurm_task(env: Mapping[str, str]) -> bool:
    """Return whether srun started this process as one of several."""
    return int(env.get(TASKS, "1")) > 1


def place_in_slurm(env: Mapping[str, str]) -> tuple[int, int, int, int]:
    """Return RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE of this process.

    Raises:
        ConfigError: if Slurm's variables are incomplete, or its nodes have different numbers of tasks.
    """
    missing = [name for name in NEEDED if name not in env]
    if missing:
        raise ConfigError(
            f"{TASKS} is in the environment, but {', '.join(missing)} are not; start with srun, which sets them all, "
            f"or unset {TASKS}"
        )
    per_node = tasks_per_node(env["SLURM_STEP_TASKS_PER_NODE"])
    if len(set(per_node)) > 1:
        raise ConfigError(
            f"Slurm's nodes have {per_node} tasks, and all machines of a run need the same number: give sbatch or srun "
            "--ntasks-per-node"
        )
    return int(env["SLURM_PROCID"]), int(env[TASKS]), int(env["SLURM_LOCALID"]), per_node[int(env["SLURM_NODEID"])]


def rendezvous_address(env: Mapping[str, str]) -> str:
    """Return tcp://HOST:PORT, equal for all tasks of a step: its first node, and a port from the job's number.

    MASTER_ADDR and MASTER_PORT take precedence.
    """
    host = env.get("MASTER_ADDR") or first_host(env["SLURM_STEP_NODELIST"])
    step = re.sub(r"\D", "", env.get("SLURM_STEP_ID", "0")) or "0"
    number = int(env.get("SLURM_JOB_ID", "0")) * 7 + int(step)
    return f"tcp://{host}:{env.get('MASTER_PORT') or FIRST_PORT + number % PORTS}"


def tasks_per_node(text: str) -> list[int]:
    """Slurm's "8(x2),4" is [8, 8, 4]."""
    parts = [re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(",")]
    if not all(parts):
        raise ConfigError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}, which is no list such as 8(x2),4")
    return [int(part[1]) for part in parts for _ in range(int(part[2] or 1))]


def first_host(nodelist: str) -> str:
    """Slurm's "gpu[03-05,9]-ib,login" begins with the host gpu03-ib."""
    first = re.match(r"[^,\[]*(?:\[[^\]]*\][^,\[]*)*", nodelist)[0]
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", first)
