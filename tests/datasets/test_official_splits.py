"""UCF101 and HMDB51: three splits, by the official files or by lists; what is wrong in them is named."""

import shutil

import pytest

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.datasets import Hmdb51, Ucf101, build_dataset
from slowfast_atfr.datasets.build import num_splits
from tests.tiny_sets import ACTIONS, CLASSES, write_hmdb51, write_ucf101

OFFICIAL = {"ucf101": ("ucfTrainTestlist", "UCF-101"), "hmdb51": ("testTrainMulti_7030_splits", "hmdb51_org")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        "ucf101": write_ucf101(tmp_path_factory.mktemp("ucf101")),
        "hmdb51": write_hmdb51(tmp_path_factory.mktemp("hmdb51")),
    }


@pytest.fixture
def data(cfg, folders):
    def build(name, split, number, lists=None):
        official, videos = OFFICIAL[name]
        cfg.DATA.PATH_TO_DATA_DIR = str(lists or folders[name] / official)
        cfg.DATA.PATH_PREFIX = str(folders[name] / videos)
        cfg.DATA.SPLIT, cfg.MODEL.NUM_CLASSES = number, 3
        return build_dataset(name, cfg, split)

    return build


@pytest.mark.parametrize("name", OFFICIAL)
def test_each_split_tests_other_videos_and_trains_on_the_rest(data, name):
    tested = []
    for number in (1, 2, 3):
        train, val, test = (data(name, split, number) for split in ("train", "val", "test"))
        paths = {split: {d.path(i) for i in range(len(d))} for split, d in (("train", train), ("test", test))}
        assert len(train) == 9 and len(test) == 3 and not paths["train"] & paths["test"]
        assert [val.path(i) for i in range(3)] == [test.path(i) for i in range(3)]
        assert train.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 and test.labels.tolist() == [0, 1, 2]
        tested.append(paths["test"])
    assert not (tested[0] & tested[1] | tested[0] & tested[2] | tested[1] & tested[2])


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_folder_above_does_as_well_and_clips_come_out(data, folders, name):
    train = data(name, "train", 2, lists=folders[name])
    clip = train[4, 0]
    assert clip.frames.shape == (4, 32, 32, 3) and clip.label == 1 and clip.skipped == ()


def test_labels_are_those_of_the_official_files(folders):
    ucf, hmdb = (cls.read_official(str(folders[n]), 1) for cls, n in ((Ucf101, "ucf101"), (Hmdb51, "hmdb51")))
    assert ucf.classes == CLASSES and hmdb.classes == ACTIONS
    for official in (ucf, hmdb):
        assert all(path.startswith(f"{official.classes[label]}/") for path, label in official.train + official.test)


def test_hidden_files_of_a_mac_are_no_lists_of_classes(folders, tmp_path):
    lists = shutil.copytree(folders["hmdb51"] / "testTrainMulti_7030_splits", tmp_path / "lists")
    for path in list(lists.iterdir()):
        (lists / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    assert Hmdb51.read_official(str(lists), 1).classes == ACTIONS


def test_hmdb51_leaves_out_videos_of_part_0(folders):
    official = Hmdb51.read_official(str(folders["hmdb51"]), 1)
    assert not any("#5 &" in path for path, _ in official.train + official.test)
    assert "brush_hair/#1 & (film)_brush_hair_u_nm_np1_fr_goo_0.avi" in dict(official.test)


def test_lists_come_before_the_official_files(data, folders, tmp_path):
    write_ucf101(tmp_path / "data")
    (tmp_path / "data" / "split2").mkdir()
    for split in ("train", "val"):
        (tmp_path / "data" / "split2" / f"{split}.csv").write_text("playing guitar/x y.mp4 2\n")
    assert len(data("ucf101", "train", 2, lists=tmp_path / "data")) == 1
    assert data("ucf101", "test", 2, lists=tmp_path / "data").path(0).endswith("UCF-101/playing guitar/x y.mp4")
    assert len(data("ucf101", "train", 1, lists=tmp_path / "data")) == 9


def test_what_is_missing_is_named(data, tmp_path, cfg):
    with pytest.raises(ConfigError, match=r"neither split1/ with lists .* nor the official ucfTrainTestlist/"):
        data("ucf101", "train", 1, lists=tmp_path)
    with pytest.raises(ConfigError, match="nor the official testTrainMulti_7030_splits/"):
        data("hmdb51", "train", 1, lists=tmp_path / "none")
    write_ucf101(tmp_path / "u")
    (tmp_path / "u" / "ucfTrainTestlist" / "testlist03.txt").unlink()
    with pytest.raises(ConfigError, match="testlist03.txt"):
        data("ucf101", "train", 3, lists=tmp_path / "u")


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("classInd.txt", "5 Surfing\n", "classInd.txt, line 4: '5 Surfing' is not `4 ClassName`"),
        ("classInd.txt", "4 YoYo\n", "line 4: '4 YoYo' is not"),
        ("trainlist01.txt", "YoYo/v.avi\n", "trainlist01.txt, line 10: 'YoYo/v.avi' is not"),
        ("trainlist01.txt", "YoYo/v.avi 2\n", "line 10: 'YoYo/v.avi 2' is not"),
        ("testlist01.txt", "Yoyo/v.avi\n", "testlist01.txt, line 4: 'Yoyo/v.avi' is not"),
    ],
)
def test_a_wrong_line_of_ucf101_is_named(tmp_path, name, line, told):
    write_ucf101(tmp_path / "u")
    with open(tmp_path / "u" / "ucfTrainTestlist" / name, "a") as file:
        file.write(line)
    with pytest.raises(ConfigError, match=told):
        Ucf101.read_official(str(tmp_path / "u"), 1)


@pytest.mark.parametrize("line", ["v.avi 3\n", "v.avi\n", "1\n"])
def test_a_wrong_line_of_hmdb51_is_named(tmp_path, line):
    write_hmdb51(tmp_path / "h")
    with open(tmp_path / "h" / "testTrainMulti_7030_splits" / "wave_test_split1.txt", "a") as file:
        file.write(line)
    with pytest.raises(ConfigError, match=r"wave_test_split1.txt, line 6: '.*' is not `video.avi N`"):
        Hmdb51.read_official(str(tmp_path / "h"), 1)


def test_too_few_classes_in_the_config_are_told(data, cfg, folders):
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(folders["ucf101"]), 2
    with pytest.raises(ConfigError, match="MODEL.NUM_CLASSES is 2, but .*classInd.txt has 3 classes"):
        Ucf101(cfg, "train")


def test_a_split_that_is_not_there_is_told(data):
    with pytest.raises(ConfigError, match="DATA.SPLIT is 4; ucf101 has the splits 1 to 3"):
        data("ucf101", "train", 4)
    with pytest.raises(ConfigError, match="DATA.SPLIT is '?0'?; it is at least 1"):
        load_cfg(None, ["DATA.SPLIT", "0"])


def test_a_data_set_without_splits_has_one(video_list, cfg):
    video_list(5)
    assert (num_splits("kinetics"), num_splits("HMDB51")) == (1, 3)
    cfg.DATA.SPLIT = 2
    with pytest.raises(ConfigError, match="DATA.SPLIT is 2; kinetics has one split only, 1"):
        build_dataset("kinetics", cfg, "train")
