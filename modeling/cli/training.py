"""The verbs of the command line that train."""

from dataclasses import dataclass
from functools import partial

from ..options import option
from ..training.options import TrainingOptions
from ..training.pretrain_options import PretrainingOptions
from . import words
from .arguments import Verb
from .progress import is_first_process, say, show_bars
from .refusals import need_checkpoint, need_faces, need_free, need_model, need_prepared

UNFINISHED = ".training"  # what the name of the folder of an interrupted run ends in


@dataclass(frozen=True)
class Train:
    """Train a soft-label vision transformer with KL divergence."""

    data: str = words.data()
    out: str = words.out("folder to write the model to")
    revision: str | None = words.revision()
    options: TrainingOptions = TrainingOptions()
    strict: bool = words.strict()
    resume: bool = words.resume()
    overwrite: bool = words.overwrite()


def _train(options: Train) -> int:
    need_prepared(options.data)
    need_free(options.out, options.overwrite, UNFINISHED)
    need_checkpoint(options.options.from_vit)
    need_checkpoint(options.options.from_pretrained)
    for teacher in options.options.teachers:
        need_model(teacher)
    from ..training.train import train

    with show_bars("batches") as progress:
        how = (options.options, options.resume, options.overwrite, progress, options.strict)
        record = train(options.data, options.out, *how, say=partial(say, "train"))
    if is_first_process():
        print(
            f"{options.out}: {record['parameters']:,} parameters, {record['steps']} steps in {record['seconds']:.0f} "
            f"s, best at step {record['best_step']} with loss {record['best_objective']:.4f}"
        )
    return 0


@dataclass(frozen=True)
class Pretrain:
    """Train stem and encoder on faces without labels, by filling in what was hidden."""

    images: str = option(
        help="folder of pictures, or one that prepare wrote, or you/name of the Hub", positional=True, hub="dataset"
    )
    out: str = words.out("folder to write the encoder to")
    revision: str | None = words.revision()
    options: PretrainingOptions = PretrainingOptions()
    follow_links: bool = words.follow_links()
    strict: bool = words.strict()
    resume: bool = words.resume()
    overwrite: bool = words.overwrite()


def _pretrain(options: Pretrain) -> int:
    need_faces(options.images)
    need_free(options.out, options.overwrite, UNFINISHED)
    from ..training.pretrain import pretrain

    with show_bars("batches") as progress:
        run = (options.options, options.resume, options.overwrite, progress, options.follow_links, options.strict)
        record = pretrain(options.images, options.out, *run, say=partial(say, "pretrain"))
    if is_first_process():
        print(
            f"{options.out}: {record['images']['faces']:,} faces, {record['steps']} steps in {record['seconds']:.0f} "
            f"s, loss {record['losses'][0]:.4f} to {record['losses'][-1]:.4f}; see {options.out}.reconstruction.png"
        )
    return 0


TRAINING_VERBS = (
    Verb(
        "train",
        Train,
        _train,
        ("prepared model --size tiny --epochs 20", "prepared again --options model/training.json --seed 1"),
        reads_options=True,
    ),
    Verb(
        "pretrain",
        Pretrain,
        _pretrain,
        ("prepared encoder --size tiny --epochs 100", "photos encoder --mask-ratio .5 --resume"),
        reads_options=True,
    ),
)
