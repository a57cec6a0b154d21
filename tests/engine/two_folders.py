"""A process of a run that works in FOLDER/RANK, so its OUTPUT_DIR is its own: two_folders.py FOLDER --cfg FILE ..."""

import os
import sys
from functools import partial

import torch

from slowfast_atfr.engine.cli import main
from slowfast_atfr.engine.launch import processes as launch

if __name__ == "__main__":
    torch.set_num_threads(1)
    launch.check_folder = partial(launch.check_folder, seconds=1.0)
    os.chdir(os.path.join(sys.argv[1], os.environ["RANK"]))
    raise SystemExit(main(sys.argv[2:]))
