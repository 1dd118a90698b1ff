"""The verbs of the command line that ask a model; `cli` adds them to the others."""

import json
from pathlib import Path

from .command import add_verb, show_progress


def add_evaluation_verbs(verbs) -> None:
    """Declare evaluate, calibrate, predict and app."""
    for add in (_add_evaluate, _add_calibrate, _add_predict, _add_app):
        add(verbs)


def _add_evaluate(verbs) -> None:
    text = "measure a model, or another tool's predictions, on a split: metrics.json, pictures and a page"
    verb = add_verb(verbs, "evaluate", _evaluate, text, overwrite=False)
    verb.add_argument(
        "model",
        help="folder of a model, or .csv or .jsonl of predictions: image_id, and a probability "
        "of each emotion by name, or p0, p1, ... with --label-order",
    )
    verb.add_argument("data", help="folder that prepare wrote")
    verb.add_argument("--view", default="default")
    verb.add_argument("--split", default="validation")
    verb.add_argument("--out", help="folder for metrics.json and the pictures; default: MODEL, if it is a folder")
    verb.add_argument("--batch-size", type=int, default=64)
    verb.add_argument("--compare", metavar="OTHER", help="model or predictions to set beside MODEL, face by face")
    verb.add_argument("--label-order", metavar="ORDER", help="what p0, p1, ... of a file stand for, such as ferplus")
    verb.add_argument("--min-cell", type=int, default=50, help="least faces of which a number of a group is shown")
    verb.add_argument("--resamples", type=int, default=2000, help="of the bootstrap, for the intervals")
    verb.add_argument("--level", type=float, default=0.95, help="of the intervals")
    verb.add_argument("--seed", type=int, default=0, help="of the bootstrap")


def _evaluate(options) -> int:
    from ..evaluation.evaluate import EvaluationOptions, evaluate, is_file_of_predictions
    from ..evaluation.scores import format_metrics

    if options.out is None and is_file_of_predictions(options.model):
        raise ValueError(f"{options.model} is a file: say with --out in which folder to write")
    out = Path(options.out or options.model)
    names = ("resamples", "level", "seed", "min_cell", "compare", "label_order")
    chosen = EvaluationOptions(**{name: getattr(options, name) for name in names})
    progress = show_progress("evaluate")
    metrics = evaluate(
        options.model, options.data, out, options.view, options.split, options.batch_size, progress, chosen
    )
    print(format_metrics(metrics))
    print(f"written: {out}/metrics.json, report.html and pictures")
    return 0


def _add_calibrate(verbs) -> None:
    text = "fit a model's temperature, prediction sets and abstaining on a split it was not trained on"
    verb = add_verb(verbs, "calibrate", _calibrate, text, "model", "data", overwrite=False)
    verb.add_argument("--view", default="default")
    verb.add_argument("--split", default="validation")
    verb.add_argument("--coverage", type=float, default=0.9, help="how often the prediction set holds the truth")
    verb.add_argument("--method", choices=("threshold", "aps"), default="threshold", help="rule of the prediction set")
    verb.add_argument("--of", choices=("label", "vote"), default="label", help="truth: the label, or one random vote")
    verb.add_argument("--against", choices=("soft", "hard"), default="soft", help="labels that the temperature fits")
    verb.add_argument("--abstain-accuracy", type=float, default=0.9, help="accuracy of the faces that are answered")
    verb.add_argument("--share", type=float, default=1.0, help="random share of the faces to use")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--batch-size", type=int, default=64)


def _calibrate(options) -> int:
    from ..evaluation.calibrate import CalibrationOptions, calibrate, format_calibration

    names = ("coverage", "method", "of", "against", "abstain_accuracy", "share", "seed")
    chosen = CalibrationOptions(**{name: getattr(options, name) for name in names})
    progress = show_progress("calibrate")
    found = calibrate(options.model, options.data, chosen, options.view, options.split, options.batch_size, progress)
    print(format_calibration(found))
    print(f"written: {options.model}/config.json. Measure it with affectnet-plus evaluate, on other faces")
    return 0


def _add_predict(verbs) -> None:
    text = "soft label, valence and arousal of pictures, as JSON lines"
    verb = add_verb(verbs, "predict", _predict, text, "model", overwrite=False)
    verb.add_argument("images", nargs="+", help="pictures, or folders of them")
    verb.add_argument("--batch-size", type=int, default=32, help="most pictures in the network at once")
    verb.add_argument("--bf16", action="store_true", help="run the network in bfloat16: faster, and less exact")


def _predict(options) -> int:
    from ..evaluation.predict import predict

    for line in predict(options.model, options.images, options.batch_size, options.bf16):
        print(json.dumps(line), flush=True)
    return 0


def _add_app(verbs) -> None:
    text = "a page on this machine to try a model: photos, webcam, and faces of a prepared folder"
    verb = add_verb(verbs, "app", _app, text, "model", overwrite=False)
    verb.add_argument("--data", metavar="PREPARED", help="prepared folder: its faces beside what is known of them")
    verb.add_argument("--port", type=int, help="default: the first free one from 7860")


def _app(options) -> int:
    from ..app.serve import serve

    serve(options.model, options.data, options.port, lambda text: print(text, flush=True))
    return 0
