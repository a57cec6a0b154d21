import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.packed.buffer_layout import Window, lay_out_buffer, triple

WINDOWS = st.builds(
    Window,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    before=st.integers(0, 5),
    after=st.integers(0, 5),
    dilation=st.integers(1, 3),
)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), WINDOWS, st.integers(1, 8))
def test_windows_of_a_clip_see_that_clip_and_padding_only(lengths, window, round_to):
    lengths = tuple(lengths)
    if min(lengths) + window.before + window.after < window.reach:
        with pytest.raises(ValueError):
            lay_out_buffer(lengths, window, "op", round_to)
        return
    where = lay_out_buffer(lengths, window, "op", round_to)

    owner = ["gap"] * where.total
    for clip, (start, length) in enumerate(zip(where.starts, lengths, strict=True)):
        assert owner[start : start + length] == ["gap"] * length, "clips overlap or leave the buffer"
        owner[start : start + length] = [(clip, frame) for frame in range(length)]
    outputs_of_native_op = (where.total - window.reach) // window.stride + 1
    taken = set()
    for clip, (start_out, length_out) in enumerate(zip(where.starts_out, where.lengths_out, strict=True)):
        assert length_out == (lengths[clip] + window.before + window.after - window.reach) // window.stride + 1
        for out in range(length_out):
            assert start_out + out < outputs_of_native_op
            assert start_out + out not in taken
            taken.add(start_out + out)
            for tap in range(window.kernel):
                frame = out * window.stride + tap * window.dilation - window.before  # of the clip alone
                expected = (clip, frame) if 0 <= frame < lengths[clip] else "gap"
                assert owner[(start_out + out) * window.stride + tap * window.dilation] == expected


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), WINDOWS, st.integers(2, 8))
def test_multiple_rounds_the_buffer_up_and_moves_nothing(lengths, window, round_to):
    lengths = tuple(lengths)
    if min(lengths) + window.before + window.after < window.reach:
        return
    tight, rounded = lay_out_buffer(lengths, window, "op"), lay_out_buffer(lengths, window, "op", round_to)
    assert rounded.total % round_to == 0
    assert tight.total <= rounded.total < tight.total + round_to
    assert (rounded.starts, rounded.starts_out) == (tight.starts, tight.starts_out)


def test_the_drawing_in_the_docstring():
    where = lay_out_buffer((3, 2), Window(kernel=3, stride=2, before=1, after=1), "conv3d")
    assert (where.starts, where.total) == ((1, 5), 7)
    assert (where.starts_out, where.lengths_out) == ((0, 2), (2, 1))


def test_a_gap_is_shared_and_no_wider_than_the_padding():
    assert lay_out_buffer((4, 4, 4), Window(kernel=3, before=1, after=1), "conv3d").total == 3 * 4 + 4
    assert lay_out_buffer((4, 4, 4), Window(kernel=3), "conv3d").total == 3 * 4


def test_a_short_clip_is_named_with_op_and_length():
    with pytest.raises(ValueError, match=r"max_pool3d: clip 1 of 3 has length 2, but a kernel of 3 .* needs 3 frames"):
        lay_out_buffer((5, 2, 4), Window(kernel=3), "max_pool3d")


@pytest.mark.parametrize(
    "size, expected", [(2, (2, 2, 2)), ([3], (3, 3, 3)), ((1, 2, 3), (1, 2, 3)), (None, (None,) * 3)]
)
def test_triple(size, expected):
    assert triple(size) == expected
