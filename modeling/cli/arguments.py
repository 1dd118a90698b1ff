"""From a dataclass of options to a parser, and from words to an instance of the dataclass: the one way.

A field is told by `option`; one that is a dataclass itself gives its own fields as further flags, without a prefix.
What the command line does not say a file of options may (`--options`), and what neither says is the default.
"""

import argparse
import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

Path = tuple[str, ...]  # names of fields, from the outermost dataclass in
WHOLE = "*"  # in a path: the strength of a dataclass of random changes, as a whole
SWITCH = {"auto": None, "yes": True, "no": False}


@dataclass(frozen=True)
class Verb:
    """What one verb of the command line is: `run(options)` does it and gives the exit status.

    Attributes:
        options: the dataclass that `run` takes; its docstring says what the verb does.
        examples: what follows "affectnet-plus" and the name, in two commands that do something useful.
        reads_options: whether it takes `--options FILE`.
    """

    name: str
    options: type
    run: Callable[[Any], int]
    examples: tuple[str, str]
    reads_options: bool = False


@dataclass(frozen=True)
class Leaf:
    """A field that holds a value, not a dataclass: a flag or a positional."""

    path: Path
    field: Field
    kind: type
    many: bool
    default: Any
    group: str

    @property
    def name(self) -> str:
        """As the command line has it: --batch-size, or BATCH_SIZE where it is told by its place."""
        name = self.path[-2] if self.path[-1] == WHOLE else self.path[-1]
        if self.told.get("positional"):
            return name.upper()
        negated = "no-" if self.kind is bool and self.default is True else ""
        return self.told.get("flag", f"{'-' if name == 'n' else '--'}{negated}{name.replace('_', '-')}")

    @property
    def told(self):
        return self.field.metadata

    @property
    def switch(self) -> bool:
        """A flag that stands alone; a bool that may also be None takes yes, no or auto."""
        return self.kind is bool and self.default in (True, False)


def leaves(options: type) -> list[Leaf]:
    """The flags and positionals of a dataclass, in its order."""
    return list(_leaves(options, None, (), "options"))


def _leaves(options: type, example, path: Path, group: str) -> Iterator[Leaf]:
    """Of `options`, whose defaults are those of the instance `example` where there is one."""
    hints = get_type_hints(options)
    for one in fields(options):
        kind, many = _kind(hints[one.name])
        default = one.default if example is None else getattr(example, one.name)
        group = one.metadata.get("group", group)
        inner = (*path, one.name)
        if is_dataclass(kind):
            if one.metadata.get("scaled"):
                yield Leaf((*inner, WHOLE), one, float, False, 1.0, group)
            yield from _leaves(kind, None if default is MISSING else default, inner, group)
        else:
            yield Leaf(inner, one, kind, many, default, group)


def _kind(hint) -> tuple[type, bool]:
    """The type of a value, and whether there are several: float of `tuple[float, ...] | None`."""
    [kind] = [part for part in get_args(hint) if part is not NoneType] if NoneType in get_args(hint) else [hint]
    return (get_args(kind)[0], True) if get_origin(kind) is tuple else (kind, False)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean --size?" where a known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


# --- the parser ------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """One that says in one sentence after its usage what is wrong."""

    def __init__(self, **told):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False, **told)

    def parse(self, words: list[str]) -> argparse.Namespace:
        for word in words:
            flag = word.partition("=")[0]
            if flag.startswith("--") and not any(known.startswith(flag) for known in self._option_string_actions):
                self.error(f"there is no option {flag}{did_you_mean(flag, self._option_string_actions)}")
        return self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        super().error(f"{message} (see {self.prog} --help)")


