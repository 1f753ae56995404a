"""Prompts as embeddings: each is encoded once, by an encoder that stays in memory only where its plan says so."""

import logging
from collections import OrderedDict
from typing import Any, Literal

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor
from torch.nn.functional import pad

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.loading import load_encoder

MAX_TOKENS = 512  # the rest of a prompt is cut off
CACHE_SIZE = 64  # prompts; an embedding is 4 MB
CPU = torch.device("cpu")

logger = logging.getLogger("bentoml.kinora.wan")


class TextEncoder:
    """Callable: prompts to embeddings (1, 512, features) in host memory, bf16. An empty prompt has one too."""

    def __init__(
        self, checkpoint: Checkpoint, residency: Literal["resident", "on_demand", "on_cpu"], device: torch.device
    ) -> None:
        """`resident` keeps the encoder on the device, `on_demand` frees it after use; `on_cpu` does so on the CPU."""
        self._checkpoint = checkpoint
        self._is_resident = residency == "resident"
        self._device = CPU if residency == "on_cpu" else device
        self._encoder: Any = None
        self._cache: OrderedDict[str, Tensor] = OrderedDict()

    def __contains__(self, prompt: str) -> bool:
        """Whether a prompt is in the cache, so that no encoder will be loaded for it."""
        return prompt in self._cache

    def warm(self) -> None:
        """Load the encoder where it is resident."""
        if self._is_resident:
            self._encoder = self._encoder or load_encoder(self._checkpoint, self._device)

    @torch.inference_mode()
    def __call__(self, *prompts: str) -> list[Tensor]:
        """Return one embedding for each prompt. The encoder is loaded only for prompts that are new."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._cache]
        if new:
            encoder = self._encoder or load_encoder(self._checkpoint, self._device)
            for prompt in new:
                self._cache[prompt] = _embedding(encoder, prompt)
            self._encoder = encoder if self._is_resident else None
            logger.info("%d prompts encoded on %s", len(new), self._device)
        for prompt in prompts:
            self._cache.move_to_end(prompt)
        embeddings = [self._cache[prompt] for prompt in prompts]
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return embeddings


def _embedding(encoder: Any, prompt: str) -> Tensor:
    """Encode as many tokens as there are and pad with zeros: the same numbers as from a padded prompt, sooner."""
    count = len(encoder.tokenizer(prompt_clean(prompt), truncation=True, max_length=MAX_TOKENS).input_ids)
    embedding, _ = encoder.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=count)
    return pad(embedding.to(CPU, torch.bfloat16), (0, 0, 0, MAX_TOKENS - count))
