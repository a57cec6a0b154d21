"""The official files of data sets, and videos as they name them, all tiny; and a network for them."""

import json
import shutil

import av
import numpy as np

CLASSES = ("ApplyEyeMakeup", "Basketball", "YoYo")
ACTIONS = ("brush_hair", "cartwheel", "wave")


def write_clip(path, *, label=0, frames=10, size=(40, 48), codec=None, fps=10, bright=220):
    """A square on dark ground that moves the way of its class; the folder of the file is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = codec or {".avi": "mpeg4", ".webm": "libvpx"}.get(path.suffix, "libx264")
    height, width = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for t in range(frames):
            picture = np.full((height, width, 3), 20, np.uint8)
            down, right = ((4, 2 * t), (2 * t, 4), (2 * t, 2 * t))[label % 3]
            picture[down : down + 10, right : right + 10] = bright
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_clips(folder, names_and_labels, **options):
    """A clip for each (name, label), encoded once for each label."""
    made = {}
    for name, label in names_and_labels:
        path = folder / name
        if (label, path.suffix) in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made[label, path.suffix], path)
        else:
            made[label, path.suffix] = write_clip(path, label=label, **options)


def write_ucf101(folder, per_class=4):
    """UCF-101/ and ucfTrainTestlist/ of three classes; in split N the N-th video of each class is tested."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{n} {name}\r\n" for n, name in enumerate(CLASSES, 1)))
    videos = [
        (f"{name}/v_{name}_g{group:02d}_c01.avi", label, group)
        for label, name in enumerate(CLASSES)
        for group in range(1, per_class + 1)
    ]
    for number in (1, 2, 3):
        train = [f"{video} {label + 1}\r\n" for video, label, group in videos if group != number]
        test = [f"{video}\r\n" for video, _, group in videos if group == number]
        (lists / f"trainlist{number:02d}.txt").write_text("".join(train))
        (lists / f"testlist{number:02d}.txt").write_text("".join(test))
    write_clips(folder / "UCF-101", [(video, label) for video, label, _ in videos])
    return folder


def write_hmdb51(folder, per_class=4):
    """videos/ and testTrainMulti_7030_splits/ of three classes; in split N the N-th video of each class is tested."""
    splits = folder / "testTrainMulti_7030_splits"
    splits.mkdir(parents=True)
    for label, name in enumerate(ACTIONS):
        videos = [f"#{group} & (film)_{name}_u_nm_np1_fr_goo_0.avi" for group in range(1, per_class + 2)]
        write_clips(folder / "hmdb51_org", [(f"{name}/{video}", label) for video in videos])
        for number in (1, 2, 3):
            parts = [0 if group > per_class else 2 if group == number else 1 for group in range(1, per_class + 2)]
            lines = [f"{video} {part} \n" for video, part in zip(videos, parts, strict=True)]
            (splits / f"{name}_test_split{number}.txt").write_text("".join(lines))
    return folder


KINETICS = ("abseiling", "playing guitar", "skiing (not slalom or crosscountry)")
HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"


def write_kinetics(folder, by_class=False, per_class=4):
    """CVDF's layout: train/, val/, annotations/*.csv; each class has a video that is listed and not there."""
    for split, count in (("train", per_class), ("val", 2)):
        rows, videos = [], []
        for label, name in enumerate(KINETICS):
            for number in range(count + 1):
                start = 10 * number
                rows.append(f'"{name}",-{label}_{split[:2]}{number:05d}_,{start},{start + 10},{split},0\n')
                video = f"-{label}_{split[:2]}{number:05d}__{start:06d}_{start + 10:06d}.mp4"
                if number < count:
                    videos.append((f"{split}/{name}/{video}" if by_class else f"{split}/{video}", label))
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        (folder / "annotations" / f"{split}.csv").write_text(HEADER + "".join(rows))
        write_clips(folder, videos)
    return folder


TEMPLATES = ("Moving [something] up", "Pushing [something] from left to right", "Holding [something]")


def write_ssv2(folder, per_class=4):
    """20bn-something-something-v2/{id}.webm and the json files, named as on the download page."""
    labels = {text.replace("[", "").replace("]", ""): str(label) for label, text in enumerate(TEMPLATES)}
    (folder / "labels").mkdir(parents=True)
    (folder / "labels" / "labels.json").write_text(json.dumps(labels))
    number = 0
    for part, count in (("train", per_class), ("validation", 2)):
        entries = []
        for label, template in enumerate(TEMPLATES):
            for _ in range(count):
                number += 1
                entries.append({"id": str(number), "label": "moving a pen up", "template": template})
                write_clip(folder / "20bn-something-something-v2" / f"{number}.webm", label=label)
        (folder / "labels" / f"{part}.json").write_text(json.dumps(entries))
    return folder


SMALL = {
    "TRAIN.BATCH_SIZE": 3,
    "TEST.BATCH_SIZE": 4,
    "TEST.NUM_ENSEMBLE_VIEWS": 1,
    "TEST.NUM_SPATIAL_CROPS": 1,
    "DATA.NUM_FRAMES": 8,
    "DATA.SAMPLING_RATE": 1,
    "DATA.TARGET_FPS": 10,
    "DATA.TRAIN_JITTER_SCALES": "[32, 40]",
    "DATA.TRAIN_CROP_SIZE": 32,
    "DATA.TEST_CROP_SIZE": 32,
    "MODEL.NUM_CLASSES": 3,
    "RESNET.WIDTH_PER_GROUP": 8,
    "BN.USE_PRECISE_STATS": False,
    "SOLVER.MAX_EPOCH": 1,
    "SOLVER.WARMUP_EPOCHS": 0,
    "DATA_LOADER.NUM_WORKERS": 0,
}


def small_pairs(**changes):
    """KEY VALUE pairs that make configs/Demo/SLOWFAST_R18_ATFR.yaml tiny; two underscores stand for the dot."""
    chosen = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
    return [text for key, value in chosen.items() for text in (key, str(value))]
