"""Load a YAML file with `_BASE_` and KEY VALUE pairs into a validated, frozen node."""

import ast
import difflib
import errno
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from slowfast_atfr.config.compat import OFF_IS_NONE, RENAMED, SET_BY_RUN, is_inert
from slowfast_atfr.config.defaults import get_cfg
from slowfast_atfr.config.errors import ConfigError
from slowfast_atfr.config.names import find_config, near_names
from slowfast_atfr.config.rooms import check_rooms
from slowfast_atfr.config.validate import validate

logger = logging.getLogger(__name__)
# lists of names whose default is empty, so that their type does not show
LISTS_OF_NAMES = ("TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", "MODEL.REPLICATE_PAD_STAGES")


def load_cfg(path: str | None = None, opts: Sequence[str] = (), *, source: str = "the command line") -> CfgNode:
    """Read a config, apply the command line's pairs, validate and freeze.

    Args:
        path: YAML file, or the name of a config that comes with the package, such as Kinetics/X3D_S_ATFR; a file wins.
            Its `_BASE_`, a path relative to it or a name, is the config that it changes. None: the defaults.
        opts: KEY, VALUE, KEY, VALUE, ... as on the command line, values in YAML; they win over the file.
        source: of opts, for errors.
    Returns:
        a frozen node.
    Raises:
        ConfigError: for an unknown key, a value of the wrong kind, a name that no registry has (import the modules
            that register your own names first), a missing file, or keys that do not fit together.
    """
    cfg = get_cfg()
    if path is not None:
        for key, value in flatten(_read_yaml(path)):
            _set(cfg, key, value, source=path)
    if len(opts) % 2:
        raise ConfigError(f"pairs of {source} are KEY VALUE KEY VALUE ...: {opts[-1]!r}, the last, has no partner")
    for key, text in zip(opts[::2], opts[1::2], strict=True):
        _set(cfg, key, _parse(text), source=source, text=text)
    validate(cfg)
    cfg.freeze()
    check_rooms(cfg)
    return cfg


def _read_yaml(name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Merge a file, or a named config, over its `_BASE_`; `seen`: the files that led here."""
    path = find_config(name, os.path.dirname(seen[-1]) if seen else "")
    if path in seen:
        raise ConfigError(f"_BASE_ is circular: {' -> '.join((*seen, path))}")
    try:
        with open(path, encoding="utf-8") as file:
            tree = yaml.safe_load(file) or {}
    except OSError as error:
        named = f", the _BASE_ of {seen[-1]}" if seen else ""
        remedy = f", and no config has the name {name}; {near_names(name)}" if error.errno == errno.ENOENT else ""
        raise ConfigError(f"cannot read the config {path}{named}: {error.strerror}{remedy}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds a {type(tree).__name__}; a config is a mapping of keys to values")
    base = tree.pop("_BASE_", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise ConfigError(
            f"{path}: _BASE_ is {base!r}; it takes the path of a YAML file, relative to this one, or a name"
        )
    return _overlay(_read_yaml(base, (*seen, path)), tree)


def _overlay(base: dict[str, Any], diff: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in diff.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _overlay(out[key], value) if both else value
    return out


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested dict or config."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _set(cfg: CfgNode, key: str, value: Any, source: str, text: str | None = None) -> None:
    """Set one dotted key; `text`: what the user typed, which string keys take literally."""
    if key in SET_BY_RUN:
        return
    *sections, leaf = key.split(".")
    node = cfg
    for section in sections:
        node = node.get(section) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or leaf not in node:
        inert = is_inert(key, value)
        if inert is None:
            raise ConfigError(f"{source}: {_unknown(cfg, key)}")
        if inert is False:
            raise ConfigError(f"{source}: {key} is {value!r}, a feature of PySlowFast that slowfast_atfr does not have")
        logger.debug("%s: ignored %s = %r, which leaves a feature off that we do not have", source, key, value)
        return
    if isinstance(node[leaf], CfgNode):
        raise ConfigError(f"{source}: {key} is a section; set its keys, such as {key}.{next(iter(node[leaf]))}")
    node[leaf] = _coerce(key, value, node[leaf], source, text)


def _coerce(key: str, value: Any, default: Any, source: str, text: str | None) -> Any:
    """Convert a value to the type of the default: int and 1e-4 (a string in YAML 1.1) to float, () to []."""
    kind = type(default)
    if value in (None, "None") and key in OFF_IS_NONE:
        return kind(0)
    if kind is str and not isinstance(value, str):
        if value is None:
            return text if text is not None else ""
        if text is not None:
            return text
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if kind is list:
        value = _as_list(value)
    if kind is list and isinstance(value, list):
        _check_entries(key, value, default, source)
    if type(value) is kind:
        return value
    names = key in LISTS_OF_NAMES or (kind is list and any(isinstance(entry, str) for entry in _entries(default)))
    example = "a list of names, in brackets" if names else "a list like [1, 2]"
    wanted = {bool: "True or False", int: "a whole number", float: "a number", str: "text", list: example}
    raise ConfigError(f"{source}: {key} is {value!r}, but it takes {wanted[kind]} (default {default!r})")


def _as_list(value: Any) -> Any:
    """Convert a tuple, or text of a Python tuple, such as `()` in PySlowFast's files: YAML reads it as a string."""
    if isinstance(value, str) and value.startswith("("):
        try:
            value = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            return value
    return _as_lists(value) if isinstance(value, tuple) else value


def _as_lists(value: Any) -> Any:
    return [_as_lists(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _check_entries(key: str, value: list[Any], default: list[Any], source: str) -> None:
    """Check that entries, at any depth, have the type of the default's: text, whole numbers, numbers (also for [])."""
    kinds = {type(entry) for entry in _entries(default)}
    allowed, wanted = ((int, float), "numbers")
    if kinds == {str} or key in LISTS_OF_NAMES:
        allowed, wanted = ((str,), "names")
    elif kinds == {int}:
        allowed, wanted = ((int,), "whole numbers")
    if any(type(entry) not in allowed for entry in _entries(value)):
        raise ConfigError(f"{source}: {key} is {value!r}, but it takes a list of {wanted} (default {default!r})")


def _entries(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for entry in value:
            yield from _entries(entry)
    else:
        yield value


def _unknown(cfg: CfgNode, key: str) -> str:
    if key in RENAMED:
        successor, hint = RENAMED[key]
        return f"{key} was the old release's name; the key is now {successor}{f' ({hint})' if hint else ''}"
    if key.startswith("TEMPORAL_SAMPLING"):
        return f"{key} belongs to the old release; its settings are now under SGS.*: {', '.join(cfg.SGS)}"
    known = [name for name, _ in flatten(cfg)]
    near = difflib.get_close_matches(key.upper(), known, n=3, cutoff=0.6)
    leaf = key.rpartition(".")[2].upper()
    near += [name for name in known if name.rpartition(".")[2] == leaf and name not in near]
    hint = f"did you mean {' or '.join(near[:3])}?" if near else f"the sections are {', '.join(cfg)}"
    return f"unknown key {key}; {hint}"
