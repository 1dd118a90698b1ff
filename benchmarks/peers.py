"""Tools of others on the same pixels: FER models whose weights come inside a registry package, and ours.

    python benchmarks/peers.py SOURCE WORK [--only NAME ...]

SOURCE holds FER2013Train, FER2013Valid and fer2013new.csv, as in ferplus.py; WORK keeps the prepared faces, and each
tool's own environment (a venv or an npm folder, made here; node and npm have to be there) with its answers, and what
is there already is not made again. Nothing is trained: every tool sees the 48x48 grey faces of FER2013Valid by its own
preprocessing (peers/run_*), and `evaluate` scores the file of its answers. The table goes to
benchmarks/results/peers-<date>-<commit>.csv, what every round took to a JSON of that name, the picture to
benchmarks/results/peers.png.

Speed is that of one thread: images per second of the processor's time, and cold start, its time from the start of the
process to the first answer (waiting for the disk is not in it). The tools take turns, all of them in each of --rounds,
and medians are given; next to them the median of the ratios to ours (ONNX) in the same round, which is what to go by
where other programs run on the machine.

Of the peers, Keras weights (.h5, .hdf5) are loaded by their own framework in their own environment, never by ours, and
pickles as tensors alone.
"""

import argparse
import csv
import datetime
import json
import os
import statistics
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from ferplus import prepare, run, validation
from measuring import RESULTS, commit, hardware, write_csv

from affectnet_plus_modeling.evaluation.evaluate import measure
from affectnet_plus_modeling.evaluation.options import EvaluationOptions

HERE = Path(__file__).parent
OURS = HERE.parent / "modeling" / "pretrained" / "ferplus"
OURS_FAST = "ours, ONNX"  # what speeds are compared with
TIMED, BATCH = 64, 32
MARKERS = "oDs^v<>PX*dp"  # of the picture, one a tool
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")
COLUMNS = (
    "tool",
    "version",
    "trained_on",
    "in_sample",
    "preprocessing",
    "classes",
    "accuracy_a",
    "accuracy_a_low",
    "accuracy_a_high",
    "accuracy_b",
    "balanced_accuracy_a",
    "balanced_accuracy_b",
    "kl_a",
    "kl_b",
    "ece_a",
    "ece_b",
    "images_per_second",
    "speed_to_ours",
    "images_per_second_single",
    "speed_single_to_ours",
    "megabytes",
    "cold_start_seconds",
    "cold_start_to_ours",
    "hardware",
    "commit",
)


class Tool(NamedTuple):
    """A tool, how to ask it, and what is known of it.

    `environment` is a function of a folder that fills it and returns the start of the adapter's command; `words`, a
    function of the same folder, are what the adapter wants after FACES OUT ROUNDS. `order` is one of `labels.ORDERS`
    or, where it has no name, the emotions themselves.
    """

    name: str
    version: str
    folder: str
    environment: object
    adapter: str
    words: object
    order: str | tuple[str, ...]
    trained_on: str
    in_sample: str
    preprocessing: str


def python_environment(*packages: str, python: str = sys.executable, loose: tuple[str, ...] = ()):
    """A venv with `packages`; those of `loose` go in without what they ask for."""

    def fill(folder: Path) -> list[str]:
        own = folder / "venv" / "bin" / "python"
        if not (folder / "ready").exists():
            call(python, "-m", "venv", folder / "venv")
            for name in loose:
                call(own, "-m", "pip", "install", "-q", "--no-deps", name)
            call(own, "-m", "pip", "install", "-q", *packages)
            (folder / "ready").touch()
        return [str(own)]

    return fill


