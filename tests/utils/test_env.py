import io
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast_atfr.utils.env import HUGE_PAGES, get_rng_state, gpu_memory, host_memory, seed_everything, set_rng_state


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_a_seed_repeats_and_ranks_differ():
    draws = {}
    for seed, rank in ((1, 0), (1, 1), (2, 0)):
        seed_everything(seed, rank)
        draws[seed, rank] = draw()
    seed_everything(1, 0)
    assert draw() == draws[1, 0]
    assert len(set(draws.values())) == 3  # and (2, 0) is not (1, 1)


def test_a_state_survives_a_checkpoint_that_may_hold_plain_data_only():
    seed_everything(5, 0)
    np.random.randn()  # keeps the second of a pair of numbers in the state
    file = io.BytesIO()
    torch.save(get_rng_state(), file)
    expected = draw(), np.random.randn()
    file.seek(0)
    set_rng_state(torch.load(file, weights_only=True))
    assert (draw(), np.random.randn()) == expected


def test_memory_is_told_in_gigabytes():
    assert re.fullmatch(r"\d+\.\d\dG", gpu_memory())
    assert re.fullmatch(r"\d+\.\d\d/\d+\.\d\dG|unknown", host_memory())


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")


def told_by(code: str) -> int:
    env = {key: value for key, value in os.environ.items() if key != HUGE_PAGES}  # others may have set it
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    return int(done.stdout)


@linux
@pytest.mark.parametrize(
    "before", [pytest.param("", marks=pytest.mark.slow), "keep_freed_memory()"]
)  # a forked data worker comes from such a process
def test_what_is_freed_is_handed_back(before):
    """Also in a process that has kept it, from which a forked data worker comes."""
    left = told_by(
        "import os, numpy as np\n"
        "from slowfast_atfr.utils.env import return_freed_memory, keep_freed_memory, private_memory\n"
        f"{before}\n"
        "return_freed_memory()\n"
        "before = private_memory(os.getpid())\n"
        "for _ in range(3):\n"
        "    blocks = [np.ones(3 * 2**20, np.uint8) for _ in range(40)]\n"
        "    del blocks[:-1]\n"
        "print(private_memory(os.getpid()) - before)\n"
    )
    assert left < 24 * 2**20


@linux
def test_what_is_freed_is_kept_where_that_is_asked_for():
    code = (
        "import resource, torch\n"
        "from slowfast_atfr.utils.env import keep_freed_memory\n"
        "{keep}\n"
        "def faults():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10):\n"  # the first ones leave crumbs between them
        "    torch.ones(9 * 2**20)\n"  # 36 MiB, which glibc would never keep
        "before = faults()\n"
        "for _ in range(4):\n"
        "    torch.ones(9 * 2**20)\n"
        "print(faults() - before)\n"
    )
    assert told_by(code.format(keep="keep_freed_memory()")) * 10 < told_by(code.format(keep=""))


@linux
@pytest.mark.slow
@pytest.mark.parametrize(("own", "huge"), [("", True), ("0", False)])
def test_what_is_kept_is_on_huge_pages_unless_the_user_says_otherwise(own, huge):
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists() or "[madvise]" not in setting.read_text():
        pytest.skip("this Linux does not give huge pages to those who ask, and to nobody else")
    code = (
        "import os, torch\n"
        "from slowfast_atfr.utils.env import keep_freed_memory\n"
        f"own = {own!r}\n"
        "os.environ.update({'THP_MEM_ALLOC_ENABLE': own} if own else {})\n"
        "keep_freed_memory()\n"
        "block = torch.ones(16 * 2**20)\n"
        "lines = open('/proc/self/smaps').read().splitlines()\n"
        "print(sum(int(line.split()[1]) for line in lines if line.startswith('AnonHugePages')))\n"
    )
    assert (told_by(code) > 32 * 2**10) == huge  # of 64 MiB
