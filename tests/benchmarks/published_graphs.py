"""NCR's published networks, and their weights in this library's."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from published import Repository
from torch import nn
from torch.nn import functional
from torch.nn.utils.clip_grad import clip_grad_norm_
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from noisy_xmodal import MatchingConfig, MatchingModel

N_REGIONS, WIDTH, SIMILARITY = 36, 1024, 256
N_WORDS, WORD_WIDTH, REGION_WIDTH = 8000, 300, 2048

_WANTED = (
    *("l1norm", "l2norm", "EncoderImage", "EncoderText", "VisualSA", "TextSA", "GraphReasoning"),
    *("AttentionFiltration", "EncoderSimilarity", "SCAN_attention", "ContrastiveLoss", "SGRAF"),
)


def network_code(repository: Repository) -> Any:
    """The classes of NCR's model file."""
    given = {
        "np": np,
        "torch": torch,
        "nn": nn,
        "F": functional,
        "math": math,
        "cudnn": torch.backends.cudnn,
        "pack_padded_sequence": pack_padded_sequence,
        "pad_packed_sequence": pad_packed_sequence,
        "clip_grad_norm_": clip_grad_norm_,
    }
    return repository.names("NCR/model.py", _WANTED, given)


def published_network(repository: Repository, head: str = "SGR") -> Any:
    """One of NCR's two networks, at the size of its recipe for Flickr30K."""
    options = SimpleNamespace(
        grad_clip=2.0,
        img_dim=REGION_WIDTH,
        embed_size=WIDTH,
        no_imgnorm=False,
        vocab_size=N_WORDS,
        word_dim=WORD_WIDTH,
        num_layers=1,
        bi_gru=True,
        no_txtnorm=False,
        sim_dim=SIMILARITY,
        module_name=head,
        sgr_step=3,
        margin=0.2,
        learning_rate=2e-4,
    )
    return network_code(repository).SGRAF(options)


def config_fields(head: str = "sgr") -> dict[str, Any]:
    """The same network as fields of a config of this library."""
    return {
        "vocab_size": N_WORDS,
        "word_size": WORD_WIDTH,
        "region_size": REGION_WIDTH,
        "hidden_size": WIDTH,
        "word_encoder": "bigru",
        "dropout": 0.4,
        "similarity": head,
        "similarity_options": {"num_regions": N_REGIONS, "similarity_size": SIMILARITY},
    }


def network_like(published: Any, head: str = "sgr") -> MatchingModel:
    """This library's network with the weights of a published one."""
    model = MatchingModel(MatchingConfig(**config_fields(head)))
    model.image_encoder.projection.load_state_dict(published.img_enc.fc.state_dict())
    model.text_encoder.words.load_state_dict(published.txt_enc.embed.state_dict())
    model.text_encoder.gru.load_state_dict(published.txt_enc.cap_rnn.state_dict())
    copy_head(published.sim_enc, model.head)
    return model


def copy_head(published: nn.Module, head: nn.Module) -> None:
    """Gives a head the weights of a published `EncoderSimilarity` of its kind."""
    image, text = published.v_global_w, published.t_global_w
    pairs = {
        "alignment.image_attention.token_map": image.embedding_local[0],
        "alignment.image_attention.token_norm": image.embedding_local[1],
        "alignment.image_attention.mean_map": image.embedding_global[0],
        "alignment.image_attention.mean_norm": image.embedding_global[1],
        "alignment.image_attention.score": image.embedding_common[0],
        "alignment.text_attention.token_map": text.embedding_local[0],
        "alignment.text_attention.mean_map": text.embedding_global[0],
        "alignment.text_attention.score": text.embedding_common[0],
        "alignment.global_map": published.sim_tranglo_w,
        "alignment.local_map": published.sim_tranloc_w,
        "score": published.sim_eval_w,
    }
    for i, step in enumerate(getattr(published, "SGR_module", ())):
        pairs[f"reasoning.{i}.query"] = step.graph_query_w
        pairs[f"reasoning.{i}.key"] = step.graph_key_w
        pairs[f"reasoning.{i}.update"] = step.sim_graph_w
    if hasattr(published, "SAF_module"):
        pairs["filtration.gate"] = published.SAF_module.attn_sim_w
        pairs["filtration.gate_norm"] = published.SAF_module.bn
    head.load_state_dict(
        {f"{name}.{key}": v for name, m in pairs.items() for key, v in m.state_dict().items()}
    )
