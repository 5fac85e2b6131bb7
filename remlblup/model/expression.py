"""Expressions in a formula, ``log(x + 1)``, ``poly(age, 2)``, ``post - pre``: read to a tree and checked.

The tree is Python's own (`ast`), but no text is ever compiled or run: a name is a column, a call goes to the table of
`functions`, and what is neither a column, a constant, an operator nor such a call is refused while reading. The values
are made from the tree by `evaluation`.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from remlblup.cached import cached_property
from remlblup.errors import FormulaError, some
from remlblup.model import functions as table

LONGEST = 5_000
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Mod, ast.FloorDiv)
COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
# Words in front of a dot that are no part of a column's name; constants in the spelling of R, where an option stands.
ROOTS = (*table.NUMPY_NAMES, "contr")
SPELLED = {"TRUE": True, "FALSE": False, "NULL": None}
WORD = r"[^\W\d][\w.]*"
_PIECES = re.compile(
    rf"""(?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")|`(?P<quoted>[^`]*)`"""
    rf"""|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>{WORD})|(?P<other>.)""",
    re.DOTALL,
)
BITS = {
    ast.BitOr: "'|' has no meaning in an expression: add conditions up, (a > 1) + (b > 1) > 0",
    ast.BitAnd: "'&' has no meaning in an expression: multiply conditions, (a > 1) * (b > 1)",
    ast.MatMult: "'@' has no meaning in an expression",
    ast.Invert: "'~' has no meaning in an expression: write 1 - (a > 1)",
    ast.Not: "'not' has no meaning in an expression: write 1 - (a > 1)",
}
REFUSED = {
    ast.Subscript: "square brackets: make the column first",
    ast.Lambda: "a lambda: register a function with rb.register_function",
    ast.NamedExpr: "an assignment",
    ast.IfExp: "if … else: write where(condition, a, b)",
    ast.BoolOp: "and, or: multiply or add conditions, (a > 1) * (b > 1)",
    ast.JoinedStr: "a format string",
    ast.Starred: "a '*' in front of an argument",
}


