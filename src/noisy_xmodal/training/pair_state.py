"""What robust training knows of each pair: losses, posteriors, targets and partners by pair id."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from ..noise import Division

PAIR_STATE_NAME = "pair_state.safetensors"


class PairState:
    """Per-pair arrays (n_rows, n_pairs) by name.

    Callbacks write, the sampler and the trainer read. It is saved in every checkpoint.

    Args:
        n_pairs: Number of pairs.
        n_rows: Networks or modalities that are judged apart.

    Attributes:
        divided_at: Epochs at which the pairs were divided.
    """

    def __init__(self, n_pairs: int, n_rows: int = 1) -> None:
        self.shape = (n_rows, n_pairs)
        self.divided_at: list[int] = []
        self._arrays: dict[str, np.ndarray] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            names = ", ".join(sorted(self._arrays)) or "nothing yet"
            raise KeyError(f"the pair state has no {name!r}; it holds: {names}.")
        return self._arrays[name]

    def __setitem__(self, name: str, values: np.ndarray) -> None:
        values = np.ascontiguousarray(values)
        if values.shape != self.shape:
            raise ValueError(f"{name!r} must have the shape {self.shape}, found {values.shape}.")
        self._arrays[name] = values

    def partners(self, row: int) -> np.ndarray | None:
        """The pair whose caption each pair is trained with, int (n_pairs,); None for its own."""
        return self._arrays["partner"][row] if "partner" in self else None

    def keep_division(self, divisions: Sequence[Division]) -> None:
        """Store a division for each row."""
        self["clean_probability"] = np.stack([d.clean_probability for d in divisions])
        self["is_clean"] = np.stack([d.is_clean.astype(np.uint8) for d in divisions])

    def save(self, folder: str | Path) -> None:
        """Write all arrays as safetensors into a checkpoint folder."""
        header = {"divided_at": json.dumps(self.divided_at)}
        save_file(self._arrays, str(Path(folder) / PAIR_STATE_NAME), metadata=header)

    def load(self, folder: str | Path) -> None:
        """Replace all arrays by those of a checkpoint folder.

        Raises:
            ValueError: If they belong to another number of pairs or rows.
        """
        self._arrays = {}
        with safe_open(str(Path(folder) / PAIR_STATE_NAME), framework="np") as file:
            self.divided_at = json.loads(file.metadata()["divided_at"])
            for name in file.offset_keys():
                self[name] = file.get_tensor(name)
