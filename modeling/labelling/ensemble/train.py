"""One ensemble: prepared data with hard labels in, a folder of binary classifiers out, cross-fitted.

Soft labels of the data are not looked at. For each backbone, seed and fold a *trunk* learns the eight emotions from
the other folds; from it start eight binary classifiers. The trunk also says which negatives are hard. Faces of
the fold are labelled by networks that never saw them.

A network that is done is a file in `<out>.training`, so the same command goes on after it was killed, and several
processes that run it share the work.
"""

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
import xxhash
from filelock import FileLock, Timeout
from safetensors.torch import load
from scipy.special import softmax
from transformers import AutoConfig, AutoModelForImageClassification

from affectnet_plus import EMOTIONS

from ...checkpoints import check_start
from ...data.dataset import FaceDataset, first_side, load_prepared
from ...files import fresh_folder, led_to, read_json, refuse_existing, write_json, written_whole
from ...preparing.manifest import About, about
from ...shipped import model_folder
from ...stages import Progress, silent
from ...training.options import SIZES, patch_for
from ...training.saving import save_processor
from ...training.work_folder import CHECKPOINT_FORMAT
from ...unfinished import alone, begin, demand, is_kept, keep, kept, remove
from ...vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from .calibration import fit_calibration
from .card import ensemble_card
from .fit import LabelledDraws, ask_network, fit
from .model import ALL_FOLDS, BinaryEnsemble, BinaryEnsembleConfig, log_odds, make_network
from .options import EFFICIENTNET_B3, OWN_BACKBONES, RESNET, RESNET_50, EnsembleOptions
from .sampling import balanced_draws
from .seen import SEEN_FILE, assign_folds, pixel_digests, write_seen

OUT_OF_FOLD_FILE = "out_of_fold.parquet"  # one row a face of the data, so it is never published


@dataclass(frozen=True)
class Unit:
    """What one process trains in one go: the trunk and the eight classifiers of a backbone, a seed and a fold."""

    backbone: int
    seed: int
    fold: int

    @property
    def name(self) -> str:
        return f"backbone{self.backbone}-seed{self.seed}-fold{self.fold}"


@dataclass(frozen=True)
class Training:
    """The faces of a run, and what is derived from them before the first network."""

    faces: FaceDataset
    labels: np.ndarray
    folds: np.ndarray
    digests: np.ndarray
    backbones: list[dict]
    options: EnsembleOptions
    work: Path

    @cached_property
    def units(self) -> list[Unit]:
        o = self.options
        return [
            Unit(backbone, seed, fold)
            for backbone in range(len(o.backbones))
            for seed in range(o.seed, o.seed + o.seeds)
            for fold in range(o.folds)
        ]

    def known(self, fold: int) -> np.ndarray:
        """Rows that a unit of this fold is trained on."""
        return np.flatnonzero(self.folds != fold) if self.options.folds > 1 else np.arange(len(self.labels))

    def held(self, fold: int) -> np.ndarray:
        """Rows of the fold, which its units never see; none without cross-fitting."""
        return np.flatnonzero(self.folds == fold) if self.options.folds > 1 else np.arange(0)


class CalibrationFacts(TypedDict):
    """How the confidences of an ensemble were made, and on how many faces."""

    kind: str
    split: str
    faces: int


class EnsembleRecord(TypedDict):
    """What `train_ensemble` returns and training.json of an ensemble holds."""

    options: dict[str, Any]
    emotions: list[str]
    faces: list[int]  # of each emotion
    members: int
    networks: int
    calibration: CalibrationFacts
    versions: dict[str, str]
    data: About


