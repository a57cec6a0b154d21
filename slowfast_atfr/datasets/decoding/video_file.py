"""An open video file: its packets, the decoder of its first video stream, and all that PyAV finds wrong with either."""

import itertools
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.video.frame import PictureType

from slowfast_atfr.datasets.decoding.corruption import FrameKind, Holes, with_culprits
from slowfast_atfr.datasets.decoding.frame_reading import DecodeError
from slowfast_atfr.datasets.decoding.h264 import is_disposable, length_size_of
from slowfast_atfr.datasets.decoding.mpeg4 import picture_kinds, time_bits_of

_ODD_METADATA = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}  # titles, later on
_X264 = re.compile(rb"x264 - core (\d+)")
_ONE_FOR_ONE = ("msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "h263")  # a packet is a frame, in this order
_SOUND_X264 = 151  # the first whose pictures FFmpeg decodes without knowing which it is


class VideoFile:
    """A file, opened, at its start. Methods raise PyAV's errors; `as_decode_error` is there for them.

    codec: name of its codec. tells_times: whether its packets say when a frame is shown: AVI's only say in what order
    they are decoded.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._container = self.stream = None
        try:
            self.rewind()
        except BaseException:
            self.close()
            raise
        self.codec = self.stream.codec_context.name
        self.tells_times = self._container.format.name != "avi"
        self._time_bits: int | None = None  # of mpeg4
        self._length_size = length_size_of(self.stream.codec_context.extradata) if self.codec == "h264" else 0

    @property
    def time_base(self) -> Fraction:
        """Seconds of a unit of time."""
        return self.stream.time_base

    @property
    def header_rate(self) -> Fraction | None:
        """Frames a second as the file has them in its header, or else as FFmpeg guesses."""
        return self.stream.average_rate or self.stream.guessed_rate

    def rewind(self) -> None:
        """Stand at the start of the file, with a new decoder. Raises DecodeError if there is nothing to decode."""
        self.close()
        is_here = os.path.exists(self.path)  # a name such as a:b.mp4 is not one of FFmpeg's protocols then
        self._container = av.open(f"file:{self.path}" if is_here else self.path, **_ODD_METADATA)
        pictures = [stream for stream in self._container.streams.video if not _is_cover(stream)]
        if not pictures:
            raise DecodeError(self.path, "it has no video stream")
        self.stream = pictures[0]
        if self.stream.codec_context is None:
            raise DecodeError(self.path, "there is no decoder for its video stream")
        self.stream.codec_context.thread_count = 1  # data loading runs as many processes as there are cores
        self.stream.codec_context.open(strict=False)  # before skip_frame is set, which some decoders read only here

    def close(self) -> None:
        """Let go of the file."""
        if self._container is not None:
            self._container.close()

    def packets(self) -> Iterator[av.Packet]:
        """The stream's packets from where the file stands, without one that is cut off by the end of the file."""
        last = None
        try:
            for packet in self._container.demux(self.stream):
                if packet.size:
                    if last is not None:
                        yield last
                    last = packet
        except IndexError:  # PyAV knows those streams only that it has found at the start
            raise DecodeError(self.path, "a stream begins in the middle of it") from None
        if last is not None and not last.is_corrupt:
            yield last

    def seek(self, pts: int) -> None:
        """Stand before the key packet at time `pts`, or an earlier one. The decoder forgets the frames it knows."""
        self._container.seek(pts, stream=self.stream)

    def decode(self, packet: av.Packet | None, *, passes_over: bool = False) -> list[av.VideoFrame]:
        """The frames that a packet makes the decoder give; None: those it still has. passes_over: `may_pass_over`."""
        self.stream.codec_context.skip_frame = "NONREF" if passes_over else "DEFAULT"  # which hides errors, too
        return self.stream.decode(packet)

    def may_pass_over(self, packet: av.Packet) -> bool:
        """Whether the decoder may leave out the picture of a packet: no other is built on it."""
        return self.codec == "h264" and is_disposable(bytes(packet), self._length_size)

    def is_hidden(self, packet: av.Packet) -> bool:
        """Whether it holds a picture that nobody sees: an edit list's, or one of VP8 that others are built on."""
        return packet.is_discard or (self.codec == "vp8" and not memoryview(packet)[0] >> 4 & 1)  # RFC 6386, 9.1

    def picture_kinds(self, packet: av.Packet) -> str | None:
        """The kinds of the pictures that a packet shows, as `mpeg4.picture_kinds`; None where its codec hides that."""
        if self.codec == "mpeg4":
            if self._time_bits is None:
                self._time_bits = time_bits_of(self.stream.codec_context.extradata, bytes(packet))
            return None if self._time_bits is None else picture_kinds(bytes(packet), self._time_bits)
        is_one = self.codec in _ONE_FOR_ONE or self.stream.codec_context.codec.intra_only
        return "P" if is_one else None

    def prepare_to_enter(self, first: av.Packet) -> None:
        """Let the decoder see what only the first packet says: that an old x264 made it, whose faults it allows for."""
        found = _X264.search(bytes(first)) if self.codec == "h264" else None
        if found and int(found[1]) < _SOUND_X264:
            self.decode(first)

    def order_times(self, count: int) -> list[int | None]:
        """Times of `count` frames by the order of packets, where that is all they tell: one without data is a pause.

        None for each frame where not every packet is one.
        """
        self.rewind()
        times = [packet.dts for packet in self.packets()]
        return times if len(times) == count else [None] * count

    def straight(self) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Every frame from the start of the file on, with the number of the damaged one that spoils it, if any."""
        self.rewind()
        return with_culprits(self._frames_and_kinds())

    def _frames_and_kinds(self) -> Iterator[tuple[av.VideoFrame, FrameKind]]:
        holes, seen = Holes(), deque()
        for packet in itertools.chain(self.packets(), [None] * (Holes.AHEAD + 1)):
            seen.append(packet)
            if packet is not None:
                holes.see(packet.pts, packet.dts, packet.is_keyframe, packet.is_corrupt)
            if len(seen) <= Holes.AHEAD:
                continue
            for frame in self.decode(seen.popleft()):
                is_damaged = holes.reach(frame.pts) or frame.is_corrupt
                yield frame, FrameKind(frame.key_frame, frame.pict_type == PictureType.B, is_damaged)


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether a stream is a still picture that goes with the file, such as a cover."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


@contextmanager
def as_decode_error(path: str) -> Iterator[None]:
    """Whatever a broken file makes PyAV raise, as a DecodeError that names it."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        raise DecodeError(path, getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
