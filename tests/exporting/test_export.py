"""The exported files against PyTorch, the report against independent numbers, the example as its readers run it."""

import ast
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from scipy.stats import entropy

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling import exporting
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data.dataset import FaceDataset, decode, load_prepared, normalise
from affectnet_plus_modeling.evaluation.predict import load_model, predict_faces
from affectnet_plus_modeling.evaluation.scores import evaluate_predictions
from affectnet_plus_modeling.exporting.export import TOLERANCE, export

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

from affectnet_plus_modeling.exporting import onnx_example, onnx_files, parity  # noqa: E402

TEMPERATURE = 1.7
UNCERTAINTY = {"method": "threshold", "quantile": 0.9, "coverage": 0.9, "abstain_entropy": 1.5}
RESIZED = ("onnx/model.onnx", "onnx/model_quantized.onnx", "onnx/model_fp16.onnx")
PIXELS = ("onnx/pixels.onnx", "onnx/pixels_quantized.onnx")
FILES = (*RESIZED, *PIXELS)


def copy_with(folder: Path, copy: Path, **options) -> Path:
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text()) | options
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.fixture(scope="module")
def calibrated(trained, tmp_path_factory) -> Path:
    """`trained` with a temperature and an uncertainty; read-only."""
    copy = tmp_path_factory.mktemp("calibrated") / "faces"
    return copy_with(trained, copy, logit_temperature=TEMPERATURE, uncertainty=UNCERTAINTY)


@pytest.fixture(scope="module")
def model(calibrated):
    return load_model(calibrated).cpu()


@pytest.fixture(scope="module")
def exported(calibrated, drawn, tmp_path_factory) -> Path:
    """`calibrated` in every precision, compared on the validation split of `drawn`; read-only."""
    out = tmp_path_factory.mktemp("exported") / "onnx"
    assert main(["export", str(calibrated), str(out), "--fp16", "--images", str(drawn)]) == 0
    return out


@pytest.fixture(scope="module")
def report(exported) -> dict:
    return json.loads((exported / "parity.json").read_text())


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def random_pixels(batch, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 3, 48, 48)).astype(np.float32)


@torch.inference_mode()
def pytorch(model, pixels) -> tuple[np.ndarray, np.ndarray]:
    output = model(torch.as_tensor(pixels))
    return output.logits.numpy(), output.valence_arousal.numpy()


# --- the files -------------------------------------------------------------------------------------------------------


def test_the_folder_holds_whole_files_and_nothing_else(exported):
    layout = {"config.json", "preprocessor_config.json", "training.json"}
    expected = {*FILES, *layout, "parity.json", "parity.md", "example.py", "README.md"}
    found = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert found == expected, "weights beside a file would be one more"
    for name in FILES:
        assert all(not part.external_data for part in onnx.load(exported / name).graph.initializer)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch_gives_the_answers_of_pytorch(exported, model, batch):
    pixels = random_pixels(batch)
    logits, soft_label, affect = session(exported / "onnx/model.onnx").run(None, {"pixel_values": pixels})
    expected, expected_affect = pytorch(model, pixels)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(affect, expected_affect, atol=1e-5)
    np.testing.assert_allclose(soft_label, softmax(expected.astype(float), axis=1), atol=1e-6)


def test_the_temperature_is_inside(exported, trained):
    pixels = random_pixels(2)
    (logits,) = session(exported / "onnx/model.onnx").run(["logits"], {"pixel_values": pixels})
    np.testing.assert_allclose(logits * TEMPERATURE, pytorch(load_model(trained).cpu(), pixels)[0], atol=1e-5)


@pytest.mark.parametrize("name, near", [("onnx/model_quantized.onnx", 0.1), ("onnx/model_fp16.onnx", 0.01)])
@pytest.mark.parametrize("batch", [1, 7])
def test_smaller_files_take_and_give_float32_and_are_near(exported, model, name, near, batch):
    smaller, pixels = session(exported / name), random_pixels(batch)
    assert {part.type for part in (*smaller.get_inputs(), *smaller.get_outputs())} == {"tensor(float)"}
    logits, soft_label, affect = smaller.run(None, {"pixel_values": pixels})
    expected, expected_affect = pytorch(model, pixels)
    assert 0 < np.abs(logits - expected).max() < near and np.abs(affect - expected_affect).max() < near
    np.testing.assert_allclose(soft_label.sum(axis=1), 1, atol=1e-6)


