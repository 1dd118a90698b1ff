"""The command line: every verb's help, what it prints, its exit codes, and that asking for help is quick."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from affectnet_plus_modeling import cli
from affectnet_plus_modeling.evaluation.report_text import format_metrics
from affectnet_plus_modeling.training import train as train_module
from affectnet_plus_modeling.training.options import TrainingOptions

VERBS = (
    "draw",
    "import-ferplus",
    "prepare",
    "train",
    "evaluate",
    "predict",
    "calibrate",
    "publish",
    "export",
    "pretrain",
    "app",
    "doctor",
    "train-ensemble",
    "train-au",
    "label",
    "fit-fusion",
    "completion",
)
QUICK = ["--epochs", "1", "--batch-size", "16", "--image-size", "48", "--bf16", "no"]


@pytest.fixture(autouse=True)
def handler():
    """The command line sets how a termination ends the process; the tests' own process stays as it was."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, how in before.items():
        signal.signal(number, how)


def run(*arguments) -> int:
    return cli.main([str(argument) for argument in arguments])


def refused(capsys, *arguments) -> str:
    """The one line that the command line refuses with."""
    assert run(*arguments) == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    return output.err.strip()


# ---- help


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS)], ids=lambda verb: " ".join(verb))
def test_help_is_there(capsys, verb):
    with pytest.raises(SystemExit) as end:
        run(*verb, "--help")
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: affectnet-plus")
    assert verb or all(name in printed for name in VERBS)


@pytest.mark.parametrize(
    "arguments", [(), ("dance",), ("draw",), ("train", "a", "b", "--size", "huge"), ("draw", "a", "-n", "x")]
)
def test_unusable_arguments_exit_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        run(*arguments)
    assert end.value.code == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("usage: affectnet-plus")


def test_an_option_that_would_say_nothing_is_refused(capsys, tmp_path):
    said = refused(capsys, "draw", tmp_path / "out", "--fast", "--workers", 2)
    assert "--fast draws 512 faces in one process: leave --workers out" in said
    assert not (tmp_path / "out").exists()


