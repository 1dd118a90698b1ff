"""What a model card says of a run and only the run itself knows: when, on what, with which versions, at what cost."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TypedDict

import torch
from transformers import TrainerCallback

# 350 W of a Xeon Platinum 8480+ over its 112 threads are 3 W; a core of a desktop processor under load takes 15 W.
WATTS_PER_THREAD = (3.0, 15.0)
SHARE_OF_LIMIT = (0.25, 1.0)  # of its power limit that a GPU takes: waiting for its input, or busy all the time
PACKAGES = ("affectnet-plus", "torch", "transformers", "datasets", "accelerate")


class Energy(TypedDict):
    """Of all processes, each number as [low, high]."""

    watts: list[float]
    kilowatt_hours: list[float]
    assumption: str


class RunFacts(TypedDict):
    """What only the run itself knows."""

    finished: str  # an ISO date in UTC
    seconds: float
    processes: int
    hardware: str
    energy: Energy | None
    versions: dict[str, str]


class CardCallback(TrainerCallback):
    """Notes the hardware when training begins and the day when it ends, for `facts`.

    Of a run that was interrupted, the hardware, the processes and the day are those of its last part.
    """

    def on_train_begin(self, args, state, control, **kwargs):
        self._processes = args.world_size
        self._hardware = hardware(args.use_cpu)
        self._power = cpu_power() if args.use_cpu else gpu_power()

    def on_train_end(self, args, state, control, **kwargs):
        self._finished = datetime.now(UTC).date().isoformat()

    def facts(self, seconds: float) -> RunFacts:
        """What training.json says beside options, data and curve, once training has ended.

        Args:
            seconds: of training, those before an interruption included.
        """
        return {
            "finished": self._finished,
            "seconds": round(seconds, 1),
            "processes": self._processes,
            "hardware": self._hardware,
            "energy": energy_estimate(self._power, seconds, self._processes),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        }


def hardware(use_cpu: bool) -> str:
    """What trains: the GPU, or so many threads of the processor."""
    if not use_cpu:
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{threads} {platform.machine()} CPU thread{'s' * (threads > 1)}"


def energy_estimate(power: tuple[float, float, str] | None, seconds: float, processes: int) -> Energy | None:
    """Energy = watts x hours x processes, with a low and a high assumption of the watts; nothing is measured.

    Memory, cooling and the rest of the machine are not in it.

    Args:
        power: of one process, (low, high) in watts and the assumption in words; None where it is not known.

    Returns:
        `watts` of all processes and `kilowatt_hours`, each [low, high], to 3 digits; `assumption`. None for None.
    """
    if power is None:
        return None
    low, high, assumption = power
    watts = [low * processes, high * processes]
    return {
        "watts": [_three_digits(value) for value in watts],
        "kilowatt_hours": [_three_digits(value * seconds / 3_600_000) for value in watts],
        "assumption": assumption,
    }


def cpu_power() -> tuple[float, float, str]:
    """Watts of the threads that torch uses: a processor does not tell what it takes without being root."""
    threads = torch.get_num_threads()
    low, high = WATTS_PER_THREAD
    return low * threads, high * threads, f"{low:.0f} to {high:.0f} W for each CPU thread"


def gpu_power() -> tuple[float, float, str] | None:
    """Watts of the current GPU by its power limit, which nvidia-smi tells; None where it does not."""
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    asked = ["nvidia-smi", f"--id=GPU-{device.uuid}", "--query-gpu=power.limit", "--format=csv,noheader,nounits"]
    try:
        limit = float(subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout)
    except (OSError, subprocess.SubprocessError, ValueError):  # not installed; no such GPU, or a part of one; "[N/A]"
        return None
    low, high = (share * limit for share in SHARE_OF_LIMIT)
    return low, high, f"from {SHARE_OF_LIMIT[0]:.0%} of the GPU's power limit of {limit:.0f} W to all of it"


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")