def test_each_file_is_valid_onnx_of_the_stated_opset_with_a_free_batch(exported):
    for name in FILES:
        onnx.checker.check_model(exported / name, full_check=True)
        file = onnx.load(exported / name)
        assert {one.domain: one.version for one in file.opset_import}[""] == onnx_files.OPSET
        shape = ["batch", 3, 48, 48] if name in RESIZED else ["batch", "height", "width", "channels"]
        assert session(exported / name).get_inputs()[0].shape == shape
        shapes = [(part.name, part.shape) for part in session(exported / name).get_outputs()]
        expected = [("logits", ["batch", 8]), ("soft_label", ["batch", 8]), ("valence_arousal", ["batch", 2])]
        assert shapes == expected


def test_int8_holds_the_weights_of_its_products_in_8_bits_and_the_heads_in_float(exported):
    kinds = [node.op_type for node in onnx.load(exported / "onnx/model_quantized.onnx").graph.node]
    layers = 2
    assert kinds.count("MatMulInteger") == 6 * layers
    assert kinds.count("MatMul") == 2 * layers + 2, "of attention, and the heads"
    assert kinds.count("Conv") == 3 and "ConvInteger" not in kinds


def test_fp16_holds_no_weight_in_float32(exported):
    parts = onnx.load(exported / "onnx/model_fp16.onnx").graph.initializer
    kinds = {part.data_type for part in parts if np.prod(part.dims) > 8}
    assert onnx.TensorProto.FLOAT16 in kinds and onnx.TensorProto.FLOAT not in kinds


def test_a_file_says_what_its_readers_need(exported, model):
    for name, precision in zip(FILES, ("fp32", "int8", "fp16", "fp32", "int8"), strict=True):
        about = session(exported / name).get_modelmeta().custom_metadata_map
        known = {key: json.loads(value) for key, value in about.items()}
        assert known["labels"] == list(EMOTIONS) and known["image_size"] == 48
        assert known["image_mean"] == known["image_std"] == [0.5] * 3 and known["channel_order"] == "RGB"
        assert known["logit_temperature"] == TEMPERATURE and known["uncertainty"] == UNCERTAINTY
        assert known["source_model"] == "faces" and known["precision"] == precision
        assert known["valence_arousal_trained"] is True and "[-1, 1]" in known["valence_arousal"]
        assert known["versions"]["torch"] == torch.__version__ and known["versions"]["onnx"] == onnx.__version__


def test_a_file_says_that_valence_and_arousal_are_untrained(trained, tmp_path):
    untrained = load_model(copy_with(trained, tmp_path / "untrained", valence_arousal_weight=0))
    about = onnx_files.describe_model(untrained, "untrained")
    assert about["valence_arousal_trained"] == "false" and "untrained" in about["valence_arousal"]
    assert about["uncertainty"] == "null"


def test_no_file_tells_of_the_machine(exported, calibrated):
    for path in filter(Path.is_file, exported.rglob("*")):
        content = path.read_bytes()
        for place in (Path(torch.__file__).parents[1], Path(exporting.__file__).parents[2], calibrated.parent):
            assert str(place).encode() not in content, path.name


def test_weights_that_do_not_fit_one_file_are_refused(model, monkeypatch):
    monkeypatch.setattr(onnx_files, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"the weights take [0-9,]+ bytes; one ONNX file holds at most 1,000"):
        onnx_files.to_onnx(model)


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_float32_file_is_within_the_tolerance_and_flips_no_label(report):
    found = report["variants"]["fp32"]
    assert 0 < found["max_abs_delta_logit"] <= TOLERANCE and found["max_abs_delta_valence_arousal"] <= TOLERANCE
    assert found["label_flips"] == 0 and found["kl_max"] < 1e-9 and found["max_abs_delta_logit_alone"] <= TOLERANCE


