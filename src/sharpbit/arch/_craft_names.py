"""What the authors' quantized CRAFT calls its quantizers, and what they round here.

Source: `basicsr/archs/craft_q_arch.py` of AVC2-UESTC/Frequency-Inspired-Optimization-for-EfficientSR.
"""

from __future__ import annotations

from sharpbit.arch import Clipped

_GROUP, _WINDOW, _HEADS = r"layers\.\d+", r".*\.srwa_blocks\.\d+", r".*\.attns\.\d"
_CONVOLUTIONS, _JOIN = r".*\.hfer_blocks\.\d+", r".*\.hf_blocks\.\d+"

CLIPPED = Clipped(
    activations=(
        ("", "qact_inpt1", "conv_first"),
        ("", "qact_inpt2", "conv_after_body"),
        ("", "qact_inpt3", "upsample.0"),
        ("", "qact_inpt4", "output"),
        (_GROUP, "qact_input1", "conv"),
        (_WINDOW, "qact_norm1", "qkv"),
        (_WINDOW, "qact_norm2", "mlp.fc1"),
        (_WINDOW, "qact_v", "get_v"),
        (_WINDOW, "qact_res1", "proj"),
        (_WINDOW, "mlp.qact_act", "mlp.fc2"),
        (_HEADS, "qact_q", "q"),
        (_HEADS, "qact_k", "k"),
        (_HEADS, "qact_v", "v"),
        (_HEADS, "qact_attn", "attention"),
        (_CONVOLUTIONS, "qact_hfe", "peaks"),
        (_CONVOLUTIONS, "qact_maxpool", "fc"),
        (_CONVOLUTIONS, "qact_lfe", "conv"),
        (_CONVOLUTIONS, "qact_last_fc", "last_fc"),
        (_JOIN, "qact_norm1", "attn.kv"),
        (_JOIN, "qact_high", "attn.q"),
        (_JOIN, "qact_norm2", "ffn.project_in"),
        (_JOIN, "attn.qact_conv_q", "attn.q_dwconv"),
        (_JOIN, "attn.qact_conv_kv", "attn.kv_dwconv"),
        (_JOIN, "attn.qact_q", "attn.query"),
        (_JOIN, "attn.qact_k", "attn.key"),
        (_JOIN, "attn.qact_v", "attn.value"),
        (_JOIN, "attn.qact_attn", "attn.attention"),
        (_JOIN, "attn.qact_project", "attn.project_out"),
        (_JOIN, "ffn.qact_project_in", "ffn.dwconv"),
        (_JOIN, "ffn.qact_dot", "ffn.project_out"),
    ),
    # the MLPs of positions, which give every offset the same; a quantizer stands before each of their linear layers
    idle=r".*\.pos\..*",
    moved=((r".*\.pos\.pos\d", "3", "2"),),
)
