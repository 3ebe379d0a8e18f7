"""In-context Markov chains, with the Bayes predictor as oracle (Edelman et al., 2024)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from charlm.results.tasks import TaskMeasure, TaskScore
from charlm.tasks.base import Task, TaskAnswers, TaskBatch, register_task

NUM_LETTERS = 4
COUNTED_STEPS = 1024  # at once, so that long sequences need little memory


@register_task("markov")
class Markov(Task):
    """Predict each next letter of a Markov chain that is new in every sequence.

    Source: Edelman et al. (2024), "The evolution of statistical induction heads: in-context
    learning Markov chains".

    Question: Are statistics of what was read collected and used? Nothing else can be learned:
    letters mean nothing, and each sequence has transitions of its own.

    Protocol: A table of transition probabilities between four letters, each row uniform over all
    distributions (Dirichlet with parameter 1); T letters from a random first one. After each, the
    next is predicted; all of them are trained on and count. A length is solved if the loss above
    the oracle's is at most 10 % of chance's.

    Length: T, the number of letters, at most 5,000.

    Oracle: Predicts by Bayes' rule: (n + 1)/(m + 4), where n of the m letters after earlier
    occurrences of the current one were this letter. No predictor is better on average. Its loss is
    computed on the sequences that a model is tested on, so the difference has no noise of theirs.

    Chance: Without the letters before the current one, the next is uniform: ln 4 and 1/4.

    At T = 12, the input, and below it the letters that the oracle expects; the first of equals:

        abcabcabdabd
        aaabcabcabca
    """

    symbol_names = "abcd"
    is_deterministic = False
    min_length = 2  # at 1, the oracle is no better than chance
    max_length = 5_000  # the oracle reads more than a thousand sequences
    scores_positions = True
    solved_relative_loss = 0.1
    measures = (
        TaskMeasure(
            name="excess",
            label="loss above oracle",
            unit="nats",
            description="loss above the oracle's on the same sequences",
        ),
        TaskMeasure(
            name="learned",
            label="learned",
            unit="share",
            description="share of the way from chance's loss to the oracle's; by chance 0",
        ),
    )

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw chains and their letters."""
        table = torch.rand(batch_size, NUM_LETTERS, NUM_LETTERS, generator=generator)
        table = -(table.double().clamp(min=2**-25)).log()  # normalized, they are Dirichlet
        limits = (table / table.sum(-1, keepdim=True)).cumsum(-1)[..., :-1]
        letters = torch.randint(NUM_LETTERS, (length + 1, batch_size), generator=generator)
        draws = torch.rand(length, batch_size, generator=generator)
        # The next letter for each current one, (time, batch, letter).
        following = torch.zeros(length, batch_size, NUM_LETTERS, dtype=torch.uint8)
        for limit in limits.unbind(-1):
            following += draws[..., None] >= limit
        self._follow(letters, following)
        is_answer = torch.ones(length, batch_size, dtype=torch.bool)
        return TaskBatch(letters[:-1], letters[1:].contiguous(), is_answer)

    @staticmethod
    def _follow(letters: Tensor, following: Tensor) -> None:
        """Replace all letters but the first by those that follow; numpy is faster for that."""
        path, maps = letters.numpy(), following.numpy()
        streams = np.arange(path.shape[1])
        for time in range(len(maps)):
            path[time + 1] = maps[time, streams, path[time]]

    def predict_optimally(self, x: Tensor) -> Tensor:
        """Return the logarithm of the posterior predictive probability of each letter."""
        counts = torch.zeros(x.shape[1], NUM_LETTERS, NUM_LETTERS, dtype=torch.float64)
        before = torch.zeros(1, x.shape[1], NUM_LETTERS, dtype=torch.float64)  # no letter
        pieces = []
        for part in x.split(COUNTED_STEPS):
            current = one_hot(part, NUM_LETTERS).double()
            from_letter = torch.cat((before, current[:-1]))
            transitions = from_letter[..., None] * current[:, :, None]
            totals = counts + transitions.cumsum(0)  # of (from, to) up to each letter
            row = (totals * current[..., None]).sum(-2)
            pieces.append(((row + 1) / (row.sum(-1, keepdim=True) + NUM_LETTERS)).log())
            counts, before = totals[-1], current[-1:]
        return torch.cat(pieces)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the letter that most often followed the current one; the first of equals."""
        counts = [[0] * NUM_LETTERS for _ in range(NUM_LETTERS)]
        answers = []
        for time, letter in enumerate(x):
            if time:
                counts[x[time - 1]][letter] += 1
            answers.append(counts[letter].index(max(counts[letter])))
        return answers

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a uniform guess."""
        del length
        return TaskScore(math.log(NUM_LETTERS), 1 / NUM_LETTERS)

    def measure(
        self, length: int, answers: Mapping[str, TaskAnswers], oracle: TaskScore
    ) -> dict[str, float]:
        """Return the loss above that of the Bayes predictor, and the share of what is possible."""
        excess = answers["1"].score.loss - oracle.loss
        return {
            "excess": excess,
            "learned": 1 - excess / (self.chance_score(length).loss - oracle.loss),
        }
