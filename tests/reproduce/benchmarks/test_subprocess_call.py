"""A process of its own: what this one has set does not reach it, it makes every call, and its end is reported."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from slowfast_atfr.reproduce.benchmarks.subprocess_call import in_own_process
from slowfast_atfr.utils.env import private_memory
from slowfast_atfr.utils.errors import RunError

MIB = 2**20


def teller(file):
    with open(file.with_suffix(".built"), "a", encoding="utf-8") as built:
        built.write("once\n")

    def tell():
        with open(file, "a", encoding="utf-8") as log:
            log.write(f"{os.getpid()} {torch.get_num_threads()} {os.environ.get('THP_MEM_ALLOC_ENABLE')}\n")

    return tell


def ender():
    return partial(os._exit, 3)


def test_every_call_is_made_elsewhere_without_this_process_memory_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "1")
    file = tmp_path / "log"
    with in_own_process(teller, file) as call:
        call()
        call()
        lines = file.read_text().splitlines()  # while it waits for the next: a call ends when it is done
    assert file.with_suffix(".built").read_text() == "once\n"
    assert len(lines) == 2 and len(set(lines)) == 1
    pid, threads, huge = lines[0].split()
    assert int(pid) != os.getpid() and int(threads) == torch.get_num_threads() and huge == "None"


def user_of_memory(file):
    def use():
        before = private_memory(os.getpid())
        torch.ones(25 * MIB)  # 100 MiB, free at once
        with open(file, "a", encoding="utf-8") as log:
            log.write(f"{private_memory(os.getpid()) - before}\n")

    return use


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.slow
def test_it_hands_freed_memory_back_where_this_process_keeps_it(repo, tmp_path):
    file = tmp_path / "log"
    code = (
        "from slowfast_atfr.reproduce.benchmarks.subprocess_call import in_own_process\n"
        "from slowfast_atfr.utils.env import keep_freed_memory\n"
        "from tests.reproduce.benchmarks.test_subprocess_call import user_of_memory\n"
        "keep_freed_memory()\n"
        f"user_of_memory({str(file)!r})()\n"
        f"with in_own_process(user_of_memory, {str(file)!r}) as call:\n"
        "    call()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repo)
    kept_here, kept_there = map(json.loads, file.read_text().splitlines())
    assert kept_here > 90 * MIB and kept_there < 10 * MIB


def test_its_end_is_reported():
    with in_own_process(ender) as call, pytest.raises(RunError, match="benchmark has ended; .* memory"):
        call()
