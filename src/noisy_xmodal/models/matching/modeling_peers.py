"""Two matching models of the same shape whose similarities are averaged at inference.

Source: Huang et al., NeurIPS 2021, section 3 and the end of 4.2 (the ensemble).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...modules import Encoded, TransformerTextEncoder, VisionEncoder
from ...modules.tower_encoders import ImageTower, TextTower
from .configuration_peers import PeersConfig
from .modeling_matching import MatchingModel, MatchingOutput, MatchingPreTrainedModel

#: Encodings of the same images or texts by peer A and peer B.
EncodedByPeers = tuple[Encoded, Encoded]


@dataclass
class PeersOutput(MatchingOutput):
    """The ensemble's scores, or one output per peer when the batch is split between the peers.

    Args:
        peers: Outputs of peer A and peer B on their own pairs, if `peer` was passed.
    """

    peers: tuple[MatchingOutput, MatchingOutput] | None = None


class PeersModel(MatchingPreTrainedModel):
    """Peers A and B; `peer_a.save_pretrained(...)` saves one of them as a `MatchingModel`.

    Args:
        config: Shape of the peers.
    """

    config_class = PeersConfig
    config: PeersConfig

    def __init__(self, config: PeersConfig) -> None:
        super().__init__(config)
        self.peer_a = MatchingModel(config.peer_config())
        self.peer_b = MatchingModel(config.peer_config())
        tied: dict[str, str] = {}
        shared: list[str] = []
        for name, part in self.peer_a.frozen_parts().items():
            first, second = (getattr(peer, name) for peer in self.peers)
            second.share_backbone(first)
            frozen = self.peer_a.get_submodule(part)
            weights = [f"{part}.{weight}" for weight, _ in frozen.named_parameters()]
            tied |= {f"peer_b.{weight}": f"peer_a.{weight}" for weight in weights}
            shared += [f"peer_b.{part}.{tensor}" for tensor in frozen.state_dict()]
        if tied:
            self._tied_weights_keys = tied
            self._keys_to_ignore_on_save = shared  # weights and statistics
        self.post_init()

    def adapted_encoders(self) -> list[nn.Module]:
        """The encoders of both peers that are trained by adapters."""
        return [encoder for peer in self.peers for encoder in peer.adapted_encoders()]

    @property
    def peers(self) -> tuple[MatchingModel, MatchingModel]:
        """Both peers, A first."""
        return self.peer_a, self.peer_b

    @property
    def is_two_tower(self) -> bool:
        """Whether a score is the inner product of an image vector and a text vector."""
        return self.peer_a.is_two_tower

    @property
    def text_length_limit(self) -> int | None:
        """Maximum number of tokens that the text encoders read; None without a limit."""
        return self.peer_a.text_length_limit

    @property
    def frozen_vision_encoder(self) -> VisionEncoder | ImageTower | None:
        """The image encoder of peer A, if its vision model is frozen; the peers share it."""
        return self.peer_a.frozen_vision_encoder

    @property
    def frozen_text_encoder(self) -> TransformerTextEncoder | TextTower | None:
        """The text encoder of peer A, if its transformers model is frozen; the peers share it."""
        return self.peer_a.frozen_text_encoder

    def encode_image(self, **image_inputs: Tensor | None) -> EncodedByPeers:
        """Encode images with both peers; inputs as for `MatchingModel.encode_image`."""
        return (self.peer_a.encode_image(**image_inputs), self.peer_b.encode_image(**image_inputs))

    def encode_text(
        self, input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> EncodedByPeers:
        """Encode texts with both peers; inputs as for `MatchingModel.encode_text`."""
        return (
            self.peer_a.encode_text(input_ids, attention_mask),
            self.peer_b.encode_text(input_ids, attention_mask),
        )

    def score(self, image: EncodedByPeers, text: EncodedByPeers) -> Tensor:
        """Average the peers' similarities, (n_images, n_texts)."""
        return (self.peer_a.score(image[0], text[0]) + self.peer_b.score(image[1], text[1])) / 2

    def get_image_features(self, **image_inputs: Tensor) -> Tensor:
        """Unit vectors of images, (n_images, 2 * hidden_size), for a two-tower head.

        The peers' vectors are concatenated and scaled by 1 / sqrt(2), so that the inner product
        with `get_text_features` is the ensemble's similarity.
        """
        features = [peer.get_image_features(**image_inputs) for peer in self.peers]
        return torch.cat(features, dim=-1) / math.sqrt(2)

    def get_text_features(self, **text_inputs: Tensor) -> Tensor:
        """Unit vectors of texts, (n_texts, 2 * hidden_size); see `get_image_features`."""
        features = [peer.get_text_features(**text_inputs) for peer in self.peers]
        return torch.cat(features, dim=-1) / math.sqrt(2)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        regions: Tensor | None = None,
        region_mask: Tensor | None = None,
        peer: Tensor | None = None,
        gather: bool = False,
        few_pairs: bool = False,
        captions: bool = False,
        pixel_attention_mask: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
    ) -> PeersOutput:
        """Score all images of the batch with all its texts.

        Args:
            input_ids: (n_texts, length); see `MatchingModel` for this and the next four.
            attention_mask: (n_texts, length).
            pixel_values: (n_images, channels, height, width).
            regions: (n_images, n_regions, region_size).
            region_mask: (n_images, n_regions).
            peer: For training, the peer that each pair of the batch belongs to, 0 or 1,
                (n_pairs,). Each peer then reads only its own pairs, in one forward pass of the
                whole model, so that gradients synchronise under data parallelism.
            gather: Whether each peer scores its pairs of all processes together.
            few_pairs: For a loss whose gradient reaches few of the pairs; see `MatchingModel`.
            captions: Whether the outputs of the peers have the loss of their captioners; only with
                `peer`.
            pixel_attention_mask: (n_images, n_patches); see `MatchingModel.encode_image`.
            spatial_shapes: (n_images, 2); likewise.

        Returns:
            The ensemble's scores, or only `peers` if `peer` is passed.
        """
        batch = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "pixel_values": pixel_values,
            "regions": regions,
            "region_mask": region_mask,
            "pixel_attention_mask": pixel_attention_mask,
            "spatial_shapes": spatial_shapes,
        }
        if peer is not None:
            own = [
                {key: None if value is None else value[peer == k] for key, value in batch.items()}
                for k in range(2)
            ]
            options = {"gather": gather, "few_pairs": few_pairs, "captions": captions}
            a, b = self.peer_a(**own[0], **options), self.peer_b(**own[1], **options)
            return PeersOutput(peers=(a, b))
        a, b = self.peer_a(**batch, gather=gather), self.peer_b(**batch, gather=gather)
        image_embeds = text_embeds = None
        if self.is_two_tower:
            image_embeds = torch.cat([a.image_embeds, b.image_embeds], dim=-1) / math.sqrt(2)
            text_embeds = torch.cat([a.text_embeds, b.text_embeds], dim=-1) / math.sqrt(2)
        logits = (a.logits_per_image + b.logits_per_image) / 2  # (n_images, n_texts)
        return PeersOutput(
            scores=(a.scores + b.scores) / 2,
            logits_per_image=logits,
            logits_per_text=logits.T,
            image_embeds=image_embeds,
            text_embeds=text_embeds,
        )
