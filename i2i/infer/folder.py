"""Files and folders of pictures through a translator: names and sub-folders kept, inputs never touched."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from i2i import __version__, atomic, heap
from i2i.data import pictures
from i2i.data.domain import Domain
from i2i.data.formats.shapes import CHANGES
from i2i.data.pictures import Header
from i2i.errors import UserError
from i2i.infer import models
from i2i.infer.convert import suffix_of
from i2i.infer.journal import NAME, Journal
from i2i.infer.overlap import Failure, Job, Report, Task, Work
from i2i.infer.sheet import NAME as SHEET
from i2i.infer.sheet import ROWS, Sheet
from i2i.infer.translator import CLIPPED, Translator

FOLDER = "translated"  # in the run folder, or beside the weights file
BY_WINOGRAD = "convolutions by Winograd's form, which rounds more: single values move by 1 or 2 of 255 levels"
NOTES = CHANGES | {  # what is done to pictures, in words
    "grey": "grey, and replicated to the network's channels",
    "alpha": "with alpha, which was set aside and put back",
}


def translate(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    model: Any = None,
    out: str | os.PathLike | None = None,
    direction: str | None = None,
    page: int | None = None,
    size: int | None = None,
    samples: int = 1,
    sheet: bool = False,
    paired: bool = False,
    resume: bool = False,
    winograd: bool = False,
    device: str = "auto",
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Translates pictures and folders of pictures to files of the output domain's depth and channels.

    `out/<folder>/<sub-folders>/<stem>.<suffix>` for a folder, `out/<stem>.<suffix>` for a file. Inputs whose stems
    collide keep their whole names (a.jpg.png). What an input is, is read from its first bytes, whatever its name says:

    - a TIFF becomes a TIFF (.tiff where the input is called so, else .tif) of any depth and channels, and keeps what it
      says beside its pixels: resolution, description, place on the map, nodata, and the ICC profile where the output
      has as many channels;
    - an .npy becomes an .npy, (H, W, C);
    - every other input becomes a PNG where one holds the output, which is 8 or 16 bits of 1 or 3 channels with or
      without alpha, and else an .npy, with alpha as its last channel.

    Args:
        paths: files, and folders, which are searched with their sub-folders; hidden files are passed over.
        model: as for `load`; None is the newest run.
        out: None is `translated/` in the run folder, or beside the weights file.
        direction, device, winograd: as for `load`.
        page: which page of TIFF files that hold several, 0 the first; None takes the page that the model was trained
            on, if its recipe names one. Without either such a file fails.
        size: translate with the shorter side at this size, then resize back; None keeps every pixel as it is.
        samples: outputs of each picture, under different noise, numbered <stem>_0.png, ...
        sheet: also draws `out/sheet.png`: a row for each of the first inputs, with its outputs beside it.
        paired: the files hold input and target side by side; take the input's half.
        resume: continue a call that was interrupted: outputs stay that are whole, unchanged, and made by the same
            weights, options, kind of device and version of i2i from an input of the same bytes, as a journal in `out`
            says (`.i2i-translated.jsonl`, which every call writes). All others are made. Without it all are.
        say: takes each line for the user.
        progress: called with (pictures done, pictures in all).

    Returns:
        What was written, kept and failed; a broken file does not stop the others.

    Raises:
        UserError: before anything is written: no pictures, no model, an output that would overwrite an input, a place
            that cannot be written to; later only when the disk fails.
    """
    paths = [Path(os.path.expanduser(path)) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no {path}; give pictures, or folders of pictures.")
    file = models.find(model, direction)
    base = Path(os.path.expanduser(out)) if out is not None else file.parent / FOLDER
    report = Report()
    jobs = _plan(paths, base, report, say)
    translator = models.translator(file, direction, device, winograd)
    _refuse_options(translator, file, size, samples, paired)
    page = translator.page(page)
    headers = {job: _header(job.source, page) for job in jobs}
    outputs = {job: _outputs(job, headers[job], translator.output, samples) for job in jobs}
    _refuse_overwriting(jobs, outputs, base / SHEET if sheet else None)
    make_folders({job.folder for job in jobs})
    say(f"translating with {file} (step {translator.meta.get('step', 'unknown')})")
    if winograd:
        say(f"{translator.by_winograd} {BY_WINOGRAD}")
    half, shown = translator.meta.get("side") if paired else None, Sheet(translator, ROWS if sheet else 0)
    settings = {"weights": translator.weights, "version": __version__, "device": translator.device.type}
    settings |= {"winograd": True} if winograd else {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(heap.kept())
        journal = _journal(base, settings | {"half": half, "page": page, "size": size}, say) if jobs else None
        if journal is not None:
            stack.callback(journal.close)
        work = Work(translator, half, page, size, resume, shown, journal, report, say)
        work.run([Task(job, headers[job], outputs[job]) for job in jobs], progress)
    work.draw(base / SHEET)
    _sum_up(work, base, say)
    return report


def _journal(base: Path, settings: dict[str, Any], say: Callable[[str], None]) -> Journal | None:
    """What is written about the outputs; None where it cannot be, which harms none of them."""
    try:
        return Journal(base, settings)
    except OSError as error:
        say(f"{base / NAME} cannot be used ({error.strerror}), so that --resume could not continue this call")
        return None


def _sum_up(work: Work, base: Path, say: Callable[[str], None]) -> None:
    report, (low, high) = work.report, work.translator.input.range
    notes = NOTES | {
        "clipped": f"with more than {CLIPPED:.0%} of their values outside the range that the model was trained on, "
        f"[{low:g}, {high:g}], and clipped to it"
    }
    for kind in (*notes, *sorted(work.counts.keys() - notes.keys())):
        if work.counts[kind]:
            say(f"{work.counts[kind]} of the pictures: {notes.get(kind, f'changed on reading ({kind})')}")
    kept = f"; {len(report.kept)} were there, made by the same weights and options, and stay" if work.resume else ""
    failed = f"; {len(report.failed)} failed" if report.failed else ""
    say(f"{len(report.written)} pictures written to {base}{kept}{failed}")
    if report.sheet is not None:
        say(f"{report.sheet}: inputs and outputs side by side")


# -- what to do


def _plan(paths: list[Path], base: Path, report: Report, say: Callable[[str], None]) -> list[Job]:
    """All inputs with their outputs; folders that cannot be listed go to `report`."""
    found: dict[tuple[Path, str], None] = {}  # (folder of the output, input), in order, each once
    others: Counter = Counter()
    for path in paths:
        if path.is_dir():
            root = base / _name(path)
            for outside, inside in ((base, path), (root, path)):
                if _same(outside, inside):
                    raise UserError(
                        f"the outputs for {path} would go into {outside}, the same folder, and could overwrite its "
                        "pictures; choose another place with --out DIR."
                    )
            for folder, name in _walk(path, base, report, others):
                found[root / os.path.relpath(folder, path), os.path.join(folder, name)] = None
        else:
            found[base, str(path)] = None
    if others:
        kinds = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in others.most_common(5))
        say(f"{others.total()} files that are not {', '.join(pictures.SUFFIXES)} were passed over: {kinds}")
    if not found and not report.failed:
        raise UserError(f"there is nothing to translate in {', '.join(map(str, paths)) or 'no paths'}; give pictures.")
    for failure in report.failed:
        say(failure.why)
    return _named(found)


def _walk(top: Path, base: Path, report: Report, others: Counter) -> Iterator[tuple[str, str]]:
    """(folder, file name) of every picture below `top` in plain order. Linked folders are followed, each once; `base`,
    where outputs go, is left out."""

    def unlisted(error: OSError) -> None:
        place = Path(error.filename or top)
        report.failed.append(Failure(place, f"{place} cannot be listed: {error.strerror}."))

    seen = {os.path.realpath(base)}
    for folder, folders, files in os.walk(top, onerror=unlisted, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if pictures.is_picture(name):
                yield folder, name
            elif not name.startswith("."):
                others[os.path.splitext(name)[1].lower()] += 1


def _named(found: Iterable[tuple[Path, str]]) -> list[Job]:
    """The stem of each input, or its whole name where two stems of a folder are the same (or differ only in case)."""
    folders: dict[Path, list[str]] = {}
    for folder, source in found:
        folders.setdefault(folder, []).append(source)
    jobs = []
    for folder, sources in folders.items():
        names = {source: Path(source).stem for source in sources}
        while True:
            count = Counter(name.lower() for name in names.values())
            clash = [source for source, name in names.items() if count[name.lower()] > 1 and name != Path(source).name]
            if not clash:
                break
            names |= {source: Path(source).name for source in clash}
        jobs += [Job(Path(source), folder, name) for source, name in names.items()]
    return jobs


def _header(path: Path, page: int | None) -> Header | UserError:
    """What the file is, or why it cannot be used, which is told when its turn comes."""
    try:
        return pictures.probe(path, page=page)
    except UserError as error:
        return error


def _outputs(job: Job, header: Header | UserError, output: Domain, samples: int) -> list[Path]:
    """One path for each sample; none for a file that cannot be used."""
    if isinstance(header, UserError):
        return []
    numbers = [""] if samples == 1 else [f"_{sample}" for sample in range(samples)]
    suffix = _suffix(job.source, header, output)
    return [job.folder / f"{job.stem}{number}{suffix}" for number in numbers]


def _suffix(source: Path, header: Header, output: Domain) -> str:
    """The form of an output, by what its input is and what it has to hold."""
    if header.format == "TIFF":
        return ".tiff" if source.suffix.lower() == ".tiff" else ".tif"
    return ".npy" if header.format == "NPY" else suffix_of(output)


# -- what is refused before anything is written


def _refuse_overwriting(jobs: list[Job], outputs: dict[Job, list[Path]], sheet: Path | None) -> None:
    """Files are compared by what they are on the disk: links, `..` and the case of letters make no difference."""
    inputs = {key: job.source for job in jobs if (key := _identity(job.source))}
    taken: dict[str, Path] = {}
    for job in jobs:
        for path in outputs[job]:
            source = inputs.get(_identity(path) or ())
            if source is not None:
                raise UserError(f"{path} would overwrite the input {source}; choose another place with --out DIR.")
            other = taken.setdefault(os.path.normpath(path), job.source)
            if other is not job.source:
                raise UserError(
                    f"{other} and {job.source} would both become {path}, and one overwrite the other; translate them "
                    "one after the other, with --out DIR."
                )
    if sheet is not None and ((source := inputs.get(_identity(sheet) or ())) or os.path.normpath(sheet) in taken):
        what = f"the input {source}" if source else f"the output of {taken[os.path.normpath(sheet)]}"
        raise UserError(f"the sheet {sheet} would overwrite {what}; leave --sheet out, or choose another --out DIR.")


def _refuse_options(translator: Translator, file: Path, size: int | None, samples: int, paired: bool) -> None:
    if size is not None and size < 1:
        raise UserError(f"size {size}: the shorter side of a picture has at least one pixel; give 1 or more.")
    if samples < 1:
        raise UserError(f"samples {samples}: each picture has at least one output; give 1 or more.")
    if samples > 1 and not translator.draws:
        raise UserError(
            f"{samples} samples would all be equal: {file} draws no noise (its recipe's translate.dropout is false, or "
            "its generator has no dropout); leave --samples out."
        )
    if paired and translator.meta.get("side") is None:
        raise UserError(
            f"{file} was not trained on pairs, so neither half of a side-by-side file is its input; leave --paired out."
        )


def make_folders(folders: set[Path]) -> None:
    """Makes the folders of the outputs, and removes what killed writers left in them."""
    for folder in sorted(folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            refused = None if os.access(folder, os.W_OK | os.X_OK) else "Permission denied"
        except OSError as error:
            refused = error.strerror
        if refused:
            raise UserError(f"{folder} cannot be written to: {refused}; choose another place with --out DIR.")
        atomic.sweep(folder)


# -- small things


def _name(folder: Path) -> str:
    """What a folder is called, also where it was given as `.` or `..`; nothing for the root of all folders."""
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _same(a: Path, b: Path) -> bool:
    here = _identity(a)
    return here is not None and here == _identity(b)
