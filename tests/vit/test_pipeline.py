"""What people read of the output, and the pipeline that says it: every kind of input, and none that is ambiguous."""

import io
import json
import math
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from scipy.stats import entropy
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling import images
from affectnet_plus_modeling.data.dataset import decode, normalise
from affectnet_plus_modeling.publishing.publish_model import CODE
from affectnet_plus_modeling.training.saving import save_model
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels, pipeline_affectnet_plus
from affectnet_plus_modeling.vit.answers import answers, nonconformity, prediction_set
from hub.server import LoopbackHub
from support.alone import ALONE

SIZE = 16
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": SIZE,
    "patch_size": 4,
    "stem_channels": [8, 16],
}
CALIBRATED = {"method": "aps", "coverage": 0.9, "quantile": 0.8, "abstain_entropy": 1.5, "split": "validation"}
EXIF_ORIENTATION = 0x0112


def some_logits(rows=40, seed=0, scale=3.0) -> torch.Tensor:
    return scale * torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))


def some_affect(rows=40) -> torch.Tensor:
    return torch.rand(rows, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1


def distributions(rows=200, seed=0, concentration=0.4) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).dirichlet(np.full(8, concentration), rows))


# ---- what people read


def test_an_answer_is_the_softmax_its_entropy_and_its_top_class():
    logits, affect = some_logits(), some_affect()
    found = answers(AffectNetPlusConfig(), logits, affect)
    expected = softmax(logits.double().numpy(), axis=1)
    assert len(found) == 40
    for answer, row, pair in zip(found, expected, affect.tolist(), strict=True):
        assert list(answer) == ["label", "soft_label", "valence", "arousal", "entropy"]
        assert list(answer["soft_label"]) == list(EMOTIONS)
        np.testing.assert_allclose(list(answer["soft_label"].values()), row, rtol=1e-12)
        assert sum(answer["soft_label"].values()) == pytest.approx(1, abs=1e-12)
        assert answer["label"] == EMOTIONS[row.argmax()]
        assert answer["entropy"] == pytest.approx(entropy(row), rel=1e-12)
        assert [answer["valence"], answer["arousal"]] == pair
    json.dumps(found, allow_nan=False)


def test_the_first_of_equally_probable_classes_is_the_label():
    logits = torch.zeros(2, 8)
    logits[1, [3, 6]] = 1
    found = answers(AffectNetPlusConfig(), logits, some_affect(2))
    assert [answer["label"] for answer in found] == ["neutral", "surprise"]
    assert found[0]["entropy"] == pytest.approx(math.log(8))


def test_extreme_logits_in_bfloat16_are_sure_and_finite():
    logits = torch.zeros(1, 8, dtype=torch.bfloat16)
    logits[0, 2] = 16384
    (answer,) = answers(AffectNetPlusConfig(), logits, some_affect(1).bfloat16())
    assert answer["soft_label"] == {name: float(name == "sad") for name in EMOTIONS} and answer["entropy"] == 0


def test_an_untrained_valence_is_not_told():
    (answer,) = answers(AffectNetPlusConfig(valence_arousal_weight=0), some_logits(1), some_affect(1))
    assert answer["valence"] is None and answer["arousal"] is None and answer["label"] in EMOTIONS


def test_no_face_has_no_answer():
    assert answers(AffectNetPlusConfig(uncertainty=CALIBRATED), torch.empty(0, 8), torch.empty(0, 2)) == []


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_refused(wrong):
    logits = some_logits(4)
    logits[2, 5] = wrong
    with pytest.raises(ValueError, match=f"row 2: the logits are .*{wrong}.*finite"):
        answers(AffectNetPlusConfig(), logits, some_affect(4))


# ---- prediction sets


def members_by_hand(row, method, quantile) -> set[int]:
    """The rule of each paper, one class at a time."""
    order = sorted(range(len(row)), key=lambda index: (-row[index], index))
    chosen = {order[0]}
    for index in order:
        mass = math.fsum(p for p in row if p >= row[index]) if method == "aps" else 1 - row[index]
        if mass <= quantile:
            chosen.add(index)
    return chosen


