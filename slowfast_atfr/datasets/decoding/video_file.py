"""An open video file: its packets and the decoder of its first video stream."""

import itertools
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.video.frame import PictureType

from slowfast_atfr.datasets.decoding.corruption import FrameKind, PacketLosses, with_culprits
from slowfast_atfr.datasets.decoding.frame_reading import DecodeError
from slowfast_atfr.datasets.decoding.h264 import is_disposable, length_size_of
from slowfast_atfr.datasets.decoding.mpeg4 import picture_kinds, time_bits_of

_ODD_METADATA = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
_X264 = re.compile(rb"x264 - core (\d+)")
_ONE_FOR_ONE = ("msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "h263")  # one frame per packet, in decode order
_SOUND_X264 = 151  # earlier versions have bugs that FFmpeg works around if it knows the version


class VideoFile:
    """An open file, at its start. Methods raise PyAV's errors; wrap calls in `as_decode_error`.

    codec: name of its codec. has_times: whether packets have presentation times; in AVI they only have an order.
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
        self.has_times = self._container.format.name != "avi"
        self._time_bits: int | None = None  # of mpeg4
        self._length_size = length_size_of(self.stream.codec_context.extradata) if self.codec == "h264" else 0

    @property
    def time_base(self) -> Fraction:
        """Unit of times in seconds."""
        return self.stream.time_base

    @property
    def header_rate(self) -> Fraction | None:
        """Frame rate in the file's header, or FFmpeg's guess."""
        return self.stream.average_rate or self.stream.guessed_rate

    def rewind(self) -> None:
        """Go to the start of the file with a new decoder. Raises DecodeError if there is nothing to decode."""
        self.close()
        is_here = os.path.exists(self.path)  # a:b.mp4 is not a protocol of FFmpeg then
        self._container = av.open(f"file:{self.path}" if is_here else self.path, **_ODD_METADATA)
        pictures = [stream for stream in self._container.streams.video if not _is_cover(stream)]
        if not pictures:
            raise DecodeError(self.path, "it has no video stream")
        self.stream = pictures[0]
        if self.stream.codec_context is None:
            raise DecodeError(self.path, "there is no decoder for its video stream")
        self.stream.codec_context.thread_count = 1  # there are as many data workers as cores
        self.stream.codec_context.open(strict=False)  # before skip_frame is set: some decoders read it only here

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()

    def packets(self) -> Iterator[av.Packet]:
        """Yield the stream's packets from the current position, without one truncated by the end of the file."""
        last = None
        try:
            for packet in self._container.demux(self.stream):
                if packet.size:
                    if last is not None:
                        yield last
                    last = packet
        except IndexError:  # PyAV only knows the streams found at the start
            raise DecodeError(self.path, "a stream starts in the middle of it") from None
        if last is not None and not last.is_corrupt:
            yield last

    def seek(self, pts: int) -> None:
        """Go to the key packet at time `pts` or earlier, and reset the decoder."""
        self._container.seek(pts, stream=self.stream)

    def decode(self, packet: av.Packet | None, *, skip_unused: bool = False) -> list[av.VideoFrame]:
        """Decode a packet, None to flush; return the frames. skip_unused: skip a picture that `may_skip`."""
        self.stream.codec_context.skip_frame = "NONREF" if skip_unused else "DEFAULT"  # also hides errors
        return self.stream.decode(packet)

    def may_skip(self, packet: av.Packet) -> bool:
        """Return whether no other picture depends on that of a packet."""
        return self.codec == "h264" and is_disposable(bytes(packet), self._length_size)

    def is_hidden(self, packet: av.Packet) -> bool:
        """Return whether its picture is never shown: by an edit list, or a VP8 reference picture."""
        return packet.is_discard or (self.codec == "vp8" and not memoryview(packet)[0] >> 4 & 1)  # RFC 6386, 9.1

    def picture_kinds(self, packet: av.Packet) -> str | None:
        """Return the kinds of the pictures that a packet shows, as `mpeg4.picture_kinds`; None if unknown."""
        if self.codec == "mpeg4":
            if self._time_bits is None:
                self._time_bits = time_bits_of(self.stream.codec_context.extradata, bytes(packet))
            return None if self._time_bits is None else picture_kinds(bytes(packet), self._time_bits)
        is_one = self.codec in _ONE_FOR_ONE or self.stream.codec_context.codec.intra_only
        return "P" if is_one else None

    def prepare_to_enter(self, first: av.Packet) -> None:
        """Decode the first packet if an old x264 wrote it: FFmpeg finds the version only there, for its workarounds."""
        found = _X264.search(bytes(first)) if self.codec == "h264" else None
        if found and int(found[1]) < _SOUND_X264:
            self.decode(first)

    def order_times(self, count: int) -> list[int | None]:
        """Return the times of `count` frames by the order of packets, counting empty ones as pauses.

        All None if packets and frames do not match one to one.
        """
        self.rewind()
        times = [packet.dts for packet in self.packets()]
        return times if len(times) == count else [None] * count

    def decode_all(self) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Yield every frame of the file with the index of the damaged frame that it may depend on, or None."""
        self.rewind()
        return with_culprits(self._frames_and_kinds())

    def _frames_and_kinds(self) -> Iterator[tuple[av.VideoFrame, FrameKind]]:
        losses, seen = PacketLosses(), deque()
        for packet in itertools.chain(self.packets(), [None] * (PacketLosses.AHEAD + 1)):
            seen.append(packet)
            if packet is not None:
                losses.add_packet(packet.pts, packet.dts, packet.is_keyframe, packet.is_corrupt)
            if len(seen) <= PacketLosses.AHEAD:
                continue
            for frame in self.decode(seen.popleft()):
                is_damaged = losses.affects(frame.pts) or frame.is_corrupt
                yield frame, FrameKind(frame.key_frame, frame.pict_type == PictureType.B, is_damaged)


def _is_cover(stream: av.VideoStream) -> bool:
    """Return whether a stream is an attached picture, such as a cover."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


@contextmanager
def as_decode_error(path: str) -> Iterator[None]:
    """Raise PyAV's errors about a broken file as DecodeError."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        raise DecodeError(path, getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
