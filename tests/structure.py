"""Measures the code's structure and says where a bound is passed: `make check` runs it.

    python3 tests/structure.py                  the table; exit 1 where a bound is passed
    python3 tests/structure.py --list model     each place that counts, of some crates

Only what is shipped counts: tests, benchmarks and examples do not.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATES = ["base", "model", "heads", "tasks", "training", "evaluator", "pretrain", "results"]
BOUNDS = {
    "circles between files": 0,
    "function lines, p90": 25,
    "function lines, most": 60,
    "file lines, p90": 300,
    "file lines, most": 400,
    "panics per 1,000 lines": 1.0,
    "tuples as parameters": 0,
    "type names that stand for two types in a crate": 0,
}


def blank(text):
    """The text with comments, strings and characters blanked, line for line."""
    token = re.compile(
        r"""//[^\n]*|/\*.*?\*/|b?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^\\'\n])'""", re.S
    )
    return token.sub(lambda m: re.sub(r"[^\n]", " ", m.group()) if m.group()[0] != "'" or len(m.group()) > 2 else m.group(), text)


def closing(text, start):
    """The position after the bracket that closes the one at `start`."""
    pairs = {"{": "}", "(": ")", "[": "]"}
    depth = 0
    for at in range(start, len(text)):
        if text[at] in pairs:
            depth += 1
        elif text[at] in pairs.values():
            depth -= 1
            if depth == 0:
                return at + 1
    raise ValueError(f"a bracket without end at {start}")


def without_tests(text):
    """The text with its test modules blanked."""
    for found in reversed(list(re.finditer(r"#\[cfg\(test\)\]\s*mod \w+ \{", text))):
        end = closing(text, found.end() - 1)
        text = text[: found.start()] + re.sub(r"[^\n]", " ", text[found.start() : end]) + text[end:]
    return text.rstrip() + "\n"


def split_top(text, separator=","):
    """The parts of a list, brackets and angles left whole."""
    parts, depth, part = [], 0, ""
    for at, char in enumerate(text):
        if char in "([{<" :
            depth += 1
        elif char in ")]}" or (char == ">" and text[at - 1] not in "-="):
            depth -= 1
        if char == separator and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    return [part.strip() for part in parts + [part] if part.strip()]


class File:
    def __init__(self, crate, path):
        self.crate, self.path = crate, path
        self.code = without_tests(blank(path.read_text()))
        self.lines = self.code.count("\n")
        inside = path.relative_to(ROOT / crate).with_suffix("").parts
        inside = inside[1:] if inside[0] in ("src", "bin") else inside
        self.is_root = inside in (("lib",), ("main",))
        self.module = () if self.is_root else inside[:-1] if inside[-1] == "mod" else inside
        self.where = str(path.relative_to(ROOT))

    def functions(self):
        """Name, line, length in lines, and parameters of each function with a body."""
        for found in re.finditer(r"\bfn (\w+)", self.code):
            at = found.end()
            if self.code[at] == "<":
                depth = 0
                while True:
                    depth += {"<": 1, ">": -1 if self.code[at - 1] != "-" else 0}.get(self.code[at], 0)
                    at += 1
                    if depth == 0:
                        break
            if self.code[at] != "(":
                continue
            end = closing(self.code, at)
            parameters = split_top(self.code[at + 1 : end - 1])
            body = re.compile(r"[{;]").search(self.code, end)
            if body is None or body.group() == ";":
                continue
            line = self.code.count("\n", 0, found.start()) + 1
            last = self.code.count("\n", 0, closing(self.code, body.start())) + 1
            yield found.group(1), line, last - line + 1, parameters

    def uses(self):
        """Paths of all imports and of what is named by `crate::` or `super::` on the way, and the re-exports among them."""
        for found in re.finditer(r"(?m)^\s*(pub(?:\([^)]*\))? )?use ([^;]+);", self.code):
            for path, name in use_tree(found.group(2)):
                yield path, name, bool(found.group(1))
        rest = re.sub(r"(?m)^\s*(pub(?:\([^)]*\))? )?use ([^;]+);", "", self.code)
        for found in re.finditer(r"\b((?:crate|super|self)(?:::\w+)+)", rest):
            yield tuple(found.group(1).split("::")), None, False
        for found in re.finditer(r"(?<![:\w])([a-z_]\w*(?:::\w+)+)", rest):
            yield tuple(found.group(1).split("::")), None, False

    def defined(self):
        pattern = r"(?m)^(?:pub(?:\([^)]*\))? )?(?:unsafe |const |async |extern \S+ )*(?:struct|enum|trait|fn|const|static|type|union|macro_rules!) (\w+)"
        return set(re.findall(pattern, self.code))

    def types(self):
        return re.findall(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|union) (\w+)", self.code)


