"""Exported files as their readers ask them: optimum, transformers.js and transformers alone, and our own verbs.

The faces have 224 pixels, of which the model sees 48: there the resize decides the label. Readers without a line of
ours run the blocks of the exported README.md in a process of their own.
"""

import json
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.app import serve
from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.evaluation.evaluate import evaluate
from affectnet_plus_modeling.evaluation.options import EvaluationOptions
from affectnet_plus_modeling.evaluation.predict import load_model, open_model, predict
from affectnet_plus_modeling.images import decode
from affectnet_plus_modeling.sources.synthetic import draw_face
from hub.client import signed_in
from support.parts import CHROMIUM, NO_CHROMIUM, NO_OPTIMUM, NO_TRANSFORMERS_JS, NODE_MODULES, OPTIMUM

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

from affectnet_plus_modeling.exporting import parity  # noqa: E402
from affectnet_plus_modeling.exporting.export import export  # noqa: E402
from affectnet_plus_modeling.exporting.hub_layout import plain_model  # noqa: E402
from affectnet_plus_modeling.exporting.page import PLACE  # noqa: E402
from affectnet_plus_modeling.publishing.publish import stage  # noqa: E402
from affectnet_plus_modeling.training.saving import save_model  # noqa: E402
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels  # noqa: E402

