"""What a LoRA may call the layers of Wan's transformer: their names in diffusers, in Wan's own code, in trainers.

A transformer of diffusers knows its own names; here the others are derived from them, so that a name which stands for
no layer is found, whatever wrote the file.
"""

import re
from collections.abc import Iterable, Mapping

PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "lora_unet_")
OWN_MARKS = (
    "self_attn",
    "cross_attn",
    "diffusion_model.",
    "lora_unet_",
)  # of Wan's own names; diffusers has none of them

# What a part of a name is called in Wan's own code (Wan-Video/Wan2.1, wan/modules/model.py and vace_model.py).
OWN: Mapping[str, str] = {
    r"(blocks\.\d+)\.attn1\.": r"\1.self_attn.",
    r"(blocks\.\d+)\.attn2\.": r"\1.cross_attn.",
    r"_attn\.to_(q|k|v)$": r"_attn.\1",
    r"_attn\.to_out\.0$": "_attn.o",
    r"_attn\.add_(k|v)_proj$": r"_attn.\1_img",
    r"_attn\.norm_added_k$": "_attn.norm_k_img",
    r"(blocks\.\d+)\.norm2$": r"\1.norm3",
    r"\.ffn\.net\.0\.proj$": ".ffn.0",
    r"\.ffn\.net\.2$": ".ffn.2",
    r"(blocks\.\d+)\.scale_shift_table$": r"\1.modulation",
    r"(vace_blocks\.\d+)\.proj_in$": r"\1.before_proj",
    r"(vace_blocks\.\d+)\.proj_out$": r"\1.after_proj",
    r"^condition_embedder\.(text|time)_embedder\.linear_1$": r"\1_embedding.0",
    r"^condition_embedder\.(text|time)_embedder\.linear_2$": r"\1_embedding.2",
    r"^condition_embedder\.time_proj$": "time_projection.1",
    r"^condition_embedder\.image_embedder\.norm1$": "img_emb.proj.0",
    r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj$": "img_emb.proj.1",
    r"^condition_embedder\.image_embedder\.ff\.net\.2$": "img_emb.proj.3",
    r"^condition_embedder\.image_embedder\.norm2$": "img_emb.proj.4",
    r"^proj_out$": "head.head",
    r"^scale_shift_table$": "head.modulation",
}


def own_name(name: str) -> str:
    """Return what Wan's own code calls a layer, or a parameter, of diffusers' transformer."""
    for pattern, replacement in OWN.items():
        name = re.sub(pattern, replacement, name)
    return name


def layers_by_name(layers: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """Return the layers of a transformer by the names that a file with these keys has for them, behind its prefixes.

    Wan's own norm3 is diffusers' norm2, so a file is read in one language or the other.
    """
    if not any(mark in key for key in keys for mark in OWN_MARKS):
        return {name: name for name in layers}
    own = {own_name(name): name for name in layers}
    return {name.replace(".", "_"): layer for name, layer in own.items()} | own


def without_prefix(key: str) -> str:
    """Return a key without what stands before the names of the layers."""
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return key
