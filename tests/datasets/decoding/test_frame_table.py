"""The table of a stream from its packets: (pts, key packet, hidden)."""

import pytest

from slowfast_atfr.datasets.decoding.frame_table import build_table, leading_times

GOPS = [(0, True, False), (30, False, False), (10, False, False), (40, True, False), (20, False, False)]


def test_frames_stand_in_the_order_of_presentation():
    table = build_table(GOPS)
    assert table.pts.tolist() == [0, 10, 20, 30, 40]
    assert [table.entry_for(index) for index in range(5)] == [0, 0, 0, 0, 40]
    assert table.first_from(40) == 4


def test_negative_times_are_times():
    assert build_table([(pts - 25, key, hidden) for pts, key, hidden in GOPS]).pts.tolist() == [-25, -15, -5, 5, 15]


LEADING = [(-20, False, False), (0, True, False), (-10, False, False), (-5, False, True), (10, False, False)]


def test_what_is_shown_before_the_first_key_packet_is_a_frame_if_it_can_be_decoded():
    assert build_table([(-10, False, False), *GOPS]).pts.tolist() == [0, 10, 20, 30, 40]
    assert leading_times(LEADING) == {-10}
    assert build_table(LEADING).pts.tolist() == [0, 10]
    table = build_table(LEADING, leading={-10})
    assert table.pts.tolist() == [-10, 0, 10] and [table.entry_for(index) for index in range(3)] == [0, 0, 0]
    assert table.first_from(0) == 0 and table.culprit(0, [1]) == 1


def test_hidden_packets_are_no_frames_but_decoding_begins_there():
    table = build_table([(-20, True, True), (-10, False, True), (0, False, False), (10, False, False)])
    assert table.pts.tolist() == [0, 10] and table.entry_for(0) == -20 and table.first_from(-20) == 0


@pytest.mark.parametrize(
    "packets",
    [
        [],
        [(0, True, False), (None, False, False)],
        [(0, True, False), (1, False, False), (1, False, False)],
        [(0, False, False), (1, False, False)],
        [(0, True, True)],
        [(0, True, False), (40, False, False), (20, True, False), (60, False, False)],
    ],
    ids=["empty", "no time", "same time", "no key", "all hidden", "time jumps back"],
)
def test_packets_that_do_not_tell_the_frames(packets):
    assert build_table(packets) is None


OPEN_GOP = [(0, 1), (40, 0), (10, 0), (20, 0), (80, 1), (50, 0), (60, 0), (120, 0), (90, 0)]  # in the order of the file


def test_what_a_frame_may_be_built_on():
    """Frames 0 10 20 40 50 60 80 90 120; 50 and 60 are shown before key frame 80 and decoded after it."""
    table = build_table([(pts, bool(key), False) for pts, key in OPEN_GOP])
    assert table.order.tolist() == [0, 2, 3, 1, 5, 6, 4, 8, 7] and table.seekable_order.tolist() == [0, 4]
    for damaged, spoiled in ((3, {1, 2, 3, 4, 5}), (1, {1, 2, 4, 5}), (6, {4, 5, 6, 7, 8}), (8, {7, 8}), (7, {7})):
        assert {index for index in range(9) if table.culprit(index, [damaged]) == damaged} == spoiled
    assert table.culprit(8, []) is None and table.culprit(5, [6, 3]) == 3


def test_when_all_that_a_frame_is_built_on_has_been_shown():
    table = build_table([(pts, bool(key), False) for pts, key in OPEN_GOP])
    assert [table.known_at(index) for index in range(9)] == [0, 3, 3, 3, 6, 6, 6, 8, 8]


def test_a_time_at_which_no_frame_is_shown_has_no_index():
    table = build_table(GOPS)
    assert [table.index_of(pts) for pts in (0, 30, 40, 15, -1, 41, None)] == [0, 3, 4, None, None, None, None]
