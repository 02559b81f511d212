"""Compiles rewritten modules, in the process that a build starts for it.

    python -m fuzz.native.extension JOBS PARENT FILE...

The files are those of the current directory; what is made of them lies beside them.
"""

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from mypyc.build import mypycify
from setuptools import setup
from setuptools.command.build_ext import build_ext

from fuzz.processes import die_with

_MYPY: Final = (
    "--config-file=",  # the user's own is for the user's own code
    "--ignore-missing-imports",
    "--cache-dir=.mypy_cache",
    "--hide-error-context",
    "--no-error-summary",
)


class SideBySide(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Compiles the files of an extension at once. setuptools does so with extensions alone, and
    nearly all of a build is one.
    """

    def build_extensions(self) -> None:
        """Compile all files, and link each extension when no file is left."""
        compile_one, link = self.compiler._compile, self.compiler.link_shared_object
        begun: list[Future[None]] = []
        with ThreadPoolExecutor(self.parallel or 1) as pool:

            def begin(*arguments: object) -> None:
                begun.append(pool.submit(compile_one, *arguments))

            def link_when_compiled(*arguments: object, **options: object) -> None:
                for file in tuple(begun):
                    file.result()
                link(*arguments, **options)

            self.compiler._compile = begin
            self.compiler.link_shared_object = link_when_compiled
            super().build_extensions()


def main() -> None:
    """Compile them; what goes wrong is on standard output and standard error."""
    jobs, parent, *files = sys.argv[1:]
    die_with(int(parent))
    modules = mypycify([*_MYPY, *files], opt_level="3", debug_level="0", multi_file=True)
    if not os.environ.get("CC"):
        os.environ.pop("CC", None)  # setuptools would start a program of that name
    # One module's calls of another's functions need not go through a table. The user's own flags
    # are for the user's own code: mypyc's C does not pass every warning.
    os.environ["CFLAGS"] = "-g0 -fvisibility=hidden"
    setup(
        name="native",
        ext_modules=modules,
        cmdclass={"build_ext": SideBySide},
        script_args=["build_ext", "--inplace", "-j", jobs],
    )


if __name__ == "__main__":
    main()
