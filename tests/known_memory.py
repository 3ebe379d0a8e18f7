"""Language models whose memory is known exactly, and texts on which that memory shows."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from charlm.data.vocabulary import Vocabulary
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeContext, ProbeOutput

State = tuple[tuple[Tensor, ...], ...]
# History (batch, memory), -1 where nothing was read -> expected token (batch,), -1: no idea.
Guess = Callable[[Tensor], Tensor]


class FakeModel:
    """Remembers the last `memory` tokens and predicts from nothing else."""

    def __init__(self, vocabulary_size: int, memory: int, guess: Guess) -> None:
        self.vocabulary_size, self.memory, self.guess = vocabulary_size, memory, guess

    def initial_state(self, batch: int) -> State:
        return ((torch.full((batch, self.memory), -1),),)

    def next_token_logits(self, state: State) -> Tensor:
        guess = self.guess(state[0][0])
        sure = one_hot(guess.clamp(min=0), self.vocabulary_size) * (guess >= 0)[:, None]
        return 50.0 * sure

    def advance(self, ids: Tensor, state: State) -> State:
        return ((torch.cat((state[0][0], ids.T), 1)[:, -self.memory :],),)

    def __call__(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        text = torch.cat((state[0][0], ids.T), 1)
        histories = text.unfold(1, self.memory, 1)[:, 1:].transpose(0, 1)  # after each token
        logits = self.next_token_logits(((histories.flatten(0, 1),),))
        return logits.unflatten(0, histories.shape[:2]), ((text[:, -self.memory :],),)


def token_back(distance: int, history: Tensor) -> Tensor:
    """The token so far back; -1 if it is not remembered."""
    if distance > history.shape[1]:
        return torch.full(history.shape[:1], -1)
    return history[:, -distance]


def vocabulary_of(text: str) -> Vocabulary:
    return Vocabulary("chars", tuple(map(ord, sorted(set(text)))))


def make_context(
    fake: tuple[int, Guess], text: str, train: str, seed: int = 0, units: int = 5
) -> ProbeContext:
    """Blocks of equal length are the units of the text."""
    vocabulary = vocabulary_of(text + train)
    return ProbeContext(
        model=FakeModel(vocabulary.size, *fake),
        ids=np.array(vocabulary.encode(text)),
        vocabulary=vocabulary,
        train_ids=np.array(vocabulary.encode(train)),
        unit_edges=np.arange(units + 1) * len(text) // units,
        seed=seed,
    )


def cyclic_text(seed: int, repetitions: int = 100) -> str:
    """20 characters, repeated: each equals the one 20 before; five words in 20."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefgh"), 3)) + " " for _ in range(5)]
    return "".join(words) * repetitions


def text_of_names(length: int) -> str:
    """Names whose letters are all about equally frequent."""
    rng = np.random.default_rng(3)
    words = ("".join(rng.choice(list("abcdefghijkl"), 5)) for _ in range(length // 7))
    return ", ".join(word.capitalize() for word in words)


def context_with_memory(memory: int) -> ProbeContext:
    """A model that expects the character 20 back, in a text where that is always right."""
    return make_context((memory, partial(token_back, 20)), cyclic_text(0), cyclic_text(1))


def curve_values(output: ProbeOutput, curve: int = 0) -> np.ndarray:
    return np.array(output.result.curves[curve].y)


def bits_step_by_step(model: CharLM, ids: np.ndarray) -> list[float]:
    """Bits of each id after those before it, from the initial state, one step at a time."""
    state, bits = model.initial_state(1), []
    with torch.no_grad():
        for id_ in ids:
            log_probabilities = model.next_token_logits(state)[0].log_softmax(0)
            bits.append(float(-log_probabilities[id_] / math.log(2)))
            _, state = model(torch.tensor([[id_]]), state)
    return bits


def recalled_token(history: Tensor) -> Tensor:
    """The token that followed the last four tokens when they were read before; -1: they were not.

    Of several earlier occurrences within the history, the latest counts.
    """
    windows = history.unfold(1, 4, 1)  # (batch, memory - 3, 4)
    is_same = (windows[:, :-1] == history[:, None, -4:]).all(2) & (windows[:, :-1] >= 0).all(2)
    position = torch.where(is_same, torch.arange(is_same.shape[1]), -1).amax(1)
    following = history.gather(1, (position + 4).clamp(max=history.shape[1] - 1)[:, None])[:, 0]
    return torch.where(position >= 0, following, -1)


def text_with_repeated_words(
    distances: list[int], events: int, size: int = 10, seed: int = 0
) -> str:
    """A text in which words of random letters come again once, so many characters after.

    Distances are multiples of 4 and 1 more. Between the two stand words of three letters, which do
    not count as words. The same one comes again after 864 characters.
    """
    rng = np.random.default_rng(seed)
    short_words = itertools.cycle(map("".join, itertools.product("uvwxyz", repeat=3)))

    def filler(length: int) -> str:
        words = itertools.islice(short_words, length // 4 + 1)
        return f" {' '.join(words)}"[: length - 1] + " "

    passages = []
    for event in range(events):
        word = "".join(rng.choice(list("abcdefghijklmnopqrst"), size))
        distance = distances[event % len(distances)]
        passages.append(word + filler(distance) + word + filler(29))
    return " " + "".join(passages)