def test_the_report_has_the_figures_of_evaluation(report, model, drawn):
    faces = FaceDataset(load_prepared(drawn, "default", "validation"), 48)
    expected = evaluate_predictions(predict_faces(model, faces, 64))
    assert report["rows"] == report["rows_with_label"] == report["rows_with_soft_label"] == len(faces)
    assert report["faces"] == "drawn (validation split, default view), at most 256 of each"
    for found in (report["pytorch"], report["variants"]["fp32"]):
        assert found["accuracy"] == expected["accuracy"]
        assert found["kl_to_soft_label"] == pytest.approx(expected["kl"], rel=1e-5)


def test_the_report_on_int8_is_what_its_file_answers(report, exported, model, drawn):
    faces = FaceDataset(load_prepared(drawn, "default", "validation"), 48)
    pixels = normalise(faces.batch(range(len(faces)))["pixels"])
    logits, affect = session(exported / "onnx/model_quantized.onnx").run(
        ["logits", "valence_arousal"], {"pixel_values": pixels.numpy()}
    )
    expected, expected_affect = pytorch(model, pixels)
    kl = entropy(softmax(expected.astype(float), axis=1), softmax(logits.astype(float), axis=1), axis=1)
    found = report["variants"]["int8"]
    assert found["bytes"] == (exported / found["file"]).stat().st_size
    assert found["max_abs_delta_logit"] == pytest.approx(np.abs(logits - expected).max(), abs=1e-5)
    assert found["max_abs_delta_valence_arousal"] == pytest.approx(np.abs(affect - expected_affect).max(), abs=1e-5)
    assert (found["kl_mean"], found["kl_max"]) == pytest.approx((kl.mean(), kl.max()), rel=1e-2)
    file = session(exported / "onnx/model_quantized.onnx")
    alone = [file.run(["logits"], {"pixel_values": one[None].numpy()})[0] for one in pixels]
    apart = np.abs(np.concatenate(alone) - logits).max()
    assert found["max_abs_delta_logit_alone"] == pytest.approx(apart, rel=0.05)
    assert apart > 10 * report["variants"]["fp32"]["max_abs_delta_logit_alone"], "the scale is one for the batch"


def test_the_distance_of_two_answers():
    """Logits of two classes, then valence and arousal."""
    expected = np.array([[0.0, np.log(3), 0.5, -0.5], [1.0, 0.0, 0.0, 0.0]])
    found = np.array([[0.0, 0.0, 0.5, -0.25], [0.0, 2.0, 0.0, 0.0]])
    kl = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    distance = parity.compare_outputs(expected, found)
    assert distance["max_abs_delta_logit"] == 2 and distance["max_abs_delta_valence_arousal"] == 0.25
    assert distance["mean_abs_delta_logit"] == pytest.approx((np.log(3) + 3) / 4)
    other = entropy(softmax([1.0, 0.0]), softmax([0.0, 2.0]))
    assert (distance["kl_mean"], distance["kl_max"]) == pytest.approx(((kl + other) / 2, max(kl, other)))
    assert (distance["label_flips"], distance["label_flip_share"]) == (2, 1.0), "of equals the first one counts"
    same = parity.compare_outputs(expected, expected)
    assert all(value == 0 for value in same.values())
    assert np.isnan(parity.compare_outputs(expected, np.full_like(expected, np.nan))["max_abs_delta_logit"])


def test_faces_come_from_pictures_folders_and_prepared_data_in_order(drawn, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.jpg", "deep/c.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "note.txt").write_text("no picture")
    batches = list(parity.face_batches([tmp_path, drawn, tmp_path / "b.png"], 48))
    assert [len(batch.pixels) for batch in batches] == [3, 8, 1]
    expected = [decode(tmp_path / name, 48) for name in ("a.jpg", "b.png", "deep/c.PNG")]
    assert torch.equal(batches[0].pixels, torch.stack(expected)) and torch.equal(batches[2].pixels[0], expected[1])
    assert (batches[0].labels == -1).all() and np.isnan(batches[0].soft_labels).all()
    data = load_prepared(drawn, "default", "validation")
    assert batches[1].labels.tolist() == data["label"]
    np.testing.assert_allclose(batches[1].soft_labels, np.array(data["soft_label_normalized"]), rtol=1e-6)
    fewer = list(parity.face_batches([tmp_path, drawn], 48, most=2))
    assert torch.equal(fewer[0].pixels, torch.stack(expected[:2])) and fewer[1].labels.tolist() == data["label"][:2]


