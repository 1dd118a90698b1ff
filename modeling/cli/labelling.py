"""The verbs of the command line that make soft labels."""

import json
from dataclasses import dataclass
from functools import partial

from ..hub_names import is_address, is_streamed
from ..labelling.action_units.options import ActionUnitOptions
from ..labelling.ensemble.options import EnsembleOptions
from ..labelling.label_options import LabelOptions
from ..options import check_options, option
from . import words
from .arguments import Verb
from .progress import say, show_bars
from .refusals import need, need_faces, need_free, need_model, need_prepared


@dataclass(frozen=True)
class TrainEnsemble:
    """Train an ensemble of binary classifiers on hard labels, cross-fitted."""

    data: str = words.data()
    out: str = words.out("folder to write the ensemble to")
    revision: str | None = words.revision()
    options: EnsembleOptions = EnsembleOptions()
    strict: bool = words.strict()
    resume: bool = words.resume()
    overwrite: bool = words.overwrite()


def _train_ensemble(options: TrainEnsemble) -> int:
    need_prepared(options.data)
    need_free(options.out, options.overwrite)
    from ..labelling.ensemble.train import train_ensemble

    with show_bars("batches") as progress:
        record = train_ensemble(
            options.data,
            options.out,
            options.options,
            options.overwrite,
            progress,
            partial(say, "train-ensemble"),
            options.resume,
            options.strict,
        )
    calibration = record["calibration"]
    print(
        f"{options.out}: {record['networks']} networks in {record['members']} members, trained on "
        f"{sum(record['faces'])} faces, calibrated on {calibration['faces']} ({calibration['split']})"
    )
    return 0


@dataclass(frozen=True)
class TrainAu:
    """Train a network that sees action units, on a table of them."""

    data: str = words.data()
    table: str = option(help="table of action units by OpenFace 2 or 3, py-feat, LibreFace or draw", positional=True)
    out: str = words.out("folder to write the network to")
    action_unit_scale: float | None = option(
        None, help="largest possible number in the table, where the tool has another than usual", metavar="X"
    )
    revision: str | None = words.revision()
    action_unit_frames: bool = option(False, help="frame n of a table without names is the picture n")
    options: ActionUnitOptions = ActionUnitOptions()
    strict: bool = words.strict()
    resume: bool = words.resume()
    overwrite: bool = words.overwrite()


def _train_au(options: TrainAu) -> int:
    need_prepared(options.data)
    need(options.table)
    need_free(options.out, options.overwrite)
    from ..labelling.action_units.model import train_action_units
    from ..labelling.action_units.tables import describe_problems, read_action_units

    table = read_action_units(options.table, options.action_unit_scale, options.action_unit_frames)
    for line in describe_problems(table.problems):
        say("train-au", line)
    with show_bars("batches") as progress:
        how = (options.options, options.overwrite, progress, options.resume, options.strict)
        record = train_action_units(options.data, table, options.out, *how, say=partial(say, "train-au"))
    choosing = record["choosing"]
    print(
        f"{options.out}: {len(record['units'])} units, mean absolute error {choosing['mean_absolute_error']:.3f} on "
        f"{choosing['faces']} faces of the validation split; their mean {choosing['error_of_training_mean']:.3f}"
    )
    return 0


@dataclass(frozen=True)
class Label:
    """Give pictures soft labels by an ensemble and action units, as a folder that load_dataset opens."""

    images: str = option(
        help="folder, tar or zip of pictures, an AffectNet+ tree, a prepared folder, or you/name of the Hub; a folder "
        "of tars; or s3://, gs:// or hf://datasets/you/name/folder of tars, Parquet files or pictures",
        positional=True,
        hub="dataset",
    )
    out: str = words.out("folder to write, or its address in an object store")
    options: LabelOptions = option(help="how the labels are made")
    revision: str | None = words.revision()
    ray: str | None = words.ray()
    follow_links: bool = words.follow_links()
    resume: bool = words.resume()
    overwrite: bool = words.overwrite()


def _label(options: Label) -> int:
    chosen = options.options
    need_model(chosen.ensemble, "config.json", writer="train-ensemble")
    need_model(chosen.action_unit_model, "config.json", writer="train-au")
    if not is_streamed(options.images):
        need_faces(options.images)
    need(chosen.action_units, chosen.fusion, chosen.deepface, chosen.fairface)
    need(chosen.landmark_model, chosen.landmark_detector)
    if not is_address(options.out):
        need_free(options.out, options.overwrite, finished="labelling.json")
    from ..labelling.label import format_account, label

    with show_bars() as progress:
        record = label(
            options.images,
            options.out,
            chosen,
            options.overwrite,
            progress,
            partial(say, "label"),
            options.resume,
            options.follow_links,
            options.ray,
        )
    print(f"{options.out}: {format_account(record)}")
    return 0


@dataclass(frozen=True)
class FitFusion:
    """Fit how label combines its branches to soft labels that are known, such as votes."""

    labelled: str = option(help="folder that label wrote", positional=True)
    data: str = option(
        help="folder that prepare wrote, with the soft labels that are known, or you/name of the Hub",
        positional=True,
        hub="dataset",
    )
    out: str = words.out("JSON file to write, for label --fusion")
    method: str = option(
        "best",
        help="how the branches are combined; best is the one with the least cross-validated KL",
        choices=("best", "mean", "product", "class-mean", "dirichlet", "stacking", "softmax"),
    )
    human_label: bool = option(False, help="the human label is a source too (not for mean and product)")
    view: str = words.view()
    split: str = words.split("train")
    revision: str | None = words.revision()
    folds: int = option(5, help="parts of the faces that the choice of its strength is cross-validated on", low=2)
    seed: int = words.seed()

    def __post_init__(self):
        check_options(self)


def _fit_fusion(options: FitFusion) -> int:
    need(options.labelled)
    need_prepared(options.data)
    from ..labelling.fit_labelled import fit_labelled

    report = fit_labelled(
        options.labelled,
        options.data,
        options.out,
        options.method,
        options.human_label,
        options.view,
        options.split,
        options.folds,
        options.seed,
    )
    print(json.dumps(report, indent=2))
    if report.get("too_few_votes"):
        print(
            f"{report['rows']:,} faces with votes are too few, or say too little, for a fusion of many coefficients: "
            f"{report['method']} is as near to them. More faces with votes may change that"
        )
    return 0


LABELLING_VERBS = (
    Verb(
        "train-ensemble",
        TrainEnsemble,
        _train_ensemble,
        ("prepared ebc --backbone resnet mini --folds 4", "prepared ebc --options ebc-options.yaml --seed 1"),
        reads_options=True,
    ),
    Verb(
        "train-au",
        TrainAu,
        _train_au,
        ("prepared action_units.csv au-model", "prepared openface.csv au-model --image-size 96 --epochs 40"),
        reads_options=True,
    ),
    Verb(
        "label",
        Label,
        _label,
        (
            "photos labelled --ensemble ebc --action-units openface.csv",
            "s3://bucket/tars s3://bucket/labelled --ensemble ebc --ray",
        ),
        reads_options=True,
    ),
    Verb(
        "fit-fusion",
        FitFusion,
        _fit_fusion,
        ("labelled prepared fusion.json", "labelled prepared fusion.json --method softmax --human-label"),
    ),
)
