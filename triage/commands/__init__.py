"""The commands of ``gff``, one module each: they read, call, print, and say how it ended."""
