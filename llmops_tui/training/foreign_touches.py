"""What a script does with what is trained, apart from calls whose arguments are read: each is named, with what it is about."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from llmops_tui.training.foreign_script import Script, Unread, root_of, stored_in

UNKNOWN = "is done by the script, and not here"
_AT_IMPORT = "is about how the data are read, which the import does"
# Methods of what is trained that change nothing of what is learned; a name that ends in * stands for all that begin so.
_TELLING = (
    "train", "evaluate", "predict", "save_*", "push_to_hub*", "log_metrics", "generate", "fast_generate", "eval", "decode",
    "batch_decode", "encode", "apply_chat_template", "tokenize", "print_trainable_parameters", "get_*", "num_parameters",
    "numel", "item", "size", "dim", "keys", "values", "items", "get", "head", "tolist", "unique", "to_*", "to", "cuda", "cpu",
    "convert_*", "parameters", "named_*", "modules", "children", "state_dict", "gradient_checkpointing_enable",
    "enable_input_require_grads", "element_size", "load_lora", "startswith", "endswith", "split", "rsplit", "strip", "rstrip",
    "lstrip", "lower", "upper", "replace", "format", "join", "count", "index", "copy",
)  # fmt: skip
# Those of them that give a part of it, which can be changed as well.
_PARTS = ("get_input_embeddings", "get_output_embeddings", "get_base_model", "get_decoder", "parameters", "named_*", "modules",
          "children", "items", "values", "get", "to", "cuda", "eval", "copy")  # fmt: skip
_FUNCTIONS = (
    "print", "len", "type", "isinstance", "range", "str", "repr", "display", "pprint", "min", "max", "sum", "hasattr", "id",
    "dir", "any", "all", "round", "set", "int", "float", "bool", "vars", "help", "TextStreamer", "TextIteratorStreamer",
    "pipeline", "unsloth_train", "Thread", "dump", "dumps",
)  # fmt: skip
_HANDING_ON = ("list", "tuple", "dict", "iter", "next", "enumerate", "zip", "sorted", "reversed", "getattr", "tqdm",
               "for_inference", "for_training")  # fmt: skip
_ROWS = "changes which rows are learned from, or what they say; here all rows are, as they were imported"
# Methods and functions that are known, by why what they do is not needed here.
_HARMLESS = {
    "rename_column": _AT_IMPORT, "rename_columns": _AT_IMPORT, "remove_columns": _AT_IMPORT, "select_columns": _AT_IMPORT,
    "cast_column": _AT_IMPORT, "cast": _AT_IMPORT, "with_format": _AT_IMPORT, "set_format": _AT_IMPORT,
    "standardize_sharegpt": _AT_IMPORT, "standardize_data_formats": _AT_IMPORT,
    "shuffle": "is about the order of the rows, which the recipe's seed decides",
    "concatenate_datasets": "is what several datasets of a recipe are",
    "prepare_model_for_kbit_training": "is done here as well",
    "resize_token_embeddings": "is done here where tokens are added",
}  # fmt: skip
_KNOWN = dict.fromkeys(
    ("map", "filter", "select", "take", "skip", "train_test_split", "shard", "flatten_indices"), _ROWS
)
_PADDING = "only pads, and is never learned from"
_HARMLESS_FIELDS = {
    "use_cache": "is about answers that are generated, not about training",
    "padding_side": _PADDING, "pad_token": _PADDING, "pad_token_id": _PADDING,
}  # fmt: skip
# Attributes that are texts or numbers, and no part of what is trained.
_FIGURES = ("*_token", "*_token_id", "column_names", "num_rows", "features", "vocab_size", "shape", "device", "dtype")


@dataclass(frozen=True)
class Touch:
    """Something that a script does with what is trained: what it is called, its code, and whether it changes what is learned."""

    key: str
    code: Unread
    why: str
    changes: bool = True


class Objects:
    """The names in a script that stand for what is trained: model, tokenizer, data, trainer, and their arguments.

    ``loads`` has the calls that load data whose rows a name may have.
    """

    def __init__(self, script: Script, calls: Collection[str]) -> None:
        self._script = script
        self._calls = calls
        self._names: set[str] = set()
        self.loads: dict[str, set[int]] = defaultdict(set)
        bindings = sorted(_bindings(script.nodes), key=lambda pair: (pair[1].lineno, pair[1].col_offset))
        while True:
            before = len(self._names), sum(map(len, self.loads.values()))
            for target, value in bindings:
                names = [place.id for place in stored_in(target) if isinstance(place, ast.Name)]
                if self.holds(value):
                    self._names.update(names)
                for name in names:
                    self.loads[name] |= self.loaded(value)
            if before == (len(self._names), sum(map(len, self.loads.values()))):
                return

    def loaded(self, value: ast.AST) -> set[int]:
        """The calls that load data, by identity, whose rows an expression may have."""
        found: set[int] = set()
        for node in ast.walk(value):
            if self._script.called(node) == "load_dataset":
                found.add(id(node))
            elif isinstance(node, ast.Name):
                found |= self.loads.get(node.id, set())
        return found

    def holds(self, node: ast.AST | None) -> bool:
        """Whether an expression is what is trained, or a part of it."""
        if isinstance(node, ast.Name):
            return node.id in self._names
        if isinstance(node, ast.Attribute):
            return not _among(node.attr, _FIGURES) and self.holds(node.value)
        if isinstance(node, ast.Call):
            return self._gives(node)
        return any(map(self.holds, _parts(node)))

    def _gives(self, node: ast.Call) -> bool:
        """Whether a call gives what is trained, or a part of it."""
        name = self._script.called(node)
        if name in self._calls:
            return True
        if self.has_method(node):
            return not _among(name, _TELLING) or _among(name, _PARTS)
        return not self.is_called(node) and not _among(name, _FUNCTIONS) and self.given_to(node)

    def has_method(self, call: ast.Call) -> bool:
        """Whether a method of what is trained is called."""
        return isinstance(call.func, ast.Attribute) and self.holds(call.func.value)

    def is_called(self, call: ast.Call) -> bool:
        """Whether what is trained is called itself; a method of it is another question."""
        return not isinstance(call.func, ast.Attribute) and self.holds(call.func)

    def given_to(self, call: ast.Call) -> bool:
        """Whether a call is given what is trained."""
        return any(map(self.holds, (*call.args, *call.keywords)))


def touches(script: Script, objects: Objects, calls: Collection[str], seen: set[int]) -> Iterator[Touch]:
    """What a script does with what is trained, apart from the calls whose arguments are read and the nodes in ``seen``.

    What comes behind the last training can change nothing of it.
    """
    end = max((call.lineno for call in script.calls if script.trains(call)), default=None)
    used = {id(call.func) for call in script.calls} | seen
    used |= {id(node.value) for node in script.nodes if isinstance(node, ast.Assign)}
    for node in sorted(script.nodes, key=lambda node: (getattr(node, "lineno", 0), getattr(node, "end_col_offset", 0))):
        if id(node) in seen or (end is not None and getattr(node, "lineno", 0) > end):
            continue
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.For):
            yield from _stored(objects, node)
        elif isinstance(node, ast.Call) and script.called(node) not in calls:
            yield from _called(script, objects, node)
        elif _mentioned(node) and script.named(node) in calls and id(node) not in used:
            # A class of another name is made of it, or it is called where that cannot be seen.
            code = Unread(ast.unparse(node))
            yield Touch(script.named(node), code, "is used otherwise than in a call, whose arguments could be read")


def _mentioned(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)


def _stored(
    objects: Objects, node: ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.For
) -> Iterator[Touch]:
    for place in (one for target in _targets(node) for one in stored_in(target)):
        if isinstance(place, ast.Attribute | ast.Subscript) and objects.holds(place.value):
            why = _HARMLESS_FIELDS.get(place.attr) if isinstance(place, ast.Attribute) else None
            code = Unread(ast.unparse(place if isinstance(node, ast.For) else node))
            yield Touch(_dotted(place), code, why or "is set by the script, and not here", changes=why is None)
        elif isinstance(place, ast.Name) and objects.holds(place) and _replaced(objects, node):
            yield Touch(place.id, Unread(ast.unparse(node)), "is made by the script, and not here")


def _replaced(objects: Objects, node: ast.stmt) -> bool:
    """Whether a name of what is trained is given to something else; texts and numbers are other uses of the name."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None or objects.holds(node.value):
        return False
    return not isinstance(node.value, ast.Constant | ast.JoinedStr | ast.Attribute | ast.Name)