FACES = 12
UNCERTAINTY = {
    "method": "aps",
    "quantile": 0.9,
    "coverage": 0.9,
    "abstain_entropy": 1.5,
    "data": "x",
    "split": "train",
}
PLAIN = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A plain vision transformer of random weights that are large enough to tell faces apart, and calibrated."""
    import torch

    torch.manual_seed(0)
    config = AffectNetPlusConfig(
        **PLAIN,
        image_size=48,
        patch_size=8,
        initializer_range=0.3,
        logit_temperature=0.7,
        uncertainty=UNCERTAINTY,
    )
    folder = tmp_path_factory.mktemp("plain") / "faces"
    save_model(AffectNetPlusForSoftLabels(config).eval(), 48, folder)
    return folder


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    """The model with its plain weights; read-only."""
    out = tmp_path_factory.mktemp("readers") / "exported"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "DRAWN", 32)
        export(model, out, plain=True)
    return out


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("faces")
    for index in range(FACES):
        draw_face(0, index).image.save(folder / f"{index:02}.png")
    draw_face(0, 0).image.save(folder.parent / "face.jpg", quality=95)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def expected(model, faces) -> np.ndarray:
    """What `predict` answers from PyTorch, (faces, 8)."""
    return np.array([list(answer["soft_label"].values()) for answer in predict(model, list(faces))])


def blocks(exported: Path, language: str) -> list[str]:
    """The blocks of README.md, in which the folder stands in place of its name on the Hub."""
    page = (exported / "README.md").read_text().replace(PLACE, str(exported))
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.M | re.S)


def run(command: list, folder: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_order(scores: list[dict]) -> list[float]:
    found = {score["label"]: score["score"] for score in scores}
    return [found[name] for name in EMOTIONS]


def near(found, expected, far=1e-5):
    np.testing.assert_allclose(np.array(found, dtype=float), expected, atol=far)


# --- python ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not OPTIMUM.exists(), reason=NO_OPTIMUM)
@pytest.mark.slow
def test_optimum_and_transformers_4_give_the_answers_of_predict(exported, faces, expected, tmp_path):
    """In one process of transformers 4.57: the two blocks of the page, then all faces, one by one and as a batch."""
    shutil.copy(faces[0].parent.parent / "face.jpg", tmp_path)
    ask = "\nfound.append([classify(paths, top_k=8), classify(paths, top_k=8, batch_size=5)])\n"
    head = f"import json\npaths = {list(map(str, faces))}\nfound = []\n"
    script = head + ask.join(blocks(exported, "python")) + ask + "print(json.dumps(found))\n"
    script += "import importlib.util\nassert not importlib.util.find_spec('affectnet_plus_modeling')\n"
    script += "import transformers\nassert transformers.__version__.startswith('4.57')\n"
    printed = run([OPTIMUM, "-c", script], tmp_path).splitlines()
    onnx, plain = json.loads(printed[-1])
    for found in (*onnx, *plain):
        near([in_order(scores) for scores in found], expected)


# --- javascript ------------------------------------------------------------------------------------------------------

_ALL = """
const all = { pixels: [], quantised: [], stock: [] };
const quantised = await AutoModel.from_pretrained(PLACE, { model_file_name: "pixels", dtype: "q8" });
const classify = await pipeline("image-classification", PLACE, { dtype: "fp32" });
for (const path of FACES) {
  const face = await RawImage.read(path);
  const rgba = face.clone().rgba();
  const give = (image) => new Tensor("uint8", image.data, [1, image.height, image.width, image.channels]);
  all.pixels.push([...(await model({ pixels: give(face.rgb()) })).soft_label.data]);
  all.quantised.push([...(await quantised({ pixels: give(rgba) })).soft_label.data]);
  all.stock.push(await classify(path, { top_k: 8 }));
}
console.log(JSON.stringify(all));
"""


@pytest.mark.skipif(not NODE_MODULES.exists(), reason=NO_TRANSFORMERS_JS)
def test_transformers_js_gives_the_labels_of_predict(exported, faces, expected, tmp_path):
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    shutil.copy(faces[0].parent.parent / "face.jpg", tmp_path)
    (block,) = blocks(exported, "js")
    block = block.replace("{ AutoModel,", "{ AutoModel, pipeline, env,", 1)
    head, _, rest = block.partition("\n\n")
    offline = "\nenv.allowRemoteModels = false;\nenv.localModelPath = '/';\n"
    many = _ALL.replace("PLACE", json.dumps(str(exported))).replace("FACES", json.dumps(list(map(str, faces))))
    (tmp_path / "readers.mjs").write_text(head + offline + rest + many)
    *printed, last = run(["node", "readers.mjs"], tmp_path).splitlines()
    one = re.findall(r"'(\w+)', ([\d.e-]+)", "\n".join(printed))
    (answer,) = predict(exported, tmp_path / "face.jpg")
    assert [name for name, _ in one] == list(EMOTIONS)
    near([float(value) for _, value in one], list(answer["soft_label"].values()), 1e-3)  # two decoders of JPEG
    found = json.loads(last)
    near(found["pixels"], expected)
    near(found["quantised"], expected, 0.05)
    stock = np.array([in_order(scores) for scores in found["stock"]])
    assert stock.shape == expected.shape and np.abs(stock - expected).max() > 0.05, "it averages: say so on the page"


_PAGE = """
<!doctype html><title>exported</title><script type="module">
import { AutoModel, RawImage, Tensor, env } from "/js/@huggingface/transformers/dist/transformers.min.js";
env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = "/";
env.useBrowserCache = false;
env.backends.onnx.wasm.wasmPaths = "/js/onnxruntime-web/dist/";
const model = await AutoModel.from_pretrained("exported", { model_file_name: "pixels", dtype: "fp32" });
const found = [];
for (const name of FACES) {
  const face = await createImageBitmap(await (await fetch(name)).blob());
  const canvas = new OffscreenCanvas(face.width, face.height).getContext("2d");
  canvas.drawImage(face, 0, 0);
  const { data } = canvas.getImageData(0, 0, face.width, face.height);
  const pixels = new Tensor("uint8", new Uint8Array(data.buffer), [1, face.height, face.width, 4]);
  found.push([...(await model({ pixels })).soft_label.data]);
}
window.found = found;
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
@pytest.mark.skipif(not NODE_MODULES.exists(), reason=NO_TRANSFORMERS_JS)
def test_a_real_browser_gives_the_labels_of_predict(exported, faces, expected, tmp_path):
    """The pixels of a canvas, four channels, in WebAssembly; nothing is fetched from elsewhere."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra dev)")
    for name, target in {"js": NODE_MODULES, "exported": exported, "faces": faces[0].parent}.items():
        (tmp_path / name).symlink_to(target)
    names = json.dumps([f"/faces/{path.name}" for path in faces])
    (tmp_path / "page.html").write_text(_PAGE.replace("FACES", names))
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_api.sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser:
            page, said = browser.new_page(), []
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            here = f"http://127.0.0.1:{server.server_port}/"
            elsewhere = []
            page.on("request", lambda one: one.url.startswith((here, "blob:", "data:")) or elsewhere.append(one.url))
            page.goto(f"{here}page.html")
            page.wait_for_function("window.found", timeout=600_000)
            found = page.evaluate("window.found")
        server.shutdown()
    assert elsewhere == [], said
    near(found, expected)


class QuietHandler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_):
        pass


# --- our own verbs ---------------------------------------------------------------------------------------------------


def told(lines: str) -> list[dict]:
    return [json.loads(line) for line in lines.splitlines()]


@pytest.mark.slow
def test_predict_says_of_an_exported_folder_what_it_says_of_the_model(exported, model, faces, capsys):
    assert main(["predict", str(model), *map(str, faces)]) == 0
    answers = told(capsys.readouterr().out)
    for batch_size in ("1", "5"):
        assert main(["predict", str(exported), *map(str, faces), "--batch-size", batch_size]) == 0
        for found, answer in zip(told(capsys.readouterr().out), answers, strict=True):
            assert list(found) == list(answer) and "prediction_set" in found
            near(list(found.pop("soft_label").values()), list(answer["soft_label"].values()))
            for name in ("valence", "arousal", "entropy"):
                assert found.pop(name) == pytest.approx(answer[name], abs=1e-5)
            assert found == {name: answer[name] for name in found}
    assert main(["predict", str(exported / "onnx/model_quantized.onnx"), str(faces[0])]) == 0
    (quantised,) = told(capsys.readouterr().out)
    assert 0 < abs(quantised["entropy"] - answers[0]["entropy"]) < 0.05


def test_what_is_no_exported_model_is_refused_by_name(exported, faces, tmp_path, capsys):
    (tmp_path / "text.onnx").write_text("no protobuf")
    for model, reason in (
        (exported / "onnx/pixels.onnx", "pixels.onnx takes pixels; give onnx/model.onnx"),
        (tmp_path / "text.onnx", "text.onnx is no ONNX file that can be run"),
        (tmp_path / "gone.onnx", "gone.onnx does not exist"),
    ):
        assert main(["predict", str(model), str(faces[0])]) == 1
        assert reason in capsys.readouterr().err
    assert main(["predict", str(exported), str(faces[0]), "--bf16"]) == 1
    assert "name its onnx/model_quantized.onnx" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds a 'vit' model, expected 'affectnet_plus'"):
        load_model(exported)


def test_evaluate_measures_an_exported_folder_as_the_model(exported, model, drawn):
    few = EvaluationOptions(resamples=10)
    ours, theirs = (evaluate(folder, drawn, batch_size=3, options=few) for folder in (model, exported))
    assert theirs["model"] == "exported" and theirs["accuracy"] == ours["accuracy"]
    for name in ("kl", "js", "ece", "brier"):
        assert theirs[name] == pytest.approx(ours[name], abs=1e-5)
    assert theirs["valence"]["ccc"] == pytest.approx(ours["valence"]["ccc"], abs=1e-4)


def test_the_page_asks_an_exported_folder(exported, faces, expected):
    answers = serve.answer(open_model(exported), [decode(path) for path in faces])
    near([list(answer["soft_label"].values()) for answer in answers], expected)


def test_an_exported_folder_is_published_as_it_is_and_stays_closed_where_nobody_knows_the_faces(
    exported, monkeypatch, tmp_path, capsys
):
    folder = shutil.copytree(exported, tmp_path / "exported")
    (folder / "onnx" / "mine.onnx").write_bytes(b"a file of somebody")
    with signed_in(monkeypatch, tmp_path / "home") as hub:
        assert main(["publish", str(folder), "tester/faces"]) == 0
        assert hub.repo("tester/faces").private and "not recorded" not in capsys.readouterr().err
        files = hub.files("tester/faces")
        assert "onnx/mine.onnx" not in files and "# faces as ONNX" in files["README.md"].decode()
        assert 'from_pretrained("tester/faces")' in files["README.md"].decode()
        for name in ("config.json", "onnx/model.onnx", "onnx/pixels_quantized.onnx", "model.safetensors"):
            assert files[name] == (exported / name).read_bytes(), name
        record = {"data": {"name": "drawn", "origin": "drawn"}, "options": {}}
        (folder / "training.json").write_text(json.dumps(record))
        (folder / "model.safetensors").unlink()
        assert main(["publish", str(folder), "tester/open", "--license", "apache-2.0"]) == 0
        assert (
            not hub.repo("tester/open").private
            and "license: apache-2.0" in hub.files("tester/open")["README.md"].decode()
        )
        (folder / "onnx/model.onnx").write_text("no protobuf")
        assert main(["publish", str(folder), "tester/open"]) == 1
        assert "onnx/model.onnx is no ONNX file" in capsys.readouterr().err


# --- what a plain vision transformer is, and is not ------------------------------------------------------------------


def test_the_plain_model_is_that_of_transformers_and_the_card_says_what_is_lost(exported, model, tmp_path):
    assert json.loads((exported / "parity.json").read_text())["plain_max_abs_delta_logit"] < 1e-5
    config = json.loads((exported / "config.json").read_text())
    assert config["model_type"] == "vit" and config["architectures"] == ["ViTForImageClassification"]
    assert "auto_map" not in config and config["id2label"]["7"] == "contempt"
    card = (stage(exported, tmp_path / "published", repo_id="you/faces") / "README.md").read_text()
    assert "What is lost by that: valence and arousal, the prediction set and abstaining" in card
    assert 'from_pretrained("you/faces")' in card and PLACE not in card
    assert (tmp_path / "published" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"stem_channels": (8, 16)}, "its stem of 2 convolutions comes before the transformer. Leave --plain out"),
        ({"pooling": "mean"}, "its heads look at the mean of all tokens, and not at the class token"),
    ],
)
def test_a_model_that_is_no_plain_one_is_refused_with_the_reason(options, reason):
    other = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**PLAIN, image_size=48, patch_size=8, **options))
    with pytest.raises(ValueError, match=f"faces cannot be a ViTForImageClassification: {reason}"):
        plain_model(other, "faces")
