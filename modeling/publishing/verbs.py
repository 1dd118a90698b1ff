"""The verbs of the command line that hand on; `cli` adds them to the others."""

from functools import partial
from pathlib import Path

from ..command import add_verb


def add_publishing_verbs(verbs) -> None:
    """Declare publish and export."""
    for add in (_add_publish, _add_export):
        add(verbs)


def _add_publish(verbs) -> None:
    verb = add_verb(verbs, "publish", _publish, "push a model, or prepared data, with its card", "folder", "repo")
    verb.add_argument("--private", action="store_true", help="only you read")
    verb.add_argument("--gated", action="store_true", help="data: readers ask, and you approve each by hand")
    verb.add_argument("--to-folder", action="store_true", help="write what would be pushed to the folder REPO")
    verb.add_argument("--license", help="model: licence of the weights, as the Hub names it; default: other")
    verb.add_argument("--i-may-share-licensed-faces", dest="may_share", action="store_true",
                      help="data: the licensor lets you put these faces on the Hub")  # fmt: skip


def _publish(options) -> int:
    data = (Path(options.folder) / "manifest.json").is_file()
    if data and options.license:
        raise ValueError("--license is for models; the terms of data come from its source")
    if not data and (options.gated or options.may_share):
        raise ValueError(f"{options.folder} holds no manifest.json, so it is no prepared data; --gated and "
                         "--i-may-share-licensed-faces are for data")  # fmt: skip
    print(_publish_data(options) if data else _publish_model(options))
    return 0


def _publish_data(options):
    from .publish_data import publish_data, stage_data

    if options.to_folder:
        return stage_data(options.folder, options.repo, options.overwrite)
    return publish_data(options.folder, options.repo, options.private, options.gated, options.may_share)


def _publish_model(options):
    from .publish import publish, stage

    licence = options.license or "other"
    if options.to_folder:
        return stage(options.folder, options.repo, licence, options.overwrite)
    return publish(options.folder, options.repo, options.private, licence)


def _add_export(verbs) -> None:
    text = "write a model as ONNX, with a comparison with PyTorch, an example and a page"
    verb = add_verb(verbs, "export", _export, text, "model", "out")
    verb.add_argument("--onnx", action="store_true", required=True, help="the format; there is one")
    verb.add_argument("--int8", action="store_true", help="also model-int8.onnx: smaller, and faster on CPUs")
    verb.add_argument("--fp16", action="store_true", help="also model-fp16.onnx: half the size, for GPUs")
    what = "prepared data, pictures or folders of pictures to compare on; none: drawn faces"
    verb.add_argument("--images", nargs="+", default=[], metavar="FACES", help=what)
    verb.add_argument("--view", default="default", help="of prepared data")
    verb.add_argument("--split", default="validation", help="of prepared data")


def _export(options) -> int:
    from tqdm import tqdm

    from .export import export

    report = export(
        options.model, options.out, options.images, options.int8, options.fp16, options.view, options.split,
        options.overwrite, partial(tqdm, desc="compare", unit=" batches", mininterval=0.5),
    )  # fmt: skip
    print((Path(options.out) / "parity.md").read_text(encoding="utf-8"))
    print(f"written: {options.out}/" + ", ".join(found["file"] for found in report["variants"].values()))
    return 0