def train_ensemble(
    data,
    out,
    options: EnsembleOptions,
    overwrite: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
    resume: bool = False,
) -> EnsembleRecord:
    """Train on the `train` split of the prepared folder `data` and write the ensemble's folder `out`.

    Args:
        say: is told which network is trained, with an estimate of what is left.

    Returns:
        What is written as `training.json`.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
        FileNotFoundError: `data` is no prepared folder, or there is no run to resume.
        ValueError: an interrupted run had other options or data, and `overwrite` is false; an emotion has
            no face, or fewer than folds; without cross-fitting there is no validation split to calibrate on.
    """
    out = led_to(out).resolve()
    work = out.with_name(out.name + ".training")
    refuse_existing(out, overwrite)
    demand(work, resume)
    splits = load_prepared(data, options.view)
    if "train" not in splits or (options.folds == 1 and "validation" not in splits):
        raise ValueError(f"the data has the splits {list(splits)}; needed are train, and validation with --folds 1")
    run = _faces(splits["train"], work, options, progress)
    with alone(out, say):
        refuse_existing(out, overwrite)  # another process may have finished meanwhile
        begin(work, _identity(run), resume, overwrite)
    try:
        _train_units(run, say)
    except FileNotFoundError:  # another process has put the ensemble together meanwhile, and removed the work
        if run.work.exists():
            raise
    with alone(out, say):
        if not run.work.exists():  # another process that shared the work has put the ensemble together
            return read_json(out / "training.json", EnsembleRecord, "train again with --overwrite")
        return _assemble(run, splits, data, out, overwrite)


def _assemble(run: Training, splits, data, out: Path, overwrite: bool) -> EnsembleRecord:
    options = run.options
    judged, logits, labels = _unseen(run, splits)
    calibration = fit_calibration(options.calibration, logits, labels, judged)
    record = _record(run, calibration, about(data))
    with fresh_folder(out, overwrite) as folder:
        _ensemble(run, calibration).save_pretrained(folder)
        save_processor(run.faces.image_size, folder)
        write_seen(folder / SEEN_FILE, run.digests, run.folds)
        if options.folds > 1:
            _write_out_of_fold(run, logits, folder / OUT_OF_FOLD_FILE)
        write_json(folder / "training.json", record)
        (folder / "README.md").write_text(ensemble_card(out.name, record), encoding="utf-8")
    remove(run.work)
    return record


def _faces(split, work: Path, options: EnsembleOptions, progress: Progress) -> Training:
    size = options.image_size or first_side(split)
    faces = FaceDataset(split, size, "hard", progress)
    labels = faces.labels.numpy()
    if (labels < 0).any():
        raise ValueError(f"{int((labels < 0).sum())} faces have no label, such as {faces.image_ids[labels.argmin()]}")
    starts = range(0, len(faces), 1024)
    pixels = (faces.batch(range(start, min(start + 1024, len(faces))))["pixels"] for start in starts)
    digests = np.concatenate([pixel_digests(block.permute(0, 2, 3, 1).numpy()) for block in pixels])
    folds = assign_folds(labels, digests, options.folds, options.seed)
    backbones = [_backbone(name, size) for name in options.backbones]
    return Training(faces, labels, folds, digests, backbones, options, work)


def _identity(run: Training) -> dict:
    """Networks of an interrupted run are only gone on with for the very same faces, labels and options."""
    faces = xxhash.xxh3_64_hexdigest(run.digests.tobytes() + run.labels.tobytes())
    return {"options": asdict(run.options), "faces": faces, "checkpoint format": CHECKPOINT_FORMAT}


def _backbone(name: str, size: int) -> dict:
    """The configuration of a two-class network, as a dict."""
    names = {"id2label": {0: "rest", 1: "emotion"}}
    of_transformers: dict[str, dict] = {"resnet": RESNET, "resnet-50": RESNET_50, "efficientnet-b3": EFFICIENTNET_B3}
    if name in of_transformers:
        return AutoConfig.for_model(**(of_transformers[name] | names)).to_dict()
    if name in SIZES:
        patch = patch_for(size)
        shape = {"image_size": size, "patch_size": patch, "valence_arousal_weight": 0.0}
        return AffectNetPlusConfig(**(SIZES[name] | names | shape)).to_dict()
    if Path(model_folder(name)).is_dir():
        check_start(model_folder(name))
    if _is_ours(name):
        return _from_ours(name, size, names["id2label"]).config.to_dict()
    return AutoConfig.from_pretrained(model_folder(name), **names).to_dict()


def _is_ours(name: str) -> bool:
    """Whether a checkpoint is a model of this package, or the name of one that comes with it."""
    return AutoConfig.from_pretrained(model_folder(name)).model_type == AffectNetPlusConfig.model_type


