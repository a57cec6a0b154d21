"""A process of its own: what this one has set does not reach it, it makes every call, and its end is told."""

import os
from functools import partial

import pytest
import torch

from slowfast_atfr.reproduce.own_process import in_own_process
from slowfast_atfr.utils.errors import RunError


def teller(file):
    with open(file.with_suffix(".built"), "a", encoding="utf-8") as built:
        built.write("once\n")

    def tell():
        with open(file, "a", encoding="utf-8") as told:
            told.write(f"{os.getpid()} {torch.get_num_threads()} {os.environ.get('THP_MEM_ALLOC_ENABLE')}\n")

    return tell


def ender():
    return partial(os._exit, 3)


def test_every_call_is_made_elsewhere_without_this_process_memory_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "1")
    file = tmp_path / "told"
    with in_own_process(teller, file) as call:
        call()
        call()
        lines = file.read_text().splitlines()  # while it waits for the next: a call ends when it is done
    assert file.with_suffix(".built").read_text() == "once\n"
    assert len(lines) == 2 and len(set(lines)) == 1
    pid, threads, huge = lines[0].split()
    assert int(pid) != os.getpid() and int(threads) == torch.get_num_threads() and huge == "None"


def test_its_end_is_told():
    with in_own_process(ender) as call, pytest.raises(RunError, match="ended"):
        call()