def test_help_imports_nothing_heavy():
    script = """
import sys
from affectnet_plus_modeling import cli
for arguments in (["--help"], ["train", "--help"]):
    try:
        cli.main(arguments)
    except SystemExit as end:
        assert end.code == 0
heavy = {"torch", "transformers", "datasets", "numpy", "PIL", "matplotlib", "scipy", "sklearn", "huggingface_hub"}
print(sorted(heavy & set(sys.modules)))
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=900, check=True)
    assert child.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("own, expected", [({}, "0"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(own, expected):
    """libgomp itself, loaded by torch after a verb has begun, says how often a waiting thread spins."""
    script = "from affectnet_plus_modeling import cli; cli.main(['predict', 'nowhere', 'nothing']); import torch"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_WAIT", "GOMP_"))}
    environment |= own | {"OMP_DISPLAY_ENV": "verbose"}
    child = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert f"GOMP_SPINCOUNT = '{expected}'" in child.stderr


def test_a_command_does_not_look_for_garbage_at_its_end():
    """Of all that torch and gradio imported that took two seconds of a core: Ctrl-C seemed to do nothing."""
    script = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"
    script += "from affectnet_plus_modeling import cli; cli.main(['predict', 'nowhere', 'nothing'])"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert child.stdout == "True\n"


def test_the_defaults_of_the_command_line_are_those_of_the_options(monkeypatch, capsys, tmp_path):
    seen = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").touch()

    def noted(data, out, options, resume, overwrite, progress, strict, say):
        seen.append((data, out, options, resume, overwrite))
        return {"parameters": 1, "steps": 2, "seconds": 3.0, "best_step": 1, "best_objective": 0.5}

    monkeypatch.setattr(train_module, "train", noted)
    assert run("train", "data", "out") == 0
    assert seen.pop() == ("data", "out", TrainingOptions(), False, False)
    assert "best at step 1 with loss 0.5000" in capsys.readouterr().out
    arguments = (
        "--size small --from-vit v --target hard --view easy --image-size 48 --patch-size 4 --epochs 2.5 "
        "--batch-size 3 --learning-rate 0.1 --weight-decay 0.2 --warmup 0.3 --label-smoothing 0.4 "
        "--class-weights 1 2 3 4 5 6 7 8 --valence-arousal-weight 0.5 --holdout 0.6 --seed 7 --bf16 yes "
        "--resume --overwrite"
    )
    assert run("train", "data", "out", *arguments.split()) == 0
    options = TrainingOptions(
        size="small",
        from_vit="v",
        target="hard",
        view="easy",
        image_size=48,
        patch_size=4,
        epochs=2.5,
        batch_size=3,
        learning_rate=0.1,
        weight_decay=0.2,
        warmup=0.3,
        label_smoothing=0.4,
        class_weights=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0),
        valence_arousal_weight=0.5,
        holdout=0.6,
        seed=7,
        bf16=True,
    )
    assert seen.pop() == ("data", "out", options, True, True)


# ---- the whole way


@pytest.mark.slow
def test_the_whole_way_from_drawn_faces_to_a_folder_that_can_be_published(tmp_path, tiny, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def printed(*arguments) -> str:
        assert run(*arguments) == 0
        return capsys.readouterr().out

    assert printed("draw", "raw", "-n", 20, "--no-human", 2).strip() == "raw: 16 train, 4 validation, 2 no_human"
    assert printed("prepare", "raw", "ready").startswith("train: 16 rows, 0 quarantined")
    assert "model: " in (told := printed("train", "ready", "model", *QUICK)) and "1 steps in" in told
    told = printed("evaluate", "model", "ready")
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert format_metrics(metrics) in told
    assert told.endswith("written: model/metrics.json, report.html and pictures\n")
    told = printed("evaluate", "model", "ready", "--split", "train", "--out", "elsewhere", "--batch-size", 5)
    assert json.loads((tmp_path / "elsewhere" / "metrics.json").read_text())["split"] == "train"
    assert json.loads((tmp_path / "model" / "metrics.json").read_text()) == metrics
    faces = "raw/human_annotated/validation_set"
    lines = [json.loads(line) for line in printed("predict", "model", faces).splitlines()]
    assert len(lines) == 4 and all(sum(line["soft_label"].values()) == pytest.approx(1, abs=1e-5) for line in lines)
    assert printed("publish", "model", "published", "--to-folder") == "published\n"
    said = [json.loads(line) for line in printed("predict", "published", faces).splitlines()]
    assert said == lines, "what is published says something else"
    assert sorted(os.listdir(tmp_path)) == [".ready.lock", "elsewhere", "model", "published", "raw", "ready"]


# ---- refusals


def test_what_is_there_already_is_refused_in_one_line(capsys, tmp_path, trained, drawn, drawn_tree):
    (tmp_path / "out").mkdir()
    for verb, *arguments in (
        ("draw", tmp_path / "out"),
        ("prepare", drawn_tree, tmp_path / "out"),
        ("train", drawn, tmp_path / "out"),
        ("publish", trained, tmp_path / "out", "--to-folder"),
    ):
        line = refused(capsys, verb, *arguments)
        advice = "exists. Name another folder, or pass --overwrite to replace it"
        assert line == f"affectnet-plus {verb}: {tmp_path}/out {advice}"
    assert os.listdir(tmp_path / "out") == []


def test_what_is_missing_is_refused_in_one_line(capsys, tmp_path, trained, drawn):
    gone = tmp_path / "gone"
    for verb, *arguments in (
        ("prepare", gone, tmp_path / "out"),
        ("train", gone, tmp_path / "out"),
        ("train", drawn, tmp_path / "out", "--resume"),
        ("train", drawn, tmp_path / "out", "--view", "nosuch"),
        ("train", drawn, tmp_path / "out", "--holdout", "2"),
        ("evaluate", gone, drawn),
        ("evaluate", trained, gone, "--out", tmp_path / "out"),
        ("evaluate", trained, drawn, "--split", "nosuch", "--out", tmp_path / "out"),
        ("predict", gone, trained / "confusion.png"),
        ("predict", trained, gone),
        ("publish", gone, "user/name"),
        ("publish", gone, tmp_path / "out", "--to-folder"),
        ("import-ferplus", gone, tmp_path / "out"),
    ):
        line = refused(capsys, verb, *arguments)
        assert line.startswith(f"affectnet-plus {verb}: ") and len(line) > 30, line
    assert os.listdir(tmp_path) == []


def test_what_is_mistyped_is_refused_by_what_is_not_there(capsys, tmp_path, trained, drawn):
    gone = tmp_path / "prepard"
    assert f"{gone} does not exist; give the folder that prepare" in refused(capsys, "train", gone, tmp_path / "out")
    assert f"{gone} does not exist; give the folder that train" in refused(capsys, "calibrate", gone, drawn)
    assert refused(capsys, "calibrate", "fer-plus", drawn).endswith("; did you mean ferplus?")
    assert "ferplus is part of the package: say with --out" in refused(capsys, "evaluate", "ferplus", drawn)
    (tmp_path / "raw/one").mkdir(parents=True)
    assert run("prepare", tmp_path / "raw", tmp_path / "out") == 1
    assert "RAF-DB" in capsys.readouterr().err


@pytest.mark.parametrize("verb, goes_on", [("train", True), ("label", True), ("predict", False)])
def test_ctrl_c_is_one_line(capsys, monkeypatch, verb, goes_on):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.VERBS, verb, replace(cli.VERBS[verb], run=interrupt))
    assert run(verb, "one", "two", *(["--ensemble", "three"] * (verb == "label"))) == 130
    more = "; the same command goes on from what was done last, if anything was" * goes_on
    assert capsys.readouterr().err == f"affectnet-plus {verb}: interrupted{more}\n"


def test_an_error_of_many_lines_is_printed_as_one(capsys, monkeypatch, trained):
    def refuse(*_):
        raise OSError("403 Forbidden:\n\nnot you.\nTry another name.")

    monkeypatch.setattr("affectnet_plus_modeling.publishing.publish.publish", refuse)
    line = refused(capsys, "publish", trained, "user/name")
    assert line == "affectnet-plus publish: 403 Forbidden: not you. Try another name."


def test_strict_is_about_quarantined_rows(capsys, tmp_path, drawn_tree, tree_copy):
    assert run("prepare", drawn_tree, tmp_path / "clean", "--strict") == 0
    (tree_copy / "human_annotated" / "train_set" / "annotations" / "4.json").write_text("no JSON")
    assert run("prepare", tree_copy, tmp_path / "lax") == 0
    assert "1 faces were left out" in capsys.readouterr().out
    assert run("prepare", tree_copy, tmp_path / "strict", "--strict") == 1
    assert json.loads((tmp_path / "strict" / "report.json").read_text())["quarantined"] == 1
    lax, strict = ((tmp_path / name / "quarantine.jsonl").read_text() for name in ("lax", "strict"))
    assert lax == strict


def test_strict_is_about_findings_that_are_errors(monkeypatch, tmp_path):
    finding = {"level": "warning", "check": "label order", "message": "odd", "count": 1, "examples": []}
    report = {"splits": {}, "quarantined": 0, "quarantine_reasons": {}, "embedded": False, "findings": [finding]}
    monkeypatch.setattr("affectnet_plus_modeling.preparing.prepare", lambda *_: report)
    assert run("prepare", tmp_path, tmp_path / "out", "--strict") == 0
    finding["level"] = "error"
    assert run("prepare", tmp_path, tmp_path / "out", "--strict") == 1
    assert run("prepare", tmp_path, tmp_path / "out") == 0


def test_prepare_speaks_to_programs_on_one_stream_and_to_people_on_the_other(capsys, tmp_path, drawn_tree):
    for told in ("read: 100%", "nothing has changed since"):
        assert run("prepare", drawn_tree, tmp_path / "out", "--json", "--workers", 1) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out) == json.loads((tmp_path / "out" / "report.json").read_text())
        assert told in printed.err
    assert run("prepare", drawn_tree, tmp_path / "out") == 0
    assert capsys.readouterr().out.startswith("train: 32 rows, 0 quarantined")


def test_a_terminated_command_leaves_nothing(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "affectnet_plus_modeling.cli", "draw", str(tmp_path / "out"), "-n", "100000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    while "faces/s" not in child.stderr.readline(200):
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=900)
    assert child.returncode == 143
    assert os.listdir(tmp_path) == []
