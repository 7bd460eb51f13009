"""Collections of images and videos: listed, upscaled by many processes or machines, and recorded in a manifest."""
