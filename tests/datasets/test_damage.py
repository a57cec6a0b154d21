"""Which frames a damaged one spoils, from what a decoder says of each."""

import pytest

from slowfast_atfr.datasets.damage import FrameKind, culprits


def kinds(text):
    """I: key, P: not, B: bidirectional; small letters are damaged."""
    return [FrameKind(letter in "Ii", letter in "Bb", letter.islower()) for letter in text]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("IPPIPP", "......"),
        ("IpPIPP", ".11..."),
        ("IPpPPi", "..2225"),
        ("iPPIPP", "000..."),
        ("IppP", ".111"),
        ("IBBPBBPIP", "........."),
        ("IBBpBBPIP", ".333333.."),
        ("IBbPBBI", ".22222."),
        ("IPBBiP", "..4444"),
        ("IPBB", "...."),
        ("", ""),
    ],
)
def test_damage_lasts_to_the_next_key_frame_and_reaches_back_over_bidirectional_frames(text, expected):
    assert ["." if culprit is None else str(culprit) for culprit in culprits(kinds(text))] == list(expected)
