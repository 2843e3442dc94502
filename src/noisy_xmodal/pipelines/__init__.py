"""Trained models at work, as pipelines of transformers: search by text or picture, and matching."""

from transformers import AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from .matching import ImageTextMatchPipeline
from .retrieval import ImageTextRetrievalPipeline

#: The tasks that `transformers.pipeline` knows once this library is imported.
TASKS = {
    "image-text-retrieval": ImageTextRetrievalPipeline,
    "image-text-match": ImageTextMatchPipeline,
}


def register_pipelines() -> None:
    """Let `transformers.pipeline` find the tasks; a second time it does nothing."""
    known = PIPELINE_REGISTRY.get_supported_tasks()
    for task, pipeline_class in TASKS.items():
        if task not in known:
            PIPELINE_REGISTRY.register_pipeline(
                task, pipeline_class=pipeline_class, pt_model=AutoModel, type="multimodal"
            )


__all__ = [
    "TASKS",
    "ImageTextMatchPipeline",
    "ImageTextRetrievalPipeline",
    "register_pipelines",
]
