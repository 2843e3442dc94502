"""transformers pipelines: search by text or image, and matching of image and text.

Importing this package registers its tasks with `transformers.pipeline`.
"""

from transformers import AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from .matching import ImageTextMatchPipeline
from .retrieval import ImageTextRetrievalPipeline

for _task, _pipeline in (
    ("image-text-retrieval", ImageTextRetrievalPipeline),
    ("image-text-match", ImageTextMatchPipeline),
):
    PIPELINE_REGISTRY.register_pipeline(
        _task, pipeline_class=_pipeline, pt_model=AutoModel, type="multimodal"
    )

__all__ = ["ImageTextMatchPipeline", "ImageTextRetrievalPipeline"]