@pytest.mark.parametrize("method", ["threshold", "aps"])
@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.63, 0.9, 0.99])
def test_the_set_is_that_of_the_rule(method, quantile):
    probabilities = distributions()
    found = prediction_set(probabilities, {"method": method, "quantile": quantile})
    assert found.dtype == torch.bool and found.any(dim=1).all()
    for row, members in zip(probabilities.tolist(), found, strict=True):
        assert set(members.nonzero().flatten().tolist()) == members_by_hand(row, method, quantile)


def test_sets_worked_by_hand():
    probabilities = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.97, 0.01, 0.01, 0.01]], dtype=torch.float64)
    threshold = prediction_set(probabilities, {"method": "threshold", "quantile": 0.75}).tolist()
    assert threshold == [[True, True, False, False], [True, False, False, False]]
    aps = prediction_set(probabilities, {"method": "aps", "quantile": 0.96}).tolist()
    assert aps == [[True, True, True, False], [True, False, False, False]]


@pytest.mark.parametrize("method", ["threshold", "aps"])
def test_a_quantile_of_one_takes_every_class(method):
    probabilities = some_logits(500).double().softmax(dim=1)
    assert (probabilities.sum(dim=1) > 1).any(), "premise: rounding brings some sums above 1"
    assert prediction_set(probabilities, {"method": method, "quantile": 1.0}).all()


@pytest.mark.parametrize("method", ["threshold", "aps"])
def test_equally_probable_classes_are_in_the_set_together(method):
    row = torch.tensor([[0.4, 0.2, 0.2, 0.2]])
    for quantile in np.linspace(0, 1, 21):
        members = prediction_set(row, {"method": method, "quantile": float(quantile)})[0, 1:]
        assert members.all() or not members.any()


@pytest.mark.parametrize("method", ["threshold", "aps"])
@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_the_quantile_of_scores_covers_new_faces_as_often_as_promised(method, coverage):
    """Split conformal (Vovk et al. 2005): the ceil((n + 1) coverage)-th smallest score of n calibration faces."""
    rng, rates = np.random.default_rng(5), []
    for seed in range(60):
        probabilities = distributions(400, seed=seed)
        overconfident = (probabilities**2 / (probabilities**2).sum(dim=1, keepdim=True)).clamp(min=1e-9)
        truth = torch.tensor([rng.choice(8, p=row) for row in probabilities.numpy()])[:, None]
        scores = nonconformity(overconfident, method).gather(1, truth)[:, 0]
        quantile = float(scores[:200].sort().values[math.ceil(201 * coverage) - 1])
        members = prediction_set(overconfident[200:], {"method": method, "quantile": quantile})
        rates.append(members.gather(1, truth[200:]).double().mean())
    error = np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) > coverage - 3 * error


def test_an_uncertain_answer_says_its_set_and_whether_to_abstain():
    logits = torch.tensor([[0.7, 0.2, 0.1], [0.98, 0.01, 0.01], [0.34, 0.33, 0.33]]).log()
    uncertainty = {"method": "threshold", "quantile": 0.81, "abstain_entropy": 1.0, "coverage": 0.9}
    config = AffectNetPlusConfig(id2label={0: "a", 1: "b", 2: "c"}, uncertainty=uncertainty)
    found = answers(config, logits.flip(1), some_affect(3))
    assert [answer["prediction_set"] for answer in found] == [["c", "b"], ["c"], ["c", "a", "b"]]
    assert [answer["abstain"] for answer in found] == [False, False, True]


def test_only_more_than_the_threshold_abstains_and_no_threshold_never_does():
    logits = torch.zeros(1, 8)
    for threshold, expected in [(math.log(8) + 1e-9, False), (math.log(8) - 1e-9, True), (0.0, True), (None, False)]:
        config = AffectNetPlusConfig(uncertainty=CALIBRATED | {"abstain_entropy": threshold})
        assert answers(config, logits, some_affect(1))[0]["abstain"] is expected
    sure = torch.tensor([[1e4] + [0.0] * 7])
    config = AffectNetPlusConfig(uncertainty=CALIBRATED | {"abstain_entropy": 0.0})
    assert answers(config, sure, some_affect(1))[0]["abstain"] is False, "an entropy of 0 is not above 0"


