"""Where the build puts the shared libraries that Envoy loads. No code lives here."""

from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
"""Search path of Envoy's dynamic modules."""

MODULE = "cilium_dynamic_modules"
"""Name of the dynamic module; its file is `lib<name>.so` in `DIRECTORY`."""

EMBED = "libcilium_embed.so"
"""The file in `DIRECTORY` that the module loads to run parsers written in Python."""
