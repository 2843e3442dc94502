"""What a launcher of several processes says, for work that is no training."""

import os
from dataclasses import dataclass
from glob import glob

#: Variables by which accelerate and torchrun make processes one group.
_GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_GPUS, _DEVICES = "CUDA_VISIBLE_DEVICES", "/dev/nvidia[0-9]*"


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of its launcher.

    Attributes:
        rank: Its number.
        n_processes: Their number, 1 without a launcher.
    """

    rank: int = 0
    n_processes: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process shows progress and results."""
        return self.rank == 0


def leave_group() -> Launch:
    """Make this process one that works alone, on a GPU of its own if there are several.

    Call it before CUDA is used. A training in such a process does not wait for the others.
    """
    launch = _launch()
    for name in list(os.environ):
        if name in _GROUP or name.startswith("TORCHELASTIC_"):
            del os.environ[name]
    return launch


def join_group() -> Launch:
    """Make this process one of a group that shares evaluations, on a GPU of its own.

    Call it before CUDA is used. Without a launcher there is no group.
    """
    launch = _launch()
    if launch.n_processes > 1:
        import torch  # here, because the commands that work alone start without it

        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend)
    return launch


def _launch() -> Launch:
    """The place of this process; gives it a GPU of its own."""
    rank, local_rank, n_processes = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))
    )
    gpu = _own_gpu(local_rank)
    if n_processes > 1 and gpu is not None:
        os.environ[_GPUS] = gpu
    return Launch(rank, n_processes)


def _own_gpu(local_rank: int) -> str | None:
    """The GPU of a process, as `CUDA_VISIBLE_DEVICES` names it; more processes than GPUs share."""
    # torch would read that variable, and keep what it says, if it were asked for their number.
    names = os.environ.get(_GPUS) or ",".join(map(str, range(len(glob(_DEVICES)))))
    gpus = [name for name in names.split(",") if name]
    return gpus[local_rank % len(gpus)] if gpus else None
