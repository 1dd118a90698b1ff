"""Each operation against Pillow, numpy or scipy on the same picture, and their draw against a loop over faces."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import affine_transform, uniform_filter
from scipy.stats import chisquare

from affectnet_plus_modeling.sources.synthetic import draw_face
from affectnet_plus_modeling.training import randaugment as operations
from affectnet_plus_modeling.training.randaugment import OPERATIONS, random_operations

PLACE = ("shear_x", "shear_y", "rotate", "translate_x", "translate_y")
LEVELS = [-1.0, -0.4, 0.3, 1.0]


@pytest.fixture(scope="module")
def face() -> Image.Image:
    return draw_face(5, 2).image.resize((64, 64))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def changed(name: str, picture: torch.Tensor, level: float) -> np.ndarray:
    """(height, width, 3) in 0..255 of one picture."""
    levels = torch.full((len(picture), 1, 1, 1), level)
    found = getattr(operations, name)(picture, levels).clamp(-1, 1)
    return (found[0].permute(1, 2, 0).double().numpy() + 1) * 127.5


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "name, enhance, reach",
    [
        ("brightness", ImageEnhance.Brightness, 0.5),
        ("contrast", ImageEnhance.Contrast, 0.6),
        ("saturation", ImageEnhance.Color, 1.0),
    ],
)
def test_light_and_colour_are_pillows(face, name, enhance, reach, level):
    expected = np.asarray(enhance(face).enhance(1 + reach * level), dtype=float)
    assert np.abs(changed(name, tensor(face), level) - expected).max() < 2.1  # Pillow rounds grey and result
    assert np.abs(expected - np.asarray(face, dtype=float)).max() > 10


@pytest.mark.parametrize("level", LEVELS)
def test_gamma_is_a_power_of_the_light(face, level):
    expected = 255 * (np.asarray(face) / 255) ** (2**level)
    np.testing.assert_allclose(changed("gamma", tensor(face), level), expected, atol=1e-3)


def test_the_strongest_posterise_leaves_the_nearest_of_sixteen_shades(face):
    for level in (1.0, -1.0):
        np.testing.assert_allclose(
            changed("posterise", tensor(face), level), np.round(np.asarray(face) / 17) * 17, atol=1e-3
        )


def test_autocontrast_is_pillows(face):
    dull = face.point(lambda value: 60 + value // 3)
    expected = np.asarray(ImageOps.autocontrast(dull), dtype=float)
    assert np.abs(changed("autocontrast", tensor(dull), -1.0) - expected).max() < 1.1
    halfway = (expected + np.asarray(dull)) / 2
    assert np.abs(changed("autocontrast", tensor(dull), 0.5) - halfway).max() < 1.1


def test_equalise_is_the_cumulated_histogram_and_close_to_pillows(face):
    found = changed("equalise", tensor(face), 1.0)
    for channel in range(3):
        shades = np.asarray(face)[:, :, channel]
        cumulated = np.cumsum(np.bincount(shades.ravel(), minlength=256))
        darkest = cumulated[shades.min()]
        expected = 255 * (cumulated[shades] - darkest) / (shades.size - darkest)
        np.testing.assert_allclose(found[:, :, channel], expected, atol=1e-3)
    # Pillow counts the darker half of a shade's own step differently
    assert np.abs(found - np.asarray(ImageOps.equalize(face), dtype=float)).mean() < 3


@pytest.mark.parametrize("name", ["autocontrast", "equalise"])
def test_a_channel_of_one_shade_is_not_stretched(name):
    picture = torch.tensor([-1.0, 0.2, 1.0])[None, :, None, None].expand(1, 3, 8, 8)
    np.testing.assert_allclose(changed(name, picture, 1.0)[0, 0], (picture[0, :, 0, 0].numpy() + 1) * 127.5, rtol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size, window", [(64, 3), (224, 7)])
def test_sharpness_goes_from_and_to_scipys_blur(face, level, size, window):
    picture = tensor(face.resize((size, size)))
    pixels = (picture[0].permute(1, 2, 0).double().numpy() + 1) * 127.5
    blurred = uniform_filter(pixels, (window, window, 1), mode="nearest")
    expected = np.clip(blurred + (pixels - blurred) * (1 + level), 0, 255)
    np.testing.assert_allclose(changed("sharpness", picture, level), expected, atol=1e-3)


def test_noise_is_normal_grey_and_of_its_level():
    torch.manual_seed(0)
    picture = torch.zeros(1, 3, 200, 200)
    added = operations.noise(picture, torch.full((1, 1, 1, 1), -0.5))
    assert float(added.std()) == pytest.approx(0.08, rel=0.03) and abs(float(added.mean())) < 2e-3
    assert torch.equal(added[:, 0], added[:, 1]) and torch.equal(added[:, 0], added[:, 2])


def matrix_of(name: str, level: float) -> np.ndarray:
    """Where a pixel (x, y), measured from the middle in pixels of a side of 1, comes from."""
    cosine, sine = math.cos(math.radians(15) * level), math.sin(math.radians(15) * level)
    return np.array(
        {
            "shear_x": [[1, 0.2 * level, 0], [0, 1, 0]],
            "shear_y": [[1, 0, 0], [0.2 * level, 1, 0]],
            "rotate": [[cosine, -sine, 0], [sine, cosine, 0]],
            "translate_x": [[1, 0, 0.1 * level], [0, 1, 0]],
            "translate_y": [[1, 0, 0], [0, 1, 0.1 * level]],
        }[name],
        dtype=float,
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", PLACE)
def test_moves_are_scipys_affine_transform(face, name, level):
    pixels, middle = np.asarray(face, dtype=float), 63 / 2
    across = matrix_of(name, level)
    linear, shift = across[::-1, 1::-1], 64 * across[::-1, 2]  # rows before columns
    offset = middle + shift - linear @ [middle, middle]
    expected = np.stack(
        [affine_transform(pixels[:, :, k], linear, offset, order=1, mode="nearest") for k in range(3)], axis=2
    )
    np.testing.assert_allclose(changed(name, tensor(face), level), expected, atol=0.02)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_level_nought_is_no_change(face, operation):
    picture = tensor(face)
    assert (operation(picture, torch.zeros(1, 1, 1, 1)) - picture).abs().max() < 1e-5


@pytest.mark.parametrize("level", [-1.0, 1.0])
@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma", "posterise", "autocontrast", "equalise"])
def test_nothing_dark_becomes_lighter_than_what_was_light(name, level):
    """No inversion and no solarising: shades keep their order."""
    ramp = torch.linspace(-1, 1, 256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    shades = changed(name, ramp, level)[:, :, 0].ravel()
    assert (np.diff(shades) >= -1e-4).all() and shades[-1] > shades[0] + 60


def noise_free(monkeypatch):
    monkeypatch.setattr(operations, "OPERATIONS", tuple(o for o in OPERATIONS if o is not operations.noise))


def faces(rows: int, size=16) -> torch.Tensor:
    return torch.rand(rows, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_batch_is_what_a_loop_over_its_faces_gives(monkeypatch):
    noise_free(monkeypatch)
    pictures, before = faces(40), faces(40)
    torch.manual_seed(3)
    found = random_operations(pictures, 2, 0.7)
    torch.manual_seed(3)
    chosen = torch.randint(len(operations.OPERATIONS), (2, 40))
    levels = 0.7 * (2 * torch.rand(2, 40) - 1)
    expected = before.clone()
    for row in range(2):
        for level, place in zip(levels[row], chosen[row].argsort(stable=True)):
            operation = operations.OPERATIONS[chosen[row, place]]
            expected[place] = operation(expected[place][None], level.view(1, 1, 1, 1))[0].clamp(-1, 1)
    torch.testing.assert_close(found, expected)
    assert torch.equal(pictures, before), "the pictures that were given were written to"


def test_every_operation_is_drawn_as_often_as_any_other(monkeypatch):
    marks = [lambda pictures, level, k=k: torch.full_like(pictures, k / 20) for k in range(len(OPERATIONS))]
    monkeypatch.setattr(operations, "OPERATIONS", tuple(marks))
    torch.manual_seed(0)
    drawn = (random_operations(faces(7000, 2), 1, 0.5)[:, 0, 0, 0] * 20).round().long()
    assert chisquare(drawn.bincount(minlength=len(OPERATIONS))).pvalue > 0.01


def test_the_level_is_drawn_evenly_up_to_the_magnitude_either_way(monkeypatch):
    monkeypatch.setattr(operations, "OPERATIONS", (lambda pictures, level: level.expand_as(pictures).clone(),))
    torch.manual_seed(0)
    levels = random_operations(faces(5000, 2), 1, 0.4)[:, 0, 0, 0]
    assert levels.abs().max() <= 0.4 and levels.min() < -0.39 and levels.max() > 0.39
    assert chisquare(levels.histc(8, -0.4, 0.4)).pvalue > 0.01


@pytest.mark.parametrize("picture", [-1.0, 0.0, 1.0, "noise"])
@pytest.mark.parametrize("size", [16, 48])
def test_the_strongest_of_everything_stays_in_the_range(picture, size):
    pictures = faces(200, size) if picture == "noise" else torch.full((200, 3, size, size), picture)
    torch.manual_seed(0)
    found = random_operations(pictures, 4, 1.0)
    assert found.shape == pictures.shape and found.isfinite().all() and found.min() >= -1 and found.max() <= 1


def test_no_operation_draws_nothing():
    pictures, state = faces(4), torch.get_rng_state()
    assert random_operations(pictures, 0, 0.5) is pictures and torch.equal(torch.get_rng_state(), state)