def use_tree(text, prefix=()):
    """Each path of a `use`, with the name that it gets."""
    text = text.strip()
    if "{" in text:
        head, group = text.split("{", 1)
        head = tuple(part for part in head.strip().removesuffix("::").split("::") if part)
        for part in split_top(group.rsplit("}", 1)[0]):
            yield from use_tree(part, prefix + head)
        return
    path, _, name = text.partition(" as ")
    path = prefix + tuple(part.strip() for part in path.strip().split("::"))
    if path[-1] == "self":
        path = path[:-1]
    yield path, (name.strip() or path[-1])


class Crate:
    def __init__(self, name):
        self.name = name
        folders = [ROOT / name / "src", ROOT / name / "bin"]
        self.files = [File(name, path) for folder in folders for path in sorted(folder.rglob("*.rs"))]
        self.by_module = {file.module: file for file in self.files if "/bin/" not in f"/{file.where}"}
        self.exports = {}
        for file in self.by_module.values():
            for path, name, _ in file.uses():
                if name:
                    self.exports[(file.module, name)] = self.absolute(file, path)

    def absolute(self, file, path):
        module = list(file.module)
        if path[0] == "crate":
            return tuple(path[1:])
        if path[0] in ("super", "self"):
            parts = list(path)
            while parts and parts[0] in ("super", "self"):
                if parts.pop(0) == "super":
                    module = module[:-1]
            return tuple(module + parts)
        if tuple(module + [path[0]]) in self.by_module:
            return tuple(module) + tuple(path)
        return None

    def resolve(self, path, depth=0):
        """The file that defines what a path names."""
        if path is None or depth > 12:
            return None
        for cut in range(len(path), -1, -1):
            file = self.by_module.get(tuple(path[:cut]))
            if file is None:
                continue
            if cut == len(path):
                return None  # a module itself
            name = path[cut]
            if name in file.defined():
                return file
            further = self.exports.get((file.module, name))
            return self.resolve(further + tuple(path[cut + 1 :]) if further else None, depth + 1)
        return None

    def edges(self):
        edges = {}
        for file in self.by_module.values():
            targets = {self.resolve(self.absolute(file, path)) for path, _, exported in file.uses() if not exported}
            edges[file.where] = {target.where for target in targets if target and target is not file}
        return edges

    def twice(self):
        seen = {}
        for file in self.files:
            for name in file.types():
                seen.setdefault(name, []).append(file.where)
        return {name: files for name, files in seen.items() if len(files) > 1}


def circles(edges):
    """The groups of files that reach each other (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = []
            while True:
                group.append(stack.pop())
                if group[-1] == node:
                    break
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def main():
    sys.setrecursionlimit(10_000)
    named = [name for name in sys.argv[1:] if name in CRATES] or CRATES
    crates = [Crate(name) for name in named if (ROOT / name).is_dir()]
    files = [file for crate in crates for file in crate.files]
    functions = [(length, f"{file.where}:{line} {name}") for file in files for name, line, length, _ in file.functions()]
    tuples = [
        f"{file.where}:{line} {name}: {parameter}"
        for file in files
        for name, line, _, parameters in file.functions()
        for parameter in parameters
        if re.search(r":\s*&?(?:'\w+ )?(?:mut )?\(", parameter) and not re.search(r":\s*&?\(dyn|:\s*&?\(impl|:\s*\(\)$", parameter)
    ]
    panics = [
        f"{file.where}:{file.code.count(chr(10), 0, found.start()) + 1} {found.group()}"
        for file in files
        for found in re.finditer(r"\.unwrap\(\)|\.expect\(|\bpanic!|\bunreachable!|\btodo!|\bunimplemented!", file.code)
    ]
    lines = sum(file.lines for file in files)
    rings = [ring for crate in crates for ring in circles(crate.edges())]
    doubles = [f"{crate.name}: {name} in {', '.join(where)}" for crate in crates for name, where in crate.twice().items()]
    sizes = [(file.lines, file.where) for file in files]
    lengths = [length for length, _ in functions]
    found = {
        "circles between files": (len(rings), [" <-> ".join(ring) for ring in rings]),
        "function lines, p90": (
            percentile(lengths, 0.9),
            [f"{length} {where}" for length, where in sorted(functions, reverse=True) if length > 25],
        ),
        "function lines, most": (max(lengths), [f"{length} {where}" for length, where in sorted(functions, reverse=True) if length > 60]),
        "file lines, p90": (percentile([size for size, _ in sizes], 0.9), []),
        "file lines, most": (max(sizes)[0], [f"{size} {where}" for size, where in sorted(sizes, reverse=True) if size > 300]),
        "panics per 1,000 lines": (round(len(panics) / lines * 1000, 2), panics),
        "tuples as parameters": (len(tuples), tuples),
        "type names that stand for two types in a crate": (len(doubles), doubles),
    }
    print(f"{lines} lines in {len(files)} files, {len(functions)} functions")
    passed = False
    for name, (value, places) in found.items():
        over = value > BOUNDS[name]
        passed |= over
        print(f"  {name:50} {value:>6}  (at most {BOUNDS[name]}){'  <- passed' if over else ''}")
        if "--list" in sys.argv:
            print("".join(f"      {place}\n" for place in places), end="")
    sys.exit(passed)


if __name__ == "__main__":
    main()