def test_without_images_our_own_faces_are_drawn_and_the_report_says_so(monkeypatch, model, exported):
    monkeypatch.setattr(parity, "DRAWN", 32)
    (batch,) = parity.face_batches((), 48)
    assert batch.pixels.shape == (32, 3, 48, 48) and (batch.labels >= 0).all()
    np.testing.assert_allclose(batch.soft_labels.sum(axis=1), 1)
    assert len(torch.unique(batch.pixels.flatten(1), dim=0)) == 32


def test_what_is_unknown_is_null_in_the_report_and_a_dash_on_the_page(exported, model, tmp_path):
    Image.new("RGB", (60, 50), (200, 150, 90)).save(tmp_path / "face.png")
    faces = parity.face_batches([tmp_path / "face.png"], 48)
    found = parity.measure_parity(model, {"fp32": exported / "onnx/model.onnx"}, faces)
    assert found["rows"] == 1 and found["rows_with_label"] == found["rows_with_soft_label"] == 0
    assert found["pytorch"] == {"accuracy": None, "kl_to_soft_label": None}
    page = parity.format_parity(found | {"source_model": "faces", "faces": "face.png"})
    assert "| accuracy | - | - |" in page and "1 faces: face.png." in page


def test_the_pages_name_every_file_and_figure(exported, report):
    page, table = (exported / "README.md").read_text(), (exported / "parity.md").read_text()
    for found in report["variants"].values():
        assert f"| {found['file']} | {found['bytes']:,} |" in page and found["file"] in table
        assert f"{found['max_abs_delta_logit']:.2e}" in table
    assert "neutral, happy, sad, surprise, fear, disgust, anger, contempt" in page
    assert "the temperature, 1.7" in page and "`uncertainty`" in page
    assert onnx_example.__doc__.strip() in page


# --- the example -----------------------------------------------------------------------------------------------------


