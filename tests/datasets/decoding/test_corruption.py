"""Which frames a damaged one spoils, from what a decoder says of each, and what the flags of packets add to it."""

import itertools

import pytest

from slowfast_atfr.datasets.decoding.corruption import FrameKind, PacketLosses, with_culprits


def kinds(text):
    """I: key, P: not, B: bidirectional; small letters are damaged."""
    return [(number, FrameKind(letter in "Ii", letter in "Bb", letter.islower())) for number, letter in enumerate(text)]


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
    found = list(with_culprits(kinds(text)))
    assert [number for number, _ in found] == list(range(len(text)))
    assert ["." if culprit is None else str(culprit) for _, culprit in found] == list(expected)


def test_frames_come_as_soon_as_no_damage_can_reach_them():
    frames = iter(kinds("IPBBPPi"))
    given = with_culprits(frames)
    assert next(given) == (0, None) and next(frames)[0] == 1
    assert [number for number, _ in itertools.islice(given, 3)] == [2, 3, 4] and next(frames)[0] == 5
    endless = with_culprits((number, kind) for number, (_, kind) in enumerate(kinds("B" * 500)))
    assert next(endless) == (0, None)  # however many such frames there are


def damaged_times(packets):
    """Times that are taken for damaged. packets: such as "K0 12! 4 8", as the file has them; K: a key, !: flagged."""
    losses, times = PacketLosses(), []
    for number, packet in enumerate(packets.replace("_", "_ ").split()):
        if packet != "_":  # a packet that is missing
            times.append(int(packet.strip("K!")))
            losses.add_packet(times[-1], number, packet.startswith("K"), packet.endswith("!"))
    return [time for time in sorted(times) if losses.affects(time)]


@pytest.mark.parametrize(
    ("packets", "damaged"),
    [
        ("K0 4 8 K12 16", []),
        ("K0 4! 8 12 K16", [4]),
        ("K0 4! 8 K12 16", []),
        ("K0 4! _ 8 K12 16", [4]),
        ("K0 8! 4 6 K12", [8]),
        ("K0 4 8! K12 16", []),
        ("K0 4 8! K20 12 16 24", [12, 16]),
        ("K0 4 8! K20 12! 16 24 K28", [12, 16]),
        ("K0 4 8! K12! 16 20 24", [12]),
        ("K0! K4 8", []),
        ("K0 12! 4 8 K24 16 20 K36 28", [12]),
    ],
)
def test_a_flag_matters_to_what_is_built_on_the_loss(packets, damaged):
    assert damaged_times(packets) == damaged
