"""The choices of each config group, and the line of help of each choice."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parents[3]
"""Root of the checkout (editable installation)."""
CONF = ROOT / "conf"
if not CONF.is_dir():
    raise SystemExit(
        f"{CONF} is missing: the commands need an editable installation, `pip install -e .` in a checkout"
    )
# Hydra's built-in choices, which have no file here.
BASIC = {
    "hydra/launcher": "runs the jobs one after the other",
    "hydra/sweeper": "the grid of all axes",
}


def choices_help() -> str:
    """The groups of conf/ with one line per choice: the first comment of its file."""
    defaults = {
        str(group).removeprefix("override "): choice
        for entry in OmegaConf.load(CONF / "config.yaml").defaults
        if isinstance(entry, DictConfig)
        for group, choice in entry.items()
    }
    lines: list[str] = []
    for group in (name for name in defaults if (CONF / name).is_dir() and name != "hydra/help"):
        lines += ["", group]
        for name, path in choice_files(group).items():
            mark = "*" if name == defaults[group] else " "
            lines.append(f"  {mark} {name:<20} {description(path)}")
        if group in BASIC:
            mark = "*" if defaults[group] == "basic" else " "
            lines.append(f"  {mark} {'basic':<20} {BASIC[group]}")
    return "\n".join(lines).lstrip("\n")


def choice_files(group: str) -> dict[str, Path]:
    """The files of a group by choice (subfolders as `paper/depth_output`), in natural order of names."""
    folder = CONF / group
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}
    return dict(
        sorted(files.items(), key=lambda f: ("/" in f[0], f[0].rstrip("0123456789"), len(f[0]), f[0]))
    )


def description(path: Path) -> str:
    """The first comment of a config file that is not a Hydra directive."""
    comments = (line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@")), "")
