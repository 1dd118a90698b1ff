"""The verbs of the command line that hand on; `cli` adds them to the others."""

import inspect
from functools import partial
from pathlib import Path

from .command import add_verb


def add_publishing_verbs(verbs) -> None:
    """Declare publish and export."""
    for add in (_add_publish, _add_export):
        add(verbs)


def _add_publish(verbs) -> None:
    text = "push a model, an ensemble, prepared data, a metric or a page to try a model, with its card, in one commit"
    verb = add_verb(verbs, "publish", _publish, text, "folder", "repo")
    verb.add_argument("--space", action="store_true", help="push a page to try the model FOLDER of the Hub")
    readers = verb.add_mutually_exclusive_group()
    readers.add_argument("--private", action="store_true", help="only you read, as what is not free unless you say")
    readers.add_argument("--public", action="store_true", help="everybody reads; never for faces that are not free")
    verb.add_argument("--gated", action="store_true", help="readers ask, and you approve each by hand")
    verb.add_argument("--revision", default="main", help="the branch to commit to; made if need be")
    verb.add_argument("--tag", help="name the commit, such as v1.0")
    verb.add_argument("--to-folder", action="store_true", help="write what would be pushed to the folder REPO")
    verb.add_argument("--license", help="weights: their licence, as the Hub names it; default: other")
    verb.add_argument("--dataset", metavar="ID", help="model: where the data of its evaluation is on the Hub")
    seen = "ensemble: also the digests of its faces: label needs them, and they tell whether a face was trained on"
    verb.add_argument("--with-seen", action="store_true", help=seen)
    verb.add_argument(
        "--i-may-share-licensed-faces",
        dest="may_share",
        action="store_true",
        help="data: the licensor lets you put these faces on the Hub",
    )


def _publish(options) -> int:
    from ..publishing.hub import HubOptions
    from ..publishing.publish import kind_of, publish, stage
    from ..publishing.publish_space import Space

    kind = Space if options.space else kind_of(options.folder)
    known = inspect.signature(kind).parameters
    given = {}
    for flag, name, value in (
        ("--license", "licence", options.license),
        ("--dataset", "dataset_id", options.dataset),
        ("--with-seen", "with_seen", options.with_seen),
        ("--i-may-share-licensed-faces", "may_share", options.may_share),
    ):
        if value and name not in known:
            raise ValueError(f"{flag} means nothing for {options.folder}: see affectnet-plus publish --help")
        if value:
            given[name] = value
    what = kind(options.folder, **given)
    how = HubOptions(options.private, options.public, options.gated, options.revision, options.tag)
    print(stage(what, options.repo, options.overwrite) if options.to_folder else publish(what, options.repo, how))
    return 0


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

    from ..exporting.export import export

    report = export(
        options.model,
        options.out,
        options.images,
        options.int8,
        options.fp16,
        options.view,
        options.split,
        options.overwrite,
        partial(tqdm, desc="compare", unit=" batches", mininterval=0.5),
    )
    print((Path(options.out) / "parity.md").read_text(encoding="utf-8"))
    print(f"written: {options.out}/" + ", ".join(found["file"] for found in report["variants"].values()))
    return 0
