"""The care of a corpus: merged, pruned, and brought from and to other tools."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fuzz.directory.opening import open_store
from fuzz.directory.store import StoreError
from fuzz.search.reduction import Limit, Reduction, ReductionError, reduced
from triage.corpora import Bad, Corpus, Entry, Kind, distinct, is_afls_finding, kind_of, read, write
from triage.durations import counted
from triage.ending import MissingError, UserError
from triage.inputs import DEFAULT_KERNEL, kernel_names

OnProgress = Callable[[int], None]


class Aside(msgspec.Struct, frozen=True):
    """What a directory was taken for, and how many files in it are not of that kind."""

    folder: str
    kind: Kind
    files: int


class Brought(msgspec.Struct, frozen=True):
    """What ``merge``, ``import`` and ``export`` did; ``--json`` prints it.

    ``cases``: the different ones among ``files``, of which ``reshaped`` are read as far as they go.
    ``useless``: what reaches nothing more; ``new`` were written to ``into``, ``renamed`` of them
    under another name, for theirs was taken; ``there`` were known.
    ``features``: what all of it reaches; 0 where nobody asked.
    """

    into: str
    kind: Kind
    files: int
    cases: int
    reshaped: int
    useless: int
    new: int
    there: int
    renamed: int
    features: int
    crashed: tuple[str, ...]
    bad: tuple[Bad, ...]
    aside: tuple[Aside, ...]


class Pruned(msgspec.Struct, frozen=True):
    """What ``prune`` did, or would do. ``size``: bytes of the files that stay.

    ``found``: AFL's crashes and hangs, which stay as well, and are not in ``stay``.
    """

    folder: str
    kind: Kind
    stay: int
    size: int
    gone: int
    kernels: tuple[str, ...]
    features: int
    expecting: int
    found: int
    crashed: tuple[str, ...]
    bad: tuple[Bad, ...]
    dry: bool


def merge(
    folders: Sequence[Path],
    into: Path,
    kind: Kind | None,
    kernels: Sequence[str],
    on_progress: OnProgress,
) -> Brought:
    """Add to ``into`` the fewest cases that reach what it does not."""
    target = _target(into, kind, Kind.LIBFUZZER)
    with _claimed(into, target):
        sources = [_source(folder) for folder in folders]
        held = read(into).entries if into.exists() else ()
        given = _fresh(sources, held)
        found = _reduced(given, kernels_for(into, target, kernels), held, Limit(), on_progress)
        kept = [given[place] for place in found.kept]
        crashed = tuple(str(given[place].path) for place in found.crashed)
        return _brought(sources, into, target, kept, found.features, crashed)


def copy(folders: Sequence[Path], into: Path, kind: Kind) -> Brought:
    """Add every case to ``into``."""
    with _claimed(into, kind):
        sources = [_source(folder) for folder in folders]
        every = distinct([entry for source in sources for entry in source.entries])
        return _brought(sources, into, kind, every, 0, ())


def _source(folder: Path) -> Corpus:
    """What cases are taken from; UserError where there is none, but files of another kind are."""
    corpus = read(folder)
    if corpus.aside and not corpus.entries:
        why = "".join(f" ({each.file}: {each.reason})" for each in corpus.bad[:1])
        left = f"{counted(corpus.aside, 'other file')} left aside"
        raise UserError(
            f"{folder}: taken for kind {corpus.kind.value}, without a case{why}; {left}"
        )
    return corpus


def _brought(
    sources: Sequence[Corpus],
    into: Path,
    kind: Kind,
    chosen: Sequence[Entry],
    features: int,
    crashed: tuple[str, ...],
) -> Brought:
    entries = [entry for source in sources for entry in source.entries]
    bad = [each for source in sources for each in source.bad]
    every = distinct(entries)
    done = write(into, kind, chosen)
    known = {entry.data for entry in chosen}
    useless = 0 if not features else sum(entry.data not in known for entry in every)
    return Brought(
        into=str(into),
        kind=kind,
        files=len(entries) + len(bad),
        cases=len(every),
        reshaped=sum(not entry.exact for entry in every),
        useless=useless,
        new=done.new,
        there=done.there,
        renamed=done.renamed,
        features=features,
        crashed=crashed,
        bad=(*bad, *done.refused),
        aside=tuple(
            Aside(str(each.folder), each.kind, each.aside) for each in sources if each.aside
        ),
    )


def prune(
    folder: Path, kernels: Sequence[str], limit: Limit, on_progress: OnProgress, *, dry: bool
) -> Pruned:
    """Remove what adds nothing. A file that expects outcomes stays: it is there for those."""
    corpus = _source(folder)
    if corpus.kind is Kind.LIBFUZZER and (other := corpus.stranger) is not None:
        taken = f"taken for kind {corpus.kind.value}, where every file is an input"
        raise UserError(f"{folder}: {taken}; {other} is none, so nothing is removed")
    with _claimed(folder, corpus.kind):
        prunable = _prunable(folder, corpus)
        held = [entry for entry in prunable if entry.expects]
        given = distinct([entry for entry in prunable if not entry.expects])
        asked = kernels_for(folder, corpus.kind, kernels)
        found = _reduced(given, asked, held, limit, on_progress)
        stay = {given[place].path for place in (*found.kept, *found.crashed)}
        stay |= {entry.path for entry in held}
        gone = [entry.path for entry in prunable if entry.path not in stay]
        if not dry:
            for path in gone:
                path.unlink(missing_ok=True)
        return Pruned(
            folder=str(folder),
            kind=corpus.kind,
            stay=len(stay),
            size=sum(path.stat().st_size for path in stay),
            gone=len(gone),
            kernels=tuple(asked),
            features=found.features,
            expecting=len(held),
            found=sum(is_afls_finding(entry.path) for entry in corpus.entries),
            crashed=tuple(str(given[place].path) for place in found.crashed),
            bad=corpus.bad,
            dry=dry,
        )


def _prunable(folder: Path, corpus: Corpus) -> list[Entry]:
    """Findings are no part of what may go, be they AFL's, nor is what no worker has put there."""
    if corpus.kind is Kind.AFL:
        return [entry for entry in corpus.entries if not is_afls_finding(entry.path)]
    if corpus.kind is not Kind.CAMPAIGN:
        return list(corpus.entries)
    inputs = open_store(folder).corpus
    kept = [entry for entry in corpus.entries if entry.path.is_relative_to(inputs)]
    return [entry for entry in kept if entry.ours and not entry.text]