def _from_ours(name: str, size: int, names: dict[int, str]) -> AffectNetPlusForSoftLabels:
    """Stem and encoder of a model of ours under new heads; what its old heads were calibrated to does not hold."""
    return AffectNetPlusForSoftLabels.from_faces(
        model_folder(name), id2label=names, image_size=size, valence_arousal_weight=0.0
    )


# --- the networks ----------------------------------------------------------------------------------------------------


def _train_units(run: Training, say: Callable[[str], None]) -> None:
    """Train every unit that no other process trains; then wait for those of the others, or take them over."""
    for patience in (0, -1):
        for number, unit in enumerate(run.units, start=1):
            folder = run.work / unit.name
            folder.mkdir(exist_ok=True)
            try:
                with FileLock(folder / "lock", timeout=patience):
                    if not _is_done(run, unit, folder):
                        say(f"{unit.name}: {number} of {len(run.units)}")
                        _train_unit(run, unit, folder, say)
            except Timeout:
                say(f"{unit.name}: another process has it")


def _is_done(run: Training, unit: Unit, folder: Path) -> bool:
    files = [f"{name}.safetensors" for name in EMOTIONS] + ["held.npz"] * bool(len(run.held(unit.fold)))
    return (folder / "done.json").exists() and all(is_kept(folder / name) for name in files)


def _train_unit(run: Training, unit: Unit, folder: Path, say: Callable[[str], None]) -> None:
    options, rows, held = run.options, run.known(unit.fold), run.held(unit.fold)
    seed = unit.seed * 1000 + unit.fold
    trunk = _trunk(run, unit, folder, rows, seed)
    confusion = softmax(ask_network(trunk, run.faces, rows), axis=1) if trunk else None
    found = {"trunk": softmax(ask_network(trunk, run.faces, held), axis=1)} if trunk and len(held) else {}
    columns = []
    for code, name in enumerate(EMOTIONS):
        say(f"{unit.name}: {name}")
        rng = np.random.default_rng([seed, code])
        hard = None if confusion is None else confusion[:, code]
        places, classes = balanced_draws(
            run.labels[rows], code, hard, options.epochs, options.fewest_positives, options.hard_negatives, rng
        )
        network = fit(
            lambda: _from_trunk(run, unit, trunk),
            LabelledDraws(run.faces, rows[places], classes),
            1,
            options.binary_learning_rate if trunk else options.learning_rate,
            options.label_smoothing,
            seed * 10 + code + 1,
            options,
            folder / f"{name}.safetensors",
        )
        if len(held):
            columns.append(_log_odds(network, run.faces, held))
    if columns:
        found["log_odds"] = np.stack(columns, axis=1)
        content = io.BytesIO()
        np.savez(content, rows=held, **found)
        keep(folder / "held.npz", content.getbuffer())
    write_json(folder / "done.json", {"trained_on": len(rows), "held": len(held)})


def _trunk(run: Training, unit: Unit, folder: Path, rows: np.ndarray, seed: int):
    """The network of eight classes from which the binary ones start; None where they start at once."""
    if not run.options.trunk_epochs:
        return None
    return fit(
        lambda: _start(run, unit, len(EMOTIONS)),
        LabelledDraws(run.faces, rows, run.labels[rows]),
        run.options.trunk_epochs,
        run.options.learning_rate,
        0.0,
        seed * 10,
        run.options,
        folder / "trunk.safetensors",
    )


def _start(run: Training, unit: Unit, classes: int):
    """A new network of the unit's backbone, or its checkpoint, with a head of so many classes."""
    name, backbone = run.options.backbones[unit.backbone], run.backbones[unit.backbone]
    names = {index: str(index) for index in range(classes)}
    if name in OWN_BACKBONES:
        return make_network(backbone | {"id2label": names, "label2id": None})
    if backbone["model_type"] == AffectNetPlusConfig.model_type:
        return _from_ours(name, run.faces.image_size, names)
    return AutoModelForImageClassification.from_pretrained(
        model_folder(name),
        id2label=names,
        label2id={v: k for k, v in names.items()},
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
        use_safetensors=True,
    )