def _called(script: Script, objects: Objects, node: ast.Call) -> Iterator[Touch]:
    name = script.called(node)
    if objects.has_method(node):
        key = "" if _among(name, _TELLING) else f"{_root(script, node)}.{name}"
    else:
        plain = objects.is_called(node) or _among(name, (*_FUNCTIONS, *_HANDING_ON)) or not objects.given_to(node)
        key = "" if plain else name or "call"
    if key:
        why = _HARMLESS.get(name)
        yield Touch(key, Unread(ast.unparse(node)), why or _KNOWN.get(name, UNKNOWN), changes=why is None)


def _targets(node: ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.For) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]


def _parts(node: ast.AST | None) -> list[ast.expr]:
    """What an expression may be, or what is in it."""
    if isinstance(node, ast.Subscript | ast.Starred | ast.Await | ast.NamedExpr | ast.keyword):
        return [node.value]
    if isinstance(node, ast.Tuple | ast.List):
        return node.elts
    if isinstance(node, ast.Dict):
        return node.values
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        return [node.elt, *(part.iter for part in node.generators)]
    return [node.body, node.orelse] if isinstance(node, ast.IfExp) else []


def _bindings(nodes: list[ast.AST]) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in nodes:
        if isinstance(node, ast.Assign):
            yield from ((target, node.value) for target in node.targets)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign) and node.value is not None:
            yield node.target, node.value
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            yield node.target, node.iter
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            yield node.optional_vars, node.context_expr


def _root(script: Script, node: ast.AST) -> str:
    root = root_of(node)
    return str(getattr(root, "id", "")) or script.called(root) or "object"


def _dotted(node: ast.AST) -> str:
    """A place in words that a shell takes as they are."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        return _dotted(node.value)
    return _dotted(node.func) if isinstance(node, ast.Call) else str(getattr(node, "id", "object"))


def _among(name: str, names: Collection[str]) -> bool:
    return any(
        name.startswith(one[:-1])
        if one.endswith("*")
        else name.endswith(one[1:])
        if one.startswith("*")
        else name == one
        for one in names
    )
