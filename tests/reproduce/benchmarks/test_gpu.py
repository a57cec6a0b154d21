"""The command for a GPU: important rows come first, lines are printed at once, and failures stop nothing."""

import pytest
import torch

from slowfast_atfr.reproduce.benchmarks import cli as benchmarks
from slowfast_atfr.reproduce.benchmarks import gpu as gpu_benchmark
from slowfast_atfr.reproduce.benchmarks.gpu import Pair, Subject, benchmark_all, memory_formats, tasks

CPU = torch.device("cpu")
TINY = ["DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "DATA.NUM_FRAMES", "4"]


def test_what_matters_most_comes_first(repo):
    names = [name for name, _ in tasks(repo / "configs", CPU, (), 1)]
    assert names[:3] == ["memory formats", "X3D-S, float32, eager, inference", "X3D-S, float32, eager, training"]
    assert len(names) == len(set(names)) == 1 + 2 * 2 * 2 * len(gpu_benchmark.SUBJECTS)
    assert not any("compiled" in name for name in names[: len(names) // 2])


@pytest.mark.slow
def test_a_network_is_measured_in_every_way(repo, monkeypatch):
    monkeypatch.setattr(gpu_benchmark, "SUBJECTS", {"X3D-S": Subject("Kinetics/X3D_S.yaml", (2, 4), paper=("1", "2"))})
    monkeypatch.setattr(gpu_benchmark, "COMPILED", ())  # as it is, without a compiler
    lines = []
    found = benchmark_all(repo / "configs", minutes=8, rounds=1, device=CPU, emit=lines.append, pairs=TINY)
    assert len(found) == 1 + 4 * 3 and all(pair.first > 0 and pair.second > 0 for pair in found)
    assert len(lines) == 2 + len(found) and all(line.count("|") == 6 for line in lines)
    assert found[1].what == "X3D-S, float32, eager: inference, clips/s" and found[1].paper == "1"
    assert (found[2].first, found[2].paper) == (2, "2")


def test_time_runs_out_and_failures_are_reported(repo, monkeypatch):
    ended = []

    def failing():
        yield Pair("first", 2.0, 1.0, unit="ms")
        raise torch.cuda.OutOfMemoryError("no memory\nat all")

    def last():
        ended.append(1)
        monkeypatch.setattr(gpu_benchmark.time, "monotonic", lambda: float("inf"))
        yield Pair("second", 0.0, 1.0)

    planned = [("fails", failing), ("works", last), ("late", failing)]
    monkeypatch.setattr(gpu_benchmark, "tasks", lambda *_: iter(planned))
    lines = []
    found = benchmark_all(repo, minutes=1, rounds=1, device=CPU, emit=lines.append)
    assert [pair.what for pair in found] == ["first", "second"] and ended == [1]
    assert lines[2:] == [
        "| first | 2 ms | 1 ms | 0.5 |  |",
        "| fails | failed: no memory at all |  |  |  |",
        "| second | 0 | 1 |  |  |",
        "\nnot measured within 1 minutes: late",
    ]


def test_memory_formats():
    (pair,) = memory_formats(CPU, 1)
    assert pair.first > 0 and pair.second > 0 and pair.unit == "ms"


def test_the_command_line_passes_the_minutes_on(tmp_path, monkeypatch, capsys):
    given = {}
    monkeypatch.setattr(benchmarks, "busy_share", lambda: 0.0)
    monkeypatch.setattr(
        benchmarks, "benchmark_all", lambda configs, **options: given.update(options) or [Pair("x", 1.0, 2.0)]
    )
    threads = torch.get_num_threads()
    assert benchmarks.main(tmp_path, ["all", "--minutes", "3"]) == 0
    torch.set_num_threads(threads)
    assert given["minutes"] == 3 and given["device"] == CPU
    with pytest.raises(SystemExit):
        benchmarks.main(tmp_path, ["all", "--minutes", "0"])
    assert "--minutes is more than 0" in capsys.readouterr().err
