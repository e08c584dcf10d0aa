"""Bugs that are put into a copy of the sources: for models.py and seeded_real.py.

In the copy a function with seeds has its body once for each of them, with the bug, and once as it is;
an environment variable says at run time which one it is. So all seeds take one build, may overlap,
and may be anything that fits into a function.
"""

import collections
import os
import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent

VARIABLE = "THREADBARE_SEED"
SWITCH = f"""//! Which bug is in.

use std::sync::OnceLock;

pub(crate) fn is(name: &str) -> bool {{
    static SEED: OnceLock<String> = OnceLock::new();
    SEED.get_or_init(|| std::env::var("{VARIABLE}").unwrap_or_default()) == name
}}
"""

# `failing`: what fails with it.
Seed = collections.namedtuple("Seed", "name bug file function change failing")


class Wrong(Exception):
    """What is wrong with the seeds, a table or the build."""


def read_seeds(file, failing):
    """The seeds of a file, in which `failing` is the name of what fails."""
    fields = [*Seed._fields[:-1], failing]
    seeds = []
    for entry in tomllib.loads(file.read_text())["seed"]:
        name = entry.get("name", "(without a name)")
        if set(entry) != set(fields):
            raise Wrong(f"seed {name}: needs exactly {', '.join(fields)}")
        if any(seed.name == name for seed in seeds):
            raise Wrong(f"seed {name}: there are two of this name")
        if not entry[failing] or not entry["change"]:
            raise Wrong(f"seed {name}: names none of the {failing}, or changes nothing")
        seeds.append(Seed(*(entry[field] for field in fields)))
    return seeds


def check_all_are_named(seeds, failing, there):
    """Whether what the seeds name is there, and the other way round."""
    for seed in seeds:
        for name in seed.failing:
            if name not in there:
                raise Wrong(f"seed {seed.name}: there is none of the {failing} called {name}")
    without = [name for name in there if not any(name in seed.failing for seed in seeds)]
    if without:
        raise Wrong("no seed shows that it can fail: " + ", ".join(without))


def environment(seed=None):
    """That of a process with the seed in, or with none."""
    others = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return others | ({VARIABLE: seed.name} if seed else {})


# Comments, strings and characters, in which braces mean nothing.
OPAQUE = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.[^\']*|[^\\\'])\'')


def body_of(text, seed):
    """Where the body of the seed's function begins and ends, and where the function does."""
    functions = list(re.finditer(re.escape(seed.function) + r"(?=[(<])", text))
    if len(functions) != 1:
        raise Wrong(
            f"seed {seed.name}: '{seed.function}' is {len(functions)} times in {seed.file}, not once"
        )
    blank = OPAQUE.sub(lambda opaque: " " * len(opaque[0]), text)
    begin = blank.index("{", functions[0].end())
    depth = 0
    for place in range(begin, len(blank)):
        depth += {"{": 1, "}": -1}.get(blank[place], 0)
        if depth == 0:
            return functions[0].start(), begin, place + 1
    raise Wrong(f"seed {seed.name}: the end of '{seed.function}' was not found")


def changed(body, seed):
    for old, new in seed.change:
        if body.count(old) != 1:
            raise Wrong(
                f"seed {seed.name}: {body.count(old)} times, not once, in '{seed.function}' of "
                f"{seed.file}:\n{old}"
            )
        body = body.replace(old, new)
    return body


def with_switches(file, seeds):
    """The text of a source file with all its seeds."""
    text = (ROOT / file).read_text()
    by_place = collections.defaultdict(list)
    for seed in seeds:
        by_place[body_of(text, seed)].append(seed)
    for start, begin, end in sorted(by_place, reverse=True):
        body = text[begin:end]
        switched = "".join(
            f'if crate::seeded::is("{seed.name}") {changed(body, seed)} else '
            for seed in by_place[start, begin, end]
        )
        # The switch is not for constants; what is seeded is not used in any.
        line = text.rindex("\n", 0, start) + 1
        head = re.sub(r"\bconst fn\b", "fn", text[line:begin])
        text = text[:line] + head + "{ " + switched + body + " }" + text[end:]
    return text


def write(path, text):
    """Writes what has changed only, for cargo's sake."""
    if not path.exists() or path.read_bytes() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    return path


def copy(seeds, tops, crates, to, changed_text=lambda name, text: text):
    """Copies what is under `tops`, files or folders, with all seeds; `crates` are the folders of crates
    that may have some. What `changed_text` makes of a file's name and bytes is written."""
    by_file = collections.defaultdict(list)
    for seed in seeds:
        by_file[seed.file].append(seed)
    files = [file for top in tops for file in [ROOT / top, *(ROOT / top).rglob("*")]]
    kept = {write(to / crate / "seeded.rs", SWITCH.encode()) for crate in crates}
    roots = [f"{crate}/lib.rs" for crate in crates]
    for file in files:
        if file.is_file():
            name = str(file.relative_to(ROOT))
            own = by_file.pop(name, None)
            text = with_switches(name, own).encode() if own else file.read_bytes()
            if name in roots:
                text += b"\nmod seeded;\n"
            kept.add(write(to / name, changed_text(name, text)))
    for file, seeds in by_file.items():
        raise Wrong(f"seed {seeds[0].name}: there is no {file}")
    for file in list(to.rglob("*")):
        if file.is_file() and file not in kept:
            file.unlink()
