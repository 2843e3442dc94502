"""Training with sharded weights, gradients and optimizer states: FSDP2, through accelerate.

A copy of the model is sharded and trained. The model itself stays whole: its weights are gathered
where pairs are judged, where it is evaluated or saved, and as training ends, so checkpoints are
those of one process. Between these moments it has no weights, and takes no memory for them.
"""

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from accelerate.state import PartialState
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    convert_outputs_to_fp32,
)
from torch import Tensor, nn
from torch.distributed.fsdp import CPUOffloadPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import Trainer

from .supported_arguments import refuse_fsdp

#: What `accelerate launch` sets for a config file with FSDP.
LAUNCHED = "ACCELERATE_USE_FSDP"


def whole(tensor: Tensor) -> Tensor:
    """A tensor of all processes from their shards; all of them must call this.

    Args:
        tensor: A shard, or a tensor that is whole.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def split_like(tensor: Tensor, other: Tensor) -> Tensor:
    """The shard of a whole tensor that this process has of another tensor of the same shape.

    Args:
        tensor: The same in all processes.
        other: A shard, or a tensor that is whole, for which nothing happens.
    """
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    mesh = other.device_mesh
    return distribute_tensor(
        tensor.to(mesh.device_type), mesh, other.placements, src_data_rank=None
    )


def is_sharding_launched(args: Any) -> bool:
    """Whether the arguments or the launcher ask for FSDP."""
    return bool(args.fsdp) or os.environ.get(LAUNCHED, "false").lower() == "true"


class ShardingTrainer(Trainer):
    """A Trainer that shards the trained model if FSDP is asked for, on GPUs and on CPUs.

    `model` is whole and without wrappers, as under DDP, and `model_wrapped` is sharded.
    """

    model: Any
    optimizer: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._plugin: FullyShardedDataParallelPlugin | None = None
        self._shards: nn.Module | None = None
        super().__init__(*args, **kwargs)
        if self._plugin is not None and (self.optimizer or self.lr_scheduler):
            raise ValueError(
                "`optimizers` are set under FSDP: the trainer must create an optimizer of the "
                "shards. Leave them out, or train under DDP."
            )

    def create_accelerator_and_postprocess(self) -> None:
        """Let accelerate shard the model, and transformers treat it as any other."""
        is_sharded, before = is_sharding_launched(self.args), os.environ.get(LAUNCHED)
        super().create_accelerator_and_postprocess()
        if before is None:  # accelerate sets it, for whatever runs next in this process
            os.environ.pop(LAUNCHED, None)
        if not is_sharded:
            return
        state = self.accelerator.state
        if getattr(state, "fsdp_plugin", None) is None:  # on CPUs accelerate falls back to DDP
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args or {})
            state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
        plugin = state.fsdp_plugin
        refuse_fsdp(
            {
                "version": plugin.fsdp_version,
                "cpu_offload": isinstance(plugin.cpu_offload, CPUOffloadPolicy),
                "activation_checkpointing": bool(plugin.activation_checkpointing),
            }
        )
        plugin.cpu_ram_efficient_loading = False
        # Weights keep their type, and steps run under autocast, as on one process.
        plugin.mixed_precision_policy = None
        self._plugin, self.is_fsdp_enabled = plugin, False

    @property
    def trained_model(self) -> nn.Module:
        """The model whose weights the optimizer changes: shards, or the model itself."""
        return self.accelerator.unwrap_model(self.model) if self._shards is None else self._shards

    def _prepare_for_training(self, *args: Any) -> Any:
        if self._plugin is None:
            return super()._prepare_for_training(*args)
        model = self.model
        self.model = self.model_wrapped = self._copy_to_shard(model)
        shards, loader = super()._prepare_for_training(*args)
        self.model, self._shards = model, shards
        self.callback_handler.model = model
        for tensor in model.parameters():
            tensor.data = torch.full((), torch.nan).to(tensor).expand(tensor.shape)
        return shards, loader

    def _copy_to_shard(self, model: nn.Module) -> nn.Module:
        # What is stored of texts is shared, as it is computed with the whole model.
        stored = [part.stored for part in model.modules() if hasattr(part, "stored")]
        twin = copy.deepcopy(model, {id(each): each for each in stored})
        # FSDP cannot divide a number, such as a temperature: each process keeps it whole.
        numbers = [p for p in twin.parameters() if not p.dim()]
        assert self._plugin is not None
        self._plugin.ignored_modules = [nn.ParameterList(numbers)] if numbers else None
        for number in numbers:
            if number.requires_grad:
                number.register_post_accumulate_grad_hook(_average_gradient)
        # Embeddings are read in many places here, so they are no unit of their own.
        for name in ("get_input_embeddings", "get_output_embeddings"):
            setattr(twin, name, lambda: None)
        if self.accelerator.native_amp:
            forward: Any = self.accelerator.autocast()(twin.forward)
            twin.forward = convert_outputs_to_fp32(forward)
        return twin

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the optimizer; beside shards, whole weights take a step of their own."""
        optimizer = super().create_optimizer(model)
        for group in optimizer.param_groups if self._plugin is not None else ():
            if any(not parameter.dim() for parameter in group["params"]):
                group |= {name: False for name in ("fused", "foreach") if name in group}
        return optimizer

    @contextmanager
    def whole_weights(self, instead: Mapping[str, Tensor] | None = None) -> Iterator[None]:
        """A context in which `model` has all weights; all processes must enter it.

        Args:
            instead: What it has in place of weights, by name.
        """
        if self._shards is None:
            yield
            return
        before = [parameter.data for parameter in self.model.parameters()]
        self._gather(instead or {})
        try:
            yield
        finally:
            for parameter, data in zip(self.model.parameters(), before, strict=True):
                parameter.data = data

    @torch.no_grad()
    def _gather(self, instead: Mapping[str, Tensor]) -> None:
        assert self._shards is not None
        own = dict(self.model.named_parameters())
        for name, shard in self._shards.named_parameters():
            own[name].data = whole(instead.get(name, shard)).detach().clone()
        for ours, theirs in zip(self.model.buffers(), self._shards.buffers(), strict=True):
            ours.copy_(theirs)

    def join_shards(self, instead: Mapping[str, Tensor] | None = None) -> None:
        """Give the model all weights for good, as training ends.

        Args:
            instead: See `whole_weights`.
        """
        self._gather(instead or {})
        self.accelerator.free_memory()
        self._shards = self.optimizer = None
        self.model_wrapped = self.model

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights that are trained.

        Args:
            weights: Whole tensors by name, of a state dict.
        """
        if self._shards is None:
            self.trained_model.load_state_dict(weights)
            return
        for name, tensor in self._shards.state_dict().items():
            tensor.copy_(split_like(weights[name], tensor))

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        if self._shards is not None:
            self.join_shards()
        return super()._finalize_training(*args, **kwargs)


def _average_gradient(parameter: Tensor) -> None:
    """Average the gradient of a whole weight over the processes, as FSDP does with shards'."""
    assert parameter.grad is not None
    dist.all_reduce(parameter.grad)
    parameter.grad /= dist.get_world_size()