def parser_of(verb: Verb) -> Parser:
    """The parser of a verb. What it gives holds only what was said, under the paths of leaves with dots in them."""
    found = leaves(verb.options)
    places = [f"[{leaf.name}]" if _optional(leaf) else leaf.name for leaf in found if leaf.told.get("positional")]
    parser = Parser(
        prog=f"affectnet-plus {verb.name}",
        usage=" ".join(["affectnet-plus", verb.name, *places, "[options]"]),
        description=verb.options.__doc__,
        epilog="\n".join(["examples:", *(f"  affectnet-plus {verb.name} {words}" for words in verb.examples)]),
        argument_default=argparse.SUPPRESS,
    )
    groups: dict[str, Any] = {}
    for leaf in found:
        title = "what to work on" if leaf.told.get("positional") else leaf.group
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add(groups[title], leaf)
    general = parser.add_argument_group("general")
    if verb.reads_options:
        words = "YAML or JSON of options, or the training.json of an earlier run; flags go before it"
        general.add_argument("--options", metavar="FILE", help=words)
    general.add_argument("-h", "--help", action="help", help="show this help and exit")
    return parser


def _optional(leaf: Leaf) -> bool:
    return leaf.default is not MISSING


def _add(group, leaf: Leaf) -> None:
    told: dict[str, Any] = {"help": _help(leaf)}
    if leaf.told.get("positional"):
        if leaf.many:
            told["nargs"] = "*" if _optional(leaf) else "+"
        elif _optional(leaf):
            told["nargs"] = "?"
        group.add_argument(".".join(leaf.path), metavar=leaf.name, **told)
        return
    if leaf.switch:
        told |= {"action": "store_const", "const": not leaf.default}
    elif leaf.kind is bool:
        told |= {"choices": tuple(SWITCH)}
    else:
        told |= {"type": leaf.kind, "choices": leaf.told.get("choices")}
        if not told["choices"]:
            told["metavar"] = leaf.told.get("metavar") or {int: "N", float: "X"}.get(leaf.kind, "NAME")
    if leaf.many:
        told |= {"nargs": "+", "action": "extend"}
    if "alone" in leaf.told:
        told |= {"nargs": "?", "const": leaf.told["alone"]}
    group.add_argument(leaf.name, dest=".".join(leaf.path), **told)


def _help(leaf: Leaf) -> str:
    """The words of a field with its default; one without words of its own is called by its name."""
    words = leaf.told.get("help", leaf.path[-1].replace("_", " "))
    if leaf.kind is bool and leaf.default is None:
        words += " (default: auto)"
    elif leaf.default not in (MISSING, None, ()) and not leaf.switch:
        values = leaf.default if leaf.many else (leaf.default,)
        default = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        words += f" (default: {default})"
    return words.replace("%", "%%")


# --- from words to options -------------------------------------------------------------------------------------------


def parse(verb: Verb, words: list[str]):
    """An instance of the verb's dataclass.

    Raises:
        SystemExit: for --help (0), and for words that mean nothing (2).
        ValueError: a value is not allowed, or a file of options holds something else.
        OSError: a file of options cannot be read.
    """
    parser = parser_of(verb)
    given = {tuple(name.split(".")): value for name, value in vars(parser.parse(words)).items()}
    file = given.pop(("options",), None) if verb.reads_options else None
    known = leaves(verb.options)
    values = {leaf.path: leaf.default for leaf in known}
    if file is not None:
        from .options_file import read_options

        values |= read_options(file, known)
    values |= {leaf.path: _value(leaf, given[leaf.path]) for leaf in known if leaf.path in given}
    if missing := [leaf.name for leaf in known if values[leaf.path] is MISSING]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    return _built(verb.options, values, ())


def _value(leaf: Leaf, given):
    if leaf.many:
        split = leaf.told.get("commas")
        return tuple(part for word in given for part in (word.split(",") if split else (word,)))
    return SWITCH[given] if leaf.kind is bool and not leaf.switch else given


def _built(options: type, values: dict[Path, Any], path: Path):
    """An instance of `options` of the values under its path; what is scaled as a whole is so at last."""
    hints = get_type_hints(options)
    found = {}
    for one in fields(options):
        inner = (*path, one.name)
        kind, _ = _kind(hints[one.name])
        found[one.name] = _built(kind, values, inner) if is_dataclass(kind) else values[inner]
        strength = values.get((*inner, WHOLE), 1.0)
        if strength != 1.0:
            found[one.name] = found[one.name].scaled(strength)
    return options(**found)
