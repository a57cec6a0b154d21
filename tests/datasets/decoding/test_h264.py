"""Which packets of real streams hold reference pictures, by their bytes."""

import av
import pytest

from slowfast_atfr.datasets.decoding.h264 import is_disposable, length_size_of


def slices(*heads, length_size):
    """A packet of NAL units of three bytes, with these first ones."""
    mark = (3).to_bytes(length_size, "big") if length_size else b"\0\0\1"
    return b"".join(mark + bytes([head, 9, 9]) for head in heads)


@pytest.mark.parametrize("length_size", [0, 1, 2, 4])
def test_all_slices_count_and_nothing_else(length_size):
    def disposable(*heads):
        return is_disposable(slices(*heads, length_size=length_size), length_size)

    parameters, message = 0x67, 0x06
    assert disposable(0x01) and disposable(parameters, message, 0x01, 0x01)
    assert not disposable(0x41) and not disposable(0x01, 0x21) and not disposable(0x65)
    assert not disposable(parameters, message) and not disposable()


def test_damaged_lengths_end():
    for packet in (b"", b"\0", b"\0\0\0\0", b"\0\0\0\0\1", b"\xff" * 9, b"\0" * 1000):
        assert is_disposable(packet, 4) in (True, False)


def test_length_sizes():
    assert [length_size_of(data) for data in (None, b"", b"\1abc", b"\0\0\0\1\x67", b"\1abc\xff", b"\1abc\xfc")] == [
        *(0, 0, 0, 0, 4, 1)
    ]


@pytest.mark.parametrize("kind", ["b_frames", "b_pyramid", "no_frame_count", "transport_stream"])
def test_disposable_pictures_are_those_that_the_decoder_takes_for_it(numbered, kind):
    with av.open(str(numbered(kind))) as container:
        stream = container.streams.video[0]
        size = length_size_of(stream.codec_context.extradata)
        packets = [packet for packet in container.demux(stream) if packet.size]
        disposable = {packet.pts for packet in packets if is_disposable(bytes(packet), size)}
    with av.open(str(numbered(kind))) as container:
        container.streams.video[0].codec_context.skip_frame = "NONREF"
        kept = {frame.pts for frame in container.decode(video=0)}
    assert len(packets) == 60 and 15 < len(disposable) < 45
    assert kept == {packet.pts for packet in packets} - disposable
