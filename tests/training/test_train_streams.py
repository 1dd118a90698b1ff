"""Training on a stream: every row once in a pass, divided among workers and processes, resumed to the same bits."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from affectnet_plus_modeling.data.stream import FaceStream, StreamLoader, stream_prepared, survey
from affectnet_plus_modeling.preparing import prepare, shards
from affectnet_plus_modeling.sources.synthetic import draw_tree
from affectnet_plus_modeling.training import arguments, faces
from affectnet_plus_modeling.training import train as train_module
from affectnet_plus_modeling.training.options import TrainingOptions
from affectnet_plus_modeling.training.soft_label_trainer import SoftLabelTrainer
from affectnet_plus_modeling.training.train import train
from support.models import TINY, quick


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Path:
    """46 drawn faces, 35 of them in train: in 2 files of 4 and 3 groups of 5 rows."""
    root = tmp_path_factory.mktemp("stream")
    draw_tree(root / "raw", 46, 0, 11 / 46)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_ROWS", 20)
        patch.setattr(shards, "GROUP_ROWS", 5)
        prepare(root / "raw", root / "embedded", embed=True)
    return root / "embedded"


def streamed(**options) -> TrainingOptions:
    return quick(batch_size=8, streaming=True, streaming_buffer=7, **options)


def stream(data, **options) -> FaceStream:
    rows = stream_prepared(data, "default")["train"]
    return FaceStream(rows, 48, "soft", **({"batch_size": 5, "buffer": 7} | options))


def names(batches) -> list[int]:
    """Faces, told apart by the sum of their pixels."""
    return [total for faces in batches for total in faces["pixels"].long().sum(dim=(1, 2, 3)).tolist()]


def rounds(loader: StreamLoader, number: int) -> list[list[int]]:
    return [names(loader) for _ in range(number)]


# ---- the order


def test_a_pass_has_every_row_once_and_each_is_another(embedded):
    passes = rounds(StreamLoader(stream(embedded), 7), 3)
    assert all(len(some) == len(set(some)) == 35 for some in passes)
    assert set(passes[0]) == set(passes[1]) == set(passes[2]) and passes[0] != passes[1] != passes[2]
    assert rounds(StreamLoader(stream(embedded, seed=1), 7), 1) != passes[:1]


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_have_all_rows_and_none_twice(embedded, workers):
    """7 groups of 5 rows: one process has 20 of the 35, the other 15."""
    parts = []
    for process, batches in ((0, 4), (1, 3)):
        lanes = stream(embedded, process=process, processes=2, workers=workers)
        assert lanes.workers == workers
        if workers:  # lanes of 10 and 10, and of 10 and 5 rows, whose turn it is by turns
            lanes_batches = list(islice(StreamLoader(lanes, 100), 12))
            parts.append(set(names(lanes_batches)))
        else:
            parts.append(set(names(StreamLoader(lanes, batches))))
    assert [len(part) for part in parts] == [20, 15] and len(parts[0] | parts[1]) == 35


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_from_any_batch(embedded, workers):
    def loader(batches: int) -> StreamLoader:
        return StreamLoader(stream(embedded, workers=workers, batch_size=4), batches)

    whole, states, expected = loader(1), [], []
    for _ in range(20):  # more than two passes
        states.append(json.loads(json.dumps(whole.state_dict())))
        expected.append(names(whole))
    for taken in (1, 5, 9, 12):
        again = loader(20 - taken)
        again.load_state_dict(states[taken])
        assert [names([batch]) for batch in again] == expected[taken:], taken


def test_a_look_at_the_labels_finds_what_the_rows_say(embedded):
    rows = stream_prepared(embedded, "default", pictures=False)["train"]
    soft, hard = survey(rows, "soft"), survey(rows, "hard")
    assert (soft.rows, soft.known, soft.affect, hard.known) == (35, 35, 35, 35)
    assert sum(soft.mean) == pytest.approx(1) and soft.given.sum().item() == pytest.approx(35, rel=1e-5)
    assert hard.given.sum() == 35 and hard.mean == soft.mean and hard.order == soft.order
    easy = stream_prepared(embedded, "easy", pictures=False)["train"]
    assert 0 < survey(easy, "soft").rows < 35


def test_a_face_that_cannot_be_decoded_is_left_out_and_told(embedded, tmp_path, tiny, monkeypatch):
    decode = faces.FaceDataset._fill
    broken = set()

    def damaged(self, pixels, rows, sources):
        for row in rows:
            if self.image_ids[row] in ("train/3", "train/4"):
                broken.add(self.image_ids[row])
        kept = [place for place, row in enumerate(rows) if self.image_ids[row] not in broken]
        decode(self, pixels[kept], [rows[place] for place in kept], [sources[place] for place in kept])
        for row in rows:
            if self.image_ids[row] in broken:
                if not self._lenient:
                    raise OSError(f"{self.image_ids[row]}: is cut off")
                self.unreadable[row] = "is cut off"

    monkeypatch.setattr(faces.FaceDataset, "_fill", damaged)
    said = []
    record = train(embedded, tmp_path / "model", streamed(epochs=2), say=said.append)
    assert said == ["2 faces cannot be decoded and are left out: train/3 (is cut off); train/4 (is cut off)"]
    assert (record["training_faces"], record["left_out"]) == (33, 2)
    with pytest.raises(OSError, match="is cut off"):
        train(embedded, tmp_path / "strict", streamed(epochs=2), strict=True)


# ---- a run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def interrupt(data, out, options, step: int) -> None:
    class Interrupted(SoftLabelTrainer):
        def training_step(self, *args, **kwargs):
            if self.state.global_step == step:
                raise KeyboardInterrupt
            return super().training_step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "SoftLabelTrainer", Interrupted)
        train(data, out, options)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_that_is_interrupted_ends_as_a_whole_one(embedded, tmp_path, tiny, monkeypatch, workers):
    """Rounds of 24 of the 35 faces: they end anywhere in a pass."""
    for module in (arguments, faces):
        monkeypatch.setattr(module, "reading_workers", lambda: workers)
    options = streamed(epochs=3, streaming_round=24, average=0.9)
    record = train(embedded, tmp_path / "whole", options)
    assert (record["steps"], record["training_faces"], record["choosing_faces"]) == (12, 35, 11)
    assert record["rows"] == {"train": 35, "validation": 11}
    assert [entry["step"] for entry in record["log"] if "eval_kl" in entry] == [3, 6, 9, 12]
    interrupt(embedded, tmp_path / "model", options, step=7)
    monkeypatch.setattr(faces, "reading_workers", lambda: 1)
    with pytest.raises(ValueError, match="processes and workers of the stream"):
        train(embedded, tmp_path / "model", options)
    monkeypatch.setattr(faces, "reading_workers", lambda: workers)
    again = train(embedded, tmp_path / "model", options, resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "model"))
    assert again["log"] == record["log"] and again["best_step"] == record["best_step"]


@pytest.mark.slow
def test_workers_do_not_change_what_a_resumed_run_draws(embedded, tmp_path, tiny, monkeypatch):
    """Each of their beginnings draws a number, of the faces at hand too."""
    monkeypatch.setattr(arguments, "reading_workers", lambda: 2)
    options = quick(epochs=3)
    train(embedded, tmp_path / "whole", options)
    interrupt(embedded, tmp_path / "model", options, step=3)
    train(embedded, tmp_path / "model", options, resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "model"))


@pytest.mark.slow
def test_a_stream_learns_from_the_faces_that_a_folder_has(embedded, tmp_path, tiny):
    """One buffer of all rows and one step of all faces: the order is all that differs, and it does not count."""
    still = {"epochs": 2, "batch_size": 35, "average": 0.0, "augmentation": TrainingOptions().augmentation.scaled(0)}
    still["augmentation"] = still["augmentation"].__class__(**vars(still["augmentation"]) | {"flip": 0.0})
    held = train(embedded, tmp_path / "held", quick(**still))
    read = train(embedded, tmp_path / "read", quick(**still, streaming=True))
    for name in ("steps", "training_faces", "choosing_faces", "left_out", "rows", "emotions"):
        assert held[name] == read[name], name
    assert read["train_mean_soft_label"] == pytest.approx(held["train_mean_soft_label"])
    losses = [[entry["loss"] for entry in record["log"] if "loss" in entry] for record in (held, read)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"holdout": 0.1}, "holdout is no option of a stream, whose best checkpoint the validation split chooses"),
        ({"sampler": "balanced"}, "sampler is 'balanced'; of a stream it must be natural"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        streamed(**options)


def test_more_processes_than_groups_of_rows_are_refused(embedded):
    with pytest.raises(ValueError, match="8 processes share a stream of 7 groups of rows"):
        stream(embedded, processes=8)
    assert stream(embedded, processes=2, workers=16).workers == 3


# ---- two processes

SCRIPT = """
import json, os, sys
from pathlib import Path
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data import stream
from affectnet_plus_modeling.training import options, train
options.SIZES["tiny"] = TINY
seen = []

