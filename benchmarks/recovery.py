"""How near the soft labels of each branch, and of their fusion, come to the true ones of drawn faces.

    python benchmarks/recovery.py WORK [--faces 2000] [--seed 0]

WORK keeps the drawn faces, a cross-fitted ensemble (EBC) and a network for action units; what is there already is not
made again, and a training that was cut off goes on. Four fifths of --faces are judged: the train split. Its true soft
labels are what the faces were drawn from. The ensemble sees none of them, but one hard label a face, which an
imagined annotator draws from the square of the soft label; each face is answered by networks that did not see it. The
action-unit branch (AU) is scored twice: from the exact table that is written with the faces, and from what a network
sees in them. That network learnt from as many other drawn faces, of the next seed.

Their product (×) is `fusion.DEFAULT`, with nothing fitted. Stacking is fitted to the true soft labels, each face by
the others; people who have such labels for a part of their faces can do the same. As the fit alone makes a branch
better, each is stacked alone too. The constant is the judged faces' mean soft label. Intervals are 95 %, by bootstrap
over faces. The table has no error and every unit of a drawn face shows: the figures are no forecast for photographs.

Figures go to benchmarks/results/recovery-<date>-<commit>.csv, the picture to benchmarks/results/recovery.png.
"""

import argparse
import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from measuring import RESULTS, commit, hardware, write_csv

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared
from affectnet_plus_modeling.evaluation.agreement import agreement
from affectnet_plus_modeling.evaluation.bootstrap import bootstrap_mean
from affectnet_plus_modeling.evaluation.pictures.style import FAINT, INK, PREDICTED_COLOUR, QUIET, TRUE_COLOUR
from affectnet_plus_modeling.labelling.action_units.emotions import score_emotions
from affectnet_plus_modeling.labelling.action_units.model import (
    ActionUnitOptions,
    load_action_unit_model,
    predict_action_units,
    train_action_units,
)
from affectnet_plus_modeling.labelling.action_units.tables import match_images, read_action_units
from affectnet_plus_modeling.labelling.ensemble.calibration import apply_calibration
from affectnet_plus_modeling.labelling.ensemble.model import load_ensemble
from affectnet_plus_modeling.labelling.ensemble.options import EnsembleOptions
from affectnet_plus_modeling.labelling.ensemble.train import OUT_OF_FOLD_FILE, train_ensemble
from affectnet_plus_modeling.labelling.fitting import cross_fitted
from affectnet_plus_modeling.labelling.fusion import DEFAULT, Sources, absent, normalised
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.synthetic import draw_tree
from affectnet_plus_modeling.sources.synthetic.draw import ACTION_UNIT_FILE
from affectnet_plus_modeling.training.options import Augmentation

SIZE = 48
MEASURES = {
    "mae": "mean absolute error of the 8 confidences",
    "kl": "KL divergence to the true soft label, nats",
    "spearman": "Spearman of the 8",
    "top_1": "largest of the 8 is the same",
    "subset": "subset is the same",
}
COLUMNS = (
    "source",
    "faces",
    *(name + end for name in MEASURES for end in ("", "_low", "_high")),
    *(f"mae_{emotion}" for emotion in EMOTIONS),
    "seed",
    "hardware",
    "versions",
    "commit",
    "command",
)
CONSTANT = "mean soft label"
ALONE = " stacked alone"
# One for each emotion, in their order: Okabe & Ito's palette, with a grey for its yellow, which is too pale for lines.
COLOURS = ("#000000", PREDICTED_COLOUR, TRUE_COLOUR, "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#999999")
EDGES = np.array([-1, 0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1])  # of true confidences; the first bin is exactly 0
FEWEST = 10  # faces of a bin that is shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tree = draw(options.work, options.faces, options.seed)
    faces = FaceDataset(load_prepared(tree / "prepared", "default", "train"), SIZE, "hard")
    truth = true_confidences(tree / "prepared")
    sources = recover(options, tree, faces, truth)
    labels = faces.labels.numpy()
    common = {
        "faces": len(truth),
        "seed": options.seed,
        "hardware": hardware(),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "pillow")),
        "commit": commit(),
        "command": f"recovery.py WORK --faces {options.faces} --seed {options.seed}",
    }
    rows = [common | {"source": name} | judge(truth, found, labels) for name, found in sources.items()]
    write_csv(RESULTS / f"recovery-{datetime.date.today().isoformat()}-{commit()}.csv", COLUMNS, rows)
    for row in rows:
        print(f"{row['source']:24}", "  ".join(f"{name} {row[name]:.3f}" for name in MEASURES))
    picture(truth, sources, rows, RESULTS / "recovery.png")