def test_a_method_that_is_not_known_is_refused():
    config = AffectNetPlusConfig(uncertainty=CALIBRATED | {"method": "raps"})
    with pytest.raises(ValueError, match="method is 'raps', expected 'threshold' or 'aps'"):
        answers(config, some_logits(1), some_affect(1))


# ---- the pipeline, and what it takes


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A calibrated model as `save_model` writes it, no parameter at an initial value."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SHAPE, uncertainty=CALIBRATED)).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    save_model(model, SIZE, folder)
    return folder


@pytest.fixture(scope="module")
def affect(saved):
    """It does not look whether noise is a face: `test_faces.py` has that."""
    return pipeline("facial-affect", model=str(saved), trust_remote_code=True, device="cpu", faces=False)


@pytest.fixture(scope="module")
def faces():
    """Five pictures of different sizes and colours, (height, width, 3)."""
    rng = np.random.default_rng(3)
    highest = rng.integers(1, 256, (5, 3))
    return [rng.integers(0, highest[row], (20 + row, 31 - row, 3)).astype(np.uint8) for row in range(5)]


@pytest.fixture(scope="module")
def paths(faces, tmp_path_factory):
    """The same as PNG files."""
    folder = tmp_path_factory.mktemp("faces")
    for row, face in enumerate(faces):
        Image.fromarray(face).save(folder / f"{row}.png")
    return [folder / f"{row}.png" for row in range(5)]


