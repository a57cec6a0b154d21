"""Figures say what was measured, tasks take turns, and a busy machine is seen."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from slowfast_atfr.analysis.timing import Figure, busy_share, in_turn, machine, ratio, table

CPU = torch.device("cpu")


def test_a_figure_is_the_median_of_its_rounds_and_says_whether_it_meets_its_target():
    figure = Figure("a over b", (0.9, 0.5, 0.7), target=0.6, note="8 clips")
    assert figure.median == 0.7
    assert figure.cells() == ("a over b", "0.7", "0.5 to 0.9", "at most 0.6", "no", "8 clips")
    assert Figure("share", (2.0,), unit="%", target=3).cells() == ("share", "2 %", "", "at most 3", "yes", "")
    speed = Figure("speed", (2.0, 4.0), target=3, least=True)
    assert speed.cells()[3:5] == ("at least 3", "yes")
    assert Figure("speed", (2.9,), target=3, least=True).cells()[3:5] == ("at least 3", "no")
    assert Figure("untargeted", (2.0, 3.0)).cells()[3:5] == ("", "")
    assert table([figure]).splitlines()[2] == "| a over b | 0.7 | 0.5 to 0.9 | at most 0.6 | no | 8 clips |"


def test_a_ratio_is_taken_round_by_round():
    figure = ratio("x", np.array([1.0, 8.0, 2.0]), np.array([2.0, 2.0, 2.0]), note="n", target=1)
    assert figure.rounds == (0.5, 4, 1) and figure.median == 1 and figure.target == 1
    assert figure.note == "n; 2000 ms over 2000 ms"
    assert ratio("x", np.array([13.2204]), np.array([0.0123456])).note == "13220 ms over 12.35 ms"


def test_tasks_take_turns_and_the_first_round_does_not_count():
    calls = []
    seconds = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, device=CPU)
    assert calls == ["a", "b"] * 4
    assert all(times.shape == (3,) and (times > 0).all() for times in seconds.values())


def test_the_machine_names_its_processor_threads_and_torch():
    text = machine(CPU)
    assert torch.__version__ in text and f"{torch.get_num_threads()} of " in text
    assert f", {torch.backends.cpu.get_cpu_capability()}, " in text


def test_another_process_at_work_is_seen():
    if busy_share(0.01) is None:
        pytest.skip("this system does not say how busy it is")
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert busy_share(0.5) > 0.1 / (torch.multiprocessing.cpu_count() or 1)
    finally:
        spinning.kill()
        spinning.wait()