def picture(mode, size, seed=0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 4), dtype=np.uint8)
    return Image.fromarray(pixels, "RGBA").resize(size, Image.Resampling.BICUBIC).convert(mode)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    """One of each kind that takes a step of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture("RGB", (120, 80)).save(folder / "turned.jpg", exif=turned)
    picture("L", (48, 48), 1).save(folder / "grey.png")
    picture("RGB", (2400, 1600), 2).save(folder / "big.jpg")
    picture("CMYK", (64, 96), 3).save(folder / "cmyk.jpg")
    picture("RGBA", (64, 96), 4).save(folder / "transparent.png")
    picture("P", (31, 33), 5).save(folder / "palette.png", transparency=3)
    deep = np.random.default_rng(6).integers(0, 65536, (40, 50), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    return sorted(folder.iterdir())


def test_the_example_reads_a_picture_to_the_pixel_as_training_does(pictures):
    for path in pictures:
        expected = normalise(decode(path, 48)[None]).numpy()
        found = onnx_example.as_input(onnx_example.read_picture(str(path)), 48, [0.5] * 3, [0.5] * 3)
        assert found.dtype == np.float32 and found.shape == (1, 3, 48, 48)
        np.testing.assert_allclose(found, expected, atol=2e-7, err_msg=path.name)


@pytest.mark.parametrize("file", ["onnx/model.onnx", "onnx/pixels.onnx"])
def test_the_example_in_its_folder_prints_what_pytorch_answers(exported, model, pictures, file):
    command = [sys.executable, "-I", "example.py", file, *map(str, pictures)]
    printed = subprocess.run(command, cwd=exported, check=True, capture_output=True, text=True, timeout=900).stdout
    lines = printed.splitlines()
    assert len(lines) == 11 * len(pictures)
    for number, path in enumerate(pictures):
        heading, *answer = lines[11 * number : 11 * number + 11]
        assert heading == str(path)
        assert [line.split()[0] for line in answer] == [*EMOTIONS, "valence", "arousal"]
        logits, affect = pytorch(model, normalise(decode(path, 48)[None]))
        expected = [*softmax(logits[0].astype(float)), *affect[0]]
        np.testing.assert_allclose([float(line.split()[1]) for line in answer], expected, atol=1e-4)


def test_the_example_says_what_it_cannot_read(exported, tmp_path):
    (tmp_path / "face.jpg").write_text("no picture")
    with pytest.raises(SystemExit, match="model.onnx does not exist; give a file that export wrote, such as onnx/"):
        onnx_example.main(str(exported / "model.onnx"), "face.jpg")
    with pytest.raises(SystemExit, match="face.jpg cannot be read as JPEG or PNG"):
        onnx_example.main(str(exported / "onnx/model.onnx"), str(tmp_path / "face.jpg"))


def test_the_example_needs_onnxruntime_numpy_and_pillow_alone(exported):
    tree = ast.parse((exported / "example.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {alias.name.split(".")[0] for node in imports for alias in node.names}
    names |= {node.module.split(".")[0] for node in froms if not node.level}
    assert names - sys.stdlib_module_names == {"onnxruntime", "numpy", "PIL"} and not any(one.level for one in froms)


def test_the_example_does_not_print_what_was_never_trained(exported, pictures, tmp_path, capsys):
    file = onnx.load(exported / "onnx/model.onnx")
    about = {part.key: part.value for part in file.metadata_props} | {"valence_arousal_trained": "false"}
    onnx.helper.set_model_props(file, about)
    onnx.save(file, tmp_path / "model.onnx")
    onnx_example.main(str(tmp_path / "model.onnx"), str(pictures[0]))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[-2:]] == ["untrained"] * 2


# --- what cannot be done ---------------------------------------------------------------------------------------------


def test_an_existing_folder_is_kept_unless_told(exported, calibrated, capsys):
    before = (exported / "onnx/model.onnx").stat().st_mtime_ns
    assert main(["export", str(calibrated), str(exported)]) == 1
    assert "--overwrite" in capsys.readouterr().err and (exported / "onnx/model.onnx").stat().st_mtime_ns == before


def test_the_format_is_not_named_as_there_is_one(calibrated, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["export", str(calibrated), str(tmp_path / "out"), "--onnx"])
    assert "there is no option --onnx" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_it_says_how_to_install_it(calibrated, tmp_path, monkeypatch, capsys, package):
    for name in ("onnx_example", "onnx_files", "parity"):
        monkeypatch.delitem(sys.modules, f"{exporting.__name__}.{name}")
        monkeypatch.delattr(exporting, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(calibrated), str(tmp_path / "out")]) == 1
    assert 'pip install "affectnet-plus[onnx]"' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_weights_that_are_not_finite_leave_nothing_behind(trained, drawn, tmp_path):
    broken = copy_with(trained, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"][3] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="max_abs_delta_logit is nan, expected at most 1e-04"):
        export(broken, tmp_path / "out", [drawn])
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_faces_that_are_not_there_or_cannot_be_read_are_named(model, exported, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; give a folder, tar or zip of pictures"):
        list(parity.face_batches([tmp_path / "nowhere"], 48))
    with pytest.raises(FileNotFoundError, match="holds no .jpg, .jpeg, .png .*give a folder, tar or zip of pictures"):
        list(parity.face_batches([tmp_path], 48))
    content = io.BytesIO()
    picture("RGB", (64, 64)).save(content, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(content.getvalue()[:300])
    with pytest.raises(OSError, match="cut.jpg cannot be read"):
        list(parity.face_batches([tmp_path], 48))
    with pytest.raises(ValueError, match="there is no face"):
        parity.measure_parity(model, {}, [])