@pytest.fixture(scope="module")
def expected(affect, paths):
    """What the model says of these pictures by the package's own way of reading them."""
    with torch.no_grad():
        output = affect.model(normalise(torch.stack([decode(path, SIZE) for path in paths])))
    return answers(affect.model.config, output.logits, output.valence_arousal)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """The address of `tmp_path`, served on the loopback interface."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def agree(found: list[dict], expected: list[dict]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other) and one["label"] == other["label"]
        assert list(one["soft_label"]) == list(EMOTIONS)
        assert list(one["soft_label"].values()) == pytest.approx(list(other["soft_label"].values()), abs=1e-5)
        for name in ("valence", "arousal", "entropy"):
            assert one[name] == pytest.approx(other[name], abs=1e-5)
        assert one["prediction_set"] == other["prediction_set"] and one["abstain"] == other["abstain"]


def test_one_picture_has_one_answer_with_all_scores(affect, paths, expected):
    answer = affect(str(paths[0]))
    agree([answer], expected[:1])
    assert sum(answer["soft_label"].values()) == pytest.approx(1, abs=1e-12)
    happy = sorted(answer["soft_label"]["happy"] for answer in expected)
    assert min(np.diff(happy)) > 5e-5, "premise: the pictures differ for the model"


@pytest.mark.parametrize(
    "kind",
    [
        str,
        lambda path: path,
        Image.open,
        lambda path: Image.open(path).convert("RGBA"),
    ],
    ids=["path as text", "Path", "PIL image", "PIL image with alpha"],
)
def test_every_kind_of_picture_has_the_same_answer(affect, paths, expected, kind):
    agree(affect([kind(path) for path in paths]), expected)


def test_arrays_of_both_channel_orders_have_the_same_answer(affect, faces, expected):
    agree(affect(faces, channel_order="rgb"), expected)
    agree(affect([face[:, :, ::-1] for face in faces], channel_order="bgr"), expected)
    with pytest.raises(AssertionError):
        agree(affect(faces, channel_order="bgr"), expected)
    agree([affect(np.asfortranarray(faces[0]), channel_order="rgb")], expected[:1])


def test_the_channel_order_may_be_said_once_for_all(saved, faces, expected):
    agree(
        pipeline(model=str(saved), trust_remote_code=True, channel_order="rgb", device="cpu", faces=False)(faces),
        expected,
    )


def test_a_grey_array_is_a_grey_picture_and_needs_no_channel_order(affect, faces):
    grey = faces[0][:, :, 0]
    agree([affect(grey)], [affect(np.repeat(grey[:, :, None], 3, axis=2), channel_order="rgb")])
    agree([affect(grey)], [affect(Image.fromarray(grey))])


def test_addresses_are_read(affect, paths, expected, web, tmp_path):
    for path in paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    agree(affect([f"{web}/{path.name}" for path in paths], batch_size=2), expected)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_batches_are_in_the_order_given(affect, paths, expected, batch_size):
    agree(affect([str(path) for path in paths], batch_size=batch_size), expected)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    "through",
    [
        lambda paths: (path for path in paths),
        tuple,
        lambda paths: map(str, paths),
        lambda paths: as_dataset(paths)["image"],
        lambda paths: KeyDataset(as_dataset(paths), "image"),
        lambda paths: as_dataset(paths).to_iterable_dataset()["image"],
    ],
    ids=["generator", "tuple", "map", "column", "KeyDataset", "streamed column"],
)
def test_whatever_can_be_gone_through_has_one_answer_after_another(affect, paths, expected, through, batch_size):
    found = affect(through(paths), batch_size=batch_size)
    assert not isinstance(found, list), "read as it is asked for"
    agree(list(found), expected)


def as_dataset(paths) -> datasets.Dataset:
    content = {"image": [str(path) for path in paths], "number": list(range(len(paths)))}
    return datasets.Dataset.from_dict(content).cast_column("image", datasets.Image())


def test_no_picture_has_no_answer(affect):
    assert affect([]) == [] and list(affect(iter(()))) == [] and list(affect(())) == []


def test_there_is_no_top_k_to_lose_scores_by(affect, paths):
    with pytest.raises(TypeError, match="top_k"):
        affect(str(paths[0]), top_k=5)


# ---- pixels


def saved_as(image: Image.Image, kind="PNG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def drawn(mode="RGB", size=(37, 29)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (4, 5, len(Image.new(mode, (1, 1)).getbands())), dtype=np.uint8)
    bands = [Image.fromarray(values[:, :, band]).resize(size) for band in range(values.shape[2])]
    return Image.merge(mode, bands)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return saved_as(drawn(), "JPEG", exif=exif, quality=95)


FILES = {
    "jpeg": saved_as(drawn(), "JPEG", quality=90),
    "grey jpeg": saved_as(drawn("L"), "JPEG"),
    "cmyk jpeg": saved_as(drawn("CMYK"), "JPEG"),
    "progressive jpeg": saved_as(drawn(), "JPEG", progressive=True),
    "png": saved_as(drawn()),
    "transparent png": saved_as(drawn("RGBA")),
    "grey and alpha png": saved_as(drawn("LA")),
    "palette png": saved_as(drawn().quantize(7), transparency=3),
    "grey png of 16 bits": saved_as(Image.fromarray(np.arange(29 * 37, dtype=np.uint16).reshape(29, 37) * 60)),
    "1 bit png": saved_as(drawn("L").convert("1")),
} | {f"turned {orientation}": turned(orientation) for orientation in range(2, 9)}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("error")
def test_pixels_are_those_of_the_package(affect, tmp_path, name):
    path = tmp_path / "face"
    path.write_bytes(FILES[name])
    upright = np.asarray(pipeline_affectnet_plus._open(str(path), None, 1).image)
    np.testing.assert_array_equal(upright, images.decode(path))
    pixels = affect.preprocess(str(path))["pixel_values"][0]
    assert pixels.dtype == torch.float32
    # (x / 255 - 0.5) / 0.5 and x / 127.5 - 1, both rounded.
    torch.testing.assert_close(pixels, normalise(decode(path, SIZE)), atol=3e-7, rtol=0)


@pytest.mark.parametrize("name", FILES)
def test_an_opened_image_is_read_like_its_file_and_stays_as_it_is(tmp_path, name):
    image = Image.open(io.BytesIO(FILES[name]))
    before, info = image.copy(), dict(image.info)
    upright = np.asarray(pipeline_affectnet_plus._open(image, None, 1).image)
    np.testing.assert_array_equal(upright, images.decode(FILES[name]))
    assert image.mode == before.mode and image.tobytes() == before.tobytes()
    assert image.info == info and image.getexif() == before.getexif()


# ---- what is refused


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((20, 20, 3), "uint8", "channel_order is None, expected 'rgb' or 'bgr': OpenCV gives 'bgr'"),
        ((20, 20, 3), "float32", r"the type float32.*bring its values to 0\.\.255"),
        ((20, 20), "float64", "the type float64"),
        ((20, 20), "uint16", "the type uint16"),
        ((20, 20, 3), "int64", "the type int64"),
        ((20, 20), "bool", "the type bool"),
        ((3, 20, 20), "uint8", r"the shape \(3, 20, 20\).*channels that come first"),
        ((3, 20, 3), "uint8", r"the shape \(3, 20, 3\).*channels that come first"),
        ((1, 20, 20), "uint8", "channels that come first"),
        ((20, 20, 4), "uint8", r"the shape \(20, 20, 4\).*a channel of transparency"),
        ((20, 20, 1), "uint8", r"the shape \(20, 20, 1\)"),
        ((2, 20, 20, 3), "uint8", r"the shape \(2, 20, 20, 3\)"),
        ((20,), "uint8", r"the shape \(20,\)"),
        ((0, 20), "uint8", r"the shape \(0, 20\)"),
        ((20, 0, 3), "uint8", r"the shape \(20, 0, 3\)"),
    ],
)
def test_an_array_that_may_mean_two_things_is_refused(affect, shape, dtype, words):
    with pytest.raises(ValueError, match=words):
        affect(np.zeros(shape, dtype))
    if "channel_order" not in words:
        with pytest.raises(ValueError, match=words):
            affect(np.zeros(shape, dtype), channel_order="rgb")


def test_an_unknown_channel_order_is_refused(affect, faces):
    with pytest.raises(ValueError, match="channel_order is 'RGB', expected 'rgb' or 'bgr'"):
        affect(faces[0], channel_order="RGB")


@pytest.mark.parametrize(
    ("thing", "kind"),
    [(torch.zeros(3, 16, 16), "Tensor"), ({"image": "a.png"}, "dict"), (b"content", "bytes"), (None, "NoneType")],
)
def test_what_is_no_picture_is_refused(affect, thing, kind):
    with pytest.raises(ValueError, match=f"a picture is a {kind}; give a path"):
        list(affect(thing))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_an_image_whose_range_is_not_known_is_refused(affect, mode):
    with pytest.raises(ValueError, match=f"mode '{mode}', whose range is not known"):
        affect(Image.new(mode, (20, 20)))


BROKEN = {
    "ico": (saved_as(drawn(), "ICO"), "it is not whole, or no JPEG, PNG"),
    "cut": (FILES["jpeg"][:-300], "truncated"),
    "empty": (b"", "it has no bytes"),
    "text": (b"a face", "it is not whole, or no JPEG, PNG"),
    "many": (saved_as(Image.new("1", (10_001, 10_000))), "it is 10001x10000, expected at most 100 megapixels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_or_an_address_that_is_no_picture_is_named(affect, tmp_path, web, name):
    content, words = BROKEN[name]
    (tmp_path / "face.jpg").write_bytes(content)
    for place in (str(tmp_path / "face.jpg"), f"{web}/face.jpg"):
        with pytest.raises(OSError, match=f"{place} cannot be read as a photo: .*{words}") as refused:
            affect(place)
        assert " at 0x" not in str(refused.value)
    with pytest.raises(OSError) as refused:
        images.decode(tmp_path / "face.jpg")
    assert " at 0x" not in str(refused.value)


def test_what_is_not_there_is_named(affect, tmp_path, web):
    with pytest.raises(FileNotFoundError, match="gone.jpg"):
        affect(str(tmp_path / "gone.jpg"))
    with pytest.raises(OSError, match=f"{web}/gone.jpg cannot be read as a photo: .*404"):
        affect(f"{web}/gone.jpg")
    with pytest.raises(OSError, match="a face.jpg cannot be read"):
        affect("http://127.0.0.1/a face.jpg")
    for scheme in ("file:///etc/hostname", "ftp://127.0.0.1/face.jpg", "data://face"):
        with pytest.raises(OSError, match=f"{scheme} cannot be read as a photo: only http and https"):
            affect(scheme)


def test_one_bad_picture_of_a_list_is_named(affect, paths, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match="bad.png cannot be read"):
        affect([str(paths[0]), str(tmp_path / "bad.png"), str(paths[1])], batch_size=3)


# ---- the folder


def test_a_saved_model_holds_its_pipeline_and_nothing_unknown(saved):
    config = json.loads((saved / "config.json").read_text())
    assert config["custom_pipelines"] == {
        "facial-affect": {
            "impl": "pipeline_affectnet_plus.FacialAffectPipeline",
            "pt": ["AutoModelForImageClassification"],
            "type": "image",
        }
    }
    assert config["uncertainty"] == CALIBRATED
    files = sorted(path.name for path in saved.iterdir())
    assert files == sorted(["config.json", "model.safetensors", "preprocessor_config.json", *CODE])


def test_saving_leaves_the_network_as_it_was(tmp_path):
    model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SHAPE)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    save_model(model, SIZE, tmp_path / "model")
    assert model.training and model.device.type == "cpu"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    loaded = AffectNetPlusForSoftLabels.from_pretrained(tmp_path / "model")
    assert all(torch.equal(value, before[name]) for name, value in loaded.state_dict().items())


def test_where_this_package_is_imported_a_model_in_memory_has_its_pipeline_too(affect, paths, expected):
    found = pipeline(
        "facial-affect", model=affect.model, image_processor=affect.image_processor, device="cpu", faces=False
    )
    assert type(found).__module__ == "affectnet_plus_modeling.vit.pipeline_affectnet_plus"
    agree(found([str(path) for path in paths]), expected)


def test_code_from_a_folder_is_not_run_unasked(saved):
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        pipeline("facial-affect", model=str(saved))


# Run where this package cannot be imported.
STRANGER = (
    ALONE
    + """
