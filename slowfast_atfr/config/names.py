"""Find the configs that come with the package by name, such as SSv2/SLOWFAST_8x8_R50_ATFR, from any folder."""

import difflib
import os
from pathlib import Path

ENDING = ".yaml"
PACKAGE = Path(__file__).resolve().parents[1]


def configs_folder() -> Path:
    """Return the folder of the configs: inside an installed package, or next to the package in a checkout."""
    inside = PACKAGE / "configs"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def config_names() -> list[str]:
    """Return the names of all configs, sorted: paths relative to `configs_folder`, with / and without .yaml."""
    folder = configs_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob(f"*{ENDING}"))


def find_config(text: str, folder: str = "") -> str:
    """Return the path of a config: the file if it exists, else the config of that name.

    Args:
        text: path of a file, or a name of `config_names`, which may end in .yaml.
        folder: base of a relative path; "": the current folder.
    Returns:
        an absolute path; if there is neither, that of the missing file.
    """
    path = os.path.abspath(os.path.join(folder, os.path.expanduser(text)))
    if os.path.exists(path) and not os.path.isdir(path):  # a run's OUTPUT_DIR may have the name of its config
        return path
    name = text.removesuffix(ENDING)
    return str(configs_folder() / f"{name}{ENDING}") if name in config_names() else path


def near_names(text: str) -> str:
    """Suggest names of configs for a text that is neither a file nor a name."""
    names = config_names()
    if not names:
        return f"there are no configs in {configs_folder()}"
    wanted = text.removesuffix(ENDING).removeprefix("configs/").lower()
    leaf = wanted.rpartition("/")[2]
    near = [name for name in names if name.lower() == wanted]
    near += [name for name in names if name.lower().rpartition("/")[2] == leaf]
    folded = {name.lower(): name for name in names}
    near += [folded[name] for name in difflib.get_close_matches(wanted, folded, n=3, cutoff=0.6)]
    near = list(dict.fromkeys(near))[:4]
    if near:
        return f"did you mean {' or '.join(near)}?"
    folders = sorted({name.partition("/")[0] for name in names})
    return f"names of configs start with {', '.join(f'{folder}/' for folder in folders)}"
