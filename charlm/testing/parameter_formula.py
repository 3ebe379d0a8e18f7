"""Parameter formulas of docstrings, such as 3H(X + 1) + H."""

import ast
import operator
import re

from charlm.testing.case import fail

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def evaluate_parameter_formula(formula: str, sizes: dict[str, int]) -> float:
    """Return the value of a formula.

    Args:
        formula: Sums, products and powers of sizes and integers; "*" may be left out.
        sizes: Value of each letter, such as {"X": 5, "H": 8}.

    Raises:
        CellCheckError: It is not such a formula.
    """

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            result: float = OPERATORS[type(node.op)](value(node.left), value(node.right))
            return result
        if isinstance(node, ast.Name) and node.id in sizes:
            return sizes[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        return fail(f"{formula} is not a sum of products of X, H, N and integers")

    explicit = re.sub(r"(?<=[\dXHN)])\s*(?=[XHN(])", "*", formula.replace("^", "**"))
    try:
        return value(ast.parse(" ".join(explicit.split()), mode="eval").body)
    except SyntaxError:
        return fail(f"{formula} cannot be parsed as arithmetic")
