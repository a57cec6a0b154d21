#!/usr/bin/env python3
"""Write the videos of two lists again at another size: resize_videos.py TRAIN.csv VAL.csv WIDTHxHEIGHT FOLDER

Lists have lines `video.mp4 label`, with paths from the folder of the list. FOLDER receives train.csv, val.csv and the
videos, H.264 at constant quality 18 with the time stamps of the originals.
"""

import sys
from pathlib import Path

import av


def resize(source: Path, target: Path, width: int, height: int) -> None:
    """Decode a video, scale its frames and encode them again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(source)) as video, av.open(str(target), "w") as copy:
        stream = video.streams.video[0]
        output = copy.add_stream("libx264", rate=stream.average_rate, options={"crf": "18", "preset": "fast"})
        output.width, output.height, output.pix_fmt = width, height, "yuv420p"
        output.time_base = stream.time_base
        for frame in video.decode(stream):
            copy.mux(output.encode(frame.reformat(width, height, "yuv420p")))
        copy.mux(output.encode())


train, val, size, folder = sys.argv[1:]
width, height = (int(number) for number in size.split("x"))
for source, name in ((Path(train), "train.csv"), (Path(val), "val.csv")):
    lines = source.read_text(encoding="utf-8").splitlines()
    for line in lines:
        path = line.rsplit(" ", 1)[0]
        resize(source.parent / path, Path(folder) / path, width, height)
    (Path(folder) / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
