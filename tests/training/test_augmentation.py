"""Each random change does what its option says, to each face on its own, and nothing more."""

import math

import pytest
import torch

from affectnet_plus_modeling.training.augmentation import augment
from affectnet_plus_modeling.training.options import Augmentation

NONE = {"flip": 0.0, "rotation": 0.0, "scale": 0.0, "shift": 0.0, "contrast": 0.0, "brightness": 0.0, "erase": 0.0}


def only(**strength) -> Augmentation:
    return Augmentation(**(NONE | strength))


def noise(rows=8, size=32) -> torch.Tensor:
    return torch.rand(rows, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def spots(rows: int, y: int, x: int, size=65) -> torch.Tensor:
    """Dark pictures with one soft light spot, as wide as survives resampling."""
    axis = torch.arange(size)
    light = torch.exp(-((axis[:, None] - y) ** 2 + (axis[None, :] - x) ** 2) / 8)
    return (2 * light - 1).expand(rows, 3, size, size).clone()


def places(pictures: torch.Tensor) -> torch.Tensor:
    """(batch, 2): where the light of each picture is, (y, x) from its middle, in pixels."""
    light = pictures.mean(dim=1) + 1
    axis = torch.arange(pictures.shape[-1]) - (pictures.shape[-1] - 1) / 2
    total = light.sum(dim=(1, 2))
    down, right = (light.sum(dim=2) * axis).sum(dim=1), (light.sum(dim=1) * axis).sum(dim=1)
    return torch.stack([down, right], dim=1) / total[:, None]


@pytest.mark.parametrize("size", [48, 224])
def test_the_shape_and_the_range_stay(size):
    pictures = noise(4, size)
    changed = augment(pictures, Augmentation(contrast=0.9, brightness=0.5))
    assert changed.shape == pictures.shape and changed.dtype == torch.float32
    assert changed.min() >= -1 and changed.max() <= 1
    assert not torch.equal(changed, pictures)


def test_no_strength_is_no_change():
    pictures = noise()
    before = pictures.clone()
    assert (augment(pictures, only()) - pictures).abs().max() < 1e-4
    assert torch.equal(pictures, before), "the pictures that were given were written to"


def test_the_input_is_never_written_to():
    pictures = noise()
    before = pictures.clone()
    augment(pictures, Augmentation(erase=1.0))
    assert torch.equal(pictures, before)


def test_a_flip_mirrors_left_and_right():
    pictures = noise()
    assert (augment(pictures, only(flip=1.0)) - pictures.flip(3)).abs().max() < 1e-4


def test_flip_is_a_chance():
    pictures = noise(400, 8)
    flipped = (augment(pictures, only(flip=0.3)) - pictures.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-3
    assert 0.2 < flipped.float().mean() < 0.4


def test_a_rotation_moves_a_point_on_its_circle_up_to_the_angle():
    rows, radius = 300, 20
    found = places(augment(spots(rows, 32, 32 + radius), only(rotation=15.0)))
    assert found.norm(dim=1).sub(radius).abs().max() < 0.5
    turned = torch.atan2(found[:, 0], found[:, 1]) * 180 / math.pi
    assert turned.abs().max() <= 15.5
    assert turned.max() > 13 and turned.min() < -13 and turned.mean().abs() < 2


def test_a_scale_moves_a_point_along_its_ray():
    found = places(augment(spots(300, 32, 52), only(scale=0.15)))
    assert found[:, 0].abs().max() < 0.2
    assert 23 > found[:, 1].max() > 22.4 and 17 <= found[:, 1].min() + 0.1 < 17.7


def test_a_shift_moves_a_point_along_both_axes():
    found = places(augment(spots(300, 32, 32), only(shift=0.08)))
    largest = 0.08 * 65
    assert found.abs().max() < largest + 0.1
    assert (found.max(dim=0).values > 0.9 * largest).all() and (found.min(dim=0).values < -0.9 * largest).all()
    correlation = torch.corrcoef(found.T)[0, 1]
    assert correlation.abs() < 0.3, "the two axes move together"


def test_a_rotated_mirror_image_stays_a_rigid_picture():
    """A flip must not turn a rotation into a shear: two points keep their distance."""
    settings = only(flip=1.0, rotation=30.0)
    torch.manual_seed(3)
    first = places(augment(spots(20, 32, 48), settings))
    torch.manual_seed(3)
    second = places(augment(spots(20, 16, 32), settings))
    assert (first - second).norm(dim=1).sub(math.hypot(16, 16)).abs().max() < 0.7


def test_contrast_and_brightness_change_the_light_only():
    pictures = 0.2 * noise(200, 8)
    lighter = augment(pictures, only(brightness=0.15)) - pictures
    assert lighter.std(dim=(1, 2, 3)).max() < 1e-4
    means = lighter.mean(dim=(1, 2, 3))
    assert 0.27 < means.max() <= 0.301 and -0.301 <= means.min() < -0.27  # the range is 2 wide
    ratio = (augment(pictures, only(contrast=0.3)) / pictures).flatten(1).median(dim=1).values
    assert 1.25 < ratio.max() <= 1.301 and 0.699 <= ratio.min() < 0.75


def rectangles(pictures: torch.Tensor) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of what is greyed out of white pictures; it must be a full rectangle."""
    found = []
    for picture in pictures:
        grey = (picture == 0).all(dim=0)
        assert torch.equal(grey, (picture == 0).any(dim=0)) and (picture[:, ~grey] > 0.99).all()
        rows, columns = grey.any(dim=1).nonzero().flatten(), grey.any(dim=0).nonzero().flatten()
        top, bottom, left, right = (int(value) for value in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
        assert grey[top:bottom, left:right].all(), "not a rectangle"
        found.append((top, bottom, left, right))
    return found


def test_erasing_greys_out_a_rectangle_of_the_declared_size():
    size = 100
    found = rectangles(augment(torch.ones(400, 3, size, size), only(erase=1.0)))
    shares, inner, aspects = [], [], []
    for top, bottom, left, right in found:
        shares.append((bottom - top) * (right - left) / size**2)
        if top > 0 and left > 0 and bottom < size and right < size:
            inner.append(shares[-1])
            aspects.append((bottom - top) / (right - left))
    assert max(shares) < 0.16 and min(shares) > 0.003, "at worst a corner, a quarter of the smallest, is inside"
    assert 0.015 < min(inner) < 0.04 and 0.12 < max(inner) < 0.16 and len(inner) > 100
    assert 0.45 < min(aspects) < 0.65 and 1.5 < max(aspects) < 2.2
    middles = torch.tensor([[top + bottom, left + right] for top, bottom, left, right in found]) / (2 * size)
    assert (middles.mean(dim=0) - 0.5).abs().max() < 0.05 and middles.std(dim=0).min() > 0.2


def test_erasing_is_a_chance():
    erased = (augment(torch.ones(400, 3, 16, 16), only(erase=0.25)) == 0).any(dim=3).any(dim=2).any(dim=1)
    assert 0.17 < erased.float().mean() < 0.33
    assert not (augment(torch.ones(400, 3, 16, 16), only()) == 0).any()


def test_every_face_gets_its_own_draw():
    same = noise(1).expand(16, 3, 32, 32)
    changed = augment(same, Augmentation())
    assert len({tuple(picture.flatten().tolist()) for picture in changed}) == 16


def test_the_seed_decides():
    pictures = noise()
    torch.manual_seed(5)
    first = augment(pictures, Augmentation())
    torch.manual_seed(5)
    assert torch.equal(augment(pictures, Augmentation()), first)
    assert not torch.equal(augment(pictures, Augmentation()), first)


def test_strength_scales_everything_but_the_mirror_image():
    assert Augmentation().scaled(1) == Augmentation()
    none = Augmentation().scaled(0)
    assert none.flip == 0.5
    assert {name: value for name, value in vars(none).items() if value} == {"flip": 0.5}
    assert Augmentation().scaled(0.5).rotation == 7.5


def test_random_operations_come_on_top_and_stay_in_the_range():
    pictures = noise(64)
    settings = Augmentation(random_operations=2, magnitude=1.0)
    changed = augment(pictures, settings)
    assert changed.shape == pictures.shape and changed.min() >= -1 and changed.max() <= 1 and changed.isfinite().all()
    alone = augment(pictures, only(random_operations=1, magnitude=1.0))
    moved = (alone - pictures).abs().amax(dim=(1, 2, 3))
    assert (moved > 1e-3).float().mean() > 0.9


def test_without_random_operations_their_magnitude_does_not_matter():
    pictures = noise()
    torch.manual_seed(5)
    first = augment(pictures, Augmentation())
    state = torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(augment(pictures, Augmentation(magnitude=1.0)), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"random_operations": -1}, "random_operations is -1"),
        ({"random_operations": 1, "magnitude": 1.2}, r"magnitude is 1.2; it must be in \[0, 1\]"),
        ({"random_operations": 1, "magnitude": -0.1}, "magnitude is -0.1"),
    ],
)
def test_random_operations_beyond_their_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(**options)


def test_the_number_of_random_operations_does_not_scale_but_their_magnitude_does():
    halved = Augmentation(random_operations=2, magnitude=0.8).scaled(0.5)
    assert (halved.random_operations, halved.magnitude) == (2, 0.4)
    with pytest.raises(ValueError, match="magnitude is 1.6"):
        Augmentation(random_operations=2, magnitude=0.8).scaled(2)
    assert Augmentation().scaled(3).rotation == 45
