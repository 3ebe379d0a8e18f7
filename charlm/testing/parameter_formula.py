"""TODO docstring."""

import ast
import operator
import re

from charlm.testing.check import fail


def evaluate_parameter_formula(formula: str, sizes: dict[str, int]) -> float:
    """3H(X + 1) with H and X."""
    signs = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
    signs |= {ast.Div: operator.truediv, ast.Pow: operator.pow}

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp) and type(node.op) in signs:
            return signs[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Name) and node.id in sizes:
            return sizes[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        return fail(f"{formula} is no sum of products of X, H and numbers")

    spelled = re.sub(r"(?<=[\dXH)])\s*(?=[XH(])", "*", formula.replace("^", "**"))
    try:
        return value(ast.parse(" ".join(spelled.split()), mode="eval").body)
    except SyntaxError:
        return fail(f"{formula} cannot be read as arithmetic")
