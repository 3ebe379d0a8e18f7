"""Anchors on texts that everybody can get; none of them is part of charlm."""

import bz2
import lzma
import time
import zlib
from collections.abc import Callable, Mapping

from charlm.reproduction.base import ANCHORS, Anchor, Claim, Measurement, Workspace, on_text
from charlm.settings.values import Setting

SHAKESPEARE = "tiny-shakespeare"
SHAKESPEARE_SOURCE = "github.com/karpathy/char-rnn, data/tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
# The last 10 % are the test split, as in nanoGPT, which trains on all the rest.
NANOGPT_TEXT: Mapping[str, Setting] = {"split_ratios": "85/5/10", "min_char_frequency": 0.0}


def _compressor(compress: Callable[[bytes], bytes]) -> Callable[[Workspace, int], Measurement]:
    def measure(workspace: Workspace, seed: int) -> Measurement:
        del seed
        assert workspace.corpus is not None
        start = time.process_time()
        corpus = workspace.corpus
        text = b"".join(
            corpus.vocabulary.decode(corpus.split(name)) for name in ("train", "valid", "test")
        )
        bits = 8 * len(compress(text)) / len(text)
        return Measurement(bits, time.process_time() - start)

    return measure


def _xz(text: bytes) -> bytes:
    return lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)


