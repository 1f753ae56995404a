"""Wan in miniature: pipelines of random weights in diffusers layout, real in everything but size.

They load, tokenise Chinese, denoise, decode and save as the large ones do, in seconds on two cores. What they make is
grey noise: it proves that everything runs, says nothing of a picture, and is never served.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

TRANSFORMER = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "text_dim": 32,
    "freq_dim": 32,
    "ffn_dim": 32,
    "rope_max_seq_len": 256,
}
WEIGHT_STD = 0.3  # standard deviation of the weights: at the usual 0.02 no condition would change a pixel


def build_vace(folder: Path) -> Path:
    """Save a `WanVACEPipeline` for texts, pictures and videos; the same weights every time."""
    torch.manual_seed(0)
    transformer = WanVACETransformer3DModel(num_layers=4, vace_layers=[0, 2], vace_in_channels=96, **TRANSFORMER)
    nn.init.normal_(transformer.vace_patch_embedding.weight, std=WEIGHT_STD)
    return save(WanVACEPipeline, transformer, folder)


def build_plain(folder: Path) -> Path:
    """Save a `WanPipeline`, for texts alone."""
    torch.manual_seed(1)
    return save(WanPipeline, WanTransformer3DModel(num_layers=2, **TRANSFORMER), folder)


def save(
    pipeline: Any, transformer: nn.Module, folder: Path, *, vae: AutoencoderKLWan | None = None, **more: Any
) -> Path:
    """Save a pipeline of random weights, with Wan 2.1's VAE unless another is given."""
    for network in (transformer, more.get("transformer_2")):
        for module in network.modules() if network else ():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=WEIGHT_STD)
    vae = vae or AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    encoder = UMT5EncoderModel(UMT5Config(vocab_size=320, d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=2))
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    )
    parts = {"text_encoder": encoder, "vae": vae, "transformer": transformer, "scheduler": scheduler}
    pipe = pipeline(tokenizer=_tokenizer(), **parts, **more)
    pipe.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return byte-level BPE, so that every script has tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["a cat 猫"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
