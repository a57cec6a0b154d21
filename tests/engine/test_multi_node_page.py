"""The commands of docs/multi_node.md run, on one machine, on CPUs, with tiny videos. Takes minutes."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.engine.test_multi_node import CONFIG, finish
from tests.processes import free_port
from tests.runs import stats_of

START = {"python": "", "torchrun": "-m torch.distributed.run", "srun": "tests/engine/fake_srun.py"}
SCRIPTS = {name: f'exec {shlex.quote(sys.executable)} {rest} "$@"' for name, rest in START.items()}
SCRIPTS["sbatch"] = 'shift 2\nexec bash "$@"'  # on one node


@pytest.fixture
def commands(repo, tiny_pairs, tmp_path):
    """The page's blocks of commands, adapted to this machine, each with the lines that set it up."""
    page = (repo / "docs" / "multi_node.md").read_text(encoding="utf-8")
    setup, *blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    pairs = " ".join(text.replace(" ", "") for text in tiny_pairs(SOLVER__MAX_EPOCH=1))
    config, rest = re.search(r"--cfg (\S+) (.*?)\"\n", setup, re.DOTALL).groups()
    setup = setup.replace(config, CONFIG).replace(rest, pairs)
    words = {"node1": "localhost", "--nproc_per_node 8": "--nproc_per_node 2"}
    found = []
    for block in blocks:
        for port in set(re.findall(r"\b(9999|29500)\b", block)):
            block = block.replace(port, str(free_port()))
        for old, new in words.items():
            block = block.replace(old, new)
        found.append((setup, block.replace("\\\n", " ").splitlines()))
    return found


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in SCRIPTS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_trains(commands, path, repo, tmp_path):
    env = {"PATH": path, "SLURM_JOB_ID": str(os.getpid()), "FAKE_TASKS_PER_NODE": "2", "OMP_NUM_THREADS": "1"}
    ran = []
    for setup, lines in commands:
        together = [lines] if "--shard_id 1" in lines[-1] else [[line] for line in lines]
        for number, group in enumerate(together):
            if "--nnodes 2" in group[0]:  # the same on the second machine, or with the number of that
                group = [group[0], group[0].replace("--node_rank 0", "--node_rank 1")]
            out = tmp_path / f"out{len(ran)}_{number}"
            own = {**os.environ, **env, "PYTHONPATH": str(repo)}
            texts = [f'{setup}\nRUN="$RUN OUTPUT_DIR {out}"\n{line}' for line in group]
            options = {"cwd": repo, "env": own, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            statuses, outputs = finish([subprocess.Popen(["bash", "-c", text], **options) for text in texts], 600)
            assert not any(statuses), "\n".join([*texts, *outputs])
            log = (out / "stdout.log").read_text()
            ran.append(int(re.search(r"on each of (\d+) process\(es\)", log)[1]))
            assert stats_of(out, "test_final")[0]["num_videos"] == 5
    assert ran == [1, 2, 4, 4, 2, 2]  # processes: python, shards, torchrun twice, sbatch, srun
