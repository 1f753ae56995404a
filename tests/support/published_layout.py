"""Tiny models with random weights under the file names that the large ones are published with."""

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import WanTransformer3DModel, WanVACETransformer3DModel
from transformers import UMT5EncoderModel

from tests.support.tiny_wan import build_plain, build_vace

SHARD = "60KB"  # of the tiny transformer: two shards and more


def build_published(folder: Path, transformer: str) -> Path:
    """Save a model whose transformer has this class, sharded as Wan's repositories are."""
    kinds: dict[str, tuple[Any, Any]] = {
        "WanVACETransformer3DModel": (build_vace, WanVACETransformer3DModel),
        "WanTransformer3DModel": (build_plain, WanTransformer3DModel),
    }
    build, kind = kinds[transformer]
    build(folder)
    _shard(folder / "transformer", kind, "diffusion_pytorch_model")
    _shard(folder / "text_encoder", UMT5EncoderModel, "model")
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    # As published: the file has the embeddings once, and the config says that they are not shared.
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    (folder / "tokenizer" / "spiece.model").write_bytes(b"the vocabulary again, which nothing here reads")
    (folder / "tokenizer" / "special_tokens_map.json").write_text('{"eos_token": "</s>"}')
    return folder


def _shard(part: Path, kind: Any, stem: str) -> None:
    model = kind.from_pretrained(part)
    shutil.rmtree(part)
    model.save_pretrained(part, max_shard_size=SHARD)
    assert (part / f"{stem}.safetensors.index.json").exists()
    assert list(part.glob(f"{stem}-00001-of-0000*.safetensors"))
