"""Predictions by an exported ONNX file are those of the network, from the same videos."""

import json

import pytest

from slowfast_atfr.engine.inference.predict_cli import main as predict_main
from tests.tiny_sets import write_clip


def test_a_file_predicts_as_the_network(exported, tmp_path, capsys):
    for name, label, frames in (("a.mp4", 0, 10), ("b.mp4", 2, 17)):
        write_clip(tmp_path / "videos" / name, label=label, frames=frames)
    file, videos = str(exported.file), str(tmp_path / "videos")
    rows = {}
    for kind, given in (("network", [*exported.weights, "--opts", *exported.pairs]), ("file", ["--onnx", file])):
        assert predict_main([videos, "--format", "json", *given]) == 0
        rows[kind] = json.loads(capsys.readouterr().out)
    assert len(rows["file"]) == 2
    names = {"class 0": "down", "class 1": "right", "class 2": "both"}  # the file has them
    for theirs, ours in zip(rows["network"], rows["file"], strict=True):
        for entry, other in zip(ours["top"], theirs["top"], strict=True):
            assert entry["class"] == names[other["class"]] and abs(entry["percent"] - other["percent"]) <= 0.02
        assert {name: ours[name] for name in ("start", "end", "clips")} == {
            name: theirs[name] for name in ("start", "end", "clips")
        }
        assert all(ours[name] == theirs[name] for name in exported.counts) and "gflops_per_clip" not in ours
    assert (
        predict_main([videos, "--onnx", file]) == 0
        and exported.counts[-1].removeprefix("active_bins_") in capsys.readouterr().out
    )
    assert predict_main([videos, "--onnx", file, "--opts", "DATA.TEST_CROP_SIZE", "40"]) == 2
    assert "DATA.TEST_CROP_SIZE 40" in capsys.readouterr().err
    for key, value in (("MODEL.NUM_CLASSES", "2"), ("SGS.NUM_BINS", "[1]")):
        assert predict_main([videos, "--onnx", file, "--opts", key, value]) == 2
        assert f"{key} is a key of the network" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--onnx", "x.onnx", "--cfg", "x.yaml"], ["--cfg", "x.yaml"], []])
def test_predict_takes_a_config_with_weights_or_a_file(more, capsys):
    with pytest.raises(SystemExit):
        predict_main(["video.mp4", *more])
    assert "--onnx" in capsys.readouterr().err
