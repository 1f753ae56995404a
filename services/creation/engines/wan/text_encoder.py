"""Texts as the model reads them: encoded once each, by an encoder that stays no longer than its plan allows."""

import logging
from collections import OrderedDict
from typing import Any, Literal

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor
from torch.nn.functional import pad

from services.creation.engines.wan.checkpoints import Checkpoint
from services.creation.engines.wan.loading import load_encoder

LONGEST = 512  # tokens; what lies beyond is not read
REMEMBERED = 64  # texts; an embedding is 4 MB
CPU = torch.device("cpu")

logger = logging.getLogger("bentoml.kinora.wan")


class TextEncoder:
    """Callable: texts to embeddings (1, 512, features) in host memory, bf16. An empty text has one too."""

    def __init__(
        self, checkpoint: Checkpoint, stay: Literal["resident", "on_demand", "on_cpu"], device: torch.device
    ) -> None:
        """`resident` keeps the encoder on the device, `on_demand` frees it after use, `on_cpu` does that beside it."""
        self._checkpoint = checkpoint
        self._stays = stay == "resident"
        self._device = CPU if stay == "on_cpu" else device
        self._encoder: Any = None
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def __contains__(self, text: str) -> bool:
        """Whether a text is known, so that no encoder will be loaded for it."""
        return text in self._known

    def warm(self) -> None:
        """Load the encoder where it stays."""
        if self._stays:
            self._encoder = self._encoder or load_encoder(self._checkpoint, self._device)

    @torch.inference_mode()
    def __call__(self, *texts: str) -> list[Tensor]:
        """Return one embedding a text. The encoder is loaded only for texts that are new."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            encoder = self._encoder or load_encoder(self._checkpoint, self._device)
            for text in new:
                self._known[text] = _embedding(encoder, text)
            self._encoder = encoder if self._stays else None
            logger.info("%d texts encoded on %s", len(new), self._device)
        for text in texts:
            self._known.move_to_end(text)
        answer = [self._known[text] for text in texts]
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return answer


def _embedding(encoder: Any, text: str) -> Tensor:
    """Encode as many tokens as there are and fill up with zeros: the same numbers as from a padded text, sooner."""
    count = len(encoder.tokenizer(prompt_clean(text), truncation=True, max_length=LONGEST).input_ids)
    embedding, _ = encoder.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=count)
    return pad(embedding.to(CPU, torch.bfloat16), (0, 0, 0, LONGEST - count))
