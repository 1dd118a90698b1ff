"""The convolutions before the transformer. Travels with every published model, so it needs torch only."""

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


class PlainStem(nn.Sequential):
    """3x3 convolutions before the transformer (Xiao et al. 2021, "Early convolutions help transformers see better").

    Group norm rather than batch norm: it has no buffers, and the same answer in training and inference.

    Args:
        channels: of each convolution; the first keeps the size, each further one halves it.
        in_channels: of the picture.
    """

    def __init__(self, channels: Sequence[int], in_channels: int):
        layers: list[nn.Module] = []
        for index, out_channels in enumerate(channels):
            layers += [
                nn.Conv2d(in_channels, out_channels, 3, stride=1 if index == 0 else 2, padding=1, bias=False),
                nn.GroupNorm(8, out_channels),
                nn.GELU(),
            ]
            in_channels = out_channels
        super().__init__(*layers)


class ResidualStem(nn.Sequential):
    """A small residual network before the transformer (He et al. 2016, with batch norm and ReLU).

    A 3x3 convolution keeps the size; then, for each further number of channels, one of stride 2 and a residual block
    of two. The running statistics of batch norm are buffers that are saved; `folded` needs them no more.

    Args:
        channels: of the first convolution and of each stage that halves the size.
        in_channels: of the picture.
    """

    def __init__(self, channels: Sequence[int], in_channels: int):
        first, *stages = channels
        layers: list[nn.Module] = [ConvolutionAndNorm(in_channels, first), nn.ReLU()]
        for before, after in zip([first, *stages], stages, strict=False):
            layers += [ConvolutionAndNorm(before, after, stride=2), nn.ReLU(), ResidualBlock(after)]
        super().__init__(*layers)


class ResidualBlock(nn.Module):
    """relu(x + two 3x3 convolutions of x)."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = ConvolutionAndNorm(channels, channels)
        self.second = ConvolutionAndNorm(channels, channels)

    def forward(self, values: Tensor) -> Tensor:
        return (values + self.second(self.first(values).relu())).relu()


class ConvolutionAndNorm(nn.Module):
    """A 3x3 convolution and batch norm; `fold` makes one convolution with a bias of the two."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, values: Tensor) -> Tensor:
        return self.norm(self.convolution(values))

    def fold(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution.eval(), self.norm.eval())
            self.norm = nn.Identity()


def folded(model: Network) -> Network:
    """A copy for inference in which each batch norm is part of the convolution before it; the same if it has none.

    Its answers are those of the model in evaluation mode, to rounding. It can be neither trained nor saved as a model.
    """
    if not any(isinstance(part, nn.BatchNorm2d) for part in model.modules()):
        return model
    model = copy.deepcopy(model).eval()
    for part in list(model.modules()):
        if isinstance(part, ConvolutionAndNorm):
            part.fold()
    return model


STEMS: dict[str, Callable[[Sequence[int], int], nn.Sequential]] = {"plain": PlainStem, "residual": ResidualStem}


def make_stem(kind: str, channels: Sequence[int], in_channels: int) -> nn.Sequential:
    """The stem of that kind, an empty one where there are no channels."""
    return STEMS[kind](channels, in_channels) if channels else nn.Sequential()
