"""Names of quantizers in the authors' quantized CRAFT, and ours."""

import re

ACTIVATIONS = {
    "qact_inpt1": "conv_first",
    "qact_inpt2": "conv_after_body",
    "qact_inpt3": "upsample.0",
    "qact_inpt4": "output",
    r"(layers\.\d+)\.qact_input1": r"\1.conv",
    r"(.*srwa_blocks\.\d+)\.qact_norm1": r"\1.qkv",
    r"(.*srwa_blocks\.\d+)\.qact_norm2": r"\1.mlp.fc1",
    r"(.*srwa_blocks\.\d+)\.qact_v": r"\1.get_v",
    r"(.*srwa_blocks\.\d+)\.qact_res1": r"\1.proj",
    r"(.*)\.mlp\.qact_act": r"\1.mlp.fc2",
    r"(.*attns\.\d)\.qact_(q|k|v)": r"\1.\2",
    r"(.*attns\.\d)\.qact_attn": r"\1.attention",
    r"(.*hfer_blocks\.\d+)\.qact_hfe": r"\1.peaks",
    r"(.*hfer_blocks\.\d+)\.qact_maxpool": r"\1.fc",
    r"(.*hfer_blocks\.\d+)\.qact_lfe": r"\1.conv",
    r"(.*hfer_blocks\.\d+)\.qact_last_fc": r"\1.last_fc",
    r"(.*hf_blocks\.\d+)\.qact_norm1": r"\1.attn.kv",
    r"(.*hf_blocks\.\d+)\.qact_high": r"\1.attn.q",
    r"(.*hf_blocks\.\d+)\.qact_norm2": r"\1.ffn.project_in",
    r"(.*)\.attn\.qact_conv_q": r"\1.attn.q_dwconv",
    r"(.*)\.attn\.qact_conv_kv": r"\1.attn.kv_dwconv",
    r"(.*)\.attn\.qact_q": r"\1.attn.query",
    r"(.*)\.attn\.qact_k": r"\1.attn.key",
    r"(.*)\.attn\.qact_v": r"\1.attn.value",
    r"(.*)\.attn\.qact_attn": r"\1.attn.attention",
    r"(.*)\.attn\.qact_project": r"\1.attn.project_out",
    r"(.*)\.ffn\.qact_project_in": r"\1.ffn.dwconv",
    r"(.*)\.ffn\.qact_dot": r"\1.ffn.project_out",
}


def ours(name):
    """Our name of the quantizer that is published as `name`; None for those of the positions, which never act."""
    if ".pos." in name:
        return None
    for pattern, replacement in ACTIVATIONS.items():
        if found := re.fullmatch(pattern, name):
            return found.expand(replacement) + ".act"
    return f"{name}.kernel"


def bounds(tensors, prefix="state/"):
    """Published lower and upper bounds by our names."""
    ending = ".quantizer.min_val"
    names = [key[len(prefix) : -len(ending)] for key in tensors if key.startswith(prefix) and key.endswith(ending)]
    pairs = {
        ours(name): tuple(tensors[f"{prefix}{name}.quantizer.{end}"] for end in ("min_val", "max_val"))
        for name in names
    }
    pairs.pop(None)
    return pairs
