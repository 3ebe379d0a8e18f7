"""A text that a person and a model write by turns, with carried state."""

from collections.abc import Iterator

import msgspec

from charlm.data.vocabulary import Vocabulary
from charlm.evaluation.sample_writer import Sample, SampleWriter
from charlm.evaluation.sampling import SamplingSettings, check_sampling
from charlm.models.char_lm import CharLM


class WritingSession:
    """Model that goes on with what it is given, and remembers all of it.

    Attributes:
        length: Tokens that it writes at a turn.
        settings: Choice of tokens.
    """

    def __init__(
        self,
        model: CharLM,
        vocabulary: Vocabulary,
        prompt: str,
        length: int,
        settings: SamplingSettings,
    ) -> None:
        """Read the prompt.

        Raises:
            ConfigError: A setting is out of range, or the model cannot write an allowed character
                or a stop string.
        """
        check_sampling(length, settings)
        self.length, self.settings = length, settings
        self._model, self._vocabulary, self._prompt = model, vocabulary, prompt
        self._turn = 0
        self.reset()

    def reset(self) -> None:
        """Forget all but the prompt. The random numbers go on, so that the next text is new."""
        self._writer = SampleWriter(self._model, self._vocabulary, self.settings)
        self._writer.read(self._prompt)

    def change(self, length: int | None = None, temperature: float | None = None) -> None:
        """Write longer or shorter texts, or at another temperature.

        Raises:
            ConfigError: A value is out of range.
        """
        settings = self.settings
        if temperature is not None:
            settings = msgspec.structs.replace(settings, temperature=temperature)
        check_sampling(self.length if length is None else length, settings)
        self.length = self.length if length is None else length
        self.settings = settings
        self._writer.use(settings)

    def find_unknown(self, text: str) -> list[str]:
        """Return the characters of a text that the model does not know, each once."""
        return self._vocabulary.find_unknown(text)

    def write(self, text: str) -> Iterator[bytes]:
        """Read a text and go on with it; the model reads a stop string that it does not show.

        The first turn writes what `charlm sample` writes as sample 0, the next one as sample 1.

        Yields:
            The UTF-8 bytes of characters, or single bytes.
        """
        self._writer.read(text)
        sample = Sample(self._vocabulary, self.settings, self._turn)
        self._turn += 1
        yield from self._writer.iter_pieces(sample, self.length)