def node_environment(*packages: str):
    def fill(folder: Path) -> list[str]:
        if not (folder / "ready").exists():
            folder.joinpath("package.json").write_text("{}")
            call("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages, cwd=folder)
            (folder / "ready").touch()
        return ["node"]

    return fill


def with_npm_file(package: str, fill):
    """`fill`, and the npm package unpacked beside the venv."""

    def both(folder: Path) -> list[str]:
        if not (folder / "package").exists():
            call("npm", "pack", package, cwd=folder)
            unpack(next(folder.glob("*.tgz")), folder)
        return fill(folder)

    return both


def with_archive(package: str, fill):
    """`fill`, and what PyPI has of a package unpacked beside the venv, not installed."""

    def both(folder: Path) -> list[str]:
        start = fill(folder)
        if not archives(folder):
            call(*start, "-m", "pip", "download", "-q", "--no-deps", package, cwd=folder)
            unpack(*archives(folder), folder)
        return start

    return both


def archives(folder: Path) -> list[Path]:
    return [*folder.glob("*.tar.gz"), *folder.glob("*.whl")]


def unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    else:
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")


def our_torch(folder: Path) -> list[str]:
    """For a tool that is a network in torch and nothing else: this very interpreter."""
    return [sys.executable]


def ours(folder: Path) -> list[str]:
    if not (folder / "exported").exists():
        run("export", OURS, folder / "exported")
    return [sys.executable]


FER = python_environment(
    "setuptools<80",
    "tensorflow-cpu==2.19.1",
    "opencv-contrib-python-headless<5",
    "pandas",
    "requests",
    "pillow",
    "tqdm",
    loose=("fer==25.10.3",),
)
TFJS = ("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")
FER2013 = "FER2013 (by their documentation; which of its parts is not said)"
UNKNOWN_PART = "unknown: FER2013Valid is FER2013's PublicTest"
OURS_ON = "FER+ (FER2013Train, votes, without the images that FER2013Valid repeats)"
OURS_FED = "RGB 48x48, -1 to 1"
TOOLS = (
    Tool(
        "ours, ONNX", "ferplus", "ours", ours, "run_ours.py", lambda at: (at / "exported" / "model.onnx", 1),
        "affectnet", OURS_ON, "no", OURS_FED,
    ),
    Tool("ours", "ferplus", "ours", ours, "run_ours.py", lambda at: (OURS, 1), "affectnet", OURS_ON, "no", OURS_FED),
    Tool(
        "ours, with mirror", "ferplus", "ours", ours, "run_ours.py", lambda at: (OURS, 2), "affectnet", OURS_ON, "no",
        OURS_FED + ", and its mirror image",
    ),
    Tool(
        "fer, TFLite", "25.10.3", "fer", FER, "run_fer.py", lambda at: ("tflite",), "fer2013", FER2013, UNKNOWN_PART,
        "grey 64x64, -1 to 1; its default, quantised",
    ),
    Tool(
        "fer, Keras", "25.10.3", "fer", FER, "run_fer.py", lambda at: ("keras",), "fer2013", FER2013, UNKNOWN_PART,
        "grey 64x64, -1 to 1; use_tflite=False",
    ),
    Tool(
        "py-feat", "0.3", "py-feat",
        with_archive("py-feat==0.3", python_environment("tensorflow-cpu==2.19.1", "tf_keras==2.19.0")),
        "run_py_feat.py", lambda at: (at / "py-feat-0.3" / "feat" / "resources" / "fer_aug_model.h5",),
        "fer2013", FER2013, UNKNOWN_PART, "grey 48x48, 0 to 1",
    ),
    Tool(
        "face-recognition-plugin", "1.0.9", "face-recognition-plugin",
        with_npm_file(
            "face-recognition-plugin@1.0.9",
            python_environment("numpy", "onnxruntime==1.23.2", "opencv-contrib-python-headless<5"),
        ),
        "run_face_recognition_plugin.py", lambda at: (at / "package" / "model" / "fr_expression.onnx",),
        "fer2013", "not said", "unknown", "RGB 224x224, 0 to 1; in ONNX Runtime of Python; its order inferred",
    ),
    Tool(
        "facial-emotion-recognition", "0.3.4", "facial-emotion-recognition",
        with_archive("facial-emotion-recognition==0.3.4", our_torch),
        "run_torch.py", lambda at: (
            "facial-emotion-recognition", at / "facial_emotion_recognition-0.3.4" / "facial_emotion_recognition"
        ),
        "fer2013", "not said", "unknown", "grey 48x48, -1 to 1; its sigmoids, through a softmax",
    ),
    Tool(
        "what-the-face-classification", "0.0.27", "what-the-face-classification",
        with_archive("what-the-face-classification==0.0.27", our_torch),
        "run_torch.py", lambda at: ("what-the-face-classification", at / "what_the_face_classification"),
        "fer2013", "FER2013 and CK+ (which of their parts is not said)", UNKNOWN_PART, "grey 48x48, 0 to 1",
    ),
    Tool(
        "face-api", "1.7.15", "face-api", node_environment("@vladmandic/face-api@1.7.15", *TFJS),
        "run_face_api.js", lambda at: (at,),
        ("neutral", "happy", "sad", "anger", "fear", "disgust", "surprise"), "not said", "unknown",
        "RGB 112x112, less a mean colour, over 255; tfjs in WebAssembly",
    ),
    Tool(
        "human", "3.3.5", "human", node_environment("@vladmandic/human@3.3.5", *TFJS),
        "run_human.js", lambda at: (at,),
        "fer2013", "FER2013 (oarriaga/face_classification, converted; which part is not said)", UNKNOWN_PART,
        "grey 64x64, -1 to 1; tfjs in WebAssembly",
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--only", nargs="+", choices=[tool.name for tool in TOOLS], help="these tools, and ours, alone"
    )
    parser.add_argument(
        "--core", default="0", help="number of the core that the tools run on, or several (default: 0)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="times that every tool's speed is measured (default: 5)")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    prepared = {protocol: prepare(options.source, options.work, protocol) for protocol in "AB"}
    splits = {protocol: validation(folder, 48) for protocol, folder in prepared.items()}
    tools = [tool for tool in TOOLS if not options.only or tool.name in (OURS_FAST, *options.only)]
    peers = options.work / "peers"
    pixels = splits["A"].batch(range(len(splits["A"])))["pixels"][:, 0].numpy()  # grey: its channels are the same
    peers.mkdir(exist_ok=True)
    for name, faces in (("faces", pixels), ("timed", pixels[:TIMED])):
        faces.tofile(peers / name)

    commands = {}
    for tool in tools:
        folder = peers / tool.folder
        folder.mkdir(exist_ok=True)
        adapter = str(HERE / "peers" / tool.adapter)
        commands[tool.name] = ["taskset", "-c", options.core, *tool.environment(folder), adapter], tool.words(folder)
    rounds = [speeds(commands, turn, peers) for turn in range(options.rounds)]
    rows = {}
    for tool in tools:
        rows[tool.name] = scores(tool, peers / tool.folder, *commands[tool.name], prepared, splits)
        print(tool.name, {key: value for key, value in rows[tool.name].items() if key in COLUMNS[6:16]}, flush=True)
    table = [row | medians(rounds, name) | {"hardware": hardware(), "commit": commit()} for name, row in rows.items()]
    out = RESULTS / f"peers-{datetime.date.today().isoformat()}-{commit()}"
    write_csv(out.with_suffix(".csv"), COLUMNS, table)
    out.with_suffix(".json").write_text(
        json.dumps({"rounds": rounds, "hardware": hardware(), "commit": commit()}, indent=1)
    )
    picture(table, RESULTS / "peers.png")


def scores(tool: Tool, folder: Path, command: list[str], words: tuple, prepared: dict, splits: dict) -> dict:
    """What `evaluate` says of the tool's file of answers.

    Faces of protocol B are among those of A, so the tool is asked about those of A.
    """
    out = folder.parent / file_name(tool.name)
    answers = out.with_suffix(".answers")
    if not answers.exists():
        ask(command, folder.parent / "faces", answers, 0, words)
    found = dict(zip(splits["A"].image_ids, np.fromfile(answers).reshape(len(splits["A"]), -1)))
    row = {
        "tool": tool.name,
        "version": tool.version,
        "trained_on": tool.trained_on,
        "in_sample": tool.in_sample,
        "preprocessing": tool.preprocessing,
    }
    for protocol, split in splits.items():
        theirs = out.with_name(f"{out.name}-{protocol}.csv")
        named = isinstance(tool.order, str)
        columns = [f"p{k}" for k in range(len(found[split.image_ids[0]]))] if named else tool.order
        with open(theirs, "w", newline="") as file:
            csv.writer(file).writerows(
                [["image_id", *columns], *([name, *found[name].tolist()] for name in split.image_ids)]
            )
        order = EvaluationOptions(label_order=tool.order if named else None)  # type: ignore[arg-type]
        metrics, _ = measure(theirs, prepared[protocol], options=order)
        end = protocol.lower()
        row |= {
            f"accuracy_{end}": metrics["accuracy"],
            f"balanced_accuracy_{end}": metrics["balanced_accuracy"],
            f"ece_{end}": metrics["ece"],
            f"kl_{end}": metrics["kl"],
            "classes": len(columns),
        }
        if protocol == "A":
            row["accuracy_a_low"], row["accuracy_a_high"] = metrics["intervals"]["accuracy"]
    return row


def speeds(commands: dict, turn: int, peers: Path) -> dict[str, dict]:
    """One round: each tool from a cold start, then TIMED faces singly and in batches; another begins each time.

    What was measured is kept in `peers`, so that a run that is cut off goes on where it was.
    """
    names = list(commands)
    first, out = turn * 5 % len(names), peers / "timed.answers"
    found = {}
    for name in names[first:] + names[:first]:
        kept = peers / f"{file_name(name)}-round-{turn}.json"
        if not kept.exists():
            command, words = commands[name]
            cold, timed = ask(command, peers / "timed", out, 1, words)
            figures = {
                "cold_start_seconds": cold,
                "images_per_second": TIMED / timed["seconds_batch"][0],
                "images_per_second_single": TIMED / timed["seconds_single"][0],
                "megabytes": timed["megabytes"],
            }
            kept.write_text(json.dumps(figures))
            print(turn, name, figures, flush=True)
        found[name] = json.loads(kept.read_text())
    return found


def file_name(tool: str) -> str:
    return tool.replace(", ", "-").replace(" ", "-")


def medians(rounds: list[dict], name: str) -> dict:
    """Medians over the rounds of a tool's figures, and of their ratios to ours in the same round."""
    found = {key: statistics.median(turn[name][key] for turn in rounds) for key in rounds[0][name]}
    for key, ratio in (
        ("images_per_second", "speed_to_ours"),
        ("images_per_second_single", "speed_single_to_ours"),
        ("cold_start_seconds", "cold_start_to_ours"),
    ):
        found[ratio] = statistics.median(turn[name][key] / turn[OURS_FAST][key] for turn in rounds)
    return found


def ask(command: list[str], faces: Path, out: Path, rounds: int, words: tuple) -> tuple[float, dict]:
    """Run an adapter: the processor's seconds until its first answer, and the last line that it prints."""
    arguments = [*command, *map(str, (faces, out, rounds, *words))]
    environment = os.environ | ONE_THREAD | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}")
    lines = done.stdout.splitlines()
    first = next(line.split()[1] for line in lines if line.startswith("answered "))
    return float(first), json.loads(lines[-1])


def picture(rows: list[dict], path: Path) -> None:
    """Accuracy (A) against images a second, ours in colour; the names stand beside it, where none covers another."""
    figure, axes = plt.subplots(figsize=(10, 5), dpi=120, layout="constrained")
    axes.set_xscale("log")
    for row, marker in zip(rows, MARKERS):
        x, y = row["images_per_second"], row["accuracy_a"]
        colour = "tab:blue" if row["tool"].startswith("ours") else "dimgrey"
        spread = [[y - row["accuracy_a_low"]], [row["accuracy_a_high"] - y]]
        name = f"{row['tool']} ({row['megabytes']:.2g} MB)"
        axes.errorbar(x, y, yerr=spread, fmt=marker, markersize=8, color=colour, capsize=3, label=name)
    axes.set_xlabel(f"images per second of one core's time, batches of {BATCH}")
    axes.set_ylabel("accuracy, FER2013Valid, protocol A")
    axes.set_title("Facial expression tools on the same 3,553 faces, judged by FER+ votes", fontsize=11)
    axes.grid(True, which="both", alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=10)
    figure.savefig(path)
    print(f"written: {path}")


def call(*words, cwd: Path | None = None) -> None:
    subprocess.run([str(word) for word in words], cwd=cwd, check=True)


if __name__ == "__main__":
    main()
