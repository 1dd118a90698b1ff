"""Layer-wise decay of the learning rate: what is near the picture is general, and is changed less."""

from torch import nn

from ..vit import AffectNetPlusForSoftLabels


def parameter_groups(
    model: AffectNetPlusForSoftLabels, decays: set[str], learning_rate: float, weight_decay: float, layer_decay: float
) -> list[dict]:
    """Groups for an optimizer; a layer learns at `layer_decay` times the rate of the layer above it.

    Rate of depth d in a transformer of L layers: learning_rate * layer_decay^(L + 1 - d), where the stem and the
    embeddings have d = 0, layer i (from 0) has i + 1, and the last norm and the heads have L + 1 (Bao et al. 2022,
    BEiT; the counting is that of MAE's fine-tuning, He et al. 2022).

    Args:
        decays: names of the parameters that weight decay holds for.
    """
    last = model.config.num_hidden_layers + 1
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        depth = last if layer_decay == 1 else _depth(name, last)
        groups.setdefault((depth, name in decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * layer_decay ** (last - depth),
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (depth, decayed), parameters in groups.items()
    ]


def _depth(name: str, last: int) -> int:
    if name.startswith("vit.layers."):
        return int(name.split(".")[2]) + 1
    return 0 if name.startswith(("stem.", "vit.embeddings.")) else last