# Characters that word processors and other keyboards put in the place of operators and quotes.
LOOK_ALIKES = dict(zip("−–—‐×·∗÷∕：＋－＊／（）‘’“”", "----***//:+-*/()''\"\"", strict=True))


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes
    ----------
    text : as it is written, in one spelling; the label of its columns
    tree : Python's tree, in which every name that Python could not read has a stand-in
    names : stand-in → name as written
    columns : the columns of the data that it needs, in their order
    """

    text: str
    tree: ast.expr = field(compare=False)
    names: Mapping[str, str] = field(compare=False)
    columns: tuple[str, ...] = field(compare=False)

    @cached_property
    def bare(self) -> str | None:
        """The column, where the expression is nothing else."""
        return self.columns[0] if isinstance(self.tree, ast.Name) else None

    @cached_property
    def is_factor(self) -> bool:
        """Whether it makes a factor, as C(x) does."""
        return isinstance(self.tree, ast.Call) and function_of(self, self.tree) in table.FACTORS

    @cached_property
    def factor(self) -> str | None:
        """The column whose levels it codes: ``site``, ``C(site)``, ``C(site, contr.sum)``."""
        if self.is_factor and isinstance(self.tree.args[0], ast.Name):  # type: ignore[attr-defined]
            return self.columns[0]
        return self.bare

    def name(self, node: ast.Name) -> str:
        """A name as written."""
        return self.names.get(node.id, node.id)


@lru_cache(maxsize=1024)
def column(name: str) -> Expression:
    """The expression that is a column."""
    return Expression(name, ast.Name("_", ast.Load()), {"_": name}, (name,))


@lru_cache(maxsize=1024)
def read(text: str) -> Expression:
    """Read and check an expression.

    Raises
    ------
    FormulaError
        If it is no expression, or holds something that is neither column, constant, operator nor known function.
    """
    if len(text) > LONGEST:
        raise FormulaError(
            f"an expression of {len(text):,} characters is too long: make it a column of the data first."
        )
    code, names = python(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code.strip(), mode="eval").body
        found = Checker(text, names)
        found.expression(tree)
        written = restored(ast.unparse(tree), names)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(f"{unreadable(text)}") from None
    return Expression(written, tree, names, tuple(dict.fromkeys(found.columns)))


def unreadable(text: str) -> str:
    """What may be wrong with an expression that is none."""
    shown = text if len(text) < 80 else text[:77] + "…"
    if strange := [ch for ch in text if ch in LOOK_ALIKES]:
        return f"'{shown}' holds '{strange[0]}', which only looks like '{LOOK_ALIKES[strange[0]]}'."
    if re.search(r"&&|\|\|", text):
        return f"'{shown}' cannot be read: multiply or add conditions, (a > 1) * (b > 1)."
    if re.search(r"(?<![<>=!,(\s\w])=(?!=)|\w\s*<-", text):
        return f"'{shown}' cannot be read: '=' names an option of a function; compare with '=='."
    return (
        f"'{shown}' cannot be read: check brackets, commas and operators; "
        "names of other characters stand in `backticks`."
    )


def python(text: str) -> tuple[str, dict[str, str]]:
    """The text with ``**`` for ``^`` and a stand-in for every name that Python would not read as it is written."""
    stem = "_q"
    while stem in text:
        stem += "q"
    known: dict[str, str] = {}
    out = []
    for match in _PIECES.finditer(text):
        kind, piece = str(match.lastgroup), match[0]
        if kind == "quoted" and not match["quoted"].strip():
            raise FormulaError(f"'{text}' has an empty name in backticks.")
        if kind == "quoted" or (kind == "word" and not is_plain(piece)):
            name = match["quoted"] if kind == "quoted" else piece
            out.append(known.setdefault(name, f"{stem}{len(known)}_"))
        else:
            out.append("**" if piece == "^" else " " if piece.isspace() else piece)
    return "".join(out), {stand_in: name for name, stand_in in known.items()}


def is_plain(word: str) -> bool:
    """Whether Python reads the word as this name, or as an attribute of numpy or of the codings `contr`."""
    if word.partition(".")[0] in ROOTS and word.isascii():
        return True
    constant = word in ("True", "False", "None")
    return word.isascii() and word.isidentifier() and (constant or not keyword.iskeyword(word))


def restored(code: str, names: Mapping[str, str]) -> str:
    """The names in the place of their stand-ins, in backticks where they need them."""
    code = code.replace("\n", " ")
    for stand_in, name in names.items():
        code = code.replace(stand_in, quoted(name))
    return code


def quoted(name: str) -> str:
    """A column's name as it stands in a formula."""
    own = name in ("True", "False", "None") or name.startswith(tuple(f"{root}." for root in ROOTS))
    return name if re.fullmatch(WORD, name) and not own else f"`{name}`"


def function_of(owner: Expression | Checker, node: ast.Call) -> str | None:
    """The name of the function called: bare, ``np.name`` or ``contr.name``; None for anything else."""
    match node.func:
        case ast.Name(id=name):
            return owner.names.get(name, name)
        case ast.Attribute(value=ast.Name(id=root), attr=name) if root in ROOTS:
            return f"{root}.{name}"
    return None


