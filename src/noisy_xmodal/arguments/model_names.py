"""Names of pretrained models that options take beside folders and names of the Hub."""

#: Short names of models of the Hub.
HUB_NAMES = {
    "clip-vit-b32": "openai/clip-vit-base-patch32",
    "clip-vit-l14": "openai/clip-vit-large-patch14",
}

#: Models of the package index, and where their weights are on the Hub.
PACKAGED_NAMES = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "imagenet": "timm/tf_efficientnet_lite0.in1k",
}
