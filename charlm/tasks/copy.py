"""Copy memory, of Hochreiter & Schmidhuber (1997) and Arjovsky, Shah & Bengio (2016)."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import Task, TaskBatch, register_task

NUM_SYMBOLS = 10
ALPHABET_SIZE = 8


@register_task("copy")
class Copy(Task):
    """Ten symbols are read, and must be written after a long blank.

    Source: Hochreiter & Schmidhuber (1997), Arjovsky et al. (2016); laid out as by Bai, Kolter &
    Koltun (2018).

    Question: For how long can 30 bits be held, while nothing is read?

    Protocol: Ten symbols of eight kinds, T - 1 blanks, eleven delimiters. What is to be written is
    blanks until the first delimiter was read, then the ten symbols in their order. The loss is the
    mean over all T + 20 characters; accuracy counts the ten alone.

    Distance: T: each symbol is read so many characters, and ten, before it is asked.

    Oracle: Writes what the first ten characters were. Its loss is 0.

    Chance: One who has read nothing knows where blanks belong, and writes each of the ten right
    once in eight times: the loss is 10 ln 8 / (T + 20), the accuracy 1/8.

    At T = 4, what is read, and below it what is to be written:

        3141582653...???????????
        ..............3141582653
    """

    symbol_names = ".12345678?"

    def sequence_length(self, distance: int) -> int:
        return distance + 2 * NUM_SYMBOLS

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        said = torch.randint(1, ALPHABET_SIZE + 1, (NUM_SYMBOLS, streams), generator=generator)
        blanks = torch.zeros(distance + NUM_SYMBOLS, streams, dtype=torch.long)
        delimiters = torch.full((NUM_SYMBOLS + 1, streams), ALPHABET_SIZE + 1)
        x = torch.cat((said, blanks[: distance - 1], delimiters))
        y = torch.cat((blanks, said))
        asked = torch.arange(len(y))[:, None].expand_as(y) >= len(blanks)
        return TaskBatch(x, y, asked)

    def solve(self, x: Sequence[int]) -> list[int]:
        return [0] * (len(x) - NUM_SYMBOLS) + list(x[:NUM_SYMBOLS])

    def chance_score(self, distance: int) -> TaskScore:
        return TaskScore(
            NUM_SYMBOLS * math.log(ALPHABET_SIZE) / self.sequence_length(distance), 1 / ALPHABET_SIZE
        )
