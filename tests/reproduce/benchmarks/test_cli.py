"""The command line refuses what it cannot measure; what it measures is what it says."""

import json

import numpy as np
import pytest
import torch

from slowfast_atfr.analysis.timing import Figure
from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.packed import PackedClips
from slowfast_atfr.reproduce.benchmarks import cli as benchmarks
from slowfast_atfr.reproduce.benchmarks import layers
from slowfast_atfr.reproduce.benchmarks.cli import BENCHMARKS, main
from slowfast_atfr.reproduce.benchmarks.layers import NETWORKS
from slowfast_atfr.utils.errors import RunError


@pytest.fixture
def quick(monkeypatch):
    """A benchmark that takes no time, on a machine that is idle."""
    monkeypatch.setitem(BENCHMARKS, "quick", lambda configs, *, rounds, device: [Figure("nothing", (0.5,) * rounds)])
    monkeypatch.setattr(benchmarks, "busy_share", lambda: 0.0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_figures_go_to_the_screen_and_to_the_file(quick, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert main(tmp_path, ["quick", "--rounds", "3", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "medians of 3 rounds" in out and "| nothing | 0.5 |" in out
    document = json.loads(file.read_text())
    assert document["figures"]["quick"][0]["rounds"] == [0.5] * 3 and torch.__version__ in document["machine"]


def test_a_busy_machine_is_refused_unless_one_insists(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmarks, "busy_share", lambda: 0.5)
    assert main(tmp_path, ["quick"]) == 1
    assert "other processes use 50% of this machine" in capsys.readouterr().err
    assert main(tmp_path, ["quick", "--busy"]) == 0
    monkeypatch.setattr(benchmarks, "busy_share", lambda: None)  # a system that does not say
    assert main(tmp_path, ["quick"]) == 0


def test_a_file_that_cannot_be_written_is_reported_without_a_traceback(quick, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(benchmarks, "write_whole", full)
    assert main(tmp_path, ["quick", "--json", str(tmp_path / "figures.json")]) == 1
    message = capsys.readouterr()
    assert "figures.json: No space left on device" in message.err and "| nothing | 0.5 |" in message.out


def test_a_benchmark_that_fails_is_reported_and_what_came_before_it_is_kept(quick, tmp_path, capsys, monkeypatch):
    def fails(configs, **options):
        raise RunError("a process has ended")

    monkeypatch.setitem(BENCHMARKS, "failing", fails)
    file = tmp_path / "figures.json"
    assert main(tmp_path, ["quick", "failing", "--json", str(file)]) == 1
    assert capsys.readouterr().err == "error: a process has ended\n"
    assert list(json.loads(file.read_text())["figures"]) == ["quick"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: NAME"),
        (["slow"], "invalid choice: 'slow'"),
        (["quick", "--rounds", "0"], "--rounds and --threads are at least 1"),
        (["quick", "--device", "banana"], "'banana': choose cpu, cuda or cuda:N"),
        (["quick", "--json", "/"], "'/' is a folder or a device; name a file"),
        (["quick", "--json", "/dev/null"], "'/dev/null' is a folder or a device; name a file"),
    ],
)
def test_wrong_arguments_are_reported_before_anything_runs(quick, tmp_path, capsys, argv, message):
    with pytest.raises(SystemExit) as end:
        main(tmp_path, argv)
    assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "Slow-8x8-R50" else name for name in NETWORKS]
)
def test_packed_and_dense_run_the_same_network(repo, name):
    cfg = load_cfg(str(repo / "configs" / NETWORKS[name][0]), ["DATA.TRAIN_CROP_SIZE", "32"])
    model = build_model(cfg).eval()
    dense = layers._after_res2(model, cfg, 2, torch.device("cpu"))
    seen = []

    def run(x):
        with torch.inference_mode():
            seen.append((x, layers._after_sgs(model, x)))

    figures = layers._packed_over_dense(f"{name}, eval", run, dense, rounds=1, limit=0.6)
    assert len(figures) == 3 and all(np.isfinite(figure.median) for figure in figures)
    (_, of_dense), (equal, of_equal), (ragged, _), (longest, _) = seen[:4]
    assert isinstance(equal, PackedClips) and isinstance(ragged, PackedClips) and len(set(ragged.lengths)) == 2
    assert longest.shape[2] == max(ragged.lengths)
    torch.testing.assert_close(of_equal, of_dense, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [*BENCHMARKS])
def test_the_benchmarks_run_in_full(repo, name, capsys):
    assert main(repo / "configs", [name, "--rounds", "1", "--busy"]) == 0
    out = capsys.readouterr().out
    shown = {"models": ["Kinetics/X3D_S"], "export": ["SlowFast-8x8-R50 + SGS | moving"]}
    assert any(words in out for words in shown.get(name, [" at least ", " at most "]))
