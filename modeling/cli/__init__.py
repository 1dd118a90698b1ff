"""`affectnet-plus VERB`: parses, calls, prints. Heavy imports wait until a verb needs them."""

import argparse
import os
import signal
import sys

from .data import add_data_verbs
from .evaluation import add_evaluation_verbs
from .labelling import add_labelling_verbs
from .publishing import add_publishing_verbs
from .training import add_training_verbs


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it did what it says, 1 when it could not, 2 for unusable arguments."""
    # Read when torch is imported. Threads that share a layer would spin while they wait for one another, and with one
    # other busy process on two cores a step took 3 to 11 times as long; asleep, below twice (benchmarks/busy.py).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished folders are cleaned up
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError, ImportError) as error:  # an extra that is not installed
        reason = " ".join(str(error).split())  # the Hub's refusals are many lines
        print(f"affectnet-plus {options.verb}: {reason}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="affectnet-plus", description="AffectNet+: data, soft labels, models, cards")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    rooms = (add_data_verbs, add_labelling_verbs, add_training_verbs, add_evaluation_verbs, add_publishing_verbs)
    for add in rooms:
        add(verbs)
    return parser
