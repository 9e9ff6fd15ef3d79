"""Hooks of MkDocs: what the site has besides the pages of docs/, and links that hold on a code host and in the site.

The README is the first page, two pages of reference are generated (`reference.py`), and every file of the repository
that a page links to comes along.
"""

import os
import re
from pathlib import Path
from posixpath import dirname, relpath
from typing import TYPE_CHECKING

from reference import commands_page, configuration_page

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
"""Text, path and heading of a link to a file."""
CODE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
"""Blocks, in which nothing is a link."""


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the generated pages, the README, and what they and the pages of docs/ link to."""
    from mkdocs.structure.files import File

    for name, text in (("configuration.md", configuration_page()), ("commands.md", commands_page())):
        files.append(File.generated(config, name, content=text))
    for path in linked_files([ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]):
        if files.get_file_from_path(uri := site_uri(path)) is None:
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", **_: object) -> str:
    """Lead the links of a page to where their files are in the site."""
    source = page.file.abs_src_path
    return markdown if source is None else relinked(markdown, Path(source), config.repo_url)


def linked_files(pages: list[Path]) -> list[Path]:
    """Return the pages, and all files that they link to, directly or by way of other pages."""
    found = dict.fromkeys(pages)
    for path in (waiting := list(pages)):
        if path.suffix == ".md":
            text = CODE.sub("", path.read_text(encoding="utf-8"))
            targets = [target_of(link[2], path) for link in LINK.finditer(text)]
            new = [target for target in targets if target and target not in found]
            found |= dict.fromkeys(new)
            waiting += dict.fromkeys(new)
    return list(found)


def target_of(link: str, page: Path) -> Path | None:
    """Return the file that a link of a page leads to, of a folder its README; None if there is none to show."""
    path = Path(os.path.normpath(page.parent / link))
    path = path / "README.md" if path.is_dir() else path
    return path if path.is_file() and path.is_relative_to(ROOT) else None


def site_uri(path: Path) -> str:
    """Return the place of a file in the site: docs/ is its top, where the README is the first page."""
    inside = path.relative_to(ROOT)
    if inside.parts[0] == "docs":
        return Path(*inside.parts[1:]).as_posix()
    return "index.md" if inside.as_posix() == "README.md" else inside.as_posix()


def relinked(markdown: str, page: Path, repository: str | None) -> str:
    """Rewrite the links of a page for the site.

    A folder without a README is no part of it: the link leads to the repository, or, as long as that has no address,
    is its text alone.
    """

    def replace(link: re.Match[str]) -> str:
        text, path, heading = link[1], link[2], link[3] or ""
        if (target := target_of(path, page)) is not None:
            return f"[{text}]({relpath(site_uri(target), dirname(site_uri(page)) or '.')}{heading})"
        place = Path(os.path.normpath(page.parent / path)).relative_to(ROOT).as_posix()
        if repository:
            return f"[{text}]({repository.rstrip('/')}/tree/HEAD/{place})"
        return text if Path(place).name in text else f"{text} (`{place}`)"

    return "".join(part if CODE.fullmatch(part) else LINK.sub(replace, part) for part in CODE.split(markdown) if part)
