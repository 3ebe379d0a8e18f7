"""Regular languages of Delétang et al. (2023) and Grazzi et al. (2025), without arithmetic."""

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.tasks.base import register_task
from charlm.tasks.formal_language import FormalLanguage, uniform_rows

NUM_PLACES = 5  # of the cycle
STAY, BACK, FORWARD = NUM_PLACES, NUM_PLACES + 1, NUM_PLACES + 2  # tokens


@register_task("formal-parity")
class FormalParity(FormalLanguage):
    """Tell whether the number of ones in a word is odd, after its last symbol alone.

    Source: Beck et al. (2024), "xLSTM"; Grazzi et al. (2025), "Unlocking state-tracking in linear
    RNNs through negative eigenvalues", Table 3.

    Question: Is parity found without targets in between, and does it hold for longer words?

    Protocol: Words of 3 to T random bits, all sizes equally likely, then blanks. At the last bit
    the parity is predicted. Nothing else is trained on. A model is also tested on words of T to
    6.4 T bits: 40 to 256 after T = 40.

    Length: T, the largest number of bits.

    Oracle: Adds modulo 2. Its loss is 0.

    Chance: Both parities are equally likely: ln 2 and 1/2.

    At T = 8, the input, and below it the target:

        10110...
            1
    """

    symbol_names = "01."
    num_answers = 2

    def draw_words(self, sizes: Sequence[int], steps: int, generator: torch.Generator) -> Tensor:
        """Draw bits."""
        return torch.randint(2, (steps, len(sizes)), generator=generator)

    def answer_word(self, word: Sequence[int]) -> int:
        """Return the parity."""
        return sum(word) % 2

    def answer_probabilities(self, longest: int) -> Tensor:
        """Return that both answers are equally likely."""
        return uniform_rows(longest, self.num_answers)


@register_task("formal-even-pairs")
class FormalEvenPairs(FormalLanguage):
    """Tell whether the last symbol of a word is the first one.

    Source: Delétang et al. (2023), "Neural networks and the Chomsky hierarchy"; Beck et al. (2024).

    Question: Is one bit held from the first symbol on? The number of pairs ab and ba together is
    even if the first and the last symbol are equal.

    Protocol: Words of 3 to T random letters, all sizes equally likely, then blanks. At the last
    letter a is predicted if it is the first one too, otherwise b. Nothing else is trained on. A
    model is also tested on words of T to 6.4 T letters: 40 to 256 after T = 40.

    Length: T, the largest number of letters.

    Oracle: Compares the two letters. Its loss is 0.

    Chance: Both answers are equally likely: ln 2 and 1/2.

    At T = 8, the input, and below it the target:

        abbab...
            b
    """

    symbol_names = "ab."
    num_answers = 2

    def draw_words(self, sizes: Sequence[int], steps: int, generator: torch.Generator) -> Tensor:
        """Draw letters."""
        return torch.randint(2, (steps, len(sizes)), generator=generator)

    def answer_word(self, word: Sequence[int]) -> int:
        """Return whether the first and the last letter differ."""
        return int(word[0] != word[-1])

    def answer_probabilities(self, longest: int) -> Tensor:
        """Return that both answers are equally likely."""
        return uniform_rows(longest, self.num_answers)


@register_task("formal-cycle-navigation")
class FormalCycleNavigation(FormalLanguage):
    """Tell where a walk on a cycle of five places ends.

    Source: Delétang et al. (2023), "Neural networks and the Chomsky hierarchy"; Beck et al. (2024).

    Question: Can a cell count modulo 5, up and down? If it is linear in its state,
    it needs complex eigenvalues for that.

    Protocol: Words of 3 to T random moves (one place forward, one back, or none), all sizes equally
    likely, then blanks. At the last move the place is predicted; the walk begins at 0. Nothing
    else is trained on. A model is also tested on words of T to 6.4 T moves: 40 to 256 after T = 40.

    Length: T, the largest number of moves.

    Oracle: Adds modulo 5. Its loss is 0.

    Chance: The place after so many moves has a binomial distribution modulo 5; chance is the mean
    over the sizes of its entropy and of its largest probability, which approach ln 5 and 1/5.

    At T = 8, the input, and below it the target:

        <=<<>...
            3
    """

    symbol_names = "01234=<>."
    num_answers = NUM_PLACES

    def draw_words(self, sizes: Sequence[int], steps: int, generator: torch.Generator) -> Tensor:
        """Draw moves."""
        return torch.randint(STAY, FORWARD + 1, (steps, len(sizes)), generator=generator)

    def answer_word(self, word: Sequence[int]) -> int:
        """Return the last place."""
        return (word.count(FORWARD) - word.count(BACK)) % NUM_PLACES

    def answer_probabilities(self, longest: int) -> Tensor:
        """Return the distribution of the place after each number of moves."""
        rows = torch.zeros(longest + 1, NUM_PLACES, dtype=torch.float64)
        rows[0, 0] = 1.0
        for moves in range(longest):
            last = rows[moves]
            rows[moves + 1] = (last + last.roll(1) + last.roll(-1)) / 3
        return rows
