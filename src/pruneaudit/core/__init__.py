"""The base of all other packages: errors, files, hashes, seeds, registries, settings; without torch."""
