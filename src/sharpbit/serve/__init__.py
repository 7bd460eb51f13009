"""The page and the HTTP API of `sharpbit serve`: images in, upscaled ones out, on the user's own machine."""
