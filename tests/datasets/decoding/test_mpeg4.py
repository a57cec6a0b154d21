"""The kinds of pictures in packets of MPEG-4 part 2 are those that a decoder gives."""

import av
import pytest

from slowfast_atfr.datasets.decoding.mpeg4 import picture_kinds, time_bits_of
from tests.datasets.conftest import write_numbered


def kinds_and_pictures(path):
    """What is said of each packet of a file, and the kinds of the frames that PyAV decodes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        bits = time_bits_of(stream.codec_context.extradata, packets[0])
    with av.open(str(path)) as container:
        return [picture_kinds(packet, bits) for packet in packets], [
            "?IPBS"[frame.pict_type] for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv", "a.m4v"])
@pytest.mark.parametrize("fps", [1, 12, 25, 30, 60, 1000])
@pytest.mark.parametrize("bf", ["0", "2"])
def test_every_picture_is_found(tmp_path, name, fps, bf):
    path = write_numbered(tmp_path / name, count=40, codec="mpeg4", fps=fps, options={"g": "12", "bf": bf})
    kinds, pictures = kinds_and_pictures(path)
    assert sorted("".join(kinds)) == sorted(pictures) and len(pictures) == 40
    if bf == "0":
        assert "".join(kinds) == "".join(pictures)


@pytest.mark.parametrize("name", ["kth_person01_jogging_d3_uncomp", "ucf101_v_ApplyEyeMakeup_g01_c01",
                                  "ucf101_v_BaseballPitch_g01_c01", "ut_interaction_set1_22_4_3",
                                  "weizmann_daria_jack"])  # fmt: skip
def test_real_files(real_clips, name):
    kinds, pictures = kinds_and_pictures(real_clips / "originals" / f"{name}.avi")
    unshown = max(0, len(kinds[-1]) - 1)  # a decoder gives the second picture of a packet with the next one
    assert len("".join(kinds)) - unshown == len(pictures)


def test_what_is_no_picture(silent_packet):
    kinds, pictures = kinds_and_pictures(silent_packet)
    assert kinds[30] == "" and "".join(kinds) == "".join(pictures) and len(pictures) == 60
    assert picture_kinds(b"", 5) == picture_kinds(b"\x7f", 5) == ""
    assert time_bits_of(None, b"", b"\0\0\1\xb6abc") is None
