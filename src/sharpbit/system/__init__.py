"""What the operating system and the installation give: atomic files, optional packages, registries, processes."""
