"""Papers of further gated and structured recurrent cells whose state is a vector."""

from charlm.cells.papers.paper import Paper

PARARNN = Paper(
    "danieli2025pararnn",
    "Danieli, Federico and Rodriguez, Pau and Sarabia, Miguel and Suau, Xavier and Zappella, Luca",
    "ParaRNN: Unlocking parallel training of nonlinear RNNs for large language models",
    2025,
    arxiv="2510.21450",
)
PAPERS: dict[str, tuple[Paper, ...]] = {
    "cornn": (
        Paper(
            "rusch2021cornn",
            "Rusch, T. Konstantin and Mishra, Siddhartha",
            "Coupled oscillatory recurrent neural network (coRNN): An accurate and (gradient) "
            "stable architecture for learning long time dependencies",
            2021,
            booktitle="9th International Conference on Learning Representations (ICLR)",
            arxiv="2010.00951",
        ),
    ),
    "fastgrnn": (
        Paper(
            "kusupati2018fastgrnn",
            "Kusupati, Aditya and Singh, Manish and Bhatia, Kush and Kumar, Ashish and Jain, "
            "Prateek and Varma, Manik",
            "FastGRNN: A fast, accurate, stable and tiny kilobyte sized gated recurrent neural "
            "network",
            2018,
            booktitle="Advances in Neural Information Processing Systems 31",
            pages="9017-9028",
            arxiv="1901.02358",
        ),
    ),
    "highway-rnn": (
        Paper(
            "zilly2017highway",
            "Zilly, Julian Georg and Srivastava, Rupesh Kumar and Koutník, Jan and Schmidhuber, "
            "Jürgen",
            "Recurrent highway networks",
            2017,
            booktitle="Proceedings of the 34th International Conference on Machine Learning (ICML)",
            arxiv="1607.03474",
        ),
    ),
    "janet": (
        Paper(
            "vanderwesthuizen2018janet",
            "van der Westhuizen, Jos and Lasenby, Joan",
            "The unreasonable effectiveness of the forget gate",
            2018,
            arxiv="1804.04849",
        ),
    ),
    "lem": (
        Paper(
            "rusch2022lem",
            "Rusch, T. Konstantin and Mishra, Siddhartha and Erichson, N. Benjamin and Mahoney, "
            "Michael W.",
            "Long expressive memory for sequence modeling",
            2022,
            booktitle="The Tenth International Conference on Learning Representations (ICLR)",
            arxiv="2110.04744",
        ),
    ),
    "mgu": (
        Paper(
            "zhou2016mgu",
            "Zhou, Guo-Bing and Wu, Jianxin and Zhang, Chen-Lin and Zhou, Zhi-Hua",
            "Minimal gated unit for recurrent neural networks",
            2016,
            journal="International Journal of Automation and Computing",
            volume="13",
            number="3",
            pages="226-234",
            doi="10.1007/s11633-016-1006-2",
            arxiv="1603.09420",
        ),
    ),
    "orthogonal-rnn": (
        Paper(
            "lezcano2019cheap",
            "Lezcano-Casado, Mario and Martínez-Rubio, David",
            "Cheap orthogonal constraints in neural networks: A simple parametrization of the "
            "orthogonal and unitary group",
            2019,
            booktitle="Proceedings of the 36th International Conference on Machine Learning (ICML)",
            arxiv="1901.08428",
        ),
    ),
    "paragru": (PARARNN,),
    "paralstm": (PARARNN,),
}
