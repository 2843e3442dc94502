"""CPU time of dropout, forward and backward, beside PyTorch's own.

python tests/benchmarks/dropout.py
"""

import time

import torch
from torch import Tensor, nn

from noisy_xmodal.modules.dropout import Dropout

SHAPE = (256, 16, 320)  # images, regions, size: a batch of Flickr8k's region features
N_ROUNDS = 30


def milliseconds(module: nn.Module, values: Tensor) -> float:
    """CPU time of a forward and a backward pass, the shortest of `N_ROUNDS`."""
    times = []
    for _ in range(N_ROUNDS):
        start = time.process_time()
        module(values).sum().backward()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main() -> None:
    """Print the time of each."""
    torch.set_num_threads(1)
    values = torch.randn(SHAPE, requires_grad=True)
    for name, module in {"torch.nn.Dropout": nn.Dropout(0.4), "ours": Dropout(0.4)}.items():
        print(f"{name}: {milliseconds(module, values):.2f} ms")


if __name__ == "__main__":
    main()