class Checker:
    """Walks a tree once: refuses what an expression may not hold and lists its columns."""

    def __init__(self, text: str, names: Mapping[str, str]):
        self.text, self.names = text, names
        self.columns: list[str] = []

    def refuse(self, what: str) -> FormulaError:
        return FormulaError(f"'{self.text.strip()}': {what}.")

    def expression(self, node: ast.AST) -> None:
        """A column, a number, or an operation of such."""
        match node:
            case ast.Name(id=name):
                self.columns.append(self.names.get(name, name))
            case ast.Constant(value=value) if type(value) in (int, float):
                pass
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self.expression(operand)
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, ARITHMETIC):
                self.expression(left)
                self.expression(right)
            case ast.BinOp(op=op) | ast.UnaryOp(op=op):
                raise self.refuse(BITS.get(type(op), "shifts of bits have no meaning in an expression"))
            case ast.Compare(left=left, ops=ops, comparators=others) if all(isinstance(o, COMPARISONS) for o in ops):
                equal = all(isinstance(o, (ast.Eq, ast.NotEq)) for o in ops)
                for side in (left, *others):
                    if not (equal and isinstance(side, ast.Constant) and isinstance(side.value, str)):
                        self.expression(side)
            case ast.Call():
                self.call(node)
            case ast.Attribute(value=ast.Name(id=root), attr=name) if (
                root in table.NUMPY_NAMES and name in table.NUMBERS
            ):
                pass
            case ast.Attribute():
                raise self.refuse(f"nothing is taken from behind a '.', as in '{self.shown(node)}'")
            case ast.Constant():
                raise self.refuse(f"{ast.unparse(node)} stands where a column or a number must stand")
            case _:
                raise self.refuse(f"an expression cannot hold {REFUSED.get(type(node), 'lists or loops')}")

    def shown(self, node: ast.AST) -> str:
        return restored(ast.unparse(node), self.names)

    def call(self, node: ast.Call) -> None:
        """A call of a function of the table, its arguments checked."""
        name = function_of(self, node)
        if name is None:
            raise self.refuse(
                f"'{self.shown(node.func)}' is no function that a formula can call; "
                "register it with rb.register_function"
            )
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            raise self.refuse("arguments are written out one by one")
        root, _, short = name.rpartition(".")
        if name in table.TRANSFORMS:
            return self.transform(name, node)
        if name == "Q" and len(node.args) == 1 and not node.keywords and isinstance(node.args[0], ast.Constant):
            return self.columns.append(str(node.args[0].value))
        if (root in table.NUMPY_NAMES and short in table.NUMPY) or name in table.ELEMENTWISE:
            return self.elementwise(name, table.ELEMENTWISE[short][1], node)
        if table.registered(name) is None:
            raise table.unknown_function(name, self.text.strip())
        for argument in (*node.args, *(k.value for k in node.keywords)):
            if not self.is_constant(argument):
                self.expression(argument)

    def elementwise(self, name: str, takes: tuple[int, ...], node: ast.Call) -> None:
        if node.keywords or len(node.args) not in takes:
            example = f"{name}({', '.join('xyz'[: takes[0]])})"
            raise self.refuse(f"{name}() takes {' or '.join(map(str, takes))} argument(s), as in {example}")
        for argument in node.args:
            self.expression(argument)

    def transform(self, name: str, node: ast.Call) -> None:
        """What is made of one covariate or factor; its options are constants."""
        options = table.TRANSFORMS[name]
        if not node.args or len(node.args) > 1 + len(options):
            most = f"at most {len(options)} options" if options else "no options"
            raise self.refuse(f"{name}() takes one covariate in front and {most}")
        given = [
            *zip(options, node.args[1:], strict=False),
            *((self.names.get(k.arg or "", k.arg or ""), k.value) for k in node.keywords),
        ]
        if unknown := [k for k, _ in given if k not in options]:
            takes = f"it takes {', '.join(options)}" if options else "it takes none"
            raise self.refuse(f"{name}() has no option {some(unknown)}: {takes}")
        for option, value in given:
            if not self.is_constant(value):
                raise self.refuse(f"the option '{option}' of {name}() must be a constant, not '{self.shown(value)}'")
        self.expression(node.args[0])

    def is_constant(self, node: ast.AST) -> bool:
        """A number, text, True, False, None, a coding, or a list of such."""
        match node:
            case ast.Constant(value=value):
                return value is None or type(value) in (bool, int, float, str)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=value)):
                return type(value) in (int, float)
            case ast.Name(id=name):
                return name in SPELLED or name in table.PATSY_CONTRASTS
            case ast.Attribute(value=ast.Name(id="contr"), attr=name):
                return name in table.CONTRASTS
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return all(map(self.is_constant, items))
            case ast.Dict(keys=keys, values=values):
                return all(k is not None and self.is_constant(k) for k in keys) and all(map(self.is_constant, values))
            case ast.Call(func=function, args=arguments, keywords=options):
                known = isinstance(function, ast.Name) and function.id == "c" and not options
                return (known or self.is_coding(function)) and all(
                    map(self.is_constant, (*arguments, *(k.value for k in options if k.arg)))
                )
        return False

    def is_coding(self, node: ast.AST) -> bool:
        return (
            isinstance(node, (ast.Name, ast.Attribute))
            and not isinstance(node, ast.Constant)
            and (self.is_constant(node) and not (isinstance(node, ast.Name) and node.id in SPELLED))
        )
