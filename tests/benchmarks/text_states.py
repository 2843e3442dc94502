"""CPU time of a training step of a text encoder, with and without the padding of its batch.

python tests/benchmarks/text_states.py --captions CAPTIONS.txt
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModel

from noisy_xmodal.modules.pretrained import encoder_path, load_tokenizer
from noisy_xmodal.modules.text_states import text_states

N_TEXTS, N_ROUNDS = 256, 5


def seconds(states: Callable[[], Tensor]) -> float:
    """CPU time of a forward and a backward pass, the shortest of `N_ROUNDS`."""
    times = []
    for _ in range(N_ROUNDS):
        start = time.process_time()
        states().square().sum().backward()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print the time of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=Path, required=True, help="A text file, a line each.")
    parser.add_argument("--text_model", default="minilm")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = args.captions.read_text("utf-8").splitlines()
    rows = torch.randperm(len(lines), generator=torch.Generator().manual_seed(0))[:N_TEXTS]
    texts = [lines[row] for row in rows.tolist()]
    inputs = load_tokenizer(args.text_model)(texts, padding=True, return_tensors="pt")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    mean = mask.sum(dim=1).float().mean()
    print(f"{len(texts)} texts, {mean:.1f} tokens, at most {ids.shape[1]}")
    model = AutoModel.from_pretrained(encoder_path(args.text_model)).train()

    def whole() -> Tensor:
        return model(input_ids=ids, attention_mask=mask).last_hidden_state

    print(f"whole batch: {seconds(whole):.2f} s")
    print(f"blocks: {seconds(lambda: text_states(model, ids, mask)):.2f} s")


if __name__ == "__main__":
    main()
