"""The arguments of tools/prepare_data.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """A data set and what to do with it; the fields are the options of the command line."""

    name: str
    folder: str
    out: str
    annotations: str | None = None
    classes: str | None = None
    ids: str | None = None
    val_share: float = 0.2
    seed: int = 0
    resize: int | None = None
    frames: int | None = None
    check: bool = False
    quick: bool = False
    drop_bad: bool = False
    workers: int = 1
