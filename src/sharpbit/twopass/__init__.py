"""Networks in two passes (RefQSR) and pairs of networks, as far as they run without torch."""