def kernels_for(folder: Path, kind: Kind, named: Sequence[str]) -> tuple[str, ...]:
    """The kernels named, or else the campaign's, or else the usual one."""
    if named or kind is not Kind.CAMPAIGN:
        return tuple(named) or (DEFAULT_KERNEL,)
    return kernel_names(open_store(folder).configuration().kernels)


def _target(into: Path, asked: Kind | None, usual: Kind) -> Kind:
    """What ``into`` is, or is to become."""
    there = kind_of(into)
    if there is None and asked is Kind.CAMPAIGN:
        raise UserError(f"{into}: no campaign there; gff fuzz --campaign makes one")
    if there is not None and asked is not None and there is not asked:
        raise UserError(f"{into}: is {there.value}, not {asked.value}")
    return there or asked or usual


def target_of_import(into: Path) -> Kind:
    """What an import may have as its aim."""
    kind = _target(into, None, Kind.CASES)
    if kind not in (Kind.CAMPAIGN, Kind.CASES):
        raise UserError(f"{into}: holds files of bytes; import into a campaign or .case files")
    return kind


def target_of_export(into: Path, asked: Kind) -> Kind:
    """What an export may have as its aim."""
    return _target(into, asked, asked)


def _fresh(sources: Sequence[Corpus], held: Sequence[Entry]) -> list[Entry]:
    known = {entry.data for entry in held}
    every = distinct([entry for source in sources for entry in source.entries])
    return [entry for entry in every if entry.data not in known]


def _reduced(
    given: Sequence[Entry],
    kernels: Sequence[str],
    held: Sequence[Entry],
    limit: Limit,
    on_progress: OnProgress,
) -> Reduction:
    try:
        return reduced(
            [entry.data for entry in given],
            kernels,
            held=[entry.data for entry in held],
            limit=limit,
            on_progress=on_progress,
        )
    except ReductionError as error:
        raise MissingError(str(error)) from error


@contextmanager
def _claimed(folder: Path, kind: Kind) -> Iterator[None]:
    """A campaign that is at work is left alone."""
    try:
        if kind is Kind.CAMPAIGN:
            with open_store(folder).claimed():
                yield
        else:
            yield
    except StoreError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}") from error