def _from_trunk(run: Training, unit: Unit, trunk):
    """A two-class network with everything of the trunk but its head."""
    network = _start(run, unit, 2)
    if trunk is not None:
        fresh = network.state_dict()
        body = {name: value for name, value in trunk.state_dict().items() if value.shape == fresh[name].shape}
        network.load_state_dict(fresh | body)
    return network


# --- what comes out --------------------------------------------------------------------------------------------------


def _unseen(run: Training, splits) -> tuple[str, np.ndarray, np.ndarray]:
    """What to calibrate on: its name, log-odds of networks that did not see those faces, and their hard labels."""
    if run.options.folds > 1:
        return "train, each face by the networks that did not see it", _held(run, "log_odds", run.units), run.labels
    faces = FaceDataset(splits["validation"], run.faces.image_size, "hard")
    rows = np.flatnonzero(faces.labels.numpy() >= 0)
    networks = [_networks(run, unit) for unit in run.units]
    each = [[_log_odds(network, faces, rows) for network in member] for member in networks]
    return "validation", np.mean(each, axis=0).T, faces.labels.numpy()[rows]


def _log_odds(network, faces: FaceDataset, rows: np.ndarray) -> np.ndarray:
    return log_odds(torch.from_numpy(ask_network(network, faces, rows))).numpy()


def _held(run: Training, what: str, units: list[Unit]) -> np.ndarray:
    """Mean over the units of what they say of the faces that they did not see, in the order of the faces."""
    total = np.zeros((len(run.labels), len(EMOTIONS)))
    for unit in units:
        with np.load(io.BytesIO(kept(run.work / unit.name / "held.npz")), allow_pickle=False) as stored:
            total[stored["rows"]] += stored[what]
    return total / (len(units) / run.options.folds)


def _networks(run: Training, unit: Unit) -> list:
    """The eight trained networks of a unit."""
    networks = [_start(run, unit, 2) for _ in EMOTIONS]
    for name, network in zip(EMOTIONS, networks, strict=True):
        network.load_state_dict(load(kept(run.work / unit.name / f"{name}.safetensors")))
    return networks


def _ensemble(run: Training, calibration: dict) -> BinaryEnsemble:
    cross_fitted = run.options.folds > 1
    members = [
        {"backbone": unit.backbone, "seed": unit.seed, "fold": unit.fold if cross_fitted else ALL_FOLDS}
        for unit in run.units
    ]
    config = BinaryEnsembleConfig(
        image_size=run.faces.image_size, backbones=run.backbones, members=members, calibration=calibration
    )
    model = BinaryEnsemble(config)
    for own, unit in zip(model.members, run.units, strict=True):
        for network, trained in zip(own, _networks(run, unit), strict=True):  # type: ignore[call-overload]
            network.load_state_dict(trained.state_dict())
    return model


def _write_out_of_fold(run: Training, logits: np.ndarray, file: Path) -> None:
    columns = {"image_id": pa.array(run.faces.image_ids), "fold": pa.array(run.folds, pa.int16())}
    columns["log_odds"] = pa.array(list(logits), pa.list_(pa.float64(), len(EMOTIONS)))
    if run.options.trunk_epochs:  # what one ordinary classifier says, to compare with
        first = [unit for unit in run.units if unit.backbone == 0 and unit.seed == run.options.seed]
        columns["trunk"] = pa.array(list(_held(run, "trunk", first)), pa.list_(pa.float64(), len(EMOTIONS)))
    with written_whole(file) as partial:
        pq.write_table(pa.table(columns), partial)


def _record(run: Training, calibration: dict, data: About) -> EnsembleRecord:
    names = [Path(name).name if Path(name).is_dir() else name for name in run.options.backbones]
    return {
        "options": asdict(run.options) | {"image_size": run.faces.image_size, "backbones": names},
        "emotions": list(EMOTIONS),
        "faces": np.bincount(run.labels, minlength=len(EMOTIONS)).tolist(),
        "members": len(run.units),
        "networks": len(run.units) * len(EMOTIONS),
        "calibration": {
            "kind": calibration["kind"],
            "split": calibration["split"],
            "faces": calibration["faces"],
        },
        "versions": {
            "affectnet-plus": version("affectnet-plus"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "data": data,
    }
