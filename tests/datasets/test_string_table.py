"""A table of strings gives back every string, and is small to send to another process."""

import pickle

from hypothesis import given, settings
from hypothesis import strategies as st

from slowfast_atfr.datasets.string_table import StringTable


@settings(max_examples=30)
@given(st.lists(st.text(max_size=8), max_size=12))
def test_every_string_comes_back(strings):
    table = pickle.loads(pickle.dumps(StringTable(strings)))
    assert [table[i] for i in range(len(table))] == strings


def test_file_names_that_are_no_utf8_come_back():
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    assert StringTable([name])[0] == name


def test_it_is_two_arrays():
    assert len(pickle.dumps(StringTable(f"folder/{i:06d}.mp4" for i in range(1000)))) < 1000 * (17 + 8) + 1000
