"""The verbs of the command line that ask a model."""

import json
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from ..cluster import need_ray
from ..evaluation.options import CalibrationOptions, EvaluationOptions
from ..hub_names import fetched, on_hub
from ..options import check_options, option
from ..shipped import PRETRAINED, exported_file, model_folder
from . import words
from .arguments import Verb
from .progress import say, show_bars
from .refusals import need, need_answering, need_model, need_prepared

# What a picture or a video is called by; tests hold the first to those of `vit.photos`, which takes torch to load.
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif")
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class Evaluate:
    """Measure a model, or another tool's predictions, on a split: metrics.json, pictures and a page."""

    model: str = option(
        help="folder of a model, or what export wrote, or you/name of the Hub; or .csv or .jsonl of predictions: "
        "image_id, and a probability of each emotion by name, or p0, p1, ... with --label-order",
        positional=True,
        hub="model",
    )
    data: str = words.data()
    out: str | None = option(None, help="folder for metrics.json and the pictures; without it, MODEL", metavar="OUT")
    view: str = words.view()
    split: str = words.split()
    revision: str | None = words.revision()
    batch_size: int = words.batch_size(64)
    options: EvaluationOptions = EvaluationOptions()

    def __post_init__(self):
        check_options(self)


def _evaluate(options: Evaluate) -> int:
    shipped = options.model in PRETRAINED and Path(model_folder(options.model)) != Path(options.model)
    named = on_hub(options.model, "model")
    if options.out is None and (shipped or named or Path(options.model).is_file()):
        what = "part of the package" if shipped else "on the Hub" if named else "a file"
        raise ValueError(f"{options.model} is {what}: say with --out in which folder to write")
    need_prepared(options.data)
    for model in (options.model, options.options.compare):
        if model is not None and not Path(model).is_file():
            need_answering(model)
        elif model is not None:
            from ..evaluation.columns import check_header

            check_header(Path(model), options.options.label_order)
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
    revision: str | None = words.revision()
    batch_size: int = words.batch_size(64)
    options: CalibrationOptions = CalibrationOptions()

    def __post_init__(self):
        check_options(self)


def _calibrate(options: Calibrate) -> int:
    if on_hub(options.model, "model"):
        raise FileNotFoundError(
            f"{options.model} is no folder; what is fitted is written into a model folder of yours: "
            f"hf download {options.model} --local-dir FOLDER"
        )
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
    """Soft label, valence and arousal of pictures or videos, as JSON lines. Exit with 1 when one failed."""

    model: str = option(
        help="folder that train or export wrote, a .onnx file of it, or you/name of the Hub; or ferplus, the model "
        "that comes with the package and is asked without it",
        positional=True,
        hub="model",
    )
    images: tuple[str, ...] = option(
        (),
        help="pictures of one face each, photos with --faces, folders or data sets of the Hub of them, or videos",
        positional=True,
        hub="dataset",
    )
    revision: str | None = words.revision()
    batch_size: int = words.batch_size(32)
    bf16: bool = option(False, help="compute in bfloat16: faster, and less exact")
    faces: bool = option(
        False,
        help="a line for each face of each picture, or one that says that there is none; its box is "
        "[left, top, right, bottom] in pixels of the upright picture, and may reach past its edges",
    )
    every: int = option(1, help="of a video or a webcam, look at every N-th frame", low=1)
    webcam: str | None = option(
        None,
        help="look at a webcam until Ctrl-C: /dev/video0 on Linux, 0 on macOS, video=NAME on Windows",
        metavar="DEVICE",
    )
    ray: str | None = words.ray()
    follow_links: bool = words.follow_links()

    def __post_init__(self):
        check_options(self)


def _predict(options: Predict) -> int:
    """Pictures that are missing are told first, and the others are gone on with, if there are any."""
    options = _with_model(options)
    need_answering(options.model)
    exists = {path: fetched(path).exists() for path in options.images}
    there = [path for path in options.images if exists[path]]
    if not there and options.webcam is None:
        need(*options.images)
    failed = 0
    for path in options.images:
        if not exists[path]:
            failed += 1
            print(json.dumps({"image": path, "error": f"{path} does not exist"}), flush=True)
    answered = 0
    for line in _lines(options, there):
        print(json.dumps(line), flush=True)
        failed += "error" in line
        answered += "error" not in line
    if failed:
        say("predict", f'{failed} of {failed + answered} pictures failed; their lines say why under "error"')
    return 1 if failed else 0


def _lines(options: Predict, paths: list[str]):
    """The answers about pictures and videos, in the order of the paths."""
    from ..evaluation.predict import open_model, predict
    from ..vit import faces

    if not options.faces and not faces.glances() and not all(map(_is_video, paths)):
        there = (
            "no detector of faces is installed"
            if faces.installed() is None
            else f"{faces.installed()} is too slow to glance"
        )
        say("predict", f"{there}, so nothing says whether a picture is a face crop: {faces.HOW_TO_INSTALL}")
    moving = options.webcam is not None or any(map(_is_video, paths))
    model = open_model(options.model) if moving else options.model
    for video, group in groupby(paths, _is_video):
        if not video:
            chosen = (options.batch_size, options.bf16, options.faces or None, options.follow_links)
            if options.ray is None:
                yield from predict(model, list(group), *chosen)
                continue
            need_ray()
            from ..evaluation.predict_ray import predict_on_ray

            yield from predict_on_ray(options.ray, options.model, list(group), *chosen)
            continue
        from ..evaluation.video import predict_video

        for path in group:
            try:
                yield from predict_video(model, path, options.every, options.batch_size)
            except OSError as error:
                yield {"image": path, "error": str(error)}
    if options.webcam is not None:
        from ..evaluation.video import predict_video

        yield from predict_video(model, options.webcam, options.every, webcam=True)


def _is_video(path: str) -> bool:
    return Path(path).suffix.lower() in VIDEOS and Path(path).is_file()


def _with_model(options: Predict) -> Predict:
    """Where the first word is a picture, or a folder of them alone, the model that comes with the package."""
    first = Path(options.model)
    named = (
        options.model in PRETRAINED
        or exported_file(options.model) is not None
        or (first / "config.json").is_file()
        or (first.is_dir() and options.images)
    )
    if named or not (first.exists() or first.suffix.lower() in PHOTOS + VIDEOS):
        if not options.images and options.webcam is None:
            raise ValueError(f"{options.model} is the model: name the pictures after it")
        return options
    return replace(options, model=PRETRAINED[0], images=(options.model, *options.images))


@dataclass(frozen=True)
class App:
    """Open a page on this machine to try a model: photos, webcam, and faces of a prepared folder."""

    model: str = option(help="folder that train or export wrote, or you/name of the Hub", positional=True, hub="model")
    data: str | None = option(
        None,
        help="folder that prepare wrote, to show its faces beside what is known of them",
        metavar="DATA",
        hub="dataset",
    )
    revision: str | None = words.revision()
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
