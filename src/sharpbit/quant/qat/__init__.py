"""Parts of quantization-aware training."""
