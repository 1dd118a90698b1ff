"""The verbs of the command line that ask a model."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from ..evaluation.options import CalibrationOptions, EvaluationOptions
from ..options import check_options, option
from ..shipped import PRETRAINED, exported_file
from . import words
from .arguments import Verb
from .progress import say, show_bars
from .refusals import need, need_answering, need_model, need_prepared


@dataclass(frozen=True)
class Evaluate:
    """Measure a model, or another tool's predictions, on a split: metrics.json, pictures and a page."""

    model: str = option(
        help="folder of a model, or what export wrote; or .csv or .jsonl of predictions: image_id, and a probability "
        "of each emotion by name, or p0, p1, ... with --label-order",
        positional=True,
    )
    data: str = words.data()
    out: str | None = option(None, help="folder for metrics.json and the pictures; without it, MODEL", metavar="OUT")
    view: str = words.view()
    split: str = words.split()
    batch_size: int = words.batch_size(64)
    options: EvaluationOptions = EvaluationOptions()

    def __post_init__(self):
        check_options(self)


def _evaluate(options: Evaluate) -> int:
    if options.out is None and Path(options.model).is_file():
        raise ValueError(f"{options.model} is a file: say with --out in which folder to write")
    need_prepared(options.data)
    for model in (options.model, options.options.compare):
        if model is not None and not Path(model).is_file():
            need_answering(model)
    from ..evaluation.evaluate import evaluate
    from ..evaluation.report_text import format_metrics

    out = Path(options.out or options.model)
    of = (options.model, options.data, out, options.view, options.split, options.batch_size)
    with show_bars("batches") as progress:
        metrics = evaluate(*of, progress, options.options)
    print(format_metrics(metrics))
    print(f"written: {out}/metrics.json, report.html and pictures")
    return 0


@dataclass(frozen=True)
class Calibrate:
    """Fit a model's temperature, prediction sets and abstaining on a split it was not trained on."""

    model: str = words.model()
    data: str = words.data()
    view: str = words.view()
    split: str = words.split()
    batch_size: int = words.batch_size(64)
    options: CalibrationOptions = CalibrationOptions()

    def __post_init__(self):
        check_options(self)


def _calibrate(options: Calibrate) -> int:
    need_model(options.model)
    need_prepared(options.data)
    from ..evaluation.calibrate import calibrate, format_calibration

    of = (options.model, options.data, options.options, options.view, options.split, options.batch_size)
    with show_bars("batches") as progress:
        found = calibrate(*of, progress)
    print(format_calibration(found))
    print(f"written: {options.model}/config.json. Measure it with affectnet-plus evaluate, on other faces")
    return 0


@dataclass(frozen=True)
class Predict:
    """Soft label, valence and arousal of pictures, as JSON lines. Exit with 1 when a picture failed."""

    model: str = option(
        help="folder that train or export wrote, or a .onnx file of it; or ferplus, the model that comes with the "
        "package and is asked without it",
        positional=True,
    )
    images: tuple[str, ...] = option((), help="pictures of one face each, or folders of them", positional=True)
    batch_size: int = words.batch_size(32)
    bf16: bool = option(False, help="compute in bfloat16: faster, and less exact")

    def __post_init__(self):
        check_options(self)


def _predict(options: Predict) -> int:
    """Pictures that are missing are told first, and the others are gone on with, if there are any."""
    options = _with_model(options)
    need_answering(options.model)
    there = [path for path in options.images if Path(path).exists()]
    if not there:
        need(*options.images)
    failed = 0
    for path in options.images:
        if not Path(path).exists():
            failed += 1
            print(json.dumps({"image": path, "error": f"{path} does not exist"}), flush=True)
    from ..evaluation.predict import predict

    answered = 0
    for line in predict(options.model, there, options.batch_size, options.bf16):
        print(json.dumps(line), flush=True)
        failed += "error" in line
        answered += "error" not in line
    if failed:
        say("predict", f'{failed} of {failed + answered} pictures failed; their lines say why under "error"')
    return 1 if failed else 0


def _with_model(options: Predict) -> Predict:
    """Where the first word is a picture, or a folder of them alone, the model that comes with the package."""
    first = Path(options.model)
    exported = exported_file(options.model) is not None
    named = (
        exported
        or options.model in PRETRAINED
        or (first / "config.json").is_file()
        or (first.is_dir() and options.images)
    )
    if named or not (first.exists() or first.suffix.lower() in (".jpg", ".jpeg", ".png")):
        if not options.images:
            raise ValueError(f"{options.model} is the model: name the pictures after it")
        return options
    return replace(options, model=PRETRAINED[0], images=(options.model, *options.images))


@dataclass(frozen=True)
class App:
    """Open a page on this machine to try a model: photos, webcam, and faces of a prepared folder."""

    model: str = option(help="folder that train or export wrote", positional=True)
    data: str | None = option(
        None, help="folder that prepare wrote, to show its faces beside what is known of them", metavar="DATA"
    )
    port: int | None = option(None, help="port of the page; without it, the first free one from 7860", low=0)

    def __post_init__(self):
        check_options(self)


def _app(options: App) -> int:
    need_answering(options.model)
    need_prepared(options.data)
    from ..app.serve import serve

    serve(options.model, options.data, options.port, lambda text: print(text, flush=True))
    return 0


EVALUATION_VERBS = (
    Verb(
        "evaluate",
        Evaluate,
        _evaluate,
        ("model prepared", "THEIRS.csv prepared --label-order ferplus --out theirs"),
        reads_options=True,
    ),
    Verb(
        "calibrate",
        Calibrate,
        _calibrate,
        ("model prepared --share 0.5", "model prepared --of vote --coverage .95"),
        reads_options=True,
    ),
    Verb("predict", Predict, _predict, ("model face.jpg", "model photos more/photo.png --bf16 > answers.jsonl")),
    Verb("app", App, _app, ("model", "model --data prepared --port 8000")),
)
