"""`make demo`: the main job once, from drawn faces to a published model that is loaded back, in a few minutes."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from affectnet_plus import EMOTIONS

from .cli import main as affectnet_plus

FACES, EPOCHS, IMAGE_SIZE = 1500, 12, 48

# Run by a fresh process in the published folder: nothing but transformers and what was published.
LOAD_BACK = """
from transformers import pipeline
classify = pipeline("image-classification", ".", trust_remote_code=True, top_k=8)
scores = classify(IMAGE)
assert len(scores) == 8 and abs(sum(score["score"] for score in scores) - 1) < 1e-5, scores
print(", ".join(f"{score['label']} {score['score']:.2f}" for score in scores))
"""


def main(folder: str) -> int:
    """Run every step into `folder`, which is made anew; returns 0, or the exit code of the step that failed."""
    began = time.time()
    home = Path(folder)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    raw, ready, model, published = (str(home / name) for name in ("raw", "prepared", "model", "published"))
    steps = [
        ["draw", raw, "-n", str(FACES), "--seed", "0"],
        ["prepare", raw, ready],
        [
            *("train", ready, model, "--size", "mini", "--epochs", str(EPOCHS), "--image-size", str(IMAGE_SIZE)),
            *("--batch-size", "32", "--augmentation", "0"),
        ],
        ["evaluate", model, ready],
        ["publish", model, published, "--to-folder", "--license", "apache-2.0"],
    ]
    for step in steps:
        _heading("affectnet-plus " + " ".join(step))
        if code := affectnet_plus(step):
            return code
    face = Path(raw, "human_annotated", "validation_set", "images", "0.jpg").resolve()
    _heading(f"load the published model back in a fresh process, and look at {face.name}")
    subprocess.run([sys.executable, "-c", LOAD_BACK.replace("IMAGE", repr(str(face)))], cwd=published, check=True)
    _heading(f"affectnet-plus predict {published} {face.name}")
    affectnet_plus(["predict", published, str(face)])
    _summary(Path(model), time.time() - began)
    return 0


def _heading(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def _summary(model: Path, seconds: float) -> None:
    metrics = json.loads((model / "metrics.json").read_text())
    baseline = metrics["baselines"]["mean_soft_label"]
    _heading(f"done in {seconds:.0f} s")
    print(f"KL to the true soft labels: {metrics['kl']:.3f} nats; the mean soft label scores {baseline['kl']:.3f}")
    guess, commonest = 1 / len(EMOTIONS), baseline["accuracy"]
    print(f"accuracy: {metrics['accuracy']:.3f}; chance is {guess:.3f}, the commonest {commonest:.3f}")
    print(f"look at {(model / 'faces.png').resolve()}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except KeyboardInterrupt:  # between two verbs, which answer it themselves
        sys.exit("demo: interrupted")
