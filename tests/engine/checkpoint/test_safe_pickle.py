"""Arrays come out of a pickle as they went in; nothing else in it is looked up, let alone called."""

import os
import pickle

import numpy as np
import pytest

from slowfast_atfr.engine.checkpoint.safe_pickle import PickledArray, load_arrays

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
RECONSTRUCT, FROMBUFFER = (ARRAY.__reduce_ex__(protocol)[0] for protocol in (2, 5))
SCALAR = np.float32(0).__reduce__()[0]
OBJECT, EIGHT_BYTES = np.dtype("O"), b"\x01\x02\x03\x04\x05\x06\x07\x08"


class Call:
    """Unpickled, it is what a call gives, with a state."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        ARRAY.T,
        ARRAY[:, ::2],
        ARRAY.astype(">f4"),
        ARRAY.astype(">i8"),
        ARRAY > 2,
        ARRAY.astype(np.float16),
        np.float32(2.5),
        np.int64(-3),
        np.array(1.5),
        np.empty((0, 3)),
    ],
)
def test_arrays_are_what_they_were(tmp_path, array, protocol):
    (tmp_path / "file").write_bytes(pickle.dumps([array, "text", b"\xff\x00", {"a": (1, 2.5, None)}], protocol))
    found, *rest = load_arrays(tmp_path / "file")
    assert isinstance(found, PickledArray) and rest == ["text", b"\xff\x00", {"a": (1, 2.5, None)}]
    assert found.numpy().dtype == np.asarray(array).dtype and np.array_equal(found.numpy(), array)
    assert found.numpy().flags.writeable


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_names_of_old_and_new_numpy(tmp_path, core):
    here = RECONSTRUCT.__module__.rpartition(".")[0]
    text = pickle.dumps(ARRAY, 2).replace(here.encode(), core.encode())
    assert core.encode() in text
    (tmp_path / "file").write_bytes(text)
    assert np.array_equal(load_arrays(tmp_path / "file").numpy(), ARRAY)


def test_a_pickle_of_python_2(tmp_path):
    numbers = np.array([1.5, -2.0], dtype="<f4").tobytes()  # bytes that are no UTF-8, which Python 2 writes as text
    text = (
        b"\x80\x02}U\x06pred_bcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x08" + numbers + b"tbs."
    )
    (tmp_path / "file").write_bytes(text)
    assert load_arrays(tmp_path / "file")["pred_b"].numpy().tolist() == [1.5, -2.0]


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(
    "wrap", [lambda evil: evil, lambda evil: {"a": [evil]}, lambda evil: np.array([evil], dtype=object)]
)
def test_code_is_not_run(tmp_path, wrap, protocol):
    evil = Call(os.mkdir, (str(tmp_path / "run"),))
    (tmp_path / "file").write_bytes(pickle.dumps(wrap(evil), protocol))
    with pytest.raises(pickle.UnpicklingError, match=f"holds {os.mkdir.__module__}.mkdir, and only arrays and plain"):
        load_arrays(tmp_path / "file")
    assert not (tmp_path / "run").exists()
    pickle.loads((tmp_path / "file").read_bytes())  # it would have
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "hostile",
    [
        Call(FROMBUFFER, (EIGHT_BYTES, OBJECT, (1,), "C")),
        Call(SCALAR, (OBJECT, EIGHT_BYTES)),
        Call(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1,), OBJECT, False, EIGHT_BYTES)),
        Call(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype([("a", "O")]), False, EIGHT_BYTES)),
        Call(FROMBUFFER, (EIGHT_BYTES, Call(np.dtype, ("f4",), (3, "2", None, None, None, -1, -1, 0)), (2,), "C")),
        Call(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (9,), np.dtype("f4"), False, EIGHT_BYTES)),
        Call(
            FROMBUFFER,
            (EIGHT_BYTES, Call(np.dtype, ("f4",), (3, "O", None, ("a",), {"a": (OBJECT, 0)}, 4, 1, 0)), (2,), "C"),
        ),
    ],
)
def test_bytes_do_not_become_objects(tmp_path, hostile):
    (tmp_path / "file").write_bytes(pickle.dumps(hostile, 5))
    array = load_arrays(tmp_path / "file")
    with pytest.raises((TypeError, ValueError)):
        array.numpy()


def test_the_class_of_arrays_is_not_called(tmp_path):
    # numpy would make two objects of these bytes, and the process would crash when they are touched
    (tmp_path / "file").write_bytes(pickle.dumps(Call(np.ndarray, ((2,), OBJECT, 2 * EIGHT_BYTES)), 5))
    with pytest.raises(TypeError):
        load_arrays(tmp_path / "file")


def test_a_number_does_not_become_as_many_bytes(tmp_path):
    (tmp_path / "file").write_bytes(pickle.dumps(Call(bytes, (2**20,)), 5))
    with pytest.raises(TypeError):
        load_arrays(tmp_path / "file")


def test_an_array_of_no_type_is_told(tmp_path):
    hostile = Call(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1,), "f4", False, EIGHT_BYTES))
    (tmp_path / "file").write_bytes(pickle.dumps(hostile, 5))
    with pytest.raises(pickle.UnpicklingError, match="an array is of the type 'f4'"):
        load_arrays(tmp_path / "file")


def test_bytes_are_encoded_as_latin1_alone(tmp_path):
    (tmp_path / "file").write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-7\x86R.")
    with pytest.raises(pickle.UnpicklingError, match="encodes text as 'utf-7'"):
        load_arrays(tmp_path / "file")