# --- the branches ----------------------------------------------------------------------------------------------------


def recover(options, tree: Path, faces: FaceDataset, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Confidences (n, 8) by the name of their source."""
    others = draw(options.work, options.faces, options.seed + 1)
    ensemble = ensemble_confidences(tree, faces)
    table, network = table_scores(tree, faces), network_scores(others, faces)
    sources = {CONSTANT: np.broadcast_to(truth.mean(axis=0), truth.shape), "EBC": ensemble}
    for name, units in {"AU table": table, "AU network": network}.items():
        both = Sources(ensemble, units)
        sources[name] = units
        sources[f"EBC × {name}"] = DEFAULT.apply(both)[0]
        sources[f"EBC & {name} stacked"] = cross_fitted("stacking", both, truth)[0]
    for name, alone in {
        "EBC": (ensemble, absent(len(truth))),
        "AU table": (absent(len(truth)), table),
        "AU network": (absent(len(truth)), network),
    }.items():
        sources[f"{name}{ALONE}"] = cross_fitted("stacking", Sources(*alone), truth)[0]
    return sources


def draw(work: Path, count: int, seed: int) -> Path:
    """The folders tree/ and prepared/ of so many faces."""
    folder = work / f"faces-{count}-seed{seed}"
    if not (folder / "tree").exists():
        draw_tree(folder / "tree", count, seed)
    if not (folder / "prepared").exists():
        prepare(folder / "tree", folder / "prepared")
    return folder


def true_confidences(prepared: Path) -> np.ndarray:
    """(n, 8) soft labels of the train split, as they were drawn from."""
    return np.array(load_prepared(prepared, "default", "train")["soft_label"])


def ensemble_confidences(tree: Path, faces: FaceDataset) -> np.ndarray:
    folder = tree / "ensemble"
    if not folder.exists():
        train_ensemble(
            tree / "prepared",
            folder,
            EnsembleOptions(
                backbones=("resnet",),
                folds=2,
                image_size=SIZE,
                trunk_epochs=50,
                epochs=2,
                fewest_positives=400,
                batch_size=32,
                augmentation=Augmentation().scaled(0.5),
            ),
        )
    stored = pq.read_table(folder / OUT_OF_FOLD_FILE)
    if stored["image_id"].to_pylist() != faces.image_ids:
        raise ValueError(f"{folder} was trained on other faces. Remove it")
    return apply_calibration(np.array(stored["log_odds"].to_pylist()), load_ensemble(folder).config.calibration)


def table_scores(tree: Path, faces: FaceDataset) -> np.ndarray:
    table = read_action_units(tree / "tree" / ACTION_UNIT_FILE)
    match = match_images(table.names, faces.image_ids)
    if match.missing or match.ambiguous:
        raise ValueError(f"{len(match.missing)} faces are not in the table, {len(match.ambiguous)} are ambiguous")
    return score_emotions(table.values[match.rows], table.units)


def network_scores(others: Path, faces: FaceDataset) -> np.ndarray:
    """From units as a network sees them that was trained on the faces of `others`."""
    folder = others / "action_units"
    if not folder.exists():
        table = read_action_units(others / "tree" / ACTION_UNIT_FILE)
        train_action_units(others / "prepared", table, folder, ActionUnitOptions(image_size=SIZE))
    model = load_action_unit_model(folder)
    blocks = torch.arange(len(faces)).split(256)
    seen = [predict_action_units(model, faces.batch(block.tolist())["pixels"]) for block in blocks]
    return score_emotions(np.concatenate(seen), model.units)


# --- the figures -----------------------------------------------------------------------------------------------------


def judge(truth: np.ndarray, found: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Every measure with its interval, and the mean absolute error of each emotion."""
    errors = np.abs(found - truth)
    rows = agreement(normalised(truth), normalised(found), labels)
    each = {
        "mae": errors.mean(axis=1),
        "kl": rows["kl"],
        "spearman": rows["spearman"],
        "top_1": (found.argmax(axis=1) == truth.argmax(axis=1)).astype(float),
        "subset": rows["subset"],
    }
    mean, low, high = bootstrap_mean(np.stack([each[name] for name in MEASURES], axis=1))
    figures = {f"mae_{emotion}": float(value) for emotion, value in zip(EMOTIONS, errors.mean(axis=0), strict=True)}
    for column, name in enumerate(MEASURES):
        figures |= {name: float(mean[column]), f"{name}_low": float(low[column]), f"{name}_high": float(high[column])}
    return figures


# --- the picture -----------------------------------------------------------------------------------------------------


def picture(truth: np.ndarray, sources: dict[str, np.ndarray], rows: list[dict], path: Path) -> None:
    """A PNG of 1200 x 1050 pixels: recovered against true confidences of each source, then errors as bars."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(12, 10.5), dpi=100, facecolor="white", layout=layout)
    figure.suptitle(
        f"Soft labels recovered from {len(truth):,} drawn faces, against the true ones",
        fontsize=16,
        fontweight="bold",
        color=INK,
    )
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.75, 1))  # type: ignore[misc]
    places = list(upper.subplots(2, 4).ravel())
    key = places.pop(4)  # below the EBC, which has no second row
    shown = [name for name in sources if name != CONSTANT and not name.endswith(ALONE)]
    for axes, name in zip(places, shown, strict=True):
        draw_recovered(axes, truth, sources[name], name)
    key.set_axis_off()
    key.legend(
        *places[0].get_legend_handles_labels(),
        loc="center",
        ncols=1,
        fontsize=11,
        frameon=False,
        labelcolor=INK,
        title="mean of each emotion\n(grey dots: single faces)",
        title_fontsize=11,
    )
    upper.supxlabel("true confidence", fontsize=12, color=INK)
    upper.supylabel("recovered confidence", fontsize=12, color=INK)
    for axes, name in zip(lower.subplots(1, 2, sharey=True), ("mae", "kl"), strict=True):
        draw_bars(axes, rows, name)
    figure.savefig(path, format="png", metadata={"Software": None})
    print(f"written: {path}")


def draw_recovered(axes: Axes, truth: np.ndarray, found: np.ndarray, name: str) -> None:
    """All confidences as dots, and for each emotion the mean of what was recovered, by the true confidence."""
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle="--")
    axes.scatter(truth, found, s=3, color=QUIET, alpha=0.08, linewidths=0, rasterized=True)
    for column, emotion in enumerate(EMOTIONS):
        bins = np.digitize(truth[:, column], EDGES, right=True)
        full = [bins == number for number in range(1, len(EDGES)) if (bins == number).sum() >= FEWEST]
        means = [(truth[own, column].mean(), found[own, column].mean()) for own in full]
        across, up = np.array(means).reshape(-1, 2).T
        axes.plot(across, up, "o-", color=COLOURS[column], markersize=3.5, linewidth=1.5, label=emotion)
    axes.set_title(name, fontsize=12, color=INK)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    style(axes)


def draw_bars(axes: Axes, rows: list[dict], measure: str) -> None:
    """One bar for each source, with its interval and its number; the constant's is the baseline."""
    values = np.array([row[measure] for row in rows])
    low, high = (np.array([row[measure + end] for row in rows]) for end in ("_low", "_high"))
    colours = [QUIET if row["source"] == CONSTANT else TRUE_COLOUR for row in rows]
    axes.barh([row["source"] for row in rows], values, color=colours, height=0.7)
    axes.errorbar(values, range(len(rows)), xerr=(values - low, high - values), fmt="none", ecolor=INK, capsize=3)
    for place, (value, end) in enumerate(zip(values, high, strict=True)):
        axes.annotate(
            f"{value:.3f}", (end, place), (5, 0), textcoords="offset points", va="center", fontsize=11, color=INK
        )
    axes.set_xlim(0, 1.15 * high.max())
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_title(MEASURES[measure], fontsize=12, color=INK)
    style(axes)


def style(axes: Axes) -> None:
    axes.tick_params(labelsize=11, labelcolor=INK, color=FAINT)
    axes.spines[:].set_color(FAINT)


if __name__ == "__main__":
    main()
