"""The verbs of the command line that make soft labels; `cli` adds them to the others."""

import json
import sys
from dataclasses import fields
from functools import partial
from typing import Any

from ..labelling.ensemble.options import OWN_BACKBONES, EnsembleOptions
from ..labelling.label_options import METADATA, LabelOptions
from .command import add_verb, show_bars, show_progress


def add_labelling_verbs(verbs) -> None:
    """Declare train-ensemble, train-au, label and fit-fusion."""
    for add in (_add_train_ensemble, _add_train_au, _add_label, _add_fit_fusion):
        add(verbs)


def _say(verb: str, text: str) -> None:
    print(f"affectnet-plus {verb}: {text}", file=sys.stderr, flush=True)


def _add_train_ensemble(verbs) -> None:
    text = "train an ensemble of binary classifiers on hard labels, cross-fitted"
    verb = add_verb(verbs, "train-ensemble", _train_ensemble, text, "data", "out")
    default: dict[str, Any] = {field.name: field.default for field in fields(EnsembleOptions)}
    verb.add_argument(
        "--backbone",
        dest="backbones",
        action="append",
        metavar="B",
        help=f"{', '.join(OWN_BACKBONES)}, or a checkpoint (folder or Hub name); may be given several "
        f"times; default: {' and '.join(default['backbones'])}",
    )
    for name in ("seeds", "folds", "batch_size", "fewest_positives", "seed"):
        verb.add_argument("--" + name.replace("_", "-"), type=int, default=default[name])
    for name in (
        "trunk_epochs",
        "epochs",
        "learning_rate",
        "binary_learning_rate",
        "label_smoothing",
        "hard_negatives",
    ):
        verb.add_argument("--" + name.replace("_", "-"), type=float, default=default[name])
    verb.add_argument("--calibration", choices=("temperature", "isotonic"), default=default["calibration"])
    verb.add_argument("--view", default=default["view"])
    verb.add_argument("--image-size", type=int, help="pixels; default: that of the first picture")
    verb.add_argument("--resume", action="store_true", help="there has to be an interrupted run to go on with")


def _train_ensemble(options) -> int:
    from ..labelling.ensemble.train import train_ensemble

    chosen = {name: value for name, value in vars(options).items() if name in EnsembleOptions.__dataclass_fields__}
    chosen["backbones"] = tuple(options.backbones or EnsembleOptions.backbones)
    record = train_ensemble(
        options.data,
        options.out,
        EnsembleOptions(**chosen),
        options.overwrite,
        show_progress("read"),
        partial(_say, "train-ensemble"),
        options.resume,
    )
    calibration = record["calibration"]
    print(
        f"{options.out}: {record['networks']} networks in {record['members']} members, trained on "
        f"{sum(record['faces'])} faces, calibrated on {calibration['faces']} ({calibration['split']})"
    )
    return 0


def _add_train_au(verbs) -> None:
    text = "train a network that sees action units, on a table of them"
    verb = add_verb(verbs, "train-au", _train_au, text, "data", "table", "out")
    verb.add_argument("--action-unit-scale", type=float, help="largest possible number in the table")
    verb.add_argument("--image-size", type=int, help="pixels; default: that of the first picture")
    verb.add_argument("--epochs", type=float, default=20)
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--resume", action="store_true", help="there has to be an interrupted run to go on with")


def _train_au(options) -> int:
    from ..labelling.action_units.model import ActionUnitOptions, train_action_units
    from ..labelling.action_units.tables import describe_problems, read_action_units

    table = read_action_units(options.table, options.action_unit_scale)
    for line in describe_problems(table.problems):
        _say("train-au", line)
    chosen = ActionUnitOptions(image_size=options.image_size, epochs=options.epochs, seed=options.seed)
    record = train_action_units(
        options.data, table, options.out, chosen, options.overwrite, show_progress("read"), options.resume
    )
    choosing = record["choosing"]
    print(
        f"{options.out}: {len(record['units'])} units, mean absolute error {choosing['mean_absolute_error']:.3f} on "
        f"{choosing['faces']} faces of the validation split; their mean {choosing['error_of_training_mean']:.3f}"
    )
    return 0


def _add_label(verbs) -> None:
    text = "give pictures soft labels by an ensemble and action units, as an AffectNet+ tree"
    verb = add_verb(verbs, "label", _label, text, "images", "out")
    verb.add_argument("--ensemble", required=True, metavar="M", help="folder that train-ensemble wrote")
    units = verb.add_mutually_exclusive_group()
    units.add_argument("--action-units", metavar="CSV", help="table of OpenFace 2 or 3, py-feat, LibreFace, or draw")
    units.add_argument("--au-model", dest="action_unit_model", metavar="M", help="folder that train-au wrote")
    verb.add_argument("--action-unit-scale", type=float, metavar="X", help="largest possible number in the table")
    verb.add_argument(
        "--fusion", metavar="JSON", help="what fit-fusion wrote; default: a product in which the ensemble weighs .8"
    )
    verb.add_argument(
        "--human-label", action="store_true", help="the human label is a source too, if the fusion was fitted with it"
    )
    verb.add_argument(
        "--metadata",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="WHAT",
        help=f"of {','.join(METADATA)}, found in the pictures by --landmark-model",
    )
    verb.add_argument("--landmark-model", metavar="F", help=".task of MediaPipe, .onnx with 68 points, .dat of dlib")
    verb.add_argument("--landmark-detector", metavar="F", help=".onnx that finds faces, for a .onnx")
    tables = verb.add_mutually_exclusive_group()
    tables.add_argument("--deepface", metavar="F", help="DeepFace's results: age, gender, race")
    tables.add_argument("--fairface", metavar="F", help="FairFace's results: gender, race")
    verb.add_argument("--batch-size", type=int, default=LabelOptions.batch_size)
    verb.add_argument(
        "--shard",
        metavar="i/n",
        help="label every n-th chunk from the i-th on, counted from 0; under "
        "torchrun or accelerate launch this comes by itself",
    )
    verb.add_argument("--resume", action="store_true", help="there has to be an interrupted run to go on with")


def _label(options) -> int:
    from ..labelling.label import format_account, label, parse_shard

    chosen = {name: value for name, value in vars(options).items() if name in LabelOptions.__dataclass_fields__}
    shard = parse_shard(options.shard) if options.shard else None
    with show_bars() as progress:
        record = label(
            options.images,
            options.out,
            LabelOptions(**chosen),
            shard,
            options.overwrite,
            progress,
            partial(_say, "label"),
            options.resume,
        )
    if record is not None:
        print(f"{options.out}: {format_account(record)}")
    return 0


def _add_fit_fusion(verbs) -> None:
    text = "fit how label combines its branches to soft labels that are known, such as votes"
    verb = add_verb(verbs, "fit-fusion", _fit_fusion, text, "labelled", "data", "out", overwrite=False)
    verb.add_argument("--method", choices=("mean", "product", "stacking", "softmax"), default="stacking")
    verb.add_argument("--human-label", action="store_true", help="the human label is a source (stacking, softmax)")
    verb.add_argument("--view", default="default")
    verb.add_argument("--split", default="train")
    verb.add_argument("--folds", type=int, default=5)
    verb.add_argument("--seed", type=int, default=0)


def _fit_fusion(options) -> int:
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
    return 0
