"""Tiny models with random weights under the file names that the large ones are published with."""

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import WanTransformer3DModel, WanVACETransformer3DModel
from transformers import UMT5EncoderModel

from services.creation.engines.wan.models import MODELS, VACE
from tests.support.tiny_models import build_model

SHARDS = 3  # of each part, at least two


def build_published(folder: Path, name: str) -> Path:
    """Save the model of a row of the table, its transformers and its encoder sharded as in Wan's repositories."""
    build_model(name, folder)
    model = MODELS[name]
    kind = WanVACETransformer3DModel if model.pipeline == VACE else WanTransformer3DModel
    for part in model.transformers:
        _shard(folder / part, kind, "diffusion_pytorch_model")
    _shard(folder / "text_encoder", UMT5EncoderModel, "model")
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    # As published: the file has the embeddings once, and the config says that they are not shared.
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    (folder / "tokenizer" / "spiece.model").write_bytes(b"the vocabulary again, which nothing here reads")
    (folder / "tokenizer" / "special_tokens_map.json").write_text('{"eos_token": "</s>"}')
    return folder


def _shard(part: Path, kind: Any, stem: str) -> None:
    model = kind.from_pretrained(part)
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    shutil.rmtree(part)
    model.save_pretrained(part, max_shard_size=size // SHARDS)
    assert (part / f"{stem}.safetensors.index.json").exists()
    assert list(part.glob(f"{stem}-00001-of-0000*.safetensors"))
