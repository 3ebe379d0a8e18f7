"""Modular arithmetic of Delétang et al. (2023), without and with brackets."""

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.tasks.base import register_task
from charlm.tasks.formal_language import FormalLanguage, count_operations

MODULUS = 5
PLUS, MINUS, TIMES, EQUALS, OPEN, CLOSE = range(MODULUS, MODULUS + 6)  # tokens
NUM_OPERATIONS = 3


@register_task("formal-arithmetic")
class FormalArithmetic(FormalLanguage):
    """Calculate a sum of products modulo 5.

    Source: Delétang et al. (2023), "Neural networks and the Chomsky hierarchy"; Beck et al. (2024);
    Grazzi et al. (2025), Table 3.

    Question: Can a cell do what an automaton of 25 states does: keep a sum and a product?

    Protocol: Numbers from 0 to 4 with +, - or * between them, then =, of 4 to T symbols together;
    all even sizes are equally likely; then blanks. At = the value modulo 5 is predicted, products
    before sums. Nothing else is trained on. A model is also tested on expressions of T to 6.4 T
    symbols: 40 to 256 after T = 40.

    Length: T, the largest number of symbols.

    Oracle: Adds and multiplies modulo 5. Its loss is 0.

    Chance: The distribution of the value follows from that of the sum and the product before each
    number; chance is the mean over the sizes of its entropy and of its largest probability. Zero
    is the most likely, since products often vanish.

    At T = 10, the input, and below it the target:

        3+2*4-1=..
               0
    """

    symbol_names = "01234+-*=."
    num_answers = MODULUS
    min_length = 4
    size_step = 2

    def draw_words(self, sizes: Sequence[int], steps: int, generator: torch.Generator) -> Tensor:
        """Draw numbers and operations."""
        x = torch.randint(MODULUS, (steps, len(sizes)), generator=generator)
        x[1::2] = torch.randint(PLUS, TIMES + 1, x[1::2].shape, generator=generator)
        for stream, size in enumerate(sizes):
            x[size - 1, stream] = EQUALS
        return x

    def answer_word(self, word: Sequence[int]) -> int:
        """Return the value of the expression."""
        total, term = 0, word[0]
        for operation, number in zip(word[1:-1:2], word[2:-1:2], strict=True):
            if operation == TIMES:
                term *= number
            else:
                total, term = total + term, number if operation == PLUS else -number
        return (total + term) % MODULUS

    def answer_probabilities(self, longest: int) -> Tensor:
        """Return the distribution of the value of each number of symbols."""
        rows = torch.zeros(longest + 1, MODULUS, dtype=torch.float64)
        totals = torch.zeros(MODULUS, MODULUS, dtype=torch.float64)  # (sum, product)
        totals[0] = 1 / MODULUS
        values = torch.arange(MODULUS)
        is_product = torch.zeros(MODULUS, MODULUS, dtype=torch.float64)  # (factor, product)
        for number in range(MODULUS):
            is_product[values, values * number % MODULUS] += 1 / MODULUS
        for size in range(2, longest + 1, 2):
            value = add_modulo(totals)
            rows[size] = value
            added = value[:, None].expand_as(totals) / MODULUS  # a new term is uniform
            totals = (totals @ is_product + 2 * added) / NUM_OPERATIONS
        return rows


def add_modulo(pairs: Tensor) -> Tensor:
    """Return the distribution of the sum of two numbers from their joint distribution."""
    rolled = [row.roll(number) for number, row in enumerate(pairs)]
    return torch.stack(rolled).sum(0)


@register_task("formal-arithmetic-brackets")
class FormalArithmeticBrackets(FormalLanguage):
    """Calculate an expression with brackets modulo 5.

    Source: Delétang et al. (2023), "Neural networks and the Chomsky hierarchy"; Beck et al. (2024);
    Grazzi et al. (2025), Table 3. Here each operation has a pair of brackets.

    Question: How deeply can operations wait for each other? No finite automaton is enough.

    Protocol: A number from 0 to 4, or two expressions with +, - or * between them in brackets; then
    =. An expression has as many operations as 6 to T symbols allow, all sizes equally likely, and
    those of its first part are uniform; then blanks. At = the value modulo 5 is predicted. Nothing
    else is trained on. A model is also tested on expressions of T to 6.4 T symbols: 40 to 256 after
    T = 40.

    Length: T, the largest number of symbols.

    Oracle: Keeps a stack. Its loss is 0.

    Chance: The distribution of the value follows from those of expressions with fewer operations;
    chance is the mean over the sizes of its entropy and of its largest probability.

    At T = 14, the input, and below it the target:

        ((3-4)*(2+2))=
                     1
    """

    symbol_names = "01234+-*=()."
    num_answers = MODULUS
    min_length = 6
    size_step, size_remainder = 4, 2

    def draw_words(self, sizes: Sequence[int], steps: int, generator: torch.Generator) -> Tensor:
        """Draw expressions."""
        # An operation needs a split and a sign, a number its value.
        draws = torch.rand(len(sizes), steps, 3, generator=generator).tolist()
        words = []
        for size, own in zip(sizes, draws, strict=True):
            word = draw_expression((size - self.size_remainder) // self.size_step, own)
            words.append([*word, EQUALS] + [0] * (steps - size))
        return torch.tensor(words).T

    def answer_word(self, word: Sequence[int]) -> int:
        """Return the value of the expression."""
        stack: list[int] = []
        for token in word[:-1]:
            if token == CLOSE:
                first, operation, second = stack[-3:]
                values = {PLUS: first + second, MINUS: first - second, TIMES: first * second}
                stack[-3:] = [values[operation] % MODULUS]
            elif token != OPEN:
                stack.append(token)
        return stack[0]

    def answer_probabilities(self, longest: int) -> Tensor:
        """Return the distribution of the value of each number of symbols."""
        operations = count_operations(longest, self.size_step, self.size_remainder)
        values = torch.zeros(operations + 1, MODULUS, dtype=torch.float64)  # by operations
        values[0] = 1 / MODULUS
        result = torch.zeros(MODULUS, MODULUS, MODULUS, dtype=torch.float64)  # (first, second, of)
        first, second = torch.meshgrid(torch.arange(MODULUS), torch.arange(MODULUS), indexing="ij")
        for value in (first + second, first - second, first * second):
            result[first, second, value % MODULUS] += 1 / NUM_OPERATIONS
        for count in range(1, operations + 1):
            parts = values[:count]
            joint = parts.T @ parts.flip(0) / count
            values[count] = (joint[..., None] * result).sum((0, 1))
        rows = torch.zeros(longest + 1, MODULUS, dtype=torch.float64)
        rows[self.size_remainder :: self.size_step] = values
        return rows


def draw_expression(operations: int, draws: Sequence[Sequence[float]]) -> list[int]:
    """Return the tokens of a random expression.

    Args:
        operations: Number of its operations.
        draws: Three uniform numbers for each token: where an operation divides the others, its
            sign, and the value of a number.
    """
    word: list[int] = []
    left = [(False, operations)]  # whether it is a token; that token, or a number of operations
    while left:
        is_token, number = left.pop()
        split, sign, value = draws[len(word)]
        if is_token:
            word.append(number)
        elif number == 0:
            word.append(int(value * MODULUS))
        else:
            word.append(OPEN)
            before = int(split * number)
            operation = PLUS + int(sign * NUM_OPERATIONS)
            left += [(True, CLOSE), (False, number - 1 - before), (True, operation)]
            left.append((False, before))
    return word