ANCHORS["compressors"] = Anchor(
    title="Compressors on tiny Shakespeare",
    source="the programs themselves: zlib 1.3, bzip2 1.0.8, XZ Utils 5.4",
    unit="bits per byte of the whole text",
    published_setting="level 9",
    our_setting="the same, from Python's library. It is a check of the text and of arithmetic",
    claims=(
        Claim("zlib -9", 3.112, "near", 0.001, _compressor(lambda text: zlib.compress(text, 9))),
        Claim("bzip2 -9", 2.356, "near", 0.001, _compressor(lambda text: bz2.compress(text, 9))),
        Claim("xz -9e", 2.614, "near", 0.001, _compressor(_xz)),
    ),
    minutes=0.1,
    text=SHAKESPEARE,
    text_source=SHAKESPEARE_SOURCE,
    text_sha256=SHAKESPEARE_SHA256,
    text_settings=NANOGPT_TEXT,
    is_random=False,
)
ANCHORS["nanogpt"] = Anchor(
    title="A small Transformer on tiny Shakespeare",
    source="nanoGPT, README: settings for a CPU",
    unit="nats per character",
    published_setting="4 layers, 4 heads, 128 wide, windows of 64, batches of 12, 2,000 steps, no "
    "dropout; 1.88 on 20 batches of random windows of the last 10 %",
    our_setting="attention in residual blocks of the same sizes and budget, at a rate of 0.001, "
    "trained on 85 % instead of 90 %; scored on random windows as nanoGPT does (--protocol)",
    claims=(
        Claim(
            "attention",
            1.88,
            "near",
            0.08,
            on_text(
                {
                    "cell": "attention",
                    "block": "residual",
                    "num_layers": 4,
                    "hidden_size": 128,
                    "embedding_dim": 128,
                    "seq_len": 64,
                    "batch_size": 12,
                    "max_steps": 2000,
                    "learning_rate": 0.001,
                    "lr_schedule": "cosine",
                    "warmup_steps": 100,
                    "grad_clip": 1.0,
                    "weight_decay": 0.1,
                    "beta1": 0.9,
                },
                "nanogpt",
            ),
        ),
    ),
    minutes=6,
    text=SHAKESPEARE,
    text_source=SHAKESPEARE_SOURCE,
    text_sha256=SHAKESPEARE_SHA256,
    text_settings=NANOGPT_TEXT,
)
MINIMAL: Mapping[str, Setting] = {
    "block": "residual",
    "conv": 4,
    "num_layers": 3,
    "hidden_size": 256,
    "embedding_dim": 256,
    "seq_len": 256,
    "batch_size": 64,
    "max_steps": 600,
    "learning_rate": 0.003,
    "dropout": 0.2,
    "warmup_steps": 50,
    "grad_clip": 1.0,
}
ANCHORS["minimal-rnns"] = Anchor(
    title="minGRU and minLSTM on tiny Shakespeare",
    source="Feng et al. (2024), section 4: best test loss, at steps 575 and 625",
    unit="nats per character",
    published_setting="the harness of nanoGPT; layers and width are not stated in the text",
    our_setting="3 residual blocks of 256 units with a convolution of 4, 600 steps of 64 windows "
    "of 256; one stream of the last 10 %, scored at the end and not at the best step",
    claims=(
        Claim("mingru", 1.548, "near", 0.08, on_text({**MINIMAL, "cell": "mingru"}, "exact")),
        Claim("minlstm", 1.555, "near", 0.08, on_text({**MINIMAL, "cell": "minlstm"}, "exact")),
    ),
    minutes=60,
    text=SHAKESPEARE,
    text_source=SHAKESPEARE_SOURCE,
    text_sha256=SHAKESPEARE_SHA256,
    text_settings=NANOGPT_TEXT,
)
KARPATHY: Mapping[str, Setting] = {
    "embedding_dim": 87,
    "seq_len": 100,
    "batch_size": 100,
    "epochs": 50,
    "learning_rate": 0.004,
    "dropout": 0.0,
}
ANCHORS["war-and-peace"] = Anchor(
    title="LSTM, GRU and RNN of 50,000 parameters on War and Peace",
    source="Karpathy, Johnson & Fei-Fei (2015), Table 1, one layer",
    unit="nats per character",
    published_setting="one-hot inputs, RMSProp at 0.002, 100 streams of 100 characters, 50 epochs, "
    "gradients clipped by element; 80/10/10",
    our_setting="an embedding of 87, AdamW at 0.004 and clipping by norm, which charlm has "
    "instead; the same sizes, streams, epochs and split",
    claims=(
        Claim(
            "lstm",
            1.449,
            "near",
            0.05,
            on_text({**KARPATHY, "cell": "lstm", "hidden_size": 73}, "exact"),
        ),
        Claim(
            "gru",
            1.398,
            "near",
            0.05,
            on_text({**KARPATHY, "cell": "gru", "hidden_size": 87}, "exact"),
        ),
        Claim(
            "rnn",
            1.446,
            "near",
            0.05,
            on_text({**KARPATHY, "cell": "rnn", "hidden_size": 158}, "exact"),
        ),
    ),
    minutes=45,
    text="war-and-peace",
    text_source="cs.stanford.edu/people/karpathy/char-rnn/warpeace_input.txt",
    text_sha256="fb66ba999dafe24017cdd59e04c56d385a9c8466993d374fd4c6f08b2142985e",
    text_settings={"split_ratios": "80/10/10"},
)
ANCHORS["names"] = Anchor(
    title="A Transformer of 200,000 parameters on first names",
    source="makemore, README",
    unit="nats per symbol, the end of a name included",
    published_setting="4 layers, 4 heads, 64 wide; about 1.92 on 1,000 names",
    our_setting="attention in residual blocks of the same sizes, 10,000 steps of 32; names are "
    "read one after another, so that a name has those before it as context",
    claims=(
        Claim(
            "attention",
            1.92,
            "near",
            0.06,
            on_text(
                {
                    "cell": "attention",
                    "block": "residual",
                    "num_layers": 4,
                    "hidden_size": 64,
                    "embedding_dim": 64,
                    "seq_len": 16,
                    "batch_size": 32,
                    "max_steps": 10_000,
                    "learning_rate": 0.002,
                    "weight_decay": 0.01,
                },
                "exact",
            ),
        ),
    ),
    minutes=15,
    text="names.txt of makemore",
    text_source="github.com/karpathy/makemore, names.txt of 228,145 bytes",
    text_sha256="0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
    text_settings={"split_by": "line", "split_ratios": "95/2/3"},
)
NAMES = ("compressors", "nanogpt", "minimal-rnns", "war-and-peace", "names")
