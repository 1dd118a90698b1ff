"""The verbs of the command line that ask a model; `cli` adds them to the others."""

import json
from pathlib import Path

from ..command import add_verb, show_progress


def add_evaluation_verbs(verbs) -> None:
    """Declare evaluate and predict."""
    for add in (_add_evaluate, _add_predict):
        add(verbs)


def _add_evaluate(verbs) -> None:
    text = "measure a model on a split, with pictures"
    verb = add_verb(verbs, "evaluate", _evaluate, text, "model", "data", overwrite=False)
    verb.add_argument("--view", default="default")
    verb.add_argument("--split", default="validation")
    verb.add_argument("--out", help="folder for metrics.json and the pictures; default: MODEL")
    verb.add_argument("--batch-size", type=int, default=64)


def _evaluate(options) -> int:
    from .evaluate import evaluate
    from .metrics import format_metrics

    out = Path(options.out or options.model)
    metrics = evaluate(
        options.model, options.data, out, options.view, options.split, options.batch_size, show_progress("evaluate")
    )
    print(format_metrics(metrics))
    print(f"written: {out}/metrics.json, confusion.png, reliability.png, faces.png")
    return 0


def _add_predict(verbs) -> None:
    text = "soft label, valence and arousal of pictures, as JSON lines"
    verb = add_verb(verbs, "predict", _predict, text, "model", overwrite=False)
    verb.add_argument("images", nargs="+", help="pictures, or folders of them")
    verb.add_argument("--batch-size", type=int, default=32)


def _predict(options) -> int:
    from .predict import predict

    for line in predict(options.model, options.images, options.batch_size):
        print(json.dumps(line), flush=True)
    return 0
