"""`--options FILE`: options that are written down, by hand or by an earlier run."""

from pathlib import Path
from typing import Any

import yaml

from affectnet_plus import MAX_DEPTH, is_deep

from .arguments import WHOLE, Leaf, did_you_mean

# A training.json has some kB for each epoch; yaml takes minutes for a million letters, or for thousands of brackets,
# and seconds until those that lie in one another are too many for it.
MOST_LETTERS, MOST_BRACKETS = 3_000_000, 20_000


def read_options(file: str, known: list[Leaf]) -> dict[tuple[str, ...], Any]:
    """The values in a YAML or JSON file, by the paths of their leaves.

    The file is a mapping from names of options to values; where a mapping stands under "options", as in the
    training.json of a run, it is that one. A mapping under the name of a group of options, such as augmentation, holds
    options of that group.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such mapping, an option is not known, or a value is of another type.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
        if len(text) > MOST_LETTERS or text.count("[") + text.count("{") > MOST_BRACKETS:
            raise ValueError(f"{file} is no file of options: it has {len(text)} letters")
        if is_deep(text):
            raise ValueError(f"{file} is no file of options: it is nested more than {MAX_DEPTH} deep")
        found = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is neither YAML nor JSON: {error}") from error
    if isinstance(found, dict) and isinstance(found.get("options"), dict):
        found = found["options"]
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {type(found).__name__}, expected a mapping from names of options to values")
    return _values(file, found, [leaf for leaf in known if not leaf.told.get("positional")])


def _values(file: str, mapping: dict, known: list[Leaf]) -> dict[tuple[str, ...], Any]:
    values: dict[tuple[str, ...], Any] = {}
    for key, value in mapping.items():
        name = str(key).replace("-", "_")
        inside = [leaf for leaf in known if name in leaf.path[:-1] and leaf.path[-1] != WHOLE]
        whole = [leaf for leaf in known if leaf.path[-2:] == (name, WHOLE)]
        named = [leaf for leaf in known if leaf.path[-1] == name]
        if inside and isinstance(value, dict):
            values |= _values(f"{file}, {key}", value, inside)
        elif named or whole:
            [leaf] = named or whole
            values[leaf.path] = _checked(file, key, value, leaf)
        else:
            names = {leaf.path[-2] if leaf.path[-1] == WHOLE else leaf.path[-1] for leaf in known}
            raise ValueError(f"{file}: there is no option {key}{did_you_mean(name, sorted(names))}")
    return values


def _checked(file: str, key, value, leaf: Leaf):
    if value is None and (leaf.default is None or leaf.kind is bool):
        return None
    if leaf.many and isinstance(value, list):
        return tuple(_one(file, key, element, leaf.kind) for element in value)
    if leaf.many:
        raise ValueError(f"{file}: {key} is {value!r}, expected a list")
    return _one(file, key, value, leaf.kind)


def _one(file: str, key, value, kind: type):
    if kind is float and isinstance(value, str):  # YAML 1.1 takes 1e-3 for a word, and only 1.0e-3 for a number
        try:
            return float(value)
        except ValueError:
            pass
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
        raise ValueError(f"{file}: {key} is {value!r}, expected {words[kind]}")
    return value