import json, sys

from transformers import pipeline

said = []
for place in sys.argv[1:3]:
    affect = pipeline("facial-affect", model=place, trust_remote_code=True, device="cpu", faces=False)
    said.append([type(affect).__module__.partition(".")[0], type(affect.model).__module__.partition(".")[0]])
    said.append(affect(sys.argv[3:], batch_size=2))
affect.save_pretrained("again")
said.append(pipeline(model="again", trust_remote_code=True, device="cpu", faces=False)(sys.argv[3:]))
print(json.dumps(said))
"""
)


@pytest.mark.slow
def test_a_process_without_this_package_asks_a_folder_and_the_hub(saved, paths, expected, tmp_path):
    with LoopbackHub() as hub:
        state = {path.name: path.read_bytes() for path in saved.iterdir()}
        push = "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo(sys.argv[2]); "
        push += "api.upload_folder(repo_id=sys.argv[2], folder_path=sys.argv[1])"
        for code, arguments in [(push, [saved, "tester/faces"]), (STRANGER, [saved, "tester/faces", *paths])]:
            child = subprocess.run(
                [sys.executable, "-c", code, *map(str, arguments)],
                cwd=tmp_path,
                env=hub.environment(tmp_path / "home"),
                capture_output=True,
                text=True,
                timeout=900,
            )
            assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said[0] == said[2] == ["transformers_modules", "transformers_modules"]
    for found in (said[1], said[3], said[4]):
        agree(found, expected)
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert sorted(again) == sorted(state)
    for name in CODE:
        assert again[name] == state[name]
