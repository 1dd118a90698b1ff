"""The verbs of the command line that hand on."""

import inspect
from dataclasses import dataclass
from pathlib import Path

from ..options import check_options, option
from ..publishing.options import HubOptions, check_repo_id
from ..shipped import local_folder
from . import words
from .arguments import Verb
from .progress import show_bars
from .refusals import need, need_faces, need_free, need_model


@dataclass(frozen=True)
class Publish:
    """Push a model, an exported one, an ensemble, data, a metric or a page to try a model, with its card, at once."""

    folder: str = option(
        help="folder that train, export, train-ensemble or prepare wrote, or of a metric, or ferplus; with --space, a "
        "model of the Hub",
        positional=True,
    )
    repo: str = option(help="you/name on the Hub; with --to-folder, the folder to write", positional=True)
    space: bool = option(False, help="push a page to try the model FOLDER of the Hub", group="what is sent")
    license: str | None = option(None, help="weights: their licence, as the Hub names it; without it, other")
    dataset: str | None = option(None, help="model: where the data of its evaluation is on the Hub", metavar="ID")
    with_seen: bool = option(
        False,
        help="ensemble: also the digests of its faces: label needs them, and they tell whether a face was trained on",
    )
    may_share: bool = option(
        False,
        help="data: the licensor lets you put these faces on the Hub",
        flag="--i-may-share-licensed-faces",
    )
    options: HubOptions = HubOptions()
    dry_run: bool = option(False, help="list what would be sent, and send nothing; needs no token")
    to_folder: bool = option(
        False, help="write what would be pushed to the folder REPO, and ask nothing of the Hub", group="folder"
    )
    overwrite: bool = option(False, help="replace the folder REPO where it exists")

    def __post_init__(self):
        """Refuse a target that could be meant in two ways, and flags of the other target."""
        if not self.to_folder:
            try:
                check_repo_id(self.repo)
            except ValueError as error:
                raise ValueError(f"{error}; to write a folder, add --to-folder") from error
        if self.overwrite and not self.to_folder:
            raise ValueError("--overwrite is about a folder: add --to-folder, or leave it out")
        if self.to_folder and self.options != HubOptions():
            raise ValueError(
                "--to-folder asks nothing of the Hub: leave out --private, --public, --gated, --revision, --tag and "
                "--dry-run"
            )


def _publish(options: Publish) -> int:
    source = options.folder if options.space else str(local_folder(options.folder))
    if not options.space:
        need(source)
        folder = Path(source)
        known = ("manifest.json", "config.json", f"{folder.resolve().name}.py")  # of data, of weights, of a metric
        if not any((folder / name).is_file() for name in known):
            need_model(source)
    if options.to_folder:
        need_free(options.repo, options.overwrite)
    from ..publishing.publish import kind_of, plan, publish, stage
    from ..publishing.publish_space import Space

    kind = Space if options.space else kind_of(source)
    takes = inspect.signature(kind).parameters
    given = {}
    for flag, name, value in (
        ("--license", "licence", options.license),
        ("--dataset", "dataset_id", options.dataset),
        ("--with-seen", "with_seen", options.with_seen),
        ("--i-may-share-licensed-faces", "may_share", options.may_share),
    ):
        if value and name not in takes:
            raise ValueError(f"{flag} means nothing for {options.folder}: see affectnet-plus publish --help")
        if value:
            given[name] = value
    what = kind(source, **given)
    if options.to_folder:
        print(stage(what, options.repo, options.overwrite))
    else:
        print((plan if options.dry_run else publish)(what, options.repo, options.options))
    return 0


@dataclass(frozen=True)
class Export:
    """Write a model as ONNX in the Hub's layout, with a comparison with PyTorch, an example and a page."""

    model: str = words.model()
    out: str = words.out()
    revision: str | None = words.revision()
    fp16: bool = option(False, help="also onnx/model_fp16.onnx: half the size, for GPUs", group="files")
    plain: bool = option(
        False,
        help="also model.safetensors of transformers' own class, without code of ours; not of a model with a stem",
    )
    images: tuple[str, ...] = option(
        (),
        help="prepared folders, pictures or folders of pictures to compare on; without it, drawn faces",
        metavar="FACES",
        group="comparison",
        hub="dataset",
    )
    most: int = option(256, help="faces of each of FACES to compare on", low=1)
    view: str = words.view()
    split: str = words.split()
    follow_links: bool = words.follow_links()
    overwrite: bool = words.overwrite()

    def __post_init__(self):
        check_options(self)


def _export(options: Export) -> int:
    need_model(options.model)
    need_faces(*options.images)
    need_free(options.out, options.overwrite)
    from ..exporting.export import export

    how = (options.images, options.fp16, options.plain, options.view, options.split, options.overwrite)
    with show_bars("batches") as progress:
        report = export(options.model, options.out, *how, progress, options.follow_links, options.most)
    print((Path(options.out) / "parity.md").read_text(encoding="utf-8"))
    print(f"written: {options.out}, with " + ", ".join(found["file"] for found in report["variants"].values()))
    return 0


PUBLISHING_VERBS = (
    Verb("publish", Publish, _publish, ("model you/name --dry-run", "prepared you/faces --gated")),
    Verb("export", Export, _export, ("model exported", "model exported --fp16 --images prepared")),
)
