"""Networks in two passes (RefQSR) and pairs of networks, as far as they run without torch."""

from sharpbit.twopass.roles import ROLES, THRESHOLD, Clusters, cluster

__all__ = ["ROLES", "THRESHOLD", "Clusters", "cluster"]
