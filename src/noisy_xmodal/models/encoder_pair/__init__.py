"""Two separate pretrained encoders, one per modality, as a two-tower model."""