class Watching(train.SoftLabelTrainer):
    def training_step(self, *arguments):
        if self.state.global_step == 3 and "STOP" in os.environ:
            os._exit(9)
        return super().training_step(*arguments)

def watched(self, given=stream.StreamLoader.__iter__):
    for faces in given(self):
        seen.append(faces["pixels"].long().sum(dim=(1, 2, 3)).tolist())
        yield faces

train.SoftLabelTrainer = Watching
stream.StreamLoader.__iter__ = watched
code = main(sys.argv[1:])
Path(os.environ["SEEN"] + os.environ["RANK"]).write_text(json.dumps(seen))
sys.exit(code)
"""


@pytest.mark.slow
def test_two_processes_of_a_stream_that_are_stopped_go_on(embedded, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("TINY", repr(TINY)))

    def run(out: str, **more) -> subprocess.CompletedProcess:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "SEEN": str(tmp_path / out)} | more
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
        words = ["train", str(embedded), str(tmp_path / f"{out}-model"), "--image-size", "48", "--bf16", "no"]
        words += ["--batch-size", "5", "--streaming", "--streaming-buffer", "10", "--streaming-round", "20"]
        words += ["--epochs", "2"]
        return subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=900)

    whole = run("whole")
    assert whole.returncode == 0, whole.stderr
    assert run("cut", STOP="1").returncode != 0
    again = run("cut")
    assert again.returncode == 0, again.stderr
    assert same(weights(tmp_path / "whole-model"), weights(tmp_path / "cut-model"))
    seen = [json.loads((tmp_path / f"whole{rank}").read_text()) for rank in (0, 1)]
    first = [set(sum(batches[:number], [])) for batches, number in zip(seen, (4, 3))]
    assert [len(some) for some in first] == [20, 15] and len(first[0] | first[1]) == 35
    assert set(sum(seen[0], [])).isdisjoint(sum(seen[1], []))
