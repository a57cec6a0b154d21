"""Files of every kind are read as what they are, and nothing in them runs."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.checkpoint.file import read_checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.tensor([1.5, -2.0])}
BLOBS = {"pred_w": np.arange(6, dtype=np.float32).reshape(2, 3), "model_iter": np.array([7], dtype=np.int64)}


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    ("content", "epoch"),
    [
        ({"epoch": 3, "model_state": WEIGHTS, "optimizer_state": {}, "cfg": "A: 1"}, 3),
        ({"model_state": OrderedDict(WEIGHTS)}, None),
        ({"epoch": 90, "arch": "resnet50", "state_dict": WEIGHTS}, None),  # another's run has no epoch of ours
        ({"model": WEIGHTS}, None),
        ({"model": "resnet50", "model_state": None, "state_dict": WEIGHTS}, None),
        (WEIGHTS, None),
        ({name: nn.Parameter(value) for name, value in WEIGHTS.items()}, None),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_where_others_keep_them(tmp_path, content, epoch, zipped):
    torch.save(content, tmp_path / "file", _use_new_zipfile_serialization=zipped)
    file = read_checkpoint(str(tmp_path / "file"))
    assert (file.kind, file.epoch) == ("pytorch", epoch) and same(file.weights, WEIGHTS)
    of_a_run = isinstance(content.get("model_state"), dict)
    assert set(file.rest) == (set(content) - {"model_state"} if of_a_run else set())


@pytest.mark.parametrize("protocol", range(6))
def test_blobs_of_any_pickle_protocol(tmp_path, protocol):
    blobs = BLOBS | {"scalar": np.float32(0.5), "big_endian": np.array([1.0, 2.0], dtype=">f4"), "empty": np.empty(0)}
    blobs["number"] = 0.5
    blobs["by_columns"] = np.asfortranarray(BLOBS["pred_w"])
    (tmp_path / "file.pkl").write_bytes(pickle.dumps({"blobs": blobs, "cfg": b"\xff"}, protocol))
    file = read_checkpoint(str(tmp_path / "file.pkl"))
    assert (file.kind, file.epoch, file.rest) == ("caffe2", None, {})
    assert file.weights.keys() == blobs.keys()
    for name, value in file.weights.items():
        assert value.tolist() == np.asarray(blobs[name]).tolist()
        value.zero_()  # a tensor like any other


def test_a_wrong_flag_is_told_and_changes_nothing(tmp_path, caplog):
    torch.save(WEIGHTS, tmp_path / "weights.pkl")  # nor does the name
    (tmp_path / "blobs.pyth").write_bytes(pickle.dumps({"blobs": BLOBS}, 2))
    key = "TEST.CHECKPOINT_FILE_PATH"
    assert read_checkpoint(str(tmp_path / "weights.pkl"), key=key, expected="caffe2").kind == "pytorch"
    assert "TEST.CHECKPOINT_TYPE is 'caffe2', but" in caplog.text and "is a pytorch file" in caplog.text
    caplog.clear()
    assert read_checkpoint(str(tmp_path / "blobs.pyth"), expected="pytorch").kind == "caffe2"
    assert "TRAIN.CHECKPOINT_TYPE is 'pytorch', but" in caplog.text and "is a caffe2 file" in caplog.text
    caplog.clear()
    read_checkpoint(str(tmp_path / "blobs.pyth"), expected="caffe2")
    assert not caplog.text


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_of_torch_is_not_run(tmp_path, zipped):
    content = {"model_state": WEIGHTS, "evil": Evil(tmp_path / "run")}
    torch.save(content, tmp_path / "file.pyth", _use_new_zipfile_serialization=zipped)
    words = f"cannot be .* it holds {os.mkdir.__module__}.mkdir, and only tensors.* save only its state dict"
    with pytest.raises(ConfigError, match=words):
        read_checkpoint(str(tmp_path / "file.pyth"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"weights": {}}, "it has no model_state, but weights"),
        ([1, 2], "it has no model_state, but list"),
        ({}, "it has no model_state, but dict"),
        ({"model_state": {"a.weight": [1, 2]}}, "a.weight is a list, not a tensor"),
        ({"model_state": {7: torch.ones(2)}}, "a weight is called 7, which is not a string"),
        ({7: torch.ones(2)}, "a weight is called 7, which is not a string"),
        ({"model_state": {"a": torch.ones(2).to_sparse()}}, "a is float32, sparse_coo,"),
        ({"model_state": {"a": torch.ones(2, dtype=torch.complex64)}}, r"a is complex64, "),
        ({"model_state": {"a": torch.ones(2, device="meta")}}, "a is .* on meta, which"),
        ({"model_state": WEIGHTS, "epoch": "last"}, "its epoch is 'last', not an integer"),
    ],
)
def test_a_file_of_torch_without_weights_is_told(tmp_path, content, words):
    torch.save(content, tmp_path / "file.pyth")
    with pytest.raises(ConfigError, match=f"file.pyth is not a checkpoint: {words}"):
        read_checkpoint(str(tmp_path / "file.pyth"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"weights": {}}, "it is a pickle without the blobs of Caffe2, but weights"),
        ([1, 2], "it is a pickle without the blobs of Caffe2, but list"),
        ({"blobs": {"name": "text"}}, "the blob name is a str, not an array"),
        ({"blobs": {7: BLOBS["pred_w"]}}, "a weight is called 7, which is not a string"),
        ({"blobs": {"name": 2**70}}, "the blob name cannot be read"),
        ({"blobs": {"name": np.ones(2, np.complex64)}}, r"name is complex64, "),
        ({"blobs": {"name": np.array(["text"])}}, "the blob name cannot be read: U4 is not a numeric type"),
        ({"blobs": {"name": np.array([None])}}, "the blob name cannot be read: O8 is not a numeric type"),
    ],
)
def test_a_pickle_without_weights_is_told(tmp_path, content, words):
    (tmp_path / "file.pkl").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(ConfigError, match=f"file.pkl is not a checkpoint: {words}"):
        read_checkpoint(str(tmp_path / "file.pkl"))


def test_truncated_files_are_told(tmp_path):
    for name, write in (
        ("zip", lambda path: torch.save(WEIGHTS, path)),
        ("legacy", lambda path: torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)),
        ("pickle", lambda path: Path(path).write_bytes(pickle.dumps({"blobs": BLOBS}, 2))),
    ):
        path = tmp_path / name
        write(path)
        content = path.read_bytes()
        for size in (len(content) // 2, len(content) - 9, 3, 0):
            path.write_bytes(content[:size])
            with pytest.raises(ConfigError, match=f"{name} cannot be read as a checkpoint"):
                read_checkpoint(str(path))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch.load. received a zip file:UserWarning")
def test_torchscript_is_told(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(2)), tmp_path / "file.pt")
    with pytest.raises(ConfigError, match="file.pt cannot be .* it is TorchScript; .* save only its state dict"):
        read_checkpoint(str(tmp_path / "file.pt"))


def test_files_of_other_kinds_are_told(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"GIF89a, a picture")
    with pytest.raises(ConfigError, match="neither a file of torch.save nor a pickle"):
        read_checkpoint(str(path))
    path.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(ConfigError, match="is a safetensors file"):
        read_checkpoint(str(path))
    with pytest.raises(ConfigError, match="TEST.CHECKPOINT_FILE_PATH is '.*gone.pyth', and there is no such file"):
        read_checkpoint(str(tmp_path / "gone.pyth"), key="TEST.CHECKPOINT_FILE_PATH")
