"""What `sharpbit.verbs.compress` is made of: data kept apart, ways to a small network, measurements, the choice."""
