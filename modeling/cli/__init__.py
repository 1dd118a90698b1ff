"""`affectnet-plus VERB`: parses, calls, prints. Heavy imports wait until a verb needs them."""

import argparse
import atexit
import gc
import os
import signal
import sys

from .. import sentences
from .arguments import Parser, Verb, did_you_mean, leaves, parse
from .completion import completion_verb
from .data import DATA_VERBS
from .evaluation import EVALUATION_VERBS
from .labelling import LABELLING_VERBS
from .publishing import PUBLISHING_VERBS
from .revision import at_revision
from .training import TRAINING_VERBS

ROOMS: dict[str, tuple[Verb, ...]] = {
    "data": DATA_VERBS,
    "training": TRAINING_VERBS,
    "asking a model": EVALUATION_VERBS,
    "soft labels for your own faces": LABELLING_VERBS,
    "handing on": PUBLISHING_VERBS,
    "this command": (completion_verb(lambda: VERBS),),
}
MOST_LETTERS = 1500  # of a refusal
VERBS: dict[str, Verb] = {verb.name: verb for room in ROOMS.values() for verb in room}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it did what it says, 1 when it could not, 2 for unusable arguments, 130 after Ctrl-C."""
    # Read when torch is imported. Threads that share a layer would spin while they wait for one another, and with one
    # other busy process on two cores a step took 3 to 11 times as long; asleep, below twice (benchmarks/busy.py).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished folders are cleaned up
    # At its end Python searches all that torch and gradio brought for garbage: two seconds of a core for nothing, and
    # on a machine that is loaded many times over the page seemed to hang after Ctrl-C.
    atexit.register(gc.freeze)
    words = sys.argv[1:] if arguments is None else arguments
    verb = VERBS.get(words[0]) if words else None
    if verb is None:
        return _without_verb(words)
    try:
        return verb.run(_at_revision(parse(verb, words[1:])))
    except (ValueError, OSError, ImportError) as error:  # an extra that is not installed
        print(f"affectnet-plus {verb.name}: {in_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who cannot wait for the end gets no traceback either
        print(f"affectnet-plus {verb.name}: {_interrupted(verb, words[1:])}", file=sys.stderr)
        return 130


def _interrupted(verb: Verb, words: list[str]) -> str:
    if all(leaf.name != "--resume" for leaf in leaves(verb.options)):
        return "interrupted"
    return "interrupted; the same command goes on from what was done last, if anything was"


def in_one_line(error: Exception) -> str:
    """What an error says, for people: the Hub's refusals are many lines, and a quoted value may be of any length."""
    said = sentences.in_one_line(error)
    return said if len(said) <= MOST_LETTERS else f"{said[: MOST_LETTERS // 2]} ... {said[-MOST_LETTERS // 2 :]}"


def _at_revision(options):
    return at_revision(options) if "revision" in vars(options) else options


def _without_verb(words: list[str]) -> int:
    parser = Parser(
        prog="affectnet-plus",
        usage="affectnet-plus VERB ... [options]",
        description="AffectNet+: data, soft labels, models, cards. affectnet-plus VERB --help says more of each verb.",
        epilog="\n\n".join(
            "\n".join([f"{room}:", *(f"  {verb.name:<15} {verb.options.__doc__}" for verb in verbs)])
            for room, verbs in ROOMS.items()
        ),
    )
    parser.add_argument("-h", "--help", action="help", help="show this help and exit")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument("verb", nargs="?", metavar="VERB", help=argparse.SUPPRESS)
    given = parser.parse(words[:1])
    if given.version:
        from importlib.metadata import version

        print(f"affectnet-plus {version('affectnet-plus')}")
        return 0
    if given.verb is None:
        parser.error("a verb is missing, such as prepare or train")
    parser.error(f"there is no verb {given.verb}{did_you_mean(given.verb, VERBS)}")
