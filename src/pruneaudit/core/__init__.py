"""What everything else stands on: errors, files, hashes, seeds, plug-ins by name, settings; no torch."""
