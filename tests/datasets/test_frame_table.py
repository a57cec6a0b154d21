"""The table of a stream from its packets: (pts, key packet, hidden)."""

import pytest

from slowfast_atfr.datasets.frame_table import build_table

GOPS = [(0, True, False), (30, False, False), (10, False, False), (40, True, False), (20, False, False)]


def test_frames_stand_in_the_order_of_presentation():
    table = build_table(GOPS)
    assert table.pts.tolist() == [0, 10, 20, 30, 40]
    assert [table.entry_for(index) for index in range(5)] == [0, 0, 0, 0, 40]
    assert table.first_from(40) == 4


def test_negative_times_are_times():
    assert build_table([(pts - 25, key, hidden) for pts, key, hidden in GOPS]).pts.tolist() == [-25, -15, -5, 5, 15]


def test_what_is_shown_before_the_first_key_packet_is_no_frame():
    assert build_table([(-10, False, False), *GOPS]).pts.tolist() == [0, 10, 20, 30, 40]


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
    ],
    ids=["empty", "no time", "same time", "no key", "all hidden"],
)
def test_packets_that_do_not_tell_the_frames(packets):
    assert build_table(packets) is None
