"""Make the model that the package ships of weights that `gpu.py --plan final` wrote.

    python benchmarks/gpu_ship.py WEIGHTS FIGURES PREPARED OUT --commit C --finished DATE [--hardware NAME]

WEIGHTS is student-N.safetensors, FIGURES the final.json beside it, PREPARED the prepared folder of FER+ (protocol A,
without leaks), OUT the model folder, such as modeling/pretrained/ferplus. The model is calibrated on the 5 % of the
training faces that no teacher and no student saw, measured on the validation split, and staged as `publish` would.
Weights are stored in float16; the configuration says float32, which is what they are computed in once loaded.

Where only the card or the code changed, `renew` writes the folder anew from what lies in it, weights untouched:

    python -c "import sys; sys.path.append('benchmarks'); import gpu_ship; gpu_ship.renew()"
"""

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import datasets
import numpy as np
import torch
import transformers
from gpu import held_back
from gpu_plans import STUDENT, final
from safetensors.torch import load_file, save_file

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.cli import main as affectnet_plus
from affectnet_plus_modeling.evaluation.calibrate import calibrate
from affectnet_plus_modeling.files import write_json
from affectnet_plus_modeling.preparing.manifest import about
from affectnet_plus_modeling.publishing.publish import stage
from affectnet_plus_modeling.shipped import pretrained
from affectnet_plus_modeling.training.saving import save_model
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels

SIDE = 48
NAME = "ferplus"
WATTS = 700.0  # of an H200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("weights", "figures", "prepared", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--commit", required=True, help="that gpu.py ran at")
    parser.add_argument("--hardware", default="NVIDIA H200, three models side by side")
    parser.add_argument("--finished", required=True, help="date of the run")
    options = parser.parse_args()
    run = next(run for group in final(False) for run in group.runs if run.name == options.weights.stem)
    figures = json.loads(options.figures.read_text())[run.name]
    trained = replace(
        run.options,
        size="tiny",
        image_size=SIDE,
        patch_size=8,
        holdout=0.05,
        bf16=True,
        teachers=run.teachers,
        teaching=run.teaching,
        max_grad_norm=run.max_grad_norm,
        epochs=figures["epochs"],
    )
    with tempfile.TemporaryDirectory() as work:
        model = Path(work, "model")
        write_model(trained, options.weights, model)
        data = datasets.load_dataset(str(options.prepared), split="train")
        held = held_back(len(data))
        write_json(model / "training.json", record(options, trained, figures, data, held))
        calibrate(str(model), data.select(np.flatnonzero(held)))
        if affectnet_plus(["evaluate", str(model), str(options.prepared)]):
            raise SystemExit("the evaluation failed")
        stage(model, options.out, overwrite=True, repo_id=NAME)


def renew() -> None:
    stage(pretrained(), pretrained(), overwrite=True, repo_id=NAME)


def write_model(options, weights: Path, folder: Path) -> None:
    config = AffectNetPlusConfig(
        **STUDENT,
        image_size=SIDE,
        patch_size=8,
        loss=options.loss,
        drop_path_rate=options.drop_path,
        classifier_dropout=options.classifier_dropout,
        valence_arousal_weight=0.0,
    )
    model = AffectNetPlusForSoftLabels(config).eval()
    model.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    save_model(model, SIDE, folder)
    stored = load_file(folder / "model.safetensors")
    halved = {name: value.half() if value.is_floating_point() else value for name, value in stored.items()}
    save_file(halved, folder / "model.safetensors", metadata={"format": "pt"})


def record(options, trained, figures: dict, data: datasets.Dataset, held: np.ndarray) -> dict:
    """What `affectnet-plus train` would have written as training.json."""
    steps = figures["epochs"] * (int((~held).sum()) // trained.batch_size)
    hours = figures["seconds"] / 3600
    validation = len(datasets.load_dataset(str(options.prepared), split="validation"))
    return {
        "options": asdict(trained) | {"augmentation": asdict(trained.augmentation)},
        "data": about(options.prepared),
        "emotions": list(EMOTIONS),
        "training_faces": int((~held).sum()),
        "left_out": 0,
        "never_drawn": 0,
        "choosing_faces": int(held.sum()),
        "rows": {"train": len(data), "validation": validation},
        "train_mean_soft_label": np.mean(data["soft_label_normalized"], axis=0).tolist(),
        "parameters": figures["parameters"],
        "steps": steps,
        "best_step": steps,
        "best_objective": figures["held_back"]["kl"],
        "log": [],
        "clock": {"parts": [figures["seconds"]], "log": []},
        "finished": options.finished,
        "seconds": figures["seconds"],
        "processes": 1,
        "hardware": options.hardware,
        "energy": {
            "watts": [WATTS / 4, WATTS],
            "kilowatt_hours": [round(WATTS / 4 * hours / 1000, 3), round(WATTS * hours / 1000, 3)],
            "assumption": f"from 25% of the GPU's power limit of {WATTS:.0f} W to all of it",
        },
        "commit": options.commit,
        "versions": {"python": "3.12.3", "torch": "2.11.0+cu130", "transformers": "5.17.0"},
    }


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    main()
