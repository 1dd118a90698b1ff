"""The GPU's part in one command of some minutes: the recipe of FER+ with its ablations, and throughput.

    python benchmarks/gpu.py PACK OUT --plan search|final [--minutes 5] [--before FOLDER] [--throughput]

PACK is what `gpu_pack.py` wrote; it holds the package, so that torch, transformers, NumPy and Pillow are all that is
needed. OUT gets `<plan>.json` (figures of every run), `<plan>.log`, weights of the runs that the plan keeps as
safetensors in float16, and `throughput.json`. Runs whose weights lie in FOLDER are not trained again: a second call
goes on where a first one ended. On a CPU with --tiny everything is tried with small numbers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

Image.MAX_IMAGE_PIXELS = None  # the sheets are ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plan", required=True)
    parser.add_argument("--minutes", type=float, default=5.0, help="after which trainings are cut short")
    parser.add_argument("--before", type=Path, help="OUT of an earlier call")
    parser.add_argument("--throughput", action="store_true", help="measure ViT-S and ViT-B at 224 pixels too")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    began = time.time()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, open(options.out / f"{options.plan}.log", "w") as log:
        with zipfile.ZipFile(options.pack) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith("code/")])
            code = Path(folder, "code")
            sys.path[:0] = [str(code), str(Path(__file__).parent)]

            def say(text: str) -> None:
                line = f"[{time.time() - began:6.1f}] {text}"
                print(line, flush=True)
                print(line, file=log, flush=True)

            measuring = start_throughput(options, code) if options.throughput else None
            sets = {name: read_faces(archive, name) for name in ("train", "validation", "drawn")}
        say(", ".join(f"{len(faces['pixels'])} {name}" for name, faces in sets.items()))
        run_plan(options, sets, began + 60 * options.minutes, say)
        if measuring:
            (options.out / "trained").touch()
            measuring.wait()
            (options.out / "trained").unlink()
            say("done")


def start_throughput(options, code: Path) -> subprocess.Popen:
    script = Path(__file__).with_name("gpu_throughput.py")
    words = [script, options.out, "--wait", options.out / "trained", *(["--tiny"] if options.tiny else [])]
    return subprocess.Popen([sys.executable, *map(str, words)], env={**os.environ, "PYTHONPATH": str(code)})


def read_faces(archive: zipfile.ZipFile, name: str) -> dict[str, torch.Tensor]:
    arrays = dict(np.load(BytesIO(archive.read(f"{name}.npz")), allow_pickle=False))
    count = int(arrays.pop("count"))
    sheet = np.asarray(Image.open(BytesIO(archive.read(f"{name}.picture"))))
    across = sheet.shape[1] // 48
    pixels = sheet.reshape(-1, 48, across, 48).transpose(0, 2, 1, 3).reshape(-1, 48, 48)[:count]
    if name == "train":
        pixels = pixels << 1 | pixels >> 6  # seven bits, over the whole range again
    return {"pixels": torch.from_numpy(np.ascontiguousarray(pixels))} | {
        key: torch.from_numpy(value) for key, value in arrays.items()
    }


def run_plan(options, sets, deadline: float, say) -> None:
    from gpu_plans import PLANS
    from gpu_training import Training, figures, grey_only, probabilities, train_together

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sets = {name: {key: value.to(device) for key, value in faces.items()} for name, faces in sets.items()}
    held = held_back(len(sets["train"]["pixels"]))
    subsets = {"all": sets["train"], "most": taken(sets["train"], held, False), "drawn": sets["drawn"]}
    choosing, validation = taken(sets["train"], held, True), sets["validation"]
    models: dict[str, torch.nn.Module] = {}
    results: dict[str, dict] = {}

    def measured(models_of, mirror: bool, faces) -> dict:
        found = probabilities(models_of, faces["pixels"], mirror)
        return figures(found, faces["soft_labels"], faces["labels"], faces.get("in_b"))

    def brief(training) -> str:
        now = measured([training.averaged()], False, validation)
        return " ".join(f"{now[name]:.3f}" for name in ("accuracy_a", "accuracy_b", "balanced_a", "kl"))

    for number, group in enumerate(PLANS[options.plan](options.tiny)):
        trainings = []
        for run in group.runs:
            training = Training(run, subsets[run.faces], models, device)
            models[run.name] = training.averaged()
            kept = options.before and options.before / f"{run.name}.safetensors"
            if kept and kept.exists():
                weights = {name: value.float() for name, value in load_file(kept).items()}
                training.averaged().load_state_dict(training.averaged().state_dict() | weights)
                say(f"{run.name}: taken from {options.before.name}")
            else:
                trainings.append(training)
        now = time.time()
        train_together(trainings, min(now + 60 * group.minutes, deadline), say, brief)
        for training in trainings:
            run, model = training.run, training.averaged()
            if group.keep:
                grey_only(model)
                tensors = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
                save_file(
                    {k: v.cpu().contiguous() for k, v in tensors.items()}, options.out / f"{run.name}.safetensors"
                )
            results[run.name] = {
                "epochs": training.done,
                "seconds": round(training.seconds, 1),
                "parameters": sum(value.numel() for value in model.parameters()),
                "mean_loss": round(float(training.total_loss) / max(int(training.step), 1), 4),
                "validation": measured([model], False, validation),
                "validation_mirror": measured([model], True, validation),
                **({"held_back": measured([model], False, choosing)} if run.faces == "most" else {}),
            }
            say(f"{run.name}: {json.dumps(results[run.name])}")
        if group.together:
            members = [models[run.name] for run in group.runs]
            name = f"ensemble of group {number}"
            results[name] = {"validation_mirror": measured(members, True, validation)}
            say(f"{name}: {json.dumps(results[name])}")
        (options.out / f"{options.plan}.json").write_text(json.dumps(results, indent=2))


def held_back(count: int) -> np.ndarray:
    """5 % of the training faces, as `affectnet-plus train --holdout 0.05 --seed 0` chooses them."""
    order = np.random.default_rng(0).permutation(count)
    chosen = np.zeros(count, dtype=bool)
    chosen[order[: round(count * 0.05)]] = True
    return chosen


def taken(faces: dict, rows: np.ndarray, those: bool) -> dict:
    mask = torch.from_numpy(rows == those)
    return {name: value[mask.to(value.device)] for name, value in faces.items()}


if __name__ == "__main__":
    main()
