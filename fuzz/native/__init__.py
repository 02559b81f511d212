"""The hot modules as machine code: the same source, rewritten a little and compiled by mypyc.

A build is a copy of the packages ``emu`` and ``fuzz`` in the user's cache, with an extension module
beside each source file that is compiled. Workers that have it first on their path run it; nobody
else does, and where there is none they run the source.
"""
