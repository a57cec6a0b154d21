import pytest

from slowfast_atfr.utils.class_names import read_class_names
from slowfast_atfr.utils.errors import RunError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", '{"b": 1, "a": 0}'),
        ("c.json", '{"0": "a", "1": "b"}'),
        ("c.json", '["a", "b"]'),
        ("c.txt", "a\n\n b \r\n"),
    ],
)
def test_every_way_to_write_names(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_class_names(tmp_path / name, 2) == ["a", "b"]


def test_without_names_classes_have_numbers():
    assert read_class_names(None, 2) == ["class 0", "class 1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["a"]', "it names 1, the network has 2"),
        ('{"a": 1, "b": 2}', "numbers go from 0 to 1"),
        ("{", "cannot read"),
        ("3", "cannot read"),
    ],
)
def test_names_that_do_not_fit_are_told(tmp_path, text, words):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(RunError, match=words):
        read_class_names(tmp_path / "c.json", 2)
