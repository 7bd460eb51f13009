"""Steps of post-training quantization."""
